"""The launcher's decisions about a cycle's state. Pure: state in, decision out."""

from datetime import datetime

from functions.launcher.capacity import looks, wait_after
from shared.cas import Decision
from shared.cycle import CycleState, Status, can_move, move
from shared.events import Event, FinetuneApproved, FinetuneCancelled, PersonCommand, TrainingFailed, TrainingPreempted
from shared.policy import Policy

BY, SWEEPER = "launcher", "sweeper"
PERMANENT = frozenset({"bad_spec", "bad_base_model", "bad_dataset", "no_trainable_clips"})
"""Reasons that a new attempt cannot mend."""


def who(event: Event) -> str:
    """Return who stands behind an event: a person's claim, else the part that sent it."""
    return (event.claim if isinstance(event, PersonCommand) else None) or BY


def decide_approve(state: CycleState | None, event: FinetuneApproved, now: datetime) -> Decision[CycleState]:
    """Decide to let a cycle go on that awaits approval."""
    if state is None:
        return Decision(None, reason="no cycle awaits approval")
    if state.status != Status.AWAITING_APPROVAL:
        return Decision(None, reason=f"cycle {state.cycle} is {state.status}, not awaiting approval")
    return _moved(state, Status.PREPARING, now, by=who(event), cause=event.event_id, reason=event.reason or "approved")


def decide_cancel(state: CycleState | None, event: FinetuneCancelled, now: datetime) -> Decision[CycleState]:
    """Decide to cancel a cycle that has not been decided yet."""
    if state is None:
        return Decision(None, reason="no cycle is running")
    if not can_move(state, Status.CANCELLED):
        return Decision(None, reason=f"cycle {state.cycle} is {state.status}: nothing to cancel")
    return _moved(state, Status.CANCELLED, now, by=who(event), cause=event.event_id, reason=event.reason or "cancelled by a person")


def decide_failed(state: CycleState | None, event: TrainingFailed, policy: Policy, now: datetime) -> Decision[CycleState]:
    """Decide what a failed attempt means: another attempt, or the end."""
    reason = f"{event.reason}: {event.detail}" if event.detail else event.reason
    final = event.reason in PERMANENT or (state is not None and state.attempt >= policy.max_attempts)
    return _after_attempt(state, event.attempt, Status.FAILED if final else Status.INTERRUPTED, event, reason, now)


def decide_preempted(state: CycleState | None, event: TrainingPreempted, now: datetime) -> Decision[CycleState]:
    """Decide what a preemption notice means: it is an interruption, whoever else learns of it."""
    return _after_attempt(state, event.attempt, Status.INTERRUPTED, event, "the machine was taken away", now)


def _after_attempt(state: CycleState | None, attempt: int, to: Status, event: Event, reason: str, now: datetime) -> Decision[CycleState]:
    if state is None or state.attempt != attempt:
        return Decision(None, reason=f"about attempt {attempt}, not the present one")
    if state.status not in {Status.PREPARING, Status.TRAINING}:
        return Decision(None, reason=f"cycle {state.cycle} is {state.status}")
    return _moved(state, to, now, cause=event.event_id, reason=reason)


def decide_interrupted(state: CycleState | None, attempt: int, reason: str, now: datetime) -> Decision[CycleState]:
    """Decide that the trainer of an attempt is gone, or never came to work."""
    if state is None or state.attempt != attempt or state.status not in {Status.PREPARING, Status.TRAINING}:
        return Decision(None, reason="moved on meanwhile")
    return _moved(state, Status.INTERRUPTED, now, by=SWEEPER, cause=f"sweep:{state.cycle}:{attempt}", reason=reason)


def decide_over_budget(state: CycleState | None, attempt: int, why: str, now: datetime) -> Decision[CycleState]:
    """Decide to stop a cycle that has spent too much.

    Where a trainer may be at work it is interrupted: once that is gone it can be told whether it wrote its result at the last moment,
    and `decide_next_attempt` ends the cycle otherwise. Where none is, the cycle ends at once.
    """
    if state is None or state.attempt != attempt or state.status not in {Status.PREPARING, Status.TRAINING, Status.WAITING_FOR_CAPACITY}:
        return Decision(None, reason="no trainer to stop")
    to = Status.FAILED if state.status == Status.WAITING_FOR_CAPACITY else Status.INTERRUPTED
    return _moved(state, to, now, by=SWEEPER, cause=f"budget:{state.cycle}:{attempt}", reason=f"stopped: {why}")


def decide_next_attempt(state: CycleState | None, policy: Policy, now: datetime, *, over_budget: str = "") -> Decision[CycleState]:
    """Decide to try an interrupted cycle again, or to give it up with the reason of the last interruption.

    Called when the trainer of the interrupted attempt is known to be gone. `over_budget`: why nothing more may be spent on it.
    """
    if state is None or state.status != Status.INTERRUPTED:
        return Decision(None, reason="not interrupted")
    if over_budget:
        return _moved(state, Status.FAILED, now, cause=f"budget:{state.cycle}:{state.attempt}", reason=f"stopped: {over_budget}")
    cause = f"relaunch:{state.cycle}:{state.attempt}"
    if state.attempt >= policy.max_attempts:
        reason = f"{state.attempt} attempts of {policy.max_attempts} are used up; last: {state.reason}"
        return _moved(state, Status.FAILED, now, cause=cause, reason=reason)
    attempt = state.attempt + 1
    return _moved(state, Status.PREPARING, now, cause=cause, reason=f"attempt {attempt} of {policy.max_attempts}", attempt=attempt)


def decide_no_capacity(state: CycleState | None, attempt: int, detail: str, now: datetime) -> Decision[CycleState]:
    """Decide to wait: no GPU anywhere is a state, not an error."""
    if state is None or state.attempt != attempt or state.status != Status.PREPARING:
        return Decision(None, reason="moved on meanwhile")
    reason = f"{detail}; next try at {(now + wait_after(looks(state) + 1)).isoformat(timespec='seconds')}"
    return _moved(state, Status.WAITING_FOR_CAPACITY, now, cause=f"capacity:{state.cycle}:{attempt}", reason=reason)


def decide_refused(state: CycleState | None, attempt: int, detail: str, now: datetime) -> Decision[CycleState]:
    """Decide that no trainer can be started at all."""
    if state is None or state.attempt != attempt or state.status != Status.PREPARING:
        return Decision(None, reason="moved on meanwhile")
    return _moved(state, Status.FAILED, now, cause=f"refused:{state.cycle}:{attempt}", reason=f"the trainer cannot be started: {detail}")


def decide_retry_capacity(state: CycleState | None, now: datetime) -> Decision[CycleState]:
    """Decide to look for a machine again."""
    if state is None or state.status != Status.WAITING_FOR_CAPACITY:
        return Decision(None, reason="not waiting for capacity")
    cause = f"capacity:{state.cycle}:{state.attempt}:again"
    return _moved(state, Status.PREPARING, now, by=SWEEPER, cause=cause, reason="looking for a machine again")


def _moved(
    state: CycleState, to: Status, now: datetime, *, by: str = BY, cause: str, reason: str, attempt: int | None = None
) -> Decision[CycleState]:
    return Decision(move(state, to, at=now, by=by, cause=cause, reason=reason, attempt=attempt), reason=reason)
