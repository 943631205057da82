"""The ledger of a cycle: append, count and read, in the exact order of calls that makes them safe.

    collector                         launcher
      | put segment under n               | CAS head: n -> n+1
      | get head                          | list ledger n
      |   n: acknowledge                  |
      |   n+1: put again under n+1        |
The writer writes first and reads the head after; the seal moves the head first and lists after. So the seal's list has
the segment, or the writer sees the new head.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from shared import keys
from shared.arrivals import Arrival, Arrived, arrived, find_arrival, with_arrival
from shared.cas import commit, find, find_info
from shared.documents import Frozen, line_bytes, parse_document
from shared.errors import Conflict, InvariantBroken, NotFound, Retryable
from shared.events import Event
from shared.head import KnownHead
from shared.messages import parse_stored
from shared.objectstore import ABSENT, Generation, ObjectInfo, ObjectStore
from shared.spool import Form, Spool
from shared.totals import TOTALS, Totals, added, count_events, totals_of

EVENT_LINES: Form[Event] = Form(dump=line_bytes, parse=parse_stored)
READ_TRIES = 10


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
    return with_arrival(line_bytes(event), arrival) + b"\n"


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


def list_segments(store: ObjectStore, cycle: int) -> tuple[ObjectInfo, ...]:
    """Return every segment that is listed, also those that a part holds already."""
    return tuple(store.list(keys.segments(cycle)))


def read_index(store: ObjectStore, cycle: int) -> tuple[Index, Generation]:
    """Return the compaction index and its generation; an empty one and `ABSENT` where nothing was folded yet."""
    found = find(store, keys.ledger_index(cycle))
    if found is None:
        return Index(), ABSENT
    return parse_document(Index, found.data, what=found.info.key), found.info.generation


def look(store: ObjectStore, cycle: int) -> Listing:
    """List, then read the index (the reader's rule)."""
    segments = list_segments(store, cycle)
    return Listing(segments, read_index(store, cycle)[0])


def count(store: ObjectStore, cycle: int) -> Totals:
    """Count a ledger from its listing and index; opens no segment."""
    listing = look(store, cycle)
    return added((listing.index.totals, *map(totals_of, listing.live)))


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
