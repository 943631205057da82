"""The deployer: a verdict or a person's command in, one compare-and-swap of the alias out.

`registry/production.json` is the truth and moves first; its completion is the cycle's state, the audit record and the
event, in this order. Before any new move the last one is completed. A message alone can deploy nothing.
"""

from collections.abc import Callable
from functools import partial

from functions.deployer.decide import check_files, check_report, check_state
from functions.runtime import Ports
from shared import keys
from shared.bus import Message
from shared.cas import Decision, apply_with_cas, create, find
from shared.cycle import CODEC as STATES
from shared.cycle import CycleState, Status, can_move, move
from shared.errors import CorruptObject, NotFound
from shared.events import (
    CanaryRequested,
    CandidateAccepted,
    CandidateInconclusive,
    CandidateRejected,
    PersonCommand,
    PromoteRequested,
    RollbackRequested,
    parse_event,
)
from shared.ids import version_name
from shared.log import bind, log
from shared.objectstore import ObjectInfo
from shared.registry import (
    CODEC,
    Command,
    Move,
    Production,
    decide_canary,
    decide_promote,
    decide_rollback,
    event_of,
    staleness,
    state_of,
)
from shared.training import ModelManifest, document_bytes, parse_document, sha256_hex
from shared.verdict import parse_report

HANDLED = (CandidateAccepted, CandidateRejected, CandidateInconclusive, PromoteRequested, RollbackRequested, CanaryRequested)
BY = "deployer"


def handle(message: Message, ports: Ports) -> str:
    """Handle one message of `validation-events` or `model-commands`; return what came of it.

    Raises:
        InvalidMessage: no event that the deployer knows.
    """
    event = parse_event(message, expect=HANDLED)
    bind(event_id=event.event_id)
    if isinstance(event, CandidateAccepted):
        return _on_accepted(ports, event)
    if isinstance(event, PromoteRequested):
        return _promote(ports, event)
    if isinstance(event, RollbackRequested):
        return _move_alias(ports, partial(decide_rollback, version=event.version, command=_command(ports, event)))
    if isinstance(event, CanaryRequested):
        return _canary(ports, event)
    return "not accepted: nothing to deploy"


def handler(ports: Ports) -> Callable[[Message], str]:
    """Return `handle` with its ports bound."""
    return lambda message: handle(message, ports)


def _on_accepted(ports: Ports, event: CandidateAccepted) -> str:
    champion, refusal = check_evidence(ports, event.cycle, (event.report_sha256, event.manifest_sha256))
    if refusal is not None:
        return f"refused: {refusal}"
    if not ports.settings.policy.auto_deploy:
        return f"{version_name(event.cycle)} is accepted and waits for `retune promote {event.cycle}`"
    command = Command(cause=event.event_id, at=ports.clock.now(), by=BY, reason="accepted by the validator")
    return _deploy_on_evidence(ports, event.cycle, champion, command, percent=ports.settings.policy.canary.percent)


def _promote(ports: Ports, event: PromoteRequested) -> str:
    command = _command(ports, event)
    if event.override:
        if not event.reason:
            return f"refused: an override of {version_name(event.version)} needs a reason"
        refusal = check_model(ports, event.version)
        if refusal is not None:
            return f"refused: {refusal}"
        return _move_alias(ports, partial(decide_promote, version=event.version, command=command, champion=None, override=True))
    champion, refusal = check_evidence(ports, event.version, None)
    if refusal is not None:
        return f"refused: {refusal}"
    return _deploy_on_evidence(ports, event.version, champion, command)


def _canary(ports: Ports, event: CanaryRequested) -> str:
    champion, refusal = check_evidence(ports, event.version, None)
    if refusal is not None:
        return f"refused: {refusal}"
    command = _command(ports, event)
    return _move_alias(ports, partial(decide_canary, version=event.version, percent=event.percent, command=command, champion=champion))


def _deploy_on_evidence(ports: Ports, version: int, champion: int | None, command: Command, *, percent: int | None = None) -> str:
    """Promote a version, or begin its canary where `percent` says so; one whose evidence is stale has come to nothing."""
    if percent is None:
        decide = partial(decide_promote, version=version, command=command, champion=champion)
    else:
        decide = partial(decide_canary, version=version, percent=percent, command=command, champion=champion)
    outcome = _move_alias(ports, decide)
    found = find(ports.store, keys.PRODUCTION)
    production = CODEC.parse(found.data) if found else None
    stale = staleness(production, version, champion)
    if stale is not None and (production is None or production.applied(command.cause) is None):
        _mark(ports, version, Status.INCONCLUSIVE, cause=command.cause, reason=stale)
    return outcome


def _command(ports: Ports, event: PersonCommand) -> Command:
    by = f"{event.by} (claimed)" if event.by else "a person"
    reason = event.reason or "asked for by a person"
    return Command(cause=event.event_id, at=ports.clock.now(), by=by, reason=reason)


def check_evidence(ports: Ports, version: int, claim: tuple[str, str] | None) -> tuple[int | None, str | None]:
    """Return the champion that the evidence compares with, and why the evidence does not stand (None = it does)."""
    found = find(ports.store, keys.report(version))
    stored = find(ports.store, keys.manifest(version))
    if found is None or stored is None:
        missing = keys.report(version) if found is None else keys.manifest(version)
        return None, f"{version_name(version)}: expected {missing}, found no such object"
    try:
        report = parse_report(found.data)
    except CorruptObject as error:
        return None, f"{version_name(version)}: {error}"
    state = find(ports.store, keys.state(version))
    refusal = (
        check_report(version, report, sha256_hex(found.data), sha256_hex(stored.data), claim)
        or check_state(version, STATES.parse(state.data) if state else None)
        or check_model(ports, version)
    )
    return report.base_version, refusal


def check_model(ports: Ports, version: int) -> str | None:
    """Return what is wrong with a stored model; None = manifest and files agree."""
    stored = find(ports.store, keys.manifest(version))
    if stored is None:
        return f"{version_name(version)}: expected {keys.manifest(version)}, found no such object"
    try:
        manifest = parse_document(ModelManifest, stored.data, what=keys.manifest(version))
    except CorruptObject as error:
        return str(error)
    found = {file.name: _stat(ports, file.key(keys.model(version))) for file in manifest.files}
    return check_files(manifest, found)


def _stat(ports: Ports, key: str) -> ObjectInfo | None:
    try:
        return ports.store.stat(key)
    except NotFound:
        return None


def _move_alias(ports: Ports, decide: Callable[[Production | None], Decision[Production]]) -> str:
    """Complete the last move, then decide and commit the new one, then complete that."""

    def decide_after_completion(production: Production | None) -> Decision[Production]:
        if production is not None and production.last is not None:
            complete(ports, production.last)
        return decide(production)

    decision = apply_with_cas(ports.store, keys.PRODUCTION, CODEC, decide_after_completion)
    if decision.state is None:
        ports.publish_all(decision.events)
        return f"alias unchanged: {decision.reason}"
    last = decision.state.moves[-1]
    complete(ports, last)
    return f"{last.kind} {version_name(last.version)}: {decision.reason}"


def complete(ports: Ports, last: Move) -> None:
    """Bring everything else in line with a move of the alias; safe to repeat."""
    _mark(ports, last.version, state_of(last), cause=last.cause, reason=last.reason)
    create(ports.store, keys.registry_log(last.seq), document_bytes(last))
    ports.publish_all([event_of(last)])


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
