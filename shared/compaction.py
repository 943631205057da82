"""What makes a ledger short: segments folded into parts while it is open, and everything deleted once its dataset stands."""

from collections.abc import Sequence
from itertools import accumulate

from shared import keys
from shared.cas import commit, find
from shared.documents import document_bytes
from shared.errors import Conflict, InvariantBroken, NotFound
from shared.ids import new_token
from shared.ledger import Index, list_segments, read_index
from shared.objectstore import ABSENT, ObjectInfo, ObjectStore
from shared.totals import added, totals_of

MOST_FOLDED = 1000
"""Segments that one compaction folds: read one after another they take less than a tick, so that a compactor always gets on."""
PART_BYTES = 32 << 20
"""A part of at least this size stays as it is; none has twice as much, so that a compactor needs little memory."""
SMALL_PARTS = 16
"""So many newest parts that are smaller are joined into one, so that index and seal need not name one for each tick of months."""


def compact(store: ObjectStore, cycle: int, *, at_least: int = 2) -> int:
    """Fold the segments of the open ledger into a new part; return how many were folded.

    The part's name is made anew for every try. After a conflict nothing is deleted. Small parts that the new one replaces in the index
    stay where they are, for whoever has read the index before.

    Args:
        store: the bucket.
        cycle: the open ledger.
        at_least: fewer live segments than this are left alone.
    """
    index, generation = read_index(store, cycle)
    segments = list_segments(store, cycle)
    pending = set(index.pending)
    for info in segments:
        if info.key in pending:
            store.delete(info.key)
    fold = _within([info for info in segments if info.key not in pending][:MOST_FOLDED])
    if len(fold) < at_least:
        return 0
    kept, joined = _joined_parts(store, cycle, index.parts)
    try:
        data = b"".join(store.get(key).data for key in (*joined, *(info.key for info in fold)))
    except NotFound:
        return 0  # another compactor was faster
    part = keys.part(cycle, new_token())
    commit(store, part, data, if_generation_match=ABSENT, content_type="application/x-ndjson")
    folded = Index(
        parts=(*kept, part),
        totals=added((index.totals, *map(totals_of, fold))),
        pending=tuple(info.key for info in fold),
    )
    try:
        commit(store, keys.ledger_index(cycle), document_bytes(folded), if_generation_match=generation)
    except Conflict:
        return 0
    for info in fold:
        store.delete(info.key)
    return len(fold)


def _within(segments: Sequence[ObjectInfo]) -> list[ObjectInfo]:
    """Return the first segments that together are not longer than a part, at least one."""
    ends = accumulate(info.size_bytes for info in segments)
    return [info for number, (info, end) in enumerate(zip(segments, ends, strict=True)) if not number or end <= PART_BYTES]


def _joined_parts(store: ObjectStore, cycle: int, parts: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the parts that the index keeps, and the small ones at its end that the next part replaces, in their order."""
    if len(parts) < SMALL_PARTS:
        return parts, ()
    sizes = {info.key: info.size_bytes for info in store.list(keys.parts(cycle))}
    newest = zip(parts[::-1], accumulate(sizes.get(name, PART_BYTES) for name in parts[::-1]), strict=True)
    small = tuple(name for name, together in newest if together < PART_BYTES)
    return (parts[: -len(small)], small[::-1]) if len(small) >= SMALL_PARTS else (parts, ())


def touch_index(store: ObjectStore, cycle: int) -> None:
    """Write the compaction index anew as it is, so that a compactor that has read segments before now loses its write.

    Raises:
        Conflict: another compactor wrote it meanwhile: look at the ledger again.
    """
    index, generation = read_index(store, cycle)
    commit(store, keys.ledger_index(cycle), document_bytes(index), if_generation_match=generation)


def collect_garbage(store: ObjectStore, cycle: int) -> int:
    """Delete segments and parts of a ledger whose dataset exists; return how many objects went.

    Raises:
        InvariantBroken: the dataset does not exist yet.
    """
    if find(store, keys.dataset(cycle)) is None:
        raise InvariantBroken(f"ledger {cycle}: expected {keys.dataset(cycle)} before its garbage is collected, found none")
    infos = list(store.list(keys.ledger(cycle)))
    for info in infos:
        store.delete(info.key)
    return len(infos)
