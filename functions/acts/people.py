"""What people ask for, as the message they would type. Nothing is published here, and no answer is waited for.

A refusal that can be seen before is told at once, by the very functions that decide it; there is no message then.
"""

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from functions.crossing import find_declined
from functions.deployer.moves import NO_REASON, MoveWanted, plan_move
from functions.launcher import decide
from functions.runtime import Ports
from functions.states import find_state, newest_states, running_cycle
from shared.alias import find_production
from shared.bus import Message, Outgoing
from shared.cas import Decision
from shared.cycle import CycleState
from shared.documents import Frozen
from shared.errors import InvalidMessage, Refused
from shared.events import DEFAULT_PERCENT, FINETUNE_TRIGGERS, MODEL_COMMANDS, Event
from shared.head import read_head
from shared.ids import version_name
from shared.messages import parse_event
from shared.registry import Production


class Asker(Frozen):
    """Who asks, and why.

    Attributes:
        by: a name; whoever reads the message can only take it as a claim.
        event_id: of the message. Whoever asks twice with the same asks once.
    """

    by: str
    reason: str | None = None
    event_id: str


class Answer(Frozen):
    """What came of a request.

    Attributes:
        outcome: `published` when nobody waited for the answer.
        event_id: of the message; empty when the refusal was clear before anything was published.
    """

    outcome: Literal["accepted", "refused", "published"]
    text: str
    event_id: str = ""


@dataclass(frozen=True)
class Act:
    """What nothing known speaks against.

    Attributes:
        event_id: of the message.
        message: that asks for it.
        find_answer: looks into the store for what came of it; None = nothing yet.
        after: the alias as it would be after it; None = it is not about the alias.
    """

    event_id: str
    message: Outgoing
    find_answer: Callable[[], Answer | None]
    after: Production | None = None


def new_event_id() -> str:
    """Return an id for one request."""
    return uuid.uuid4().hex


def trigger(ports: Ports, asker: Asker) -> Act:
    """Ask for a cycle now, whatever the thresholds say."""
    event_id = asker.event_id
    message = Outgoing(FINETUNE_TRIGGERS, _data({"force": True}, asker))
    return Act(event_id, message, lambda: _opened_answer(ports, event_id) or _declined_answer(ports, event_id))


def approve(ports: Ports, asker: Asker, cycle: int | None) -> Act | Answer:
    """Let the cycle that awaits approval go on.

    Raises:
        Refused: the named cycle was not opened, or the message could not be read.
    """
    return _about_cycle(ports, asker, "approve", cycle, decide.decide_approve)


def cancel(ports: Ports, asker: Asker, cycle: int | None) -> Act | Answer:
    """Cancel the cycle that runs. Raises as `approve`."""
    return _about_cycle(ports, asker, "cancel", cycle, decide.decide_cancel)


def promote(ports: Ports, asker: Asker, version: int, *, override: bool) -> Act | Answer:
    """Make a version stable: on its evidence, or with `override` on a person's word and reason.

    Raises:
        Refused: the message could not be read.
    """
    return _about_alias(ports, asker, {"promote": version, **({"override": True} if override else {})})


def canary(ports: Ports, asker: Asker, version: int, percent: int | None) -> Act | Answer:
    """Serve an accepted version to a share of the sessions (None = the policy's, else 10%); with 0 it only transcribes beside.

    Raises as `promote`.
    """
    share = percent if percent is not None else ports.settings.policy.canary.percent
    return _about_alias(ports, asker, {"canary": version, "percent": DEFAULT_PERCENT if share is None else share})


def rollback(ports: Ports, asker: Asker, version: int | None, to: int | None = None) -> Act | Answer:
    """Withdraw a live version: the named one, else the canary, else the stable one; then the last good one serves, or the one in `to`.

    Raises as `promote`.
    """
    return _about_alias(ports, asker, {"rollback": True if version is None else version, **({} if to is None else {"to": to})})


def withdraw(ports: Ports, asker: Asker, version: int, *, collect: bool = False) -> Act | Answer:
    """Mark a version as one that never comes back by itself; with `collect` its files are about to be deleted. Raises as `promote`."""
    return _about_alias(ports, asker, {"withdraw": version, **({"collect": True} if collect else {})})


def pin(ports: Ports, asker: Asker, version: int, *, pinned: bool) -> Act | Answer:
    """Keep the files of a version whatever the retention says, or (`pinned` false) no longer. Raises as `promote`."""
    return _about_alias(ports, asker, {"pin" if pinned else "unpin": version})


def find_cycle_answer(ports: Ports, cycle: int, event_id: str) -> Answer | None:
    """Return what a request did to a cycle; None = nothing yet."""
    state = find_state(ports, cycle)
    entry = next((entry for entry in state.history if entry.cause == event_id), None) if state else None
    if state is None or entry is None:
        return None
    return Answer(outcome="accepted", text=f"cycle {state.cycle} is {entry.status}: {entry.reason}", event_id=event_id)


def find_alias_answer(ports: Ports, event_id: str, told: str | None = None) -> Answer | None:
    """Return what a request did to the alias; None = nothing yet. A reason other than the one that was `told` is part of the answer."""
    production = find_production(ports.store)
    applied = production.applied(event_id) if production else None
    if applied is None:
        return None
    stable = "no version" if applied.stable_after is None else version_name(applied.stable_after)
    more = "" if applied.reason in {told, NO_REASON} else f" ({applied.reason})"
    text = f"{applied.text}: {stable} is stable{more}"
    return Answer(outcome="refused" if applied.kind == "end_canary" else "accepted", text=text, event_id=event_id)


def _about_cycle(
    ports: Ports, asker: Asker, verb: str, cycle: int | None, decide_on: Callable[[CycleState | None, Any, datetime], Decision[CycleState]]
) -> Act | Answer:
    state = _target(ports, cycle)
    message = Outgoing(FINETUNE_TRIGGERS, _data({verb: True if state is None else state.cycle}, asker))
    decision = decide_on(state, _read(ports, message), ports.clock.now())
    if state is None or decision.state is None:
        return _refused(f"{verb}: {decision.reason}")
    return Act(asker.event_id, message, lambda: find_cycle_answer(ports, state.cycle, asker.event_id))


def _about_alias(ports: Ports, asker: Asker, payload: dict[str, object]) -> Act | Answer:
    message = Outgoing(MODEL_COMMANDS, _data(payload, asker))
    event = _read(ports, message)
    assert isinstance(event, MoveWanted)
    plan = plan_move(ports, event)
    if isinstance(plan, str):
        return _refused(plan)
    decision = plan(find_production(ports.store))
    if decision.state is None:
        return _refused(decision.reason)
    return Act(asker.event_id, message, lambda: find_alias_answer(ports, asker.event_id, asker.reason), decision.state)


def _read(ports: Ports, message: Outgoing) -> Event:
    """Return what whoever handles a message will read in it."""
    try:
        return parse_event(Message(message.data, message.attributes, "to be published", ports.clock.now()))
    except InvalidMessage as error:
        raise Refused(str(error)) from error


def _target(ports: Ports, cycle: int | None) -> CycleState | None:
    if cycle is None:
        return running_cycle(ports)
    state = find_state(ports, cycle)
    if state is None:
        raise Refused(f"cycle {cycle}: expected one that was opened, found no state: it is collecting or yet to come")
    return state


def _opened_answer(ports: Ports, event_id: str) -> Answer | None:
    answers = (find_cycle_answer(ports, state.cycle, event_id) for state in newest_states(ports))
    return next((answer for answer in answers if answer is not None), None)


def _declined_answer(ports: Ports, event_id: str) -> Answer | None:
    head = read_head(ports.store)
    for cycle in (head, head - 1):
        declined = find_declined(ports, cycle)
        if declined is not None and declined.cause == event_id:
            return Answer(outcome="refused", text=f"cycle {cycle} declined: {'; '.join(declined.decision.held)}", event_id=event_id)
    return None


def _data(payload: dict[str, object], asker: Asker) -> bytes:
    named = {**payload, "event_id": asker.event_id, "by": asker.by, **({"reason": asker.reason} if asker.reason else {})}
    return json.dumps(named).encode()


def _refused(text: str) -> Answer:
    return Answer(outcome="refused", text=text)
