"""The deployer: a verdict or a person's command in, one compare-and-swap of the alias out.

`registry/production.json` is the truth and moves first; its completion is the cycle's state, the audit record and the
event, in this order. Before any new move the last one is completed. A message alone can deploy nothing.
"""

from collections.abc import Callable
from typing import get_args

from functions.cycle_trace import handled
from functions.deployer.moves import BY, MoveWanted, Plan, plan_move
from functions.runtime import Ports
from shared import keys
from shared.alias import find_production, refuse_lost_alias
from shared.bus import Message
from shared.cas import Decision, apply_with_cas, create
from shared.cycle import CODEC as STATES
from shared.cycle import CycleState, Status, can_move, move
from shared.documents import document_bytes
from shared.events import (
    CandidateAccepted,
    CandidateInconclusive,
    CandidateRejected,
    Event,
)
from shared.ids import version_name
from shared.log import bind, log
from shared.messages import parse_event
from shared.registry import (
    CODEC,
    Move,
    Production,
    Stale,
    events_of,
    state_of,
)

HANDLED = (CandidateRejected, CandidateInconclusive, *get_args(MoveWanted))


def handle(message: Message, ports: Ports) -> str:
    """Handle one message of `validation-events` or `model-commands`; return what came of it.

    Raises:
        InvalidMessage: no event that the deployer knows.
    """
    event = parse_event(message, expect=HANDLED)
    bind(event_id=event.event_id)
    with handled(ports, message, event, _traced(ports, event)):
        return _answer(ports, event) if isinstance(event, MoveWanted) else "not accepted: nothing to deploy"


def handler(ports: Ports) -> Callable[[Message], str]:
    """Return `handle` with its ports bound."""
    return lambda message: handle(message, ports)


def _traced(ports: Ports, event: Event) -> int | None:
    """Return the version, which has its cycle's number, in whose trace an event is handled; None = nothing comes of it."""
    if not isinstance(event, MoveWanted) or not ports.traces.on:
        return None
    named = _version(event)
    production = find_production(ports.store) if named is None else None
    if production is None:
        return named
    done = production.applied(event.event_id)
    return done.version if done is not None else production.canary.version if production.canary is not None else production.stable


def _version(event: MoveWanted) -> int | None:
    """Return the version that an event names."""
    return event.cycle if isinstance(event, CandidateAccepted) else event.version


def _answer(ports: Ports, event: MoveWanted) -> str:
    if _completed_before(ports, event.event_id):
        return "alias unchanged: already applied"
    plan = plan_move(ports, event)
    if isinstance(plan, str):
        return f"refused: {plan}"
    if isinstance(event, CandidateAccepted) and not ports.settings.policy.auto_deploy:
        return f"{version_name(event.cycle)} is accepted and waits for `retune promote {event.cycle}`"
    return _move_alias(ports, event, plan)


def _completed_before(ports: Ports, cause: str) -> bool:
    """Tell whether an event has moved the alias before, and bring what that move left undone to its end.

    Looked at before the evidence: the move itself may have ended the cycle that the evidence needs.
    """
    production = find_production(ports.store)
    done = production.applied(cause) if production else None
    if production is None or done is None:
        return False
    if done == production.last:
        complete(ports, done)
    else:
        ports.publish_all(events_of(done))
    return True


def _move_alias(ports: Ports, event: MoveWanted, plan: Plan) -> str:
    """Complete the last move, then decide and commit the new one, then complete that; stale evidence ends its version's cycle."""

    def decide_after_completion(production: Production | None) -> Decision[Production]:
        if production is None:
            refuse_lost_alias(ports.store)  # else the next move would be the first once more
        elif production.last is not None:
            # Each time: nothing in the store tells that its event was published, and after another move nobody completes it any more.
            complete(ports, production.last)
        return plan(production)

    decision = apply_with_cas(ports.store, keys.PRODUCTION, CODEC, decide_after_completion)
    if decision.state is not None:
        last = decision.state.moves[-1]
        ports.traces.note(move=last.kind, version=last.version)
        complete(ports, last)
        return f"{last.kind} {version_name(last.version)}: {decision.reason}"
    ports.publish_all(decision.events)
    version = _version(event)
    if isinstance(decision, Stale) and version is not None:
        _mark(ports, version, Status.INCONCLUSIVE, cause=event.event_id, reason=decision.reason)
    return f"alias unchanged: {decision.reason}"


def complete(ports: Ports, last: Move) -> None:
    """Bring everything else in line with a move of the alias; safe to repeat."""
    if (status := state_of(last)) is not None:
        _mark(ports, last.version, status, cause=last.cause, reason=last.reason)
    create(ports.store, keys.registry_log(last.seq), document_bytes(last))
    ports.publish_all(events_of(last))


def _mark(ports: Ports, version: int, status: Status, *, cause: str, reason: str) -> None:
    """Move the state of a version's cycle where the table allows it; an imported model may have none."""
    at = ports.clock.now()

    def decide(state: CycleState | None) -> Decision[CycleState]:
        if state is None or not can_move(state, status):
            return Decision(None, reason="nothing to mark")
        return Decision(move(state, status, at=at, by=BY, cause=cause, reason=reason))

    decision = apply_with_cas(ports.store, keys.state(version), STATES, decide)
    if decision.state is not None:
        log(f"cycle {version} is {status}", cycle=version, reason=reason)
