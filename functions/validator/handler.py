"""The validator: a finished training in, a verdict out: report first, then the state, then the event."""

from collections.abc import Callable

from functions.cycle_trace import handled
from functions.runtime import Ports
from functions.states import find_state
from functions.validator.announce import judged_event
from functions.validator.judge import judge
from functions.validator.report import render_html
from shared import keys
from shared.bus import Message
from shared.cas import Decision, apply_with_cas, create, find
from shared.cycle import CODEC, CycleState, Status, move
from shared.documents import lines_bytes
from shared.errors import InvariantBroken
from shared.events import MAX_REASON_CHARS, TrainingCompleted, TrainingFailed, TrainingPreempted
from shared.log import bind
from shared.messages import parse_event
from shared.verdict import ValidationReport, dump_report, parse_report

BY = "validator"


def handle(message: Message, ports: Ports) -> str:
    """Handle one message of `training-events`; return what came of it.

    Raises:
        InvalidMessage: no event that the validator knows.
        InvariantBroken: the stored report is another cycle's; nothing is announced.
    """
    event = parse_event(message, expect=(TrainingCompleted, TrainingFailed, TrainingPreempted))
    bind(event_id=event.event_id, cycle=getattr(event, "cycle", None))
    if not isinstance(event, TrainingCompleted):
        return "no candidate: the launcher's"
    with handled(ports, message, event, event.cycle):
        return _completed(ports, event)


def _completed(ports: Ports, event: TrainingCompleted) -> str:
    state = _begin(ports, event)
    if state is None or state.attempt != event.attempt:
        return f"cycle {event.cycle}: attempt {event.attempt} is not the present one"
    stored = find(ports.store, keys.report(event.cycle))
    if stored is None and state.status != Status.VALIDATING:
        return f"cycle {event.cycle} is {state.status}"
    data = stored.data if stored else _judge(ports, event)
    report = parse_report(data)
    if report.cycle != event.cycle:
        raise InvariantBroken(f"{keys.report(event.cycle)}: expected the report of cycle {event.cycle}, found that of cycle {report.cycle}")
    # Also when the report stands already: whoever wrote it may have died before its page.
    create(ports.store, keys.report_html(event.cycle), render_html(report).encode(), content_type="text/html; charset=utf-8")
    return _conclude(ports, event, report, data)


def handler(ports: Ports) -> Callable[[Message], str]:
    """Return `handle` with its ports bound."""
    return lambda message: handle(message, ports)


def _begin(ports: Ports, event: TrainingCompleted) -> CycleState | None:
    """Move the cycle to `validating` and return its state afterwards."""
    now = ports.clock.now()

    def decide(state: CycleState | None) -> Decision[CycleState]:
        if state is None or state.status not in {Status.TRAINING, Status.INTERRUPTED} or state.attempt != event.attempt:
            return Decision(None)
        reason = f"attempt {event.attempt} completed"
        return Decision(move(state, Status.VALIDATING, at=now, by=BY, cause=event.event_id, reason=reason))

    decision = apply_with_cas(ports.store, keys.state(event.cycle), CODEC, decide)
    return decision.state or find_state(ports, event.cycle)


def _judge(ports: Ports, event: TrainingCompleted) -> bytes:
    """Compute the verdict, write what it rests on and then the report, once; return the winner's report."""
    with ports.traces.span("judge", event.cycle):
        report, closed = judge(ports, event.cycle)
        ports.traces.note(outcome=report.outcome)
    create(ports.store, keys.closure(event.cycle), lines_bytes(closed), content_type="application/x-ndjson")
    return create(ports.store, keys.report(event.cycle), dump_report(report)).data


def _conclude(ports: Ports, event: TrainingCompleted, report: ValidationReport, data: bytes) -> str:
    now = ports.clock.now()
    to = Status(report.outcome)

    def decide(state: CycleState | None) -> Decision[CycleState]:
        if state is None or state.status != Status.VALIDATING:
            return Decision(None)
        return Decision(move(state, to, at=now, by=BY, cause=event.event_id, reason=report.reasons[0][:MAX_REASON_CHARS]))

    apply_with_cas(ports.store, keys.state(event.cycle), CODEC, decide)
    ports.publish_all([judged_event(data)])
    return f"cycle {event.cycle} is {report.outcome}: {report.reasons[0]}"
