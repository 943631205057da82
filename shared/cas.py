"""Conditional writes that survive lost replies, and the one loop around a commit.

writer                      store
| put(if_generation_match=G, metadata.write_id=W)
|---------------------------->|  landed at G' (or lost to another writer)
|   x reply lost / 412        |
| stat ---------------------->|
|<--- write_id = W: ours, done; another's: Conflict; not there yet: the same write again
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from shared.documents import Document, document_bytes, parse_document
from shared.errors import CommitUnknown, Conflict, NotFound, Retryable
from shared.events import Event
from shared.ids import new_token
from shared.objectstore import ABSENT, Generation, ObjectInfo, ObjectStore, StoredObject

WRITE_ID = "write_id"
TRIES = 5

State = TypeVar("State")


@dataclass(frozen=True)
class Decision(Generic[State]):
    """What a pure `decide_` function wants done.

    Attributes:
        state: the new state to commit; None = nothing to write.
        events: published after the commit, and published again when a redelivery finds it already applied.
        reason: why, for the log and for people.
    """

    state: State | None
    events: tuple[Event, ...] = field(default=())
    reason: str = ""


def commit(
    store: ObjectStore,
    key: str,
    data: bytes,
    *,
    if_generation_match: Generation,
    metadata: Mapping[str, str] | None = None,
    content_type: str = "application/json",
) -> ObjectInfo:
    """Write conditionally and know whether it landed.

    Args:
        store: the bucket.
        key: of the object.
        data: all of it.
        if_generation_match: what must stand there: `ABSENT`, or the generation that was read.
        metadata: kept with the object, beside the mark of this write.
        content_type: the media type.

    Raises:
        Conflict: another writer's data stand there: reload and decide again.
        CommitUnknown: after several tries nobody can tell; delete nothing.
    """

    def put(marked: Mapping[str, str]) -> ObjectInfo:
        return store.put(key, data, if_generation_match=if_generation_match, metadata=marked, content_type=content_type)

    return _commit(store, key, put, if_generation_match, metadata or {})


def commit_file(
    store: ObjectStore,
    key: str,
    path: Path,
    *,
    if_generation_match: Generation,
    metadata: Mapping[str, str] | None = None,
    content_type: str = "application/octet-stream",
) -> ObjectInfo:
    """Write a file conditionally and know whether it landed. Raises as `commit`."""

    def put(marked: Mapping[str, str]) -> ObjectInfo:
        return store.put_file(key, path, if_generation_match=if_generation_match, metadata=marked, content_type=content_type)

    return _commit(store, key, put, if_generation_match, metadata or {})


def _commit(
    store: ObjectStore, key: str, put: Callable[[Mapping[str, str]], ObjectInfo], expected: Generation, metadata: Mapping[str, str]
) -> ObjectInfo:
    write_id = new_token()
    marked = {**metadata, WRITE_ID: write_id}
    lost: Exception | None = None
    for _ in range(TRIES):
        try:
            return put(marked)
        except (Conflict, CommitUnknown, Retryable) as error:
            lost = error
        found = _read_back(store, key)
        if found is not None and found.metadata.get(WRITE_ID) == write_id:
            return found
        if isinstance(lost, Conflict) or (found is not None and found.generation > expected):
            raise Conflict(f"{key}: expected generation {expected}, found {found.generation if found else 'none'}") from lost
    raise CommitUnknown(f"{key}: the write at generation {expected} may or may not have landed: {lost}") from lost


def _read_back(store: ObjectStore, key: str) -> ObjectInfo | None:
    try:
        return find_info(store, key)
    except Retryable as error:
        raise CommitUnknown(f"{key}: written, and the read-back failed: {error}") from error


def create(
    store: ObjectStore,
    key: str,
    data: bytes,
    *,
    content_type: str = "application/json",
) -> StoredObject:
    """Create `key` if it is absent and return what stands there: ours, or the earlier winner's."""
    try:
        info = commit(store, key, data, if_generation_match=ABSENT, content_type=content_type)
    except Conflict:
        return store.get(key)
    return StoredObject(info, data)


def find(store: ObjectStore, key: str) -> StoredObject | None:
    """Read an object that may not exist."""
    try:
        return store.get(key)
    except NotFound:
        return None


def find_info(store: ObjectStore, key: str) -> ObjectInfo | None:
    """Read what a listing would tell of an object that may not exist."""
    try:
        return store.stat(key)
    except NotFound:
        return None


def get_document(store: ObjectStore, key: str, cls: type[Document]) -> Document:
    """Read a stored document.

    Raises:
        NotFound: it is not there.
        CorruptObject: as `parse_document`.
    """
    return parse_document(cls, store.get(key).data, what=key)


def find_document(store: ObjectStore, key: str, cls: type[Document]) -> Document | None:
    """Read a stored document that may not exist. Raises CorruptObject as `parse_document`."""
    found = find(store, key)
    return parse_document(cls, found.data, what=key) if found is not None else None


@dataclass(frozen=True)
class Codec(Generic[State]):
    """How a state becomes bytes and back."""

    parse: Callable[[bytes], State]
    dump: Callable[[State], bytes]


def document_codec(cls: type[Document], *, what: str) -> Codec[Document]:
    """Return the codec of a stored document; see `shared.documents.parse_document` for `what`."""
    return Codec(parse=partial(parse_document, cls, what=what), dump=document_bytes)


def apply_with_cas(
    store: ObjectStore,
    key: str,
    codec: Codec[State],
    decide: Callable[[State | None], Decision[State]],
) -> Decision[State]:
    """Load, decide, commit; on a conflict load and decide again (5 tries with jitter).

    A stale decision is never sent again: every try decides on what it has just read.

    Raises:
        Conflict: five writers in a row were faster: the message is redelivered.
        CommitUnknown: see `commit`.
    """
    retrying = Retrying(
        retry=retry_if_exception_type(Conflict),
        stop=stop_after_attempt(TRIES),
        wait=wait_random_exponential(multiplier=0.1),
        sleep=_pause,
        reraise=True,
    )
    return retrying(_apply_once, store, key, codec, decide)


def _pause(seconds: float) -> None:
    time.sleep(seconds)


def _apply_once(store: ObjectStore, key: str, codec: Codec[State], decide: Callable[[State | None], Decision[State]]) -> Decision[State]:
    found = find(store, key)
    decision = decide(codec.parse(found.data) if found else None)
    if decision.state is not None:
        generation = found.info.generation if found else ABSENT
        commit(store, key, codec.dump(decision.state), if_generation_match=generation)
    return decision
