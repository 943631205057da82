"""What people ask for: a message as they would type it, and the answer as the store shows it.

A refusal that can be seen before is told at once, by the very functions that decide it; nothing is published then.
"""

import json
import uuid
from collections.abc import Callable
from typing import Literal

from functions.crossing import find_declined
from functions.deployer.evidence import Evidence, check_evidence, check_exists, check_model
from functions.deployer.handler import NO_REASON, decide_checked_rollback
from functions.launcher import decide
from functions.launcher.states import find_state, running_cycle
from functions.runtime import Ports
from functions.views.production import read_production
from infra.errors import Refused
from infra.waiting import wait_for
from shared import ledger, registry
from shared.bus import Outgoing
from shared.cycle import CycleState
from shared.events import DEFAULT_PERCENT, FINETUNE_TRIGGERS, MODEL_COMMANDS, FinetuneApproved, FinetuneCancelled
from shared.frozen import Frozen
from shared.ids import version_name
from shared.registry import Command, Production
from shared.retention import decide_pin, decide_withdraw

LOGS = "the launcher's and deployer's logs say more (locally: .retune/logs/functions.log)"


class Person(Frozen):
    """Who asks, as they claim, and why.

    Attributes:
        wait_s: how long to wait for the answer; None = not at all.
    """

    by: str
    reason: str | None = None
    wait_s: float | None = 30.0


class Answer(Frozen):
    """What came of a request.

    Attributes:
        outcome: `published` when nobody waited for the answer.
        event_id: of the message; empty when the refusal was clear before anything was published.
    """

    outcome: Literal["accepted", "refused", "published"]
    text: str
    event_id: str = ""


def trigger(ports: Ports, person: Person) -> Answer:
    """Ask for a cycle now, whatever the thresholds say."""
    event_id = _new_id()
    return _ask(
        ports,
        Outgoing(FINETUNE_TRIGGERS, _data({"force": True}, person, event_id)),
        person,
        event_id,
        lambda: _cycle_answer(ports, event_id) or _declined_answer(ports, event_id),
    )


def approve(ports: Ports, person: Person, cycle: int | None) -> Answer:
    """Let the cycle that awaits approval go on."""
    state = _target(ports, cycle)
    event = FinetuneApproved(event_id=_new_id(), occurred_at=ports.clock.now(), by=person.by, reason=person.reason)
    decision = decide.decide_approve(state, event, event.occurred_at)
    return _about_cycle(ports, person, "approve", state, event.event_id, refusal=None if decision.state else decision.reason)


def cancel(ports: Ports, person: Person, cycle: int | None) -> Answer:
    """Cancel the cycle that runs."""
    state = _target(ports, cycle)
    event = FinetuneCancelled(event_id=_new_id(), occurred_at=ports.clock.now(), by=person.by, reason=person.reason)
    decision = decide.decide_cancel(state, event, event.occurred_at)
    return _about_cycle(ports, person, "cancel", state, event.event_id, refusal=None if decision.state else decision.reason)


def promote(ports: Ports, person: Person, version: int, *, override: bool) -> Answer:
    """Make a version stable: on its evidence, or with `override` on a person's word and reason."""
    event_id = _new_id()
    evidence = Evidence(refusal=check_model(ports, version)) if override else check_evidence(ports, version, None)
    if evidence.refusal is not None:
        return _refused(evidence.refusal)
    command = _command(ports, person, event_id)
    decision = registry.decide_promote(read_production(ports), version, command, champion=evidence.champion, override=override)
    if decision.state is None:
        return _refused(decision.reason)
    payload: dict[str, object] = {"promote": version, **({"override": True} if override else {})}
    return _about_alias(ports, person, payload, event_id)


def canary(ports: Ports, person: Person, version: int, percent: int | None) -> Answer:
    """Serve an accepted version to a share of the sessions (None = the policy's, else 10%); with 0 it only transcribes beside."""
    event_id = _new_id()
    share = percent if percent is not None else ports.settings.policy.canary.percent
    share = DEFAULT_PERCENT if share is None else share
    evidence = check_evidence(ports, version, None)
    if evidence.refusal is not None:
        return _refused(evidence.refusal)
    command = _command(ports, person, event_id)
    decision = registry.decide_canary(read_production(ports), version, share, command, champion=evidence.champion)
    if decision.state is None:
        return _refused(decision.reason)
    return _about_alias(ports, person, {"canary": version, "percent": share}, event_id)


def rollback(ports: Ports, person: Person, version: int | None, to: int | None = None) -> Answer:
    """Withdraw a live version: the named one, else the canary, else the stable one; then the last good one serves, or the one in `to`."""
    event_id = _new_id()
    decision = decide_checked_rollback(ports, version, to, _command(ports, person, event_id), read_production(ports))
    if decision.state is None:
        return _refused(decision.reason)
    payload: dict[str, object] = {"rollback": True if version is None else version, **({} if to is None else {"to": to})}
    return _about_alias(ports, person, payload, event_id)


def withdraw(ports: Ports, person: Person, version: int, *, collect: bool = False) -> Answer:
    """Mark a version as one that never comes back by itself; with `collect` its files are about to be deleted."""
    event_id = _new_id()
    if (refusal := check_exists(ports, version)) is not None:
        return _refused(refusal)
    decision = decide_withdraw(read_production(ports), version, _command(ports, person, event_id), collect=collect)
    if decision.state is None:
        return _refused(decision.reason)
    return _about_alias(ports, person, {"withdraw": version, **({"collect": True} if collect else {})}, event_id)


def pin(ports: Ports, person: Person, version: int, *, pinned: bool) -> Answer:
    """Keep the files of a version whatever the retention says, or (`pinned` false) no longer."""
    event_id = _new_id()
    if (refusal := check_exists(ports, version)) is not None:
        return _refused(refusal)
    decision = decide_pin(read_production(ports), version, _command(ports, person, event_id), pinned=pinned)
    if decision.state is None:
        return _refused(decision.reason)
    return _about_alias(ports, person, {"pin" if pinned else "unpin": version}, event_id)


def _about_cycle(ports: Ports, person: Person, verb: str, state: CycleState | None, event_id: str, *, refusal: str | None) -> Answer:
    if state is None or refusal is not None:
        return _refused(f"{verb}: {refusal}")
    message = Outgoing(FINETUNE_TRIGGERS, _data({verb: state.cycle}, person, event_id))
    return _ask(ports, message, person, event_id, lambda: _state_answer(find_state(ports, state.cycle), event_id))


def _about_alias(ports: Ports, person: Person, payload: dict[str, object], event_id: str) -> Answer:
    message = Outgoing(MODEL_COMMANDS, _data(payload, person, event_id))
    return _ask(ports, message, person, event_id, lambda: _alias_answer(read_production(ports), event_id, person))


def _ask(ports: Ports, message: Outgoing, person: Person, event_id: str, look: Callable[[], Answer | None]) -> Answer:
    message_id = ports.publisher.publish(message)
    if person.wait_s is None:
        return Answer(outcome="published", text=f"published to {message.topic} as message {message_id}", event_id=event_id)
    what = f"an answer to event {event_id} (message {message_id} on {message.topic}); {LOGS}"
    return wait_for(look, timeout_s=person.wait_s, what=what)


def _target(ports: Ports, cycle: int | None) -> CycleState | None:
    if cycle is None:
        return running_cycle(ports)
    state = find_state(ports, cycle)
    if state is None:
        raise Refused(f"cycle {cycle}: expected one that was opened, found no state: it is collecting or yet to come")
    return state


def _cycle_answer(ports: Ports, event_id: str) -> Answer | None:
    head = ledger.read_head(ports.store)
    numbers = [number for number in (head, head - 1) if number >= ledger.FIRST_CYCLE]
    answers = (_state_answer(find_state(ports, number), event_id) for number in numbers)
    return next((answer for answer in answers if answer is not None), None)


def _state_answer(state: CycleState | None, event_id: str) -> Answer | None:
    entry = next((entry for entry in state.history if entry.cause == event_id), None) if state else None
    if state is None or entry is None:
        return None
    return Answer(outcome="accepted", text=f"cycle {state.cycle} is {entry.status}: {entry.reason}", event_id=event_id)


def _declined_answer(ports: Ports, event_id: str) -> Answer | None:
    head = ledger.read_head(ports.store)
    for cycle in (head, head - 1):
        declined = find_declined(ports, cycle)
        if declined is not None and declined.cause == event_id:
            return Answer(outcome="refused", text=f"cycle {cycle} declined: {'; '.join(declined.decision.held)}", event_id=event_id)
    return None


def _alias_answer(production: Production | None, event_id: str, person: Person) -> Answer | None:
    applied = production.applied(event_id) if production else None
    if applied is None:
        return None
    stable = "no version" if applied.stable_after is None else version_name(applied.stable_after)
    more = "" if applied.reason in {person.reason, NO_REASON} else f" ({applied.reason})"
    share = "" if applied.percent is None else f" for {applied.percent}% of the sessions"
    text = f"{applied.kind.replace('_', ' ')} {version_name(applied.version)}{share}: {stable} is stable{more}"
    return Answer(outcome="refused" if applied.kind == "end_canary" else "accepted", text=text, event_id=event_id)


def _command(ports: Ports, person: Person, event_id: str) -> Command:
    return Command(cause=event_id, at=ports.clock.now(), by=person.by, reason=person.reason or "")


def _data(payload: dict[str, object], person: Person, event_id: str) -> bytes:
    named = {**payload, "event_id": event_id, "by": person.by, **({"reason": person.reason} if person.reason else {})}
    return json.dumps(named).encode()


def _refused(text: str) -> Answer:
    return Answer(outcome="refused", text=text)


def _new_id() -> str:
    return uuid.uuid4().hex
