"""What must hold of what was observed: on the bus, of machines, and of the order in which objects were written. Pure."""

from collections.abc import Iterator

from infra.fsck.books import Problem
from infra.fsck.event_rules import left_behind
from shared import keys
from shared.cycle import CODEC as STATES
from shared.cycle import MOVES, CycleState, Status
from shared.events import STT_ERRORS
from shared.registry import CODEC, Production, events_of
from tests.chaos.books import Books, Span

FINAL = frozenset(status for status, after in MOVES.items() if not after) | {Status.DEPLOYED}


def nothing_waits(books: Books) -> Iterator[Problem]:
    """No message is undelivered, and none was given up."""
    for what, counts in (("unacknowledged", books.outside.waiting), ("dead", books.outside.dead)):
        yield from (Problem(name, f"no message {what}", str(count)) for name, count in counts.items() if count)


def every_report_is_in_its_place(books: Books) -> Iterator[Problem]:
    """What the bus acknowledged is in a dataset, in a ledger that is not sealed, or in quarantine."""
    placed = {row.event_id for stored in books.datasets.values() for row in stored.document}.union(*books.ledgers.values())
    placed |= {item.event_id for item in books.quarantine if item.event_id is not None}
    refused = {item.message_id for item in books.quarantine}
    for publish in books.outside.publishes:
        wanted = publish.topic == STT_ERRORS or publish.event_id is None
        if wanted and publish.event_id not in placed and publish.message_id not in refused:
            what = publish.event_id or "a malformed message"
            yield Problem(what, f"message {publish.message_id} of {publish.topic} in dataset, open ledger or quarantine", "it is lost")


def nothing_unlearned_is_left_behind(books: Books) -> Iterator[Problem]:
    """The newest dataset holds what the lineages have not learned that it may have been made for, by the order of what was seen."""
    newest = max(books.datasets, default=0)
    if newest in books.states and newest in books.specs:
        found = [list(left_behind(books, newest, learned)) for learned in _lineages(books, newest)]
        yield from min(found, key=len, default=[])


def _lineages(books: Books, cycle: int) -> Iterator[frozenset[int]]:
    """Yield what the model had learned for which a dataset may have been made: the alias may have moved while it was."""
    bases, stable, opened = {books.specs[cycle].document.base.version}, None, False
    for seen in books.seen:
        if seen.key == keys.spec(cycle):
            break
        opened = opened or seen.key == keys.state(cycle)
        stable = CODEC.parse(seen.data).stable if seen.key == keys.PRODUCTION else stable
        if opened and stable is not None:
            bases.add(stable)
    yield from (frozenset(books.models[base].manifest.learned) for base in bases if base in books.models)


def trainers_work_one_by_one(books: Books) -> Iterator[Problem]:
    """One trainer at a time is at work for a cycle."""
    spans: tuple[Span, ...] = books.outside.spans
    for number, one in enumerate(spans):
        for other in spans[number + 1 :]:
            apart = (one.end is not None and one.end <= other.begin) or (other.end is not None and other.end <= one.begin)
            if one.cycle == other.cycle and not apart:
                yield Problem(f"cycle {one.cycle}", "one trainer at work", f"those of attempts {one.attempt} and {other.attempt} together")


def cycles_ran_one_by_one(books: Books) -> Iterator[Problem]:
    """At no time had two cycles not ended; histories only grow, by one move a write; no cycle opened before the last had ended."""
    now: dict[int, CycleState] = {}
    for seen in books.seen:
        if seen.key.startswith(keys.CYCLES) and seen.key.endswith("/state.json"):
            state = STATES.parse(seen.data)
            before = now.get(state.cycle)
            if before is not None and before.history != state.history[:-1]:
                yield Problem(f"cycle {state.cycle}", "one move more in each write", f"another history when it came to {state.status}")
            now[state.cycle] = state
            running = [cycle for cycle, each in sorted(now.items()) if not each.ended]
            if len(running) > 1:
                yield Problem(f"cycles {running}", "one at a time", f"they ran together when cycle {state.cycle} came to {state.status}")
    if books.outside.clocks_agree:
        yield from _overlapping(books)


def _overlapping(books: Books) -> Iterator[Problem]:
    for cycle, state in books.states.items():
        before = books.states.get(cycle - 1)
        ended = next((entry.at for entry in before.history if entry.status in FINAL), None) if before else None
        if before is not None and (ended is None or ended > state.history[0].at):
            yield Problem(f"cycle {cycle}", f"to open after cycle {cycle - 1} ended ({ended})", f"it opened at {state.history[0].at}")


_TRAINS = frozenset({Status.PREPARING, Status.TRAINING, Status.INTERRUPTED})


def no_machine_is_left(books: Books) -> Iterator[Problem]:
    """Every trainer that is still there is that of a cycle's present attempt, and has something to do."""
    wanted = {f"retune-trainer-{cycle:06d}-{state.attempt}" for cycle, state in books.states.items() if state.status in _TRAINS}
    yield from (Problem(name, "no machine that nobody wants", "it is still there") for name in books.outside.machines if name not in wanted)


def no_result_is_thrown_away(books: Books) -> Iterator[Problem]:
    """A cycle whose trainer has written its result is judged or cancelled: it has not failed."""
    for cycle, state in books.states.items():
        if state.status == Status.FAILED and cycle in books.results:
            yield Problem(f"cycle {cycle}", "a verdict on its result", "it failed")


def the_alias_named_complete_models(books: Books) -> Iterator[Problem]:
    """Every model was whole when the alias came to it."""
    yield from (Problem(keys.PRODUCTION, "complete models", seen.incomplete) for seen in books.seen if seen.incomplete)


def moves_are_completed_one_by_one(books: Books) -> Iterator[Problem]:
    """The alias moves by one move a write, and never before the one before it is in the log."""
    logged: set[str] = set()
    last = Production()
    for seen in books.seen:
        logged.add(seen.key)
        if seen.key != keys.PRODUCTION:
            continue
        production = CODEC.parse(seen.data)
        if production.seq != last.seq + 1:
            yield Problem(keys.PRODUCTION, f"move {last.seq + 1} after move {last.seq}", f"move {production.seq}")
        if last.seq and keys.registry_log(last.seq) not in logged:
            yield Problem(keys.PRODUCTION, f"move {last.seq} in the log before the next", f"move {production.seq} was made before")
        last = production


def every_move_was_announced(books: Books) -> Iterator[Problem]:
    """Services were told of every move that changed what serves."""
    for move in books.log:
        if any(event.event_id not in books.outside.announced for event in events_of(move)):
            yield Problem(f"move {move.seq}", f"services to be told of {move.kind} v{move.version}", "nobody was")


OBSERVED_RULES = (
    nothing_waits,
    every_report_is_in_its_place,
    nothing_unlearned_is_left_behind,
    trainers_work_one_by_one,
    cycles_ran_one_by_one,
    no_machine_is_left,
    no_result_is_thrown_away,
    the_alias_named_complete_models,
    moves_are_completed_one_by_one,
    every_move_was_announced,
)
