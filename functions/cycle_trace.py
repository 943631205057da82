"""What a handler's work is in the trace of its cycle, and the cycle's own span once it has ended."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from functions.runtime import Ports
from functions.states import find_state
from shared import keys
from shared.bus import Message
from shared.cas import find_info
from shared.cycle import ENDED, CycleState
from shared.errors import RetuneError
from shared.events import Event
from shared.head import FIRST_CYCLE
from shared.log import TRACE, bind, log, trace_name
from shared.tracing import ROOT, Attribute, Moment, PastSpan, cycle_root

OLDEST = "oldest"
"""Metadata of a dataset: when the oldest error of its ledger occurred."""


@contextmanager
def handled(ports: Ports, message: Message, event: Event, cycle: int | None) -> Iterator[None]:
    """Make the handling of an event a span of its cycle's trace, which later log lines name; None = it is about no cycle."""
    if cycle is None or not ports.traces.on:
        yield
        return
    bind(**{TRACE: trace_name(ports.settings.project, f"{cycle_root(ports.store.uri, cycle).trace_id:032x}")})
    attributes: dict[str, Attribute] = {"event_id": event.event_id}
    if isinstance(attempt := getattr(event, "attempt", None), int):
        attributes["attempt"] = attempt
    with ports.traces.span(f"handle {type(event).__name__}", cycle, message=message, attributes=attributes):
        yield
        tell_end(ports, cycle)


@contextmanager
def at_work(ports: Ports, name: str, cycle: int) -> Iterator[None]:
    """Make what is done about a cycle a span of its trace, whatever message had it done."""
    with ports.traces.span(name, cycle):
        yield
        tell_end(ports, cycle)


def tell_end(ports: Ports, cycle: int) -> None:
    """Tell the whole of a cycle that has ended: the very same span however often it is told."""
    if not ports.traces.on:
        return
    with harmless("the end of a cycle"):
        state = find_state(ports, cycle)
        if state is not None and state.ended:
            ports.traces.past(whole_cycle(state, find_oldest(ports, cycle)))


def is_next(ports: Ports, cycle: int) -> bool:
    """Tell whether a crossing is worth telling: while the cycle before runs it is announced again and again, and comes to nothing."""
    if not ports.traces.on:
        return False
    with harmless("a crossing"):
        before = find_state(ports, cycle - 1) if cycle > FIRST_CYCLE else None
        return before is None or before.ended
    return False


@contextmanager
def harmless(what: str) -> Iterator[None]:
    """Read what only a trace needs: where that fails the work goes on."""
    try:
        yield
    except RetuneError as error:
        log(f"{what} is not traced: {type(error).__name__}", severity="WARNING")


def whole_cycle(state: CycleState, oldest: datetime | None) -> PastSpan:
    """Return the span from a cycle's oldest error to its first end. Pure.

    A rollback that follows is a span of its own. Reasons are left out: a person may have written them.
    """
    opened = state.history[0]
    last = next(place for place, entry in enumerate(state.history) if entry.status in ENDED)
    moves = state.history[: last + 1]
    return PastSpan(
        name=ROOT,
        cycle=state.cycle,
        start=min(oldest or opened.at, opened.at),
        end=moves[-1].at,
        identity=ROOT,
        attributes={"status": str(moves[-1].status), "attempts": moves[-1].attempt or 1, "forced": state.forced},
        moments=tuple(Moment(str(entry.status), entry.at, {"attempt": entry.attempt or 1}) for entry in moves),
    )


def find_oldest(ports: Ports, cycle: int) -> datetime | None:
    """Return when the oldest error of a cycle occurred; None where its dataset does not tell."""
    info = find_info(ports.store, keys.dataset(cycle))
    text = info.metadata.get(OLDEST) if info is not None else None
    return datetime.fromisoformat(text) if text else None
