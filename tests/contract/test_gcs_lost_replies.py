"""What `GcsStore` says when the network or the server fails: never "written" of what is not, never "not written" of what may be."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.audio_source import AudioPin, AudioSource
from shared.cas import commit
from shared.errors import CommitUnknown, Conflict, InvalidMessage, InvariantBroken, NotFound, Retryable
from shared.gcs_store import GcsStore
from shared.objectstore import ABSENT, Generation
from tests.gcs_proxy import CUT, PASS, REFUSED, SHORT, TRUNCATED, UNCLOSED, Proxy, always, first, quick_store

pytestmark = UNCLOSED


@pytest.fixture
def store(client: Any) -> GcsStore:
    return quick_store(client, deadline_s=2.0)


@pytest.fixture
def hasty(client: Any) -> GcsStore:
    """A store that gives up at the first failure."""
    return quick_store(client, deadline_s=0.0)


# Writes


@pytest.mark.parametrize("fate", [CUT, TRUNCATED])
def test_a_create_whose_reply_was_lost_meets_itself(proxy: Proxy, store: GcsStore, truth: Any, fate: str) -> None:
    proxy.plan = first(fate)
    with pytest.raises(Conflict):
        store.put("k", b"mine", if_generation_match=ABSENT, metadata={"write_id": "w"})
    found = truth.get("k")
    assert (found.data, found.info.metadata) == (b"mine", {"write_id": "w"})
    assert len(proxy.lines) == 2


def test_a_replacement_whose_reply_was_lost_meets_itself(proxy: Proxy, store: GcsStore, truth: Any) -> None:
    old = truth.put("k", b"old")
    proxy.plan = first(CUT)
    with pytest.raises(Conflict):
        store.put("k", b"new", if_generation_match=old.generation)
    assert truth.get("k").data == b"new"


def test_commit_recognises_its_own_write(proxy: Proxy, store: GcsStore, truth: Any) -> None:
    proxy.plan = first(CUT)
    info = commit(store, "k", b"mine", if_generation_match=ABSENT)
    assert info == truth.stat("k")


@pytest.mark.parametrize("fate", [CUT, REFUSED, "503", "500", "429"])
def test_a_conditional_write_that_nobody_answered_is_unknown(proxy: Proxy, hasty: GcsStore, truth: Any, fate: str, tmp_path: Path) -> None:
    proxy.plan = always(fate)
    with pytest.raises(CommitUnknown):
        hasty.put("k", b"1", if_generation_match=ABSENT)
    (tmp_path / "file").write_bytes(b"2")
    with pytest.raises(CommitUnknown):
        hasty.put_file("f", tmp_path / "file", if_generation_match=ABSENT)
    assert list(truth.keys("")) == (["f", "k"] if fate == CUT else [])


@pytest.mark.parametrize("fate", [CUT, REFUSED, "503"])
def test_an_unconditional_write_that_nobody_answered_may_be_repeated(proxy: Proxy, hasty: GcsStore, fate: str) -> None:
    proxy.plan = always(fate)
    with pytest.raises(Retryable):
        hasty.put("k", b"1")


@pytest.mark.parametrize("fate", [CUT, REFUSED, "503", "429"])
def test_an_unconditional_write_is_repeated(proxy: Proxy, store: GcsStore, truth: Any, fate: str) -> None:
    proxy.plan = first(fate)
    assert store.put("k", b"1") == truth.stat("k")


@pytest.mark.parametrize("lost", range(1, 5))
def test_a_file_arrives_whichever_reply_is_lost(
    proxy: Proxy, store: GcsStore, truth: Any, tmp_path: Path, lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.gcs_store.CHUNK_BYTES", 4 << 20)
    data = b"0123456789abcdef" * (9 << 16)  # 9 MiB: one request to begin, three with data
    (tmp_path / "file").write_bytes(data)
    proxy.plan = lambda number, _line: CUT if number == lost else PASS
    info = store.put_file("k", tmp_path / "file", if_generation_match=ABSENT)
    assert info == truth.stat("k")
    assert truth.get("k").data == data
    assert len(proxy.lines) == 5


def test_a_file_that_lost_hears_so_even_if_that_reply_was_lost(proxy: Proxy, store: GcsStore, truth: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * (9 << 20))

    def plan(number: int, _line: str) -> str:
        if number == 2:
            truth.put("k", b"winner")
        return CUT if number == 2 else PASS

    proxy.plan = plan
    with pytest.raises(Conflict):
        store.put_file("k", tmp_path / "file", if_generation_match=ABSENT)
    assert truth.get("k").data == b"winner"
    assert len(proxy.lines) == 3


def test_an_upload_that_the_server_forgot_is_unknown(proxy: Proxy, store: GcsStore, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * (9 << 20))
    proxy.plan = lambda _number, line: "404" if line.startswith("PUT") else PASS
    with pytest.raises(CommitUnknown):
        store.put_file("k", tmp_path / "file", if_generation_match=ABSENT)


def test_a_write_into_no_bucket_is_unknown(store: GcsStore) -> None:
    with pytest.raises(CommitUnknown):
        GcsStore("absent", store._client).put("k", b"", if_generation_match=ABSENT)


def test_a_refused_write_did_not_happen(proxy: Proxy, store: GcsStore) -> None:
    proxy.plan = always("403")
    with pytest.raises(Retryable):
        store.put("k", b"", if_generation_match=ABSENT)
    assert len(proxy.lines) == 1


@pytest.mark.parametrize("status", ["400", "405", "411", "413", "414"])
def test_what_the_server_will_never_take_is_asked_once_and_is_no_outage(
    proxy: Proxy, store: GcsStore, truth: Any, status: str, tmp_path: Path
) -> None:
    truth.put("k", b"1")
    (tmp_path / "file").write_bytes(b"2")
    calls: list[Callable[[], Any]] = [
        lambda: store.get("k"),
        lambda: store.stat("k"),
        lambda: store.put("k", b""),
        lambda: store.put("k", b"", if_generation_match=ABSENT),
        lambda: store.put_file("k", tmp_path / "file", if_generation_match=ABSENT),
        lambda: store.get_to_file("k", tmp_path / "target"),
        lambda: list(store.list("")),
        lambda: store.delete("k"),
    ]
    for call in calls:
        proxy.lines.clear()
        proxy.plan = always(status)
        with pytest.raises(InvariantBroken, match="expected a request that Cloud Storage can take"):
            call()
        assert len(proxy.lines) == 1
    proxy.plan = lambda _number, line: status if line.startswith("GET /download") else PASS
    with pytest.raises(InvariantBroken):
        store.get("k")
    assert truth.get("k").data == b"1"


def test_an_address_that_the_server_will_never_take_sets_its_clip_aside(proxy: Proxy, store: GcsStore, truth: Any) -> None:
    info = truth.put("k", b"1")
    audio = AudioSource(lambda _: store, ("gs://calls",))
    pin = AudioPin(uri="gs://calls/k", generation=info.generation, crc32c=info.crc32c, size_bytes=1)
    proxy.plan = always("400")
    with pytest.raises(InvalidMessage, match="audio 'gs://calls/k'"):
        audio.pin("gs://calls/k")
    with pytest.raises(InvalidMessage, match="audio 'gs://calls/k'"):
        audio.fetch(pin)


# Deletes


def test_a_delete_whose_reply_was_lost_is_done(proxy: Proxy, store: GcsStore, truth: Any) -> None:
    info = truth.put("k", b"")
    proxy.plan = first(CUT)
    store.delete("k", if_generation_match=info.generation)
    assert list(truth.keys("")) == []


def test_a_conditional_delete_of_what_is_gone_is_done_whatever_the_server_calls_it(proxy: Proxy, store: GcsStore, truth: Any) -> None:
    proxy.plan = first("412", "DELETE")
    store.delete("k", if_generation_match=Generation(1))
    assert list(truth.list("")) == []


def test_a_delete_that_nobody_answered_may_be_repeated(proxy: Proxy, hasty: GcsStore, truth: Any) -> None:
    info = truth.put("k", b"")
    proxy.plan = always(CUT)
    with pytest.raises(Retryable):
        hasty.delete("k", if_generation_match=info.generation)


# Reads


@pytest.mark.parametrize("fate", [CUT, REFUSED, "503", TRUNCATED])
def test_a_read_is_repeated(proxy: Proxy, store: GcsStore, truth: Any, fate: str, tmp_path: Path) -> None:
    info = truth.put("k", b"0123456789" * 5000)
    proxy.plan = first(fate, "GET /download")
    assert store.get("k").data == b"0123456789" * 5000
    proxy.plan = first(fate, "GET /download")
    assert store.get_to_file("k", tmp_path / "target").size_bytes == 50_000
    assert (tmp_path / "target").read_bytes() == b"0123456789" * 5000
    proxy.plan = first(fate, "GET /storage")
    assert list(store.list("")) == [info]


@pytest.mark.parametrize("fate", [CUT, "503", "403"])
def test_a_read_that_nobody_answered_may_be_repeated(proxy: Proxy, hasty: GcsStore, truth: Any, fate: str, tmp_path: Path) -> None:
    truth.put("k", b"1")
    reads: list[Callable[[], Any]] = [
        lambda: hasty.get("k"),
        lambda: hasty.stat("k"),
        lambda: list(hasty.list("")),
        lambda: hasty.get_to_file("k", tmp_path / "target"),
    ]
    for line in ("GET /download", "GET /storage"):
        proxy.plan = lambda _number, asked, line=line: fate if asked.startswith(line) else PASS  # type: ignore[misc]
        for read in reads if line == "GET /storage" else (reads[0], reads[3]):
            with pytest.raises(Retryable):
                read()
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("fate", [TRUNCATED, SHORT])
def test_a_download_that_breaks_off_twice_is_not_taken_for_whole(
    proxy: Proxy, store: GcsStore, truth: Any, tmp_path: Path, fate: str
) -> None:
    store._retry = store._retry.with_timeout(0.2)
    truth.put("k", bytes(range(256)) * 200)
    proxy.plan = lambda _number, line: fate if line.startswith("GET /download") else PASS
    with pytest.raises(Retryable):
        store.get("k")
    with pytest.raises(Retryable):
        store.get_to_file("k", tmp_path / "target")
    assert list(tmp_path.iterdir()) == []


def test_an_object_replaced_between_description_and_data_is_read_again(proxy: Proxy, store: GcsStore, truth: Any) -> None:
    truth.put("k", b"old")

    def plan(number: int, _line: str) -> str:
        if number == 2:
            truth.put("k", b"new")
        return PASS

    proxy.plan = plan
    assert store.get("k").data == b"new"
    proxy.lines.clear()
    pinned = truth.stat("k")
    with pytest.raises(NotFound):
        store.get("k", generation=pinned.generation)


def test_an_object_that_never_stands_still_may_be_read_later(
    proxy: Proxy, store: GcsStore, truth: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.gcs_store.READ_TRIES", 3)
    truth.put("k", b"0")

    def plan(number: int, line: str) -> str:
        if line.startswith("GET /download"):
            truth.put("k", b"%d" % number)
        return PASS

    proxy.plan = plan
    with pytest.raises(Retryable, match="overwritten"):
        store.get("k")


def test_a_server_that_tells_no_generation_is_not_trusted(store: GcsStore) -> None:
    with pytest.raises(InvariantBroken):
        store._info(store._blob("k"))
