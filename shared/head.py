"""The head: the one object that says which cycle collects now; whether it is new, known or lost."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from shared import keys
from shared.cas import Decision, apply_with_cas, create, document_codec, find, find_info
from shared.cycle import CODEC, Status
from shared.documents import Frozen, document_bytes
from shared.errors import InvariantBroken
from shared.objectstore import Generation, ObjectStore

FIRST_CYCLE = 1
HEAD_LOST = (
    "Nothing is collected until it is back, and nothing is lost meanwhile: restore its newest noncurrent generation, or run "
    "`retune registry rebuild-head`; then `retune registry recollect` (docs/guides/operations.md, After a loss)"
)


class Head(Frozen):
    """The cycle that is collecting."""

    cycle: Annotated[int, Field(ge=1)]


_HEAD = document_codec(Head, what=keys.HEAD)


def read_head(store: ObjectStore) -> int:
    """Return the number of the cycle that is collecting.

    Raises:
        InvariantBroken: the head is lost: an event that is acknowledged now could stand in a ledger that was sealed before.
    """
    found = find(store, keys.HEAD)
    return _HEAD.parse(found.data).cycle if found else _first_head(store)


def begin_head(store: ObjectStore) -> int:
    """Return the head, which a new bucket gets here: it is written before the first cycle is opened, so that its loss can be seen.

    Raises:
        InvariantBroken: the head is lost.
    """
    found = find(store, keys.HEAD)
    if found is None:
        found = create(store, keys.HEAD, document_bytes(Head(cycle=_first_head(store))))
    return _HEAD.parse(found.data).cycle


def _first_head(store: ObjectStore) -> int:
    """Return the first cycle where nothing tells of a head before. Costs two lists, and is asked only where there is no head."""
    trace = next(_traces_of_a_head(store), None)
    if trace is not None:
        found = find(store, keys.HEAD)  # it is older than what tells of it: somebody may have begun since the first look
        if found is not None:
            return _HEAD.parse(found.data).cycle
        raise InvariantBroken(f"{keys.HEAD}: expected the cycle that is collecting, since {trace} is there, found none. {HEAD_LOST}")
    return FIRST_CYCLE


def _traces_of_a_head(store: ObjectStore) -> Iterator[str]:
    """Yield what is there only after a head was written; two lists at most.

    An approval that the first cycle waits for is older than the head in 0.1.0.
    """
    before = {keys.declined(FIRST_CYCLE), keys.watch(FIRST_CYCLE)}
    for info in store.list(keys.CYCLES):
        numbered = keys.padded(FIRST_CYCLE) <= info.key.removeprefix(keys.CYCLES) < "a"
        if numbered and info.key not in before and not (info.key == keys.state(FIRST_CYCLE) and _awaits_approval(store)):
            yield info.key
    yield from (info.key for info in store.list(keys.LEDGERS, start_after=f"{keys.ledger(FIRST_CYCLE)}~"))


def _awaits_approval(store: ObjectStore) -> bool:
    found = find(store, keys.state(FIRST_CYCLE))
    return found is None or CODEC.parse(found.data).status == Status.AWAITING_APPROVAL


def move_head(store: ObjectStore, past: int) -> int:
    """Set `head := max(head, past + 1)` and return it.

    Raises:
        InvariantBroken: the head is lost, and may have been further.
    """

    def decide(head: Head | None) -> Decision[Head]:
        if head is None:
            raise InvariantBroken(f"{keys.HEAD}: expected the cycle that is collecting, found none. {HEAD_LOST}")
        return Decision(None) if head.cycle > past else Decision(Head(cycle=past + 1))

    begin_head(store)
    apply_with_cas(store, keys.HEAD, _HEAD, decide)
    return read_head(store)


class KnownHead:
    """The head as it was last read: to look at it again costs one call that reads no data while it has not moved.

    Safe across threads: what is remembered may be old, what `read` returns never is.
    """

    def __init__(self) -> None:
        self._seen: tuple[Generation, int] | None = None

    def last(self, store: ObjectStore) -> int:
        """Return where the head stood when it was last read, and read it if it never was. Raises as `read_head`."""
        seen = self._seen
        return self._load(store) if seen is None else seen[1]

    def read(self, store: ObjectStore) -> int:
        """Return where the head stands now. Raises as `read_head`."""
        seen = self._seen
        if seen is not None and seen[0] == _generation_of_head(store):
            return seen[1]
        return self._load(store)

    def _load(self, store: ObjectStore) -> int:
        found = find(store, keys.HEAD)
        if found is None:
            self._seen = None  # one that is absent is never known: it may be lost
            return _first_head(store)
        seen = self._seen = (found.info.generation, _HEAD.parse(found.data).cycle)
        return seen[1]


def _generation_of_head(store: ObjectStore) -> Generation | None:
    info = find_info(store, keys.HEAD)
    return info.generation if info else None
