"""The ledger of a cycle: append, count, compact and read, in the exact order of calls that makes them safe.

    collector                         launcher
      | put segment under n               | CAS head: n -> n+1
      | get head                          | list ledger n
      |   n: acknowledge                  |
      |   n+1: put again under n+1        |
The writer writes first and reads the head after; the seal moves the head first and lists after. So the seal's list has
the segment, or the writer sees the new head.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from shared import keys
from shared.arrivals import Arrival, Arrived, arrived, find_arrival, with_arrival
from shared.beginning import HEAD_LOST, traces_of_a_head
from shared.cas import Codec, Decision, apply_with_cas, commit, create, find, find_info
from shared.errors import Conflict, InvariantBroken, NotFound, Retryable
from shared.events import Event, SttCorrection, SttError, SttSample, SttTraffic
from shared.frozen import Frozen
from shared.ids import new_token
from shared.messages import parse_stored
from shared.objectstore import ABSENT, Generation, ObjectInfo, ObjectStore
from shared.spool import Form, Spool
from shared.training import document_bytes, parse_document

TOTALS = "totals"
EVENT_LINES: Form[Event] = Form(dump=lambda event: event.model_dump_json(exclude_none=True).encode(), parse=parse_stored)
READ_TRIES = 10
MOST_FOLDED = 1000
"""Segments that one compaction folds: read one after another they take less than a tick, so that a compactor always gets on."""
PART_BYTES = 32 << 20
"""A part of at least this size stays as it is; none has twice as much, so that a compactor needs little memory."""
SMALL_PARTS = 16
"""So many newest parts that are smaller are joined into one, so that index and seal need not name one for each tick of months."""


class Totals(Frozen):
    """How much a ledger holds; may be too high after redeliveries, never too low at rest.

    Attributes:
        errors, samples, corrections: events of each kind.
        corrected: errors that came with a reference, plus corrections.
        errors_by_version, utterances_by_version: reported errors and served utterances of each model version.
        oldest: when the oldest error occurred; None = no error.
    """

    events: int = 0
    errors: int = 0
    corrected: int = 0
    corrections: int = 0
    samples: int = 0
    errors_by_version: dict[int, int] = {}
    utterances_by_version: dict[int, int] = {}
    oldest: AwareDatetime | None = None

    def __add__(self, other: "Totals") -> "Totals":
        """Return the sum, counter by counter."""
        return Totals(
            events=self.events + other.events,
            errors=self.errors + other.errors,
            corrected=self.corrected + other.corrected,
            corrections=self.corrections + other.corrections,
            samples=self.samples + other.samples,
            errors_by_version=dict(Counter(self.errors_by_version) + Counter(other.errors_by_version)),
            utterances_by_version=dict(Counter(self.utterances_by_version) + Counter(other.utterances_by_version)),
            oldest=min((time for time in (self.oldest, other.oldest) if time is not None), default=None),
        )


class Index(Frozen):
    """The compaction index of a ledger.

    Attributes:
        parts: names of the parts, in the order of their making.
        totals: of all parts.
        pending: segments that the last part folded; what of them is still listed does not count any more.
    """

    v: Literal[1] = 1
    parts: tuple[str, ...] = ()
    totals: Totals = Totals()
    pending: tuple[str, ...] = ()


class Head(Frozen):
    """The cycle that is collecting."""

    cycle: Annotated[int, Field(ge=1)]


FIRST_CYCLE = 1
_HEAD: Codec[Head] = Codec(parse=lambda data: parse_document(Head, data, what=keys.HEAD), dump=document_bytes)


def count_events(events: Iterable[Event]) -> Totals:
    """Return the totals of events."""
    errors: Counter[int] = Counter()
    utterances: Counter[int] = Counter()
    oldest = None
    number = corrected = corrections = samples = 0
    for event in events:
        number += 1
        if isinstance(event, SttError):
            errors[event.model_version] += 1
            oldest = event.occurred_at if oldest is None else min(oldest, event.occurred_at)
            corrected += event.reference is not None
        elif isinstance(event, SttCorrection):
            corrections += 1
            corrected += 1
        elif isinstance(event, SttSample):
            samples += 1
        elif isinstance(event, SttTraffic):
            utterances[event.model_version] += event.utterances
    return Totals(
        events=number,
        errors=errors.total(),
        corrected=corrected,
        corrections=corrections,
        samples=samples,
        errors_by_version=dict(errors),
        utterances_by_version=dict(utterances),
        oldest=oldest,
    )


def read_head(store: ObjectStore) -> int:
    """Return the number of the cycle that is collecting.

    Raises:
        InvariantBroken: the head is lost: an event that is acknowledged now could stand in a ledger that was sealed before.
    """
    found = find(store, keys.HEAD)
    return _HEAD.parse(found.data).cycle if found else _first_head(store)


def begin(store: ObjectStore) -> int:
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
    trace = next(traces_of_a_head(store, FIRST_CYCLE), None)
    if trace is not None:
        found = find(store, keys.HEAD)  # it is older than what tells of it: somebody may have begun since the first look
        if found is not None:
            return _HEAD.parse(found.data).cycle
        raise InvariantBroken(f"{keys.HEAD}: expected the cycle that is collecting, since {trace} is there, found none. {HEAD_LOST}")
    return FIRST_CYCLE


def move_head(store: ObjectStore, past: int) -> int:
    """Set `head := max(head, past + 1)` and return it.

    Raises:
        InvariantBroken: the head is lost, and may have been further.
    """

    def decide(head: Head | None) -> Decision[Head]:
        if head is None:
            raise InvariantBroken(f"{keys.HEAD}: expected the cycle that is collecting, found none. {HEAD_LOST}")
        return Decision(None) if head.cycle > past else Decision(Head(cycle=past + 1))

    begin(store)
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


def append(
    store: ObjectStore,
    events: Sequence[Event],
    token: str,
    head: KnownHead | None = None,
    arrivals: Mapping[str, Arrival] | None = None,
) -> int:
    """Write one immutable segment where the head stands after the write; return that cycle.

    When it returns, the events may be acknowledged. They may stand in two ledgers; consume-once takes care of it. Where the head was
    known and has moved since, the first of them is closed: the look after the write finds that, as it finds a move in between.

    Args:
        store: the bucket.
        events: one flush, not empty.
        token: unique to this flush, kept over its retries.
        head: what this process knows of it; None = nothing.
        arrivals: how events came, by event_id, where that is kept.
    """
    head = head or KnownHead()
    data = b"".join(_line(event, (arrivals or {}).get(event.event_id)) for event in events)
    metadata = {TOTALS: count_events(events).model_dump_json()}
    written = None
    cycle = head.last(store)
    while cycle != written:
        _put_segment(store, keys.segment(cycle, token), data, metadata)
        written = cycle
        cycle = head.read(store)
    return cycle


def _line(event: Event, arrival: Arrival | None) -> bytes:
    return with_arrival(event.model_dump_json(exclude_none=True).encode(), arrival) + b"\n"


def _put_segment(store: ObjectStore, key: str, data: bytes, metadata: dict[str, str]) -> None:
    try:
        commit(store, key, data, if_generation_match=ABSENT, metadata=metadata, content_type="application/x-ndjson")
    except Conflict:
        return  # the name is unique to the flush: an earlier try of the same flush has landed


@dataclass(frozen=True)
class Listing:
    """One look at a ledger, listed before its index was read."""

    segments: tuple[ObjectInfo, ...]
    index: Index

    @property
    def live(self) -> tuple[ObjectInfo, ...]:
        """Segments that no part holds yet."""
        folded = set(self.index.pending)
        return tuple(info for info in self.segments if info.key not in folded)


def _segments(store: ObjectStore, cycle: int) -> tuple[ObjectInfo, ...]:
    prefix = keys.segment(cycle, "").removesuffix(".jsonl")
    return tuple(store.list(prefix))


def _read_index(store: ObjectStore, cycle: int) -> tuple[Index, Generation]:
    found = find(store, keys.ledger_index(cycle))
    if found is None:
        return Index(), ABSENT
    return parse_document(Index, found.data, what=found.info.key), found.info.generation


def look(store: ObjectStore, cycle: int) -> Listing:
    """List, then read the index (the reader's rule)."""
    segments = _segments(store, cycle)
    return Listing(segments, _read_index(store, cycle)[0])


def count(store: ObjectStore, cycle: int) -> Totals:
    """Count a ledger from its listing and index; opens no segment."""
    listing = look(store, cycle)
    return sum((_totals_of(info) for info in listing.live), listing.index.totals)


def _totals_of(info: ObjectInfo) -> Totals:
    if TOTALS not in info.metadata:
        raise InvariantBroken(f"{info.key}: expected metadata {TOTALS!r}, found {sorted(info.metadata)}")
    return parse_document(Totals, info.metadata[TOTALS].encode(), what=f"metadata of {info.key}")


def read_events(store: ObjectStore, cycle: int) -> list[Event]:
    """Read every event of a ledger, each event_id once, in the order of their time and id. Raises as `fetch_events`."""
    return in_order(fetch_events(store, cycle))


def in_order(events: Iterable[Event]) -> list[Event]:
    """Return events in the order of their time and id, each event_id once: as it was read last."""
    return sorted({event.event_id: event for event in events}.values(), key=lambda event: (event.occurred_at, event.event_id))


def fetch_events(store: ObjectStore, cycle: int) -> Spool[Event]:
    """Read every event of a ledger as it stands there, repeated ones as well, into little memory.

    Raises:
        Retryable: the dataset was sealed meanwhile, and what the ledger held is being collected: look for the dataset.
        InvariantBroken: the listing changed under ten tries (a compactor that runs wild).
    """
    for _ in range(READ_TRIES):
        listing = look(store, cycle)
        names = [*listing.index.parts, *(info.key for info in listing.live)]
        events = Spool(EVENT_LINES)
        try:
            for name in names:
                for line in store.get(name).data.splitlines():
                    events.add_line(line)
        except NotFound as error:
            if find_info(store, keys.dataset(cycle)) is not None:
                raise Retryable(
                    f"ledger {cycle}: expected its events, found {keys.dataset(cycle)} sealed meanwhile and them gone"
                ) from error
            continue
        return events
    raise InvariantBroken(f"ledger {cycle}: expected a stable listing within {READ_TRIES} tries, found names that vanish each time")


def read_arrivals(store: ObjectStore, cycle: int) -> Iterator[Arrived]:
    """Yield how the reports of a ledger came, where that was kept; one that came twice, twice. Raises as `fetch_events`."""
    for line in fetch_events(store, cycle).lines():
        arrival = find_arrival(line)
        if arrival is not None:
            yield arrived(parse_stored(line), arrival)


def compact(store: ObjectStore, cycle: int, *, at_least: int = 2) -> int:
    """Fold the segments of the open ledger into a new part; return how many were folded.

    The part's name is made anew for every try. After a conflict nothing is deleted. Small parts that the new one replaces in the index
    stay where they are, for whoever has read the index before.

    Args:
        store: the bucket.
        cycle: the open ledger.
        at_least: fewer live segments than this are left alone.
    """
    index, generation = _read_index(store, cycle)
    segments = _segments(store, cycle)
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
        totals=sum((_totals_of(info) for info in fold), index.totals),
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
    sizes = {info.key: info.size_bytes for info in store.list(keys.part(cycle, "").removesuffix(".jsonl"))}
    newest = zip(parts[::-1], accumulate(sizes.get(name, PART_BYTES) for name in parts[::-1]), strict=True)
    small = tuple(name for name, together in newest if together < PART_BYTES)
    return (parts[: -len(small)], small[::-1]) if len(small) >= SMALL_PARTS else (parts, ())


def touch_index(store: ObjectStore, cycle: int) -> None:
    """Write the compaction index anew as it is, so that a compactor that has read segments before now loses its write.

    Raises:
        Conflict: another compactor wrote it meanwhile: look at the ledger again.
    """
    index, generation = _read_index(store, cycle)
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
