"""What must hold of cycles: one at a time, each runs once, and what it left behind agrees with itself. Pure."""

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from shared import keys
from shared.cycle import CODEC, MOVES, STARTS, CycleState, Status
from tests.chaos.books import Books, Span


def every_document_can_be_read(books: Books) -> Iterator[str]:
    """Nothing is stored that its own reader refuses."""
    yield from books.unreadable


def histories_are_legal(books: Books) -> Iterator[str]:
    """Every move of every cycle is in the table; attempts count upwards; each cycle behind the head has a state, none before it has."""
    for cycle, state in books.states.items():
        entries = state.history
        if entries[0].status not in STARTS or (entries[-1].status, state.cycle) != (state.status, cycle):
            yield f"cycle {cycle}: opened as {entries[0].status}, is cycle {state.cycle} and {state.status}"
        for before, after in pairwise(entries):
            if after.status not in MOVES[before.status]:
                yield f"cycle {cycle}: moved from {before.status} to {after.status} ({after.reason})"
            if not 0 <= (after.attempt or 1) - (before.attempt or 1) <= 1:
                yield f"cycle {cycle}: attempt {before.attempt} was followed by {after.attempt}"
    yield from (
        f"the head is at {books.head}, and cycle {cycle} has no state" for cycle in range(1, books.head) if cycle not in books.states
    )


def no_cause_opens_two_cycles(books: Books) -> Iterator[str]:
    """A request that is delivered again opens nothing again."""
    opened = Counter(state.opened_by for state in books.states.values())
    yield from (f"{cause} opened {times} cycles" for cause, times in opened.items() if times > 1)


def no_attempt_runs_twice(books: Books) -> Iterator[str]:
    """Each attempt begins to train at most once, one trainer at a time is at work for a cycle, and none once it has its result."""
    for cycle, state in books.states.items():
        began = Counter(entry.attempt for entry in state.history if entry.status == Status.TRAINING)
        yield from (f"cycle {cycle}: attempt {attempt} began {times} times" for attempt, times in began.items() if times > 1)
        if cycle in books.results and books.results[cycle].document.attempt not in began:
            yield f"cycle {cycle}: its result is of attempt {books.results[cycle].document.attempt}, which never began"
    yield from _together(books.outside.spans)


def _together(spans: tuple[Span, ...]) -> Iterator[str]:
    for number, one in enumerate(spans):
        for other in spans[number + 1 :]:
            apart = (one.end is not None and one.end <= other.begin) or (other.end is not None and other.end <= one.begin)
            if one.cycle == other.cycle and not apart:
                yield f"cycle {one.cycle}: trainers of attempts {one.attempt} and {other.attempt} were at work together"


def one_cycle_at_a_time(books: Books) -> Iterator[str]:
    """No cycle opens before the one before it has ended, and at most one has not ended."""
    running = [cycle for cycle, state in sorted(books.states.items()) if not state.ended]
    if len(running) > 1:
        yield f"cycles {running} run together"
    now: dict[int, CycleState] = {}
    for seen in books.seen:
        if seen.key.startswith(keys.CYCLES) and seen.key.endswith("/state.json"):
            state = CODEC.parse(seen.data)
            before = now.get(state.cycle)
            if before is not None and before.history != state.history[:-1]:
                yield f"cycle {state.cycle}: its history was rewritten, or two moves were made in one write, when it came to {state.status}"
            now[state.cycle] = state
            running = [cycle for cycle, each in sorted(now.items()) if not each.ended]
            if len(running) > 1:
                yield f"cycles {running} ran together when cycle {state.cycle} came to {state.status}"
    if books.outside.clocks_agree:
        yield from _overlapping(books)


def _overlapping(books: Books) -> Iterator[str]:
    for cycle, state in books.states.items():
        before = books.states.get(cycle - 1)
        ended = next((entry.at for entry in before.history if entry.status in _FINAL), None) if before else None
        if before is not None and (ended is None or ended > state.history[0].at):
            yield f"cycle {cycle} opened at {state.history[0].at}, cycle {cycle - 1} ended at {ended}"


_FINAL = frozenset(status for status, after in MOVES.items() if not after) | {Status.DEPLOYED}


def documents_name_each_other(books: Books) -> Iterator[str]:
    """Digests lead from the report to the result, to the spec and to the dataset: none was written a second time."""
    for cycle, spec in books.specs.items():
        found = books.datasets[cycle].sha256 if cycle in books.datasets else None
        if spec.document.dataset.sha256 != found:
            yield f"cycle {cycle}: its spec was made for another dataset than is stored"
    for cycle, result in books.results.items():
        model = books.models.get(cycle)
        if cycle not in books.specs or result.document.spec_sha256 != books.specs[cycle].sha256:
            yield f"cycle {cycle}: its result was made for another spec than is stored"
        if model is None or result.document.manifest.sha256 != model.sha256:
            yield f"cycle {cycle}: its result names another model than is stored"
    for cycle, report in books.reports.items():
        if cycle not in books.results or report.document.result_sha256 != books.results[cycle].sha256:
            yield f"cycle {cycle}: its report judges another result than is stored"
    for cycle, state in books.states.items():
        verdicts = [str(entry.status) for entry in state.history if entry.status in {Status.ACCEPTED, Status.REJECTED}]
        if verdicts and (cycle not in books.reports or books.reports[cycle].document.outcome != verdicts[0]):
            yield f"cycle {cycle} was {verdicts[0]}, and its report does not say so"


_TRAINS = frozenset({Status.PREPARING, Status.TRAINING, Status.INTERRUPTED})


def no_machine_is_left(books: Books) -> Iterator[str]:
    """Every trainer that is still there is that of a cycle's present attempt, and has something to do."""
    wanted = {f"retune-trainer-{cycle:06d}-{state.attempt}" for cycle, state in books.states.items() if state.status in _TRAINS}
    yield from (f"{name} is still there, and nobody wants it" for name in books.outside.machines if name not in wanted)


CYCLE_RULES = (
    every_document_can_be_read,
    histories_are_legal,
    no_cause_opens_two_cycles,
    no_attempt_runs_twice,
    one_cycle_at_a_time,
    documents_name_each_other,
    no_machine_is_left,
)
