"""What must hold of events: each is in its place, is consumed once, and is carried until somebody has learned it. Pure."""

from collections import Counter
from collections.abc import Iterator

from shared import keys
from shared.dataset import CARRY_FOR, Row
from shared.events import STT_ERRORS
from shared.registry import CODEC as PRODUCTION
from tests.chaos.books import Books


def nothing_waits(books: Books) -> Iterator[str]:
    """No message is undelivered, and none was given up."""
    for what, counts in (("unacknowledged", books.outside.waiting), ("dead", books.outside.dead)):
        yield from (f"{name}: {count} messages {what}" for name, count in counts.items() if count)


def every_report_is_in_its_place(books: Books) -> Iterator[str]:
    """What the bus acknowledged is in a dataset, in a ledger that is not sealed, or in quarantine."""
    placed = {row.event_id for stored in books.datasets.values() for row in stored.document}.union(*books.ledgers.values())
    placed |= {item.event_id for item in books.quarantine if item.event_id is not None}
    refused = {item.message_id for item in books.quarantine}
    for publish in books.outside.publishes:
        wanted = publish.topic == STT_ERRORS or publish.event_id is None
        if wanted and publish.event_id not in placed and publish.message_id not in refused:
            yield f"{publish.event_id or 'a malformed message'} (message {publish.message_id} of {publish.topic}) is lost"


def everything_is_consumed_once(books: Books) -> Iterator[str]:
    """No event is fresh in two datasets, or carried where it was never fresh."""
    fresh = Counter(row.event_id for stored in books.datasets.values() for row in stored.document if row.origin == "fresh")
    yield from (f"{event_id} is fresh in {times} datasets" for event_id, times in fresh.items() if times > 1)
    known: set[str] = set()
    for cycle, stored in sorted(books.datasets.items()):
        in_one = Counter(row.event_id for row in stored.document)
        yield from (f"{event_id} is {times} times in dataset {cycle}" for event_id, times in in_one.items() if times > 1)
        carried = {row.event_id for row in stored.document if row.origin == "carried"}
        yield from (f"{event_id} is carried into dataset {cycle} from nowhere" for event_id in sorted(carried - known))
        known |= set(in_one)


def refusals_have_reasons(books: Books) -> Iterator[str]:
    """Every quarantined message says who refused it and why; every row that is set aside says why."""
    yield from (f"{item.key}: refused without a reason" for item in books.quarantine if not item.reason.strip() or not item.function)


def the_open_ledger_is_not_counted_too_low(books: Books) -> Iterator[str]:
    """Redeliveries may raise the count; nothing lowers it."""
    if books.counted < books.exact:
        yield f"ledger {books.head}: counted {books.counted} errors, it holds {books.exact}"


def what_was_not_learned_is_carried(books: Books) -> Iterator[str]:
    """The newest dataset holds what earlier ones have and the lineage that it was made for has not learned."""
    newest = max(books.datasets, default=0)
    if newest not in books.states:
        return
    found = [list(_left_behind(books, newest, learned)) for learned in _lineages(books, newest)]
    yield from min(found, key=len, default=[])


def _lineages(books: Books, cycle: int) -> Iterator[frozenset[int]]:
    """Yield what the model had learned for which a dataset may have been made: the alias may have moved while it was."""
    spec = books.specs.get(cycle)
    if spec is None:
        return
    bases, stable, opened = {spec.document.base.version}, None, False
    for seen in books.seen:
        if seen.key == keys.spec(cycle):
            break
        opened = opened or seen.key == keys.state(cycle)
        stable = PRODUCTION.parse(seen.data).stable if seen.key == keys.PRODUCTION else stable
        if opened and stable is not None:
            bases.add(stable)
    yield from (frozenset(books.models[base].manifest.learned) for base in bases if base in books.models)


def _left_behind(books: Books, newest: int, learned: frozenset[int]) -> Iterator[str]:
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
            yield f"{event_id} of dataset {cycle} {state}, and dataset {newest} does not have it"


def what_is_held_out_stays_so(books: Books) -> Iterator[str]:
    """Every utterance that a dataset holds out with a person's word is in the holdout of its cycle, once a later spec needed it."""
    for cycle in range(1, max(books.specs, default=0) + 1):
        rows = books.datasets[cycle].document if cycle in books.datasets else ()
        wanted = {row.utterance_id for row in rows if row.usable and row.split == "holdout" and row.reference_provenance == "human"}
        if missing := {str(name) for name in wanted} - books.held_out.get(cycle, frozenset()):
            yield f"{sorted(missing)} of dataset {cycle} are not in its holdout"


EVENT_RULES = (
    nothing_waits,
    every_report_is_in_its_place,
    everything_is_consumed_once,
    refusals_have_reasons,
    the_open_ledger_is_not_counted_too_low,
    what_was_not_learned_is_carried,
    what_is_held_out_stays_so,
)
