"""Conditional writes: ours, another's, or nobody can tell; and the loop that decides again."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from shared import cas
from shared.cas import (
    TRIES,
    WRITE_ID,
    Codec,
    Decision,
    apply_with_cas,
    commit,
    commit_file,
    create,
    document_codec,
    find,
    find_document,
    get_document,
)
from shared.documents import Frozen, document_bytes
from shared.errors import CommitUnknown, Conflict, CorruptObject, NotFound, Retryable
from shared.objectstore import ABSENT, Generation
from shared.testing.builders import traffic
from shared.testing.memory_store import MemoryStore

NUMBER: Codec[int] = Codec(parse=int, dump=lambda number: str(number).encode())
AWAY = Retryable("the store is away")
PAUSE = cas._pause
"""As it is: a fixture takes it out of every test."""


def fail(times: int, error: Exception, *operations: str) -> Callable[[str, str], None]:
    """Return a hook that fails the first `times` of such calls."""
    left = [error] * times

    def hook(operation: str, _key: str) -> None:
        if operation in operations and left:
            raise left.pop()

    return hook


def counted(store: MemoryStore, operation: str) -> list[str]:
    """Return a list that grows by the key of every such call from now on."""
    seen: list[str] = []
    before = store.before

    def hook(found: str, key: str) -> None:
        if found == operation:
            seen.append(key)
        before(found, key)

    store.before = hook
    return seen


# commit


def test_a_commit_keeps_the_callers_metadata_and_adds_its_own_mark() -> None:
    store = MemoryStore()
    first = commit(store, "x", b"1", if_generation_match=ABSENT, metadata={"totals": "7"}, content_type="text/plain")
    second = commit(store, "x", b"2", if_generation_match=first.generation)
    assert (first.metadata["totals"], first.content_type) == ("7", "text/plain")
    assert second.content_type == "application/json"
    assert first.metadata[WRITE_ID] != second.metadata[WRITE_ID]
    assert store.get("x").data == b"2"


@pytest.mark.parametrize("error", [CommitUnknown("no reply"), Retryable("connection reset"), Conflict("its own retry met it")])
def test_a_write_whose_reply_was_lost_is_known_as_ours_and_not_sent_again(error: Exception) -> None:
    store = MemoryStore(after=fail(1, error, "put"))
    puts = counted(store, "put")
    written = commit(store, "x", b"mine", if_generation_match=ABSENT)
    assert written == store.stat("x")
    assert puts == ["x"]


@pytest.mark.parametrize("error", [CommitUnknown("no reply"), AWAY])
def test_a_write_that_never_landed_is_sent_again(error: Exception) -> None:
    store = MemoryStore(before=fail(TRIES - 1, error, "put"))
    commit(store, "x", b"mine", if_generation_match=ABSENT)
    assert store.get("x").data == b"mine"


def test_a_replacement_that_never_landed_is_sent_again() -> None:
    store = MemoryStore()
    first = commit(store, "x", b"1", if_generation_match=ABSENT)
    store.before = fail(1, AWAY, "put")
    commit(store, "x", b"2", if_generation_match=first.generation)
    assert store.get("x").data == b"2"


def test_a_file_is_committed_as_bytes_are(tmp_path: Path) -> None:
    store, path = MemoryStore(), tmp_path / "file"
    path.write_bytes(b"1")
    first = commit_file(store, "x", path, if_generation_match=ABSENT, metadata={"totals": "7"}, content_type="text/plain")
    assert (first.metadata["totals"], first.content_type) == ("7", "text/plain")
    path.write_bytes(b"2")
    second = commit_file(store, "x", path, if_generation_match=first.generation)
    assert second.content_type == "application/octet-stream"
    with pytest.raises(Conflict, match=f"x: expected generation {first.generation}, found {second.generation}"):
        commit_file(store, "x", path, if_generation_match=first.generation)
    assert store.get("x").data == b"2"
    store.after = fail(1, CommitUnknown("no reply"), "put")
    assert commit_file(store, "y", path, if_generation_match=ABSENT) == store.stat("y")


def test_a_write_that_lands_late_is_met_by_its_own_retry_and_known_as_ours() -> None:
    store = MemoryStore()
    plain = store.put
    late: list[Callable[[], object]] = []

    def put(key: str, data: bytes, **fields: object) -> object:
        if not late:
            late.append(lambda: plain(key, data, **fields))  # type: ignore[arg-type]
            raise CommitUnknown("still on its way")
        late[0]()
        return plain(key, data, **fields)  # type: ignore[arg-type]

    store.put = put  # type: ignore[assignment, method-assign]
    assert commit(store, "x", b"mine", if_generation_match=ABSENT).generation == store.stat("x").generation


def test_anothers_object_is_a_conflict() -> None:
    store = MemoryStore()
    theirs = commit(store, "x", b"theirs", if_generation_match=ABSENT)
    with pytest.raises(Conflict, match=f"x: expected generation 0, found {theirs.generation}"):
        commit(store, "x", b"mine", if_generation_match=ABSENT)
    assert store.get("x").data == b"theirs"


def test_a_generation_that_is_gone_is_a_conflict() -> None:
    store = MemoryStore()
    with pytest.raises(Conflict, match="x: expected generation 7, found none"):
        commit(store, "x", b"mine", if_generation_match=Generation(7))


def test_a_lost_reply_behind_which_another_has_written_is_a_conflict() -> None:
    store = MemoryStore()
    lost = iter([True])

    def overwritten(operation: str, _key: str) -> None:
        if operation == "put" and next(lost, False):
            store.put("x", b"theirs", metadata={WRITE_ID: "theirs"})
            raise CommitUnknown("no reply")

    store.after = overwritten
    with pytest.raises(Conflict):
        commit(store, "x", b"mine", if_generation_match=ABSENT)
    assert store.get("x").data == b"theirs"


def test_a_write_that_never_lands_is_unknown_after_five_tries() -> None:
    store = MemoryStore(before=fail(99, AWAY, "put"))
    puts = counted(store, "put")
    with pytest.raises(CommitUnknown, match="x: the write at generation 0 may or may not have landed: the store is away"):
        commit(store, "x", b"mine", if_generation_match=ABSENT)
    assert len(puts) == TRIES == 5


@pytest.mark.parametrize("error", [CommitUnknown("no reply"), Conflict("412")])
def test_when_the_store_is_away_for_the_read_back_nobody_can_tell(error: Exception) -> None:
    store = MemoryStore(before=fail(99, AWAY, "stat"), after=fail(1, error, "put"))
    with pytest.raises(CommitUnknown, match="x: written, and the read-back failed: the store is away"):
        commit(store, "x", b"mine", if_generation_match=ABSENT)
    assert store.get("x").data == b"mine", "it had landed: whoever deletes now, deletes what counts"


# create and find


def test_create_returns_what_it_wrote_or_the_earlier_winner() -> None:
    store = MemoryStore()
    ours = create(store, "x", b"first")
    assert ours == store.get("x")
    assert create(store, "x", b"second") == ours
    assert ours.info.content_type == "application/json"
    assert create(store, "y", b"text", content_type="text/plain").info.content_type == "text/plain"


def test_find_returns_none_for_what_is_not_there_and_raises_when_nobody_can_tell() -> None:
    store = MemoryStore()
    assert find(store, "x") is None
    store.put("x", b"1")
    found = find(store, "x")
    assert found is not None
    assert found.data == b"1"
    store.before = fail(1, AWAY, "get")
    with pytest.raises(Retryable):
        find(store, "x")


# apply


class PlusOne:
    """Decides to add one, and keeps what it was shown."""

    def __init__(self) -> None:
        self.shown: list[int | None] = []

    def __call__(self, number: int | None) -> Decision[int]:
        self.shown.append(number)
        return Decision((number or 0) + 1, (traffic(1, 1),), "one more")


def test_a_decision_on_what_is_not_there_creates_it_and_is_returned() -> None:
    store = MemoryStore()
    assert apply_with_cas(store, "x", NUMBER, PlusOne()) == Decision(1, (traffic(1, 1),), "one more")
    assert store.get("x").data == b"1"


def test_nothing_to_write_is_not_written_and_still_returned() -> None:
    store = MemoryStore()
    store.put("x", b"7")
    puts = counted(store, "put")
    nothing: Decision[int] = Decision(None, (traffic(1, 1),), "already applied")
    assert apply_with_cas(store, "x", NUMBER, lambda _: nothing) == nothing
    assert puts == []


def faster(store: MemoryStore, times: int) -> None:
    """Let another writer add 10 right before each of the next writes."""
    left = [10] * times

    def hook(operation: str, key: str) -> None:
        if operation == "put" and left:
            more = left.pop()
            store.before = lambda _operation, _key: None
            store.put(key, str(int(store.get(key).data) + more).encode())
            store.before = hook

    store.before = hook


def test_after_a_conflict_it_is_decided_again_on_what_stands_there_now() -> None:
    store = MemoryStore()
    store.put("x", b"1")
    faster(store, 4)
    decide = PlusOne()
    assert apply_with_cas(store, "x", NUMBER, decide).state == 42
    assert decide.shown == [1, 11, 21, 31, 41]
    assert store.get("x").data == b"42"


def test_what_another_creates_meanwhile_is_decided_on_and_not_overwritten() -> None:
    store = MemoryStore()

    def create_first(operation: str, key: str) -> None:
        if operation == "put":
            store.before = lambda _operation, _key: None
            store.put(key, b"10")

    store.before = create_first
    decide = PlusOne()
    assert apply_with_cas(store, "x", NUMBER, decide).state == 11
    assert decide.shown == [None, 10]
    assert store.get("x").data == b"11"


def test_after_five_conflicts_in_a_row_it_gives_up() -> None:
    store = MemoryStore()
    store.put("x", b"1")
    faster(store, 99)
    decide = PlusOne()
    with pytest.raises(Conflict):
        apply_with_cas(store, "x", NUMBER, decide)
    assert decide.shown == [1, 11, 21, 31, 41]
    assert store.get("x").data == b"51", "the five others, and nothing of ours"


def test_between_tries_it_waits_a_random_time_that_may_double(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    store.put("x", b"1")
    faster(store, 99)
    waited: list[float] = []
    monkeypatch.setattr(cas, "_pause", waited.append)
    random.seed(1)
    with pytest.raises(Conflict):
        apply_with_cas(store, "x", NUMBER, PlusOne())
    assert len(waited) == TRIES - 1
    assert all(0 < each < most for each, most in zip(waited, (0.1, 0.2, 0.4, 0.8), strict=True))
    PAUSE(0.0)


def test_a_write_that_nobody_can_tell_about_is_not_decided_again() -> None:
    store = MemoryStore(before=fail(99, AWAY, "stat"), after=fail(1, CommitUnknown("no reply"), "put"))
    decide = PlusOne()
    with pytest.raises(CommitUnknown):
        apply_with_cas(store, "x", NUMBER, decide)
    assert decide.shown == [None]


def test_a_decision_that_raises_writes_nothing() -> None:
    store = MemoryStore()

    def refuse(_number: int | None) -> Decision[int]:
        raise ValueError("refused")

    with pytest.raises(ValueError, match="refused"):
        apply_with_cas(store, "x", NUMBER, refuse)
    assert find(store, "x") is None


class Note(Frozen):
    text: str


def test_a_document_is_read_as_it_was_written_and_one_that_is_not_there_is_none_or_an_error() -> None:
    store = MemoryStore()
    assert find_document(store, "x", Note) is None
    with pytest.raises(NotFound):
        get_document(store, "x", Note)
    store.put("x", document_bytes(Note(text="a")))
    assert find_document(store, "x", Note) == get_document(store, "x", Note) == Note(text="a")
    store.put("x", b"{}")
    for read in (find_document, get_document):
        with pytest.raises(CorruptObject, match=r"^x: expected a valid Note, found text: Field required"):
            read(store, "x", Note)


def test_a_documents_codec_brings_back_what_it_wrote_and_names_what_it_cannot_read() -> None:
    codec = document_codec(Note, what="a note")
    assert codec.dump(Note(text="a")) == document_bytes(Note(text="a"))
    assert codec.parse(codec.dump(Note(text="a"))) == Note(text="a")
    with pytest.raises(CorruptObject, match=r"^a note: expected a valid Note, found text: Field required"):
        codec.parse(b"{}")
