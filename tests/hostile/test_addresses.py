"""Addresses that strangers write into events: nothing outside the allowed prefixes, and none that holds a cycle up for ever."""

import os
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.audio_source import AudioPin, AudioSource
from shared.dir_store import DirStore
from shared.documents import sha256_hex
from shared.errors import InvalidMessage, NotFound
from shared.manifest import FileDigest
from shared.testing.memory_store import MemoryStore
from trainer.attempt.spec import parse_spec_uri

PIECES = [
    "..",
    ".",
    "%2e%2e",
    "%2E.",
    "%252e",
    "..%2f",
    "%2f",
    "\\",
    "..\\",
    "",
    "a",
    "allowed",
    "secret",
    "%00",
    "\0",
    "?x=1",
    "#",
    ":",
    "~",
    "\u2025",
    "%ff",
    "a" * 300,
]
ADDRESSES = st.tuples(
    st.sampled_from(["file:///", "file://", "file://localhost/", "FILE:///", "gs://", "gs:///", "//", ""]),
    st.lists(st.sampled_from(PIECES), max_size=8),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of audio beside a secret."""
    root = tmp_path_factory.mktemp("root")
    (root / "allowed" / "a").mkdir(parents=True)
    (root / "allowed" / "a" / "allowed").write_bytes(b"audio")
    (root / "secret").write_bytes(b"secret")
    (root / "allowed" / "link").symlink_to(root / "secret")
    return root


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(address=ADDRESSES, rooted=st.booleans())
def test_no_address_leads_out_of_the_folder(folder: Path, address: tuple[str, list[str]], rooted: bool) -> None:
    scheme, pieces = address
    uri = scheme + ((quote(str(folder / "allowed")).lstrip("/") + "/") if rooted else "") + "/".join(pieces)
    audio = AudioSource(lambda _uri: MemoryStore(), ((folder / "allowed").as_uri(), "gs://allowed"))
    try:
        assert audio.fetch(audio.pin(uri)) == b"audio"
    except (InvalidMessage, NotFound):
        return


@pytest.mark.parametrize(
    "name",
    [
        "x" * 300,
        "/".join(["x" * 200] * 30),
        "loop/x",
        "link",
        "link/x",
        "%ED%A0%80",
        "socket",
        "%5c..%5c..%5csecret",
        "..%5csecret",
        "a%0d%0ab",
    ],
)
def test_an_address_that_will_never_be_a_file_is_no_outage(folder: Path, name: str) -> None:
    loop = folder / "allowed" / "loop"
    if not loop.is_symlink():
        loop.symlink_to(loop)
        os.mknod(folder / "allowed" / "socket", 0o140600)
    audio = AudioSource(allowed_prefixes=((folder / "allowed").as_uri(),))
    uri = f"{(folder / 'allowed').as_uri()}/{name}"
    for ask in (audio.pin, lambda uri: audio.fetch(AudioPin(uri=uri, crc32c="AAAAAA==", size_bytes=0))):
        with pytest.raises((InvalidMessage, NotFound)):
            ask(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "gs://",
        "gs:///key",
        "gs://calls?x=1/key",
        "gs://calls#/key",
        "gs://user@calls/key",
        "gs://calls:80/key",
        "gs://calls\\..\\x/key",
        "gs://CALLS/key",
        "gs://calls/../other/key",
        "gs://calls/\r\nHost: x",
    ],
)
def test_a_bucket_is_only_the_one_that_is_named(uri: str) -> None:
    opened: list[str] = []

    def open_store(found: str) -> MemoryStore:
        opened.append(found)
        return MemoryStore()

    with pytest.raises(InvalidMessage):
        AudioSource(open_store, ("gs://calls",)).pin(uri)
    assert opened == []


@pytest.mark.parametrize("key", ["calls/a?generation=1#x", "calls/%2e%2e/x", "calls/..\\x", "calls/~/x"])
def test_what_means_something_elsewhere_is_letters_in_a_key(key: str) -> None:
    store = MemoryStore()
    store.put(key, b"audio")
    audio = AudioSource(lambda _uri: store, ("gs://bucket/calls",))
    assert audio.fetch(audio.pin(f"gs://bucket/{key}")) == b"audio"


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map("/".join))
def test_no_key_of_the_local_store_leaves_its_folder(tmp_path: Path, key: str) -> None:
    root = tmp_path / "outer" / "store"
    store = DirStore(root)
    try:
        store.put(key, b"x")
    except InvalidMessage:
        return
    assert store.get(key).data == b"x"
    assert [path.name for path in tmp_path.iterdir()] == ["outer"]
    assert [path.name for path in (tmp_path / "outer").iterdir()] == ["store"]
    assert {path.name for path in root.iterdir()} <= {"objects", "tmp", "lock"}
    store.delete(key)


@pytest.mark.parametrize(
    "name", ["../x.json", "a/b.json", "..", ".", ".x.json", "a\\..\\b.json/", "x.json\n", "\0.json", "a" * 101, "", "é.json"]
)
def test_a_manifest_names_no_file_outside_of_its_folder(name: str) -> None:
    digest = sha256_hex(b"")
    with pytest.raises(ValueError, match="name"):
        FileDigest(name=name, sha256=digest, crc32c="AAAAAA==", size_bytes=0)
    with pytest.raises(ValueError, match="stored_name"):
        FileDigest(name="x.json", stored_name=name * 2 if len(name) > 100 else name, sha256=digest, crc32c="AAAAAA==", size_bytes=0)


@pytest.mark.parametrize(
    "uri",
    [
        "gs://b/cycles/000012/../000013/spec.json",
        "gs://b/cycles/0000012/spec.json",
        "gs://b/cycles/1000000/spec.json",
        "gs://b/cycles/\u0661\u0661\u0661\u0661\u0661\u0661/spec.json",
        "gs://b/cycles/000000/spec.json",
        "cycles/000001/spec.json",
        "gs://b/cycles/000001/spec.json\n",
    ],
)
def test_a_spec_has_one_address(uri: str) -> None:
    with pytest.raises(InvalidMessage, match=r"expected gs://bucket/cycles/000012/spec\.json"):
        parse_spec_uri(uri)
