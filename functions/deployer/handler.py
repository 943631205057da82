"""The deployer: a verdict or a person's command in, one compare-and-swap of the alias out.

`registry/production.json` is the truth and moves first; its completion is the cycle's state, the audit record and the
event, in this order. Before any new move the last one is completed. A message alone can deploy nothing.
"""

from collections.abc import Callable
from functools import partial

from functions.cycle_trace import handled
from functions.deployer.evidence import Evidence, check_evidence, check_exists, check_model
from functions.runtime import Ports
from shared import keys
from shared.alias import find_production, refuse_lost_alias
from shared.bus import Message
from shared.cas import Decision, apply_with_cas, create
from shared.cycle import CODEC as STATES
from shared.cycle import CycleState, Status, can_move, move
from shared.documents import document_bytes
from shared.errors import InvariantBroken
from shared.events import (
    MODEL_COMMANDS,
    CanaryRequested,
    CandidateAccepted,
    CandidateInconclusive,
    CandidateRejected,
    Event,
    PersonCommand,
    PinRequested,
    PromoteRequested,
    RollbackRequested,
    WithdrawRequested,
)
from shared.ids import version_name
from shared.log import bind, log
from shared.messages import parse_event
from shared.registry import (
    CODEC,
    Command,
    Move,
    Production,
    decide_canary,
    decide_promote,
    decide_rollback,
    events_of,
    staleness,
    state_of,
)
from shared.retention import decide_pin, decide_withdraw

HANDLED = (
    CandidateAccepted,
    CandidateRejected,
    CandidateInconclusive,
    PromoteRequested,
    RollbackRequested,
    CanaryRequested,
    WithdrawRequested,
    PinRequested,
)
BY = "deployer"
NO_REASON = "asked for by a person"
"""What stands in the audit where a person gave none."""


def handle(message: Message, ports: Ports) -> str:
    """Handle one message of `validation-events` or `model-commands`; return what came of it.

    Raises:
        InvalidMessage: no event that the deployer knows.
    """
    event = parse_event(message, expect=HANDLED)
    bind(event_id=event.event_id)
    with handled(ports, message, event, _traced(ports, event)):
        return _answer(ports, event)


def _answer(ports: Ports, event: Event) -> str:
    if _completed_before(ports, event.event_id):
        return "alias unchanged: already applied"
    if isinstance(event, CandidateAccepted):
        return _on_accepted(ports, event)
    if isinstance(event, PersonCommand):
        return _on_command(ports, event)
    return "not accepted: nothing to deploy"


def handler(ports: Ports) -> Callable[[Message], str]:
    """Return `handle` with its ports bound."""
    return lambda message: handle(message, ports)


def _traced(ports: Ports, event: Event) -> int | None:
    """Return the version, which has its cycle's number, in whose trace an event is handled; None = nothing comes of it."""
    if isinstance(event, CandidateAccepted):
        return event.cycle
    if not isinstance(event, PersonCommand) or not ports.traces.on:
        return None
    named: int | None = getattr(event, "version", None)
    production = find_production(ports.store) if named is None else None
    if production is None:
        return named
    done = production.applied(event.event_id)
    return done.version if done is not None else production.canary.version if production.canary is not None else production.stable


def _on_command(ports: Ports, event: PersonCommand) -> str:
    if isinstance(event, PromoteRequested):
        return _promote(ports, event)
    if isinstance(event, RollbackRequested):
        return _move_alias(ports, partial(decide_checked_rollback, ports, event.version, event.to, _command(ports, event)))
    if isinstance(event, CanaryRequested):
        return _canary(ports, event)
    if isinstance(event, WithdrawRequested):
        return _withdraw(ports, event)
    if isinstance(event, PinRequested):
        return _pin(ports, event)
    raise InvariantBroken(f"event {event.event_id}: expected a command of {MODEL_COMMANDS}, found {type(event).__name__}")


def _on_accepted(ports: Ports, event: CandidateAccepted) -> str:
    evidence = check_evidence(ports, event.cycle, (event.report_sha256, event.manifest_sha256))
    if evidence.refusal is not None:
        return f"refused: {evidence.refusal}"
    if not ports.settings.policy.auto_deploy:
        return f"{version_name(event.cycle)} is accepted and waits for `retune promote {event.cycle}`"
    command = Command(
        cause=event.event_id,
        at=ports.clock.now(),
        by=BY,
        reason="accepted by the validator",
        report_sha256=evidence.report_sha256,
        manifest_sha256=evidence.manifest_sha256,
    )
    return _deploy_on_evidence(ports, event.cycle, evidence.champion, command, percent=ports.settings.policy.canary.percent)


def _promote(ports: Ports, event: PromoteRequested) -> str:
    command = _command(ports, event)
    if event.override:
        if not event.reason:
            return f"refused: an override of {version_name(event.version)} needs a reason"
        refusal = check_model(ports, event.version)
        if refusal is not None:
            return f"refused: {refusal}"
        return _move_alias(ports, partial(decide_promote, version=event.version, command=command, champion=None, override=True))
    evidence = check_evidence(ports, event.version, None)
    if evidence.refusal is not None:
        return f"refused: {evidence.refusal}"
    return _deploy_on_evidence(ports, event.version, evidence.champion, _command(ports, event, evidence))


def _canary(ports: Ports, event: CanaryRequested) -> str:
    evidence = check_evidence(ports, event.version, None)
    if evidence.refusal is not None:
        return f"refused: {evidence.refusal}"
    return _deploy_on_evidence(ports, event.version, evidence.champion, _command(ports, event, evidence), percent=event.percent)


def _withdraw(ports: Ports, event: WithdrawRequested) -> str:
    if (refusal := check_exists(ports, event.version)) is not None:
        return f"refused: {refusal}"
    return _move_alias(ports, partial(decide_withdraw, version=event.version, command=_command(ports, event), collect=event.collect))


def _pin(ports: Ports, event: PinRequested) -> str:
    if (refusal := check_exists(ports, event.version)) is not None:
        return f"refused: {refusal}"
    return _move_alias(ports, partial(decide_pin, version=event.version, command=_command(ports, event), pinned=event.pinned))


def decide_checked_rollback(
    ports: Ports, version: int | None, to: int | None, command: Command, production: Production | None
) -> Decision[Production]:
    """Decide a rollback to a model whose files are whole: those that are not are passed over, and the reason says so."""
    damaged: dict[int, str] = {}
    while True:
        decision = decide_rollback(production, version, command, to=to, damaged=damaged)
        target = decision.state.stable if decision.state is not None else None
        if target is None or (production is not None and target == production.stable):
            return decision
        problem = check_model(ports, target)
        if problem is None:
            return decision
        damaged[target] = problem


def _deploy_on_evidence(ports: Ports, version: int, champion: int | None, command: Command, *, percent: int | None = None) -> str:
    """Promote a version, or begin its canary where `percent` says so; one whose evidence is stale has come to nothing."""
    if percent is None:
        decide = partial(decide_promote, version=version, command=command, champion=champion)
    else:
        decide = partial(decide_canary, version=version, percent=percent, command=command, champion=champion)
    outcome = _move_alias(ports, decide)
    production = find_production(ports.store)
    stale = staleness(production, version, champion)
    if stale is not None and (production is None or production.applied(command.cause) is None):
        _mark(ports, version, Status.INCONCLUSIVE, cause=command.cause, reason=stale)
    return outcome


def _command(ports: Ports, event: PersonCommand, evidence: Evidence | None = None) -> Command:
    carried = evidence or Evidence()
    return Command(
        cause=event.event_id,
        at=ports.clock.now(),
        by=f"{event.by} (claimed)" if event.by else "a person",
        reason=event.reason or NO_REASON,
        report_sha256=carried.report_sha256,
        manifest_sha256=carried.manifest_sha256,
    )


def _move_alias(ports: Ports, decide: Callable[[Production | None], Decision[Production]]) -> str:
    """Complete the last move, then decide and commit the new one, then complete that."""

    def decide_after_completion(production: Production | None) -> Decision[Production]:
        if production is None:
            refuse_lost_alias(ports.store)  # else the next move would be the first once more
        elif production.last is not None:
            complete(ports, production.last)
        return decide(production)

    decision = apply_with_cas(ports.store, keys.PRODUCTION, CODEC, decide_after_completion)
    if decision.state is None:
        ports.publish_all(decision.events)
        return f"alias unchanged: {decision.reason}"
    last = decision.state.moves[-1]
    ports.traces.note(move=last.kind, version=last.version)
    complete(ports, last)
    return f"{last.kind} {version_name(last.version)}: {decision.reason}"


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
