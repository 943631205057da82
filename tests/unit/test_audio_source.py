"""Audio comes only from where the operator allowed it, and only as it was pinned."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared import keys
from shared.audio_source import AudioPin, AudioSource
from shared.errors import CorruptObject, InvalidMessage, NotFound
from shared.objectstore import ObjectStore, crc32c_base64
from shared.stores import open_store
from shared.testing.memory_store import MemoryStore


class Stores:
    """Memory stores by address, and how often each was opened."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.calls = MemoryStore("calls")

    def open(self, uri: str) -> ObjectStore:
        self.opened.append(uri)
        return self.calls


def source(*prefixes: str, stores: Stores | None = None, max_bytes: int = 1000) -> AudioSource:
    return AudioSource((stores or Stores()).open, prefixes, max_bytes=max_bytes)


@pytest.mark.parametrize(
    "uri",
    [
        "gs://calls/a.wav",
        "gs://calls/2026/a b%2F..wav",
        "gs://calls//a",
        "gs://team/eu/a.wav",
        "file:///srv/audio/a.wav",
        "file:///srv/audio/%61/b",
    ],
)
def test_audio_under_an_allowed_prefix_is_allowed(uri: str) -> None:
    source("gs://calls", "gs://team/eu/", "file:///srv/audio").check(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "gs://calls-evil/x",
        "gs://calls",
        "gs://calls/",
        "gs://call/s/x",
        "gs://CALLS/x",
        "GS://calls/x",
        "gs://team/eu",
        "gs://team/europe/x",
        "gs://team/us/x",
        "gs://calls/../team/x",
        "gs://team/eu/../us/x",
        "gs://calls/a/./b",
        "gs://calls/a\nb",
        "gs://calls/" + "x" * 1025,
        "gs:///calls/x",
        "file:///srv/audio-evil/x",
        "file:///srv/audio",
        "file:///srv/audio/../../etc/passwd",
        "file:///srv/audio/%2e%2e/secret",
        "file:///srv/audio%2f..%2fsecret",
        "file:////srv/audio/x",
        "file://host/srv/audio/x",
        "file:/srv/audio/x",
        "file:///srv/audio/a%00b",
        "/srv/audio/x",
        "http://calls/x",
        "https://storage.googleapis.com/calls/x",
        "s3://calls/x",
        "",
    ],
)
def test_all_else_is_refused(uri: str) -> None:
    allowed = source("gs://calls", "gs://team/eu/", "file:///srv/audio")
    for ask in (
        allowed.check,
        allowed.pin,
        lambda uri: allowed.fetch(AudioPin(uri=uri or "x", generation=1, crc32c="AAAAAA==", size_bytes=0)),
    ):
        with pytest.raises(InvalidMessage):
            ask(uri)


def test_nothing_is_allowed_by_default() -> None:
    with pytest.raises(InvalidMessage):
        AudioSource().check("gs://calls/x")


@pytest.mark.parametrize("prefix", ["gs://", "file:///", "file://", "", "http://calls", "calls", "gs://calls/../x"])
def test_a_prefix_that_allows_everything_or_makes_no_sense_is_refused(prefix: str) -> None:
    with pytest.raises(InvalidMessage):
        source(prefix)


def test_a_pinned_object_is_fetched_as_it_was() -> None:
    stores = Stores()
    info = stores.calls.put("a.wav", b"RIFF")
    audio = source("gs://calls", stores=stores)
    pin = audio.pin("gs://calls/a.wav")
    assert pin == AudioPin(uri="gs://calls/a.wav", generation=info.generation, crc32c=crc32c_base64(b"RIFF"), size_bytes=4)
    assert AudioPin.model_validate_json(pin.model_dump_json()) == pin
    assert audio.fetch(pin) == b"RIFF"
    stores.calls.put("a.wav", b"RIFX")
    with pytest.raises(NotFound):
        audio.fetch(pin)
    stores.calls.delete("a.wav")
    with pytest.raises(NotFound):
        audio.pin("gs://calls/a.wav")


@pytest.mark.parametrize("wrong", [{"crc32c": "AAAAAA=="}, {"size_bytes": 3}, {"size_bytes": 5}])
def test_bytes_that_are_not_those_pinned_are_corrupt(wrong: dict[str, object], tmp_path: Path) -> None:
    stores = Stores()
    stores.calls.put("a.wav", b"RIFF")
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    audio = source("gs://calls", tmp_path.as_uri(), stores=stores)
    for uri in ("gs://calls/a.wav", f"{tmp_path.as_uri()}/a.wav"):
        with pytest.raises(CorruptObject):
            audio.fetch(audio.pin(uri).model_copy(update=wrong))


def test_a_pin_of_an_object_needs_its_generation() -> None:
    stores = Stores()
    stores.calls.put("a.wav", b"")
    with pytest.raises(InvalidMessage):
        source("gs://calls", stores=stores).fetch(AudioPin(uri="gs://calls/a.wav", generation=None, crc32c="AAAAAA==", size_bytes=0))


@pytest.mark.parametrize("wrong", [{"generation": 0}, {"size_bytes": -1}, {"crc32c": "not base64"}, {"uri": ""}, {"more": 1}])
def test_a_pin_that_cannot_be_true_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AudioPin.model_validate({"uri": "gs://calls/x", "generation": 1, "crc32c": "AAAAAA==", "size_bytes": 0, **wrong})


def test_a_file_is_pinned_by_its_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "my calls"
    folder.mkdir()
    (folder / "a#1.wav").write_bytes(b"RIFF")
    audio = source(folder.as_uri())
    uri = (folder / "a#1.wav").as_uri()
    pin = audio.pin(uri)
    assert pin == AudioPin(uri=uri, generation=None, crc32c=crc32c_base64(b"RIFF"), size_bytes=4)
    assert audio.fetch(pin) == b"RIFF"
    (folder / "a#1.wav").write_bytes(b"RIFE")
    with pytest.raises(CorruptObject):
        audio.fetch(pin)
    (folder / "a#1.wav").unlink()
    for ask in (lambda: audio.pin(uri), lambda: audio.fetch(pin), lambda: audio.pin(f"{uri}/deeper")):
        with pytest.raises(NotFound):
            ask()


def test_audio_that_is_too_long_is_refused_before_it_is_read(tmp_path: Path) -> None:
    stores = Stores()
    stores.calls.put("a.wav", b"x" * 1001)
    (tmp_path / "a.wav").write_bytes(b"x" * 1001)
    audio = source("gs://calls", tmp_path.as_uri(), stores=stores)
    stores.calls.before = lambda operation, _key: pytest.fail("read") if operation == "get" else None
    for uri in ("gs://calls/a.wav", f"{tmp_path.as_uri()}/a.wav"):
        with pytest.raises(InvalidMessage):
            audio.pin(uri)
        with pytest.raises(InvalidMessage):
            audio.fetch(AudioPin(uri=uri, generation=1, crc32c="AAAAAA==", size_bytes=1001))


def test_links_do_not_lead_out_of_the_prefix(tmp_path: Path) -> None:
    allowed, elsewhere = tmp_path / "allowed", tmp_path / "elsewhere"
    allowed.mkdir()
    elsewhere.mkdir()
    (elsewhere / "secret").write_bytes(b"1")
    (allowed / "inside").write_bytes(b"2")
    (allowed / "to-file").symlink_to(elsewhere / "secret")
    (allowed / "to-folder").symlink_to(elsewhere)
    (allowed / "to-inside").symlink_to(allowed / "inside")
    (allowed / "loop").symlink_to(allowed / "loop")
    audio = source(allowed.as_uri())
    for name in ("to-file", "to-folder/secret", "loop"):
        with pytest.raises(InvalidMessage):
            audio.pin(f"{allowed.as_uri()}/{name}")
    assert audio.fetch(audio.pin(f"{allowed.as_uri()}/to-inside")) == b"2"
    (tmp_path / "door").symlink_to(allowed)  # the operator's own prefix may be a link
    assert source((tmp_path / "door").as_uri()).pin(f"{tmp_path.as_uri()}/door/inside").size_bytes == 1


def test_only_plain_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name in ("folder", "pipe"):
        with pytest.raises(InvalidMessage):
            source(tmp_path.as_uri()).pin(f"{tmp_path.as_uri()}/{name}")


def test_each_bucket_is_opened_once_for_all_threads() -> None:
    stores = Stores()
    stores.calls.put("a.wav", b"RIFF")
    audio = source("gs://calls", "gs://team", stores=stores)
    barrier = threading.Barrier(8)

    def pin(number: int) -> AudioPin:
        barrier.wait()
        return audio.pin(f"gs://{('calls', 'team')[number % 2]}/a.wav")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(pin, range(8)))
    assert sorted(stores.opened) == ["gs://calls", "gs://team"]


def test_the_default_store_is_the_real_one() -> None:
    assert AudioSource.__init__.__defaults__ == (open_store, ())


def restored(key: str, data: bytes) -> tuple[AudioSource, AudioPin, MemoryStore]:
    """Return a source, and the pin of an object that was lost and put back since."""
    stores = Stores()
    stores.calls.put(key, data)
    audio = source("gs://calls", stores=stores)
    pin = audio.pin(f"gs://calls/{key}")
    stores.calls.delete(key)
    with pytest.raises(NotFound):
        audio.fetch(pin)
    stores.calls.put(key, data)
    assert stores.calls.stat(key).generation != pin.generation
    return audio, pin, stores.calls


@pytest.mark.parametrize("key", ["a.wav", keys.audio(sha256(b"hello").hexdigest())])
def test_what_was_restored_is_used(key: str) -> None:
    audio, pin, _ = restored(key, b"hello")
    assert audio.fetch(pin) == b"hello"


@pytest.mark.parametrize("other", [b"", b"hellO", b"hello!"])
def test_what_replaced_the_pinned_bytes_is_not_used(other: bytes) -> None:
    audio, pin, store = restored("a.wav", b"hello")
    store.put("a.wav", other)
    with pytest.raises(NotFound, match="or its bytes again, found others"):
        audio.fetch(pin)


def test_what_only_looks_like_the_pinned_bytes_is_not_used() -> None:
    twins = (b"\x00" * 8, b"\x01\x00\x00\x00\xb8\xaa\x45\xdd")
    assert crc32c_base64(twins[0]) == crc32c_base64(twins[1])
    key = keys.audio(sha256(twins[0]).hexdigest())
    audio, pin, store = restored(key, twins[0])
    store.put(key, twins[1])
    with pytest.raises(CorruptObject, match="the SHA-256 of its name"):
        audio.fetch(pin)


def test_what_is_much_larger_than_the_pin_is_not_read() -> None:
    audio, pin, store = restored("a.wav", b"hello")
    store.put("a.wav", b"x" * 900)
    read: list[str] = []
    store.after = lambda operation, _: read.append(operation)
    with pytest.raises(NotFound):
        audio.fetch(pin)
    assert "get" not in read
