"""The launcher: triggers and people's commands in, a running trainer out; and what becomes of failed attempts."""

from collections.abc import Callable
from functools import partial

from functions.cycle_trace import handled, is_next
from functions.launcher import decide
from functions.launcher.opening import LaunchDeps, announce_result, carry_on, cycle_to_open, relaunch, request_cycle
from functions.launcher.trainers import TrainerRun
from functions.states import find_state, newest_states, running_cycle
from shared import keys
from shared.bus import Message
from shared.cas import apply_with_cas
from shared.cycle import CODEC, Status
from shared.events import (
    Event,
    FinetuneApproved,
    FinetuneCancelled,
    FinetuneRequested,
    ThresholdCrossed,
    TrainingCompleted,
    TrainingFailed,
    TrainingPreempted,
)
from shared.head import begin_head, move_head
from shared.log import bind
from shared.messages import parse_event

HANDLED = (
    ThresholdCrossed,
    FinetuneRequested,
    FinetuneApproved,
    FinetuneCancelled,
    TrainingCompleted,
    TrainingFailed,
    TrainingPreempted,
)


def handle(message: Message, deps: LaunchDeps) -> str:
    """Handle one message of `finetune-triggers` or `training-events`; return what came of it.

    Raises:
        InvalidMessage: no event that the launcher knows.
    """
    event = parse_event(message, expect=HANDLED)
    bind(event_id=event.event_id, cycle=getattr(event, "cycle", None))
    with handled(deps.ports, message, event, _traced(deps, event)):
        return _answer(deps, event)


def _answer(deps: LaunchDeps, event: Event) -> str:
    if isinstance(event, ThresholdCrossed | FinetuneRequested):
        return request_cycle(deps, event)
    if isinstance(event, FinetuneApproved):
        return _approve(deps, event)
    if isinstance(event, FinetuneCancelled):
        return _cancel(deps, event)
    if isinstance(event, TrainingFailed | TrainingPreempted):
        return _after_attempt(deps, event)
    return "training completed: the validator's"


def handler(deps: LaunchDeps) -> Callable[[Message], str]:
    """Return `handle` with its dependencies bound."""
    return lambda message: handle(message, deps)


def _traced(deps: LaunchDeps, event: Event) -> int | None:
    """Return the cycle in whose trace an event is handled, as far as it can be told before; None = nothing comes of it."""
    if isinstance(event, TrainingCompleted) or not deps.ports.traces.on:
        return None
    if isinstance(event, FinetuneApproved | FinetuneCancelled):
        return _target(deps, event)
    if isinstance(event, FinetuneRequested):
        return cycle_to_open(deps.ports)
    if isinstance(event, ThresholdCrossed) and not is_next(deps.ports, event.cycle):
        return None
    named: int | None = getattr(event, "cycle", None)
    return named


def _target(deps: LaunchDeps, event: FinetuneApproved | FinetuneCancelled) -> int | None:
    """Return the cycle that a command is about: the named one, the one that it has moved already, or the running one."""
    if event.cycle is not None:
        return event.cycle
    moved = next((state for state in newest_states(deps.ports) if any(entry.cause == event.event_id for entry in state.history)), None)
    state = moved or running_cycle(deps.ports)
    return state.cycle if state else None


def _approve(deps: LaunchDeps, event: FinetuneApproved) -> str:
    begin_head(deps.ports.store)  # 0.1.0 wrote the first head only after the approval
    cycle = _target(deps, event)
    if cycle is None:
        return "approve: no cycle awaits approval"
    now = deps.ports.clock.now()
    decision = apply_with_cas(deps.ports.store, keys.state(cycle), CODEC, lambda state: decide.decide_approve(state, event, now))
    carry_on(deps, cycle)
    return f"approve cycle {cycle}: {decision.reason}"


def _cancel(deps: LaunchDeps, event: FinetuneCancelled) -> str:
    begin_head(deps.ports.store)
    cycle = _target(deps, event)
    if cycle is None:
        return "cancel: no cycle is running"
    now = deps.ports.clock.now()
    decision = apply_with_cas(deps.ports.store, keys.state(cycle), CODEC, lambda state: decide.decide_cancel(state, event, now))
    state = decision.state or find_state(deps.ports, cycle)
    if state is not None and state.status == Status.CANCELLED:
        move_head(deps.ports.store, cycle)
        deps.trainers.delete(TrainerRun(cycle, state.attempt).name)
    return f"cancel cycle {cycle}: {decision.reason}"


def _after_attempt(deps: LaunchDeps, event: TrainingFailed | TrainingPreempted) -> str:
    ports = deps.ports
    if announce_result(ports, event.cycle):
        return f"cycle {event.cycle} has its result: what its trainer said afterwards changes nothing"
    now = ports.clock.now()
    if isinstance(event, TrainingFailed):
        ended = partial(decide.decide_failed, event=event, policy=ports.settings.policy, now=now)
    else:
        ended = partial(decide.decide_preempted, event=event, now=now)
    decision = apply_with_cas(ports.store, keys.state(event.cycle), CODEC, ended)
    return f"cycle {event.cycle}: {decision.reason}; {relaunch(deps, event.cycle)}"
