"""Which move of the alias an event asks for: what must hold whatever the alias says, and the pure decision on it. Read only [io].

The deployer carries it out; whoever is about to ask is told here, beforehand, what it would be refused for.
"""

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from functions.deployer.evidence import Evidence, check_evidence, check_exists, check_model
from functions.runtime import Ports
from shared.cas import Decision
from shared.events import (
    CanaryRequested,
    CandidateAccepted,
    PersonCommand,
    PinRequested,
    PromoteRequested,
    RollbackRequested,
    WithdrawRequested,
)
from shared.ids import version_name
from shared.registry import Command, Production, decide_canary, decide_promote, decide_rollback
from shared.retention import decide_pin, decide_withdraw

BY = "deployer"
NO_REASON = "asked for by a person"
"""What stands in the audit where a person gave none."""

MoveWanted: TypeAlias = CandidateAccepted | PromoteRequested | CanaryRequested | RollbackRequested | WithdrawRequested | PinRequested
Plan: TypeAlias = Callable[[Production | None], Decision[Production]]
"""Decides on the alias as it is."""


def plan_move(ports: Ports, event: MoveWanted) -> Plan | str:
    """Return what decides on the alias, or why the event is refused whatever the alias says."""
    if isinstance(event, RollbackRequested):
        return partial(decide_checked_rollback, ports, event.version, event.to, _command(ports, event))
    if isinstance(event, PromoteRequested) and event.override:
        return _plan_override(ports, event)
    if isinstance(event, CandidateAccepted | PromoteRequested | CanaryRequested):
        return _plan_on_evidence(ports, event)
    refusal = check_exists(ports, event.version)
    if refusal is not None:
        return refusal
    if isinstance(event, WithdrawRequested):
        return partial(decide_withdraw, version=event.version, command=_command(ports, event), collect=event.collect)
    return partial(decide_pin, version=event.version, command=_command(ports, event), pinned=event.pinned)


def _plan_override(ports: Ports, event: PromoteRequested) -> Plan | str:
    if not event.reason:
        return f"an override of {version_name(event.version)} needs a reason"
    refusal = check_model(ports, event.version)
    if refusal is not None:
        return refusal
    return partial(decide_promote, version=event.version, command=_command(ports, event), champion=None, override=True)


def _plan_on_evidence(ports: Ports, event: CandidateAccepted | PromoteRequested | CanaryRequested) -> Plan | str:
    """Promote a version, or begin its canary where the event or, for a verdict, the policy says so."""
    if isinstance(event, CandidateAccepted):
        version, claim = event.cycle, (event.report_sha256, event.manifest_sha256)
    else:
        version, claim = event.version, None
    evidence = check_evidence(ports, version, claim)
    if evidence.refusal is not None:
        return evidence.refusal
    command = _command(ports, event, evidence)
    percent = event.percent if isinstance(event, CanaryRequested) else None
    if isinstance(event, CandidateAccepted):
        percent = ports.settings.policy.canary.percent
    if percent is None:
        return partial(decide_promote, version=version, command=command, champion=evidence.champion)
    return partial(decide_canary, version=version, percent=percent, command=command, champion=evidence.champion)


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


def _command(ports: Ports, event: CandidateAccepted | PersonCommand, evidence: Evidence | None = None) -> Command:
    by, reason = BY, "accepted by the validator"
    if isinstance(event, PersonCommand):
        by, reason = event.claim or "a person", event.reason or NO_REASON
    return Command(
        cause=event.event_id,
        at=ports.clock.now(),
        by=by,
        reason=reason,
        report_sha256=evidence.report_sha256 if evidence else None,
        manifest_sha256=evidence.manifest_sha256 if evidence else None,
    )
