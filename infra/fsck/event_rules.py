"""What must hold of events: each is in its place, is consumed once, and is carried until somebody has learned it. Pure."""

from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from infra.fsck.books import Books, Problem
from shared import keys
from shared.dataset import CARRY_FOR, Row

CLOCKS_DIFFER = timedelta(hours=1)
"""The alias and a cycle are moved by different machines."""


def everything_is_consumed_once(books: Books) -> Iterator[Problem]:
    """No event is fresh in two datasets, or carried where it was never fresh."""
    fresh = Counter(row.event_id for stored in books.datasets.values() for row in stored.document if row.origin == "fresh")
    yield from (Problem(event_id, "an event fresh in one dataset", f"in {times}") for event_id, times in fresh.items() if times > 1)
    known: set[str] = set()
    for cycle, stored in sorted(books.datasets.items()):
        in_one = Counter(row.event_id for row in stored.document)
        key = keys.dataset(cycle)
        yield from (Problem(key, f"{event_id} once", f"{times} times") for event_id, times in in_one.items() if times > 1)
        carried = {row.event_id for row in stored.document if row.origin == "carried"}
        yield from (Problem(key, f"{event_id}, which is carried, in an earlier dataset", "none") for event_id in sorted(carried - known))
        known |= set(in_one)


def refusals_have_reasons(books: Books) -> Iterator[Problem]:
    """Every quarantined message says who refused it and why."""
    yield from (
        Problem(item.key, "a function and its reason", "none") for item in books.quarantine if not item.reason.strip() or not item.function
    )


def the_open_ledger_is_not_counted_too_low(books: Books) -> Iterator[Problem]:
    """Redeliveries may raise the count; nothing lowers it."""
    if books.counted < books.exact:
        yield Problem(keys.ledger(books.head), f"at least the {books.exact} errors that it holds to be counted", str(books.counted))


def sealed_ledgers_are_consumed(books: Books) -> Iterator[Problem]:
    """Every event in what is left of a sealed ledger is in a dataset, or also in a ledger that a seal is still to read."""
    placed = {row.event_id for stored in books.datasets.values() for row in stored.document}.union(*books.ledgers.values())
    for cycle, events in books.sealed.items():
        if left := sorted(events - placed):
            yield Problem(keys.ledger(cycle), "every event in a dataset or in an open ledger", f"{len(left)} in neither: {left[:5]}")


def what_was_not_learned_is_carried(books: Books) -> Iterator[Problem]:
    """The newest dataset holds what earlier ones have and the lineage that it was made for has not learned."""
    newest = max(books.datasets, default=0)
    if newest in books.states and newest in books.specs:
        found = [list(left_behind(books, newest, learned)) for learned in _lineages(books, newest)]
        yield from min(found, key=len, default=[])


def _lineages(books: Books, cycle: int) -> Iterator[frozenset[int]]:
    """Yield what the model had learned for which a dataset may have been made: the alias may have moved while it was."""
    spec, opened = books.specs[cycle].document, books.states[cycle].history[0].at
    bases = {spec.base.version}
    for move in books.log:
        if opened - CLOCKS_DIFFER <= move.at <= spec.created_at + CLOCKS_DIFFER:
            bases |= {version for version in (move.stable_before, move.stable_after) if version is not None}
    yield from (frozenset(books.models[base].manifest.learned) for base in bases if base in books.models)


def left_behind(books: Books, newest: int, learned: frozenset[int]) -> Iterator[Problem]:
    """Yield what a dataset should have carried if the model had learned these cycles."""
    rows = books.datasets[newest].document
    here = {row.utterance_id for row in rows if row.kind == "error"}
    done = {row.utterance_id for cycle in learned if cycle in books.datasets for row in books.datasets[cycle].document if row.trainable}
    latest: dict[str, tuple[int, Row]] = {}
    for cycle, stored in sorted(books.datasets.items()):
        latest |= {row.event_id: (cycle, row) for row in stored.document}
    opened = books.states[newest].history[0].at
    for event_id, (cycle, row) in latest.items():
        if cycle == newest or row.occurred_at < opened - CARRY_FOR:
            continue
        unlearned = row.trainable and cycle not in learned and row.utterance_id not in here | done
        if unlearned or row.waiting:
            state = "waits for its other half" if row.waiting else f"was not learned by {sorted(learned)}"
            yield Problem(keys.dataset(newest), f"{event_id} of dataset {cycle}, which {state}", "no such row")


def what_is_held_out_stays_so(books: Books) -> Iterator[Problem]:
    """Every utterance that a dataset holds out with a person's word is in the holdout of its cycle, once a later spec needed it."""
    for cycle in range(1, max(books.specs, default=0) + 1):
        rows = books.datasets[cycle].document if cycle in books.datasets else ()
        wanted = {row.utterance_id for row in rows if row.usable and row.split == "holdout" and row.reference_provenance == "human"}
        if missing := {str(name) for name in wanted} - books.held_out.get(cycle, frozenset()):
            yield Problem(keys.holdout(cycle), f"{sorted(missing)}, which dataset {cycle} holds out", "they are missing")
