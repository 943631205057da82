"""Reads a ledger that may be torn [io]: what can be read is read, and what cannot is named."""

from collections.abc import Sequence
from dataclasses import dataclass

from infra.fsck.books import Problem
from shared import keys
from shared.cas import find
from shared.documents import parse_document
from shared.errors import CorruptObject, InvalidMessage
from shared.events import Event
from shared.ledger import Index
from shared.messages import parse_stored
from shared.objectstore import ObjectInfo, ObjectStore
from shared.totals import TOTALS, Totals, count_events


@dataclass(frozen=True)
class ReadLedger:
    """What a ledger holds.

    Attributes:
        counted, exact: errors, as totals say and as events say, each event once.
    """

    event_ids: frozenset[str]
    counted: int
    exact: int
    problems: tuple[Problem, ...]


def read_ledger(store: ObjectStore, cycle: int, *, sealed: bool) -> ReadLedger:
    """Read a ledger of which a part may be missing; of a `sealed` one parts and segments may have been collected."""
    problems: list[Problem] = []
    listed = {info.key: info for info in store.list(keys.ledger(cycle))}
    index = _index(store, cycle, problems)
    pending = set(index.pending)
    live = [info for key, info in listed.items() if key.startswith(keys.segments(cycle)) and key not in pending]
    events: dict[str, Event] = {}
    totals = index.totals
    for key in index.parts:
        if key in listed:
            events |= _events(store, key, problems)
        elif not sealed:
            problems.append(Problem(key, "a part that the index names", "none"))
    for info in live:
        found = _events(store, info.key, problems)
        totals = totals + _totals(info, list(found.values()), problems)
        events |= found
    return ReadLedger(frozenset(events), totals.errors, count_events(events.values()).errors, tuple(problems))


def stored_events(store: ObjectStore, cycle: int, problems: list[Problem]) -> dict[str, Event]:
    """Return every event that any part or segment of a ledger holds, by its id, whatever the index says of it."""
    events: dict[str, Event] = {}
    for info in store.list(keys.ledger(cycle)):
        if info.key.endswith(".jsonl"):
            events |= _events(store, info.key, problems)
    return events


def _index(store: ObjectStore, cycle: int, problems: list[Problem]) -> Index:
    key = keys.ledger_index(cycle)
    stored = find(store, key)
    if stored is None:
        return Index()
    try:
        return parse_document(Index, stored.data, what=key)
    except CorruptObject as error:
        problems.append(Problem(key, "a compaction index", str(error)))
        return Index()


def _events(store: ObjectStore, key: str, problems: list[Problem]) -> dict[str, Event]:
    stored = find(store, key)
    if stored is None:
        return {}
    events: dict[str, Event] = {}
    for number, line in enumerate(stored.data.splitlines(), 1):
        try:
            event = parse_stored(line)
        except (InvalidMessage, CorruptObject) as error:
            problems.append(Problem(key, "an event in each line", f"line {number}: {error}"))
        else:
            events[event.event_id] = event
    return events


def _totals(info: ObjectInfo, events: Sequence[Event], problems: list[Problem]) -> Totals:
    exact = count_events(events)
    if TOTALS not in info.metadata:
        problems.append(Problem(info.key, f"metadata {TOTALS!r} that says {exact.events} events", "none"))
        return exact
    try:
        said = parse_document(Totals, info.metadata[TOTALS].encode(), what=f"metadata of {info.key}")
    except CorruptObject as error:
        problems.append(Problem(info.key, f"metadata {TOTALS!r} that says {exact.events} events", str(error)))
        return exact
    if said.events < exact.events or said.errors < exact.errors:
        found = f"{said.events} events, {said.errors} errors"
        problems.append(Problem(info.key, f"totals of at least {exact.events} events, {exact.errors} errors", found))
    return said
