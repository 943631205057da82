"""Around the work of one attempt: the claim before it, a heartbeat meanwhile, and the last word after it.

state preparing -> training     the first act; a result, another attempt or an ended cycle: nothing is done
the work                        under a heartbeat
result.json -> TrainingCompleted; a crash in between is the sweeper's to announce
anything else -> TrainingFailed with a typed reason, TrainingPreempted, or silence when the run is no longer wanted

Whoever trains by other means than ours does its work in here too; torch is not needed.
"""

import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from functools import partial

from shared import keys
from shared.cas import apply_with_cas, find
from shared.cycle import CODEC, decide_begin_training
from shared.errors import RetuneError
from shared.events import TrainingEvent, TrainingFailed, TrainingPreempted
from shared.ids import derived_event_id
from shared.log import bind, log
from shared.messages import outgoing
from shared.tracing import PastSpan
from shared.training import TrainingResult, completed_event
from trainer.shell.attempt import Attempt
from trainer.shell.failures import RunFailed, RunPreempted, RunStopped, explain_failure
from trainer.shell.heartbeat import HeartbeatThread


class Ending(Enum):
    """How a run ended; the value is the exit code of the process, 143 that of SIGTERM."""

    COMPLETED = ("completed", 0)
    NOTHING_TO_DO = ("nothing_to_do", 0)
    STOPPED = ("stopped", 0)
    FAILED = ("failed", 1)
    PREEMPTED = ("preempted", 143)

    @property
    def exit_code(self) -> int:
        """What the process returns."""
        return self.value[1]


def carry(attempt: Attempt, do: Callable[[], TrainingResult]) -> Ending:
    """Carry out one attempt; its events are published, its end is returned.

    Args:
        attempt: to carry out.
        do: its work, which writes `result.json`.

    Raises:
        Retryable: a failure could not be published; the stale heartbeat will tell.
    """
    bind(cycle=attempt.cycle, attempt=attempt.number)
    with attempt.traces.span("train", attempt.cycle, attributes={"attempt": attempt.number}):
        ending = _carry(attempt, do)
        attempt.traces.note(ending=ending.value[0])
        return ending


def _carry(attempt: Attempt, do: Callable[[], TrainingResult]) -> Ending:
    try:
        if refusal := _begin(attempt):
            log(f"nothing to do: {refusal}")
            return Ending.NOTHING_TO_DO
        with _told_phases(attempt), HeartbeatThread(attempt):
            result = do()
    except RunStopped as stop:
        log(f"stopped: {stop}", severity="WARNING")
        return Ending.STOPPED
    except RunPreempted as preemption:
        log(f"preempted: {preemption}", severity="WARNING")
        _publish(attempt, TrainingPreempted(**_identity(attempt, "TrainingPreempted")))
        return Ending.PREEMPTED
    except Exception as error:  # noqa: BLE001 - the process's last resort: whatever happened is told as a typed failure
        return _fail(attempt, explain_failure(error))
    log("completed", scale=result.scale, run_s=result.train["run_s"])
    _announce(attempt, result)
    return Ending.COMPLETED


@contextmanager
def _told_phases(attempt: Attempt) -> Iterator[None]:
    """Tell the phases of the work, however it ends."""
    try:
        yield
    finally:
        ends = attempt.clock.now()
        for phase in reversed(attempt.progress.phases):
            attempt.traces.past(PastSpan(phase.name, attempt.cycle, phase.began, ends, moments=tuple(phase.moments)))
            ends = phase.began


def _begin(attempt: Attempt) -> str:
    """Claim the state; return why not, or an empty text."""
    if find(attempt.store, keys.result(attempt.cycle)) is not None:
        return f"cycle {attempt.cycle} has a result"
    cause = derived_event_id("TrainingStarted", f"cycle-{attempt.cycle}", f"attempt-{attempt.number}")
    now, machine = attempt.clock.now(), attempt.machine
    decide = partial(decide_begin_training, attempt=attempt.number, at=now, cause=cause, machine=machine)
    return apply_with_cas(attempt.store, keys.state(attempt.cycle), CODEC, decide).reason


def _fail(attempt: Attempt, failure: RunFailed) -> Ending:
    attempt.preemption.disarm()  # what remains is to say what happened; a group's other processes may be ending already
    traceback.print_exc(file=sys.stderr)
    log(f"failed: {failure}", severity="ERROR", reason=failure.reason)
    _store_train_log(attempt)
    _publish(attempt, TrainingFailed(**_identity(attempt, "TrainingFailed"), reason=failure.reason, detail=failure.detail))
    return Ending.FAILED


def _announce(attempt: Attempt, result: TrainingResult) -> None:
    """Say that the result stands. It does whether anybody hears it: the sweeper announces what was not announced."""
    _store_train_log(attempt)
    try:
        _publish(attempt, completed_event(result))
    except RetuneError as error:
        log(f"the result is written, its announcement failed: {error}", severity="ERROR")


def _store_train_log(attempt: Attempt) -> None:
    """Keep the train log; it is for people, so that a store which is away must not keep the events back."""
    if not attempt.progress.log_path.exists():
        return
    try:
        attempt.store.put_file(keys.train_log(attempt.cycle, attempt.number), attempt.progress.log_path)
    except RetuneError as error:
        log(f"the train log was not stored: {error}", severity="ERROR")


def _identity(attempt: Attempt, event_type: str) -> dict[str, object]:
    event_id = derived_event_id(event_type, f"cycle-{attempt.cycle}", f"attempt-{attempt.number}")
    return {"event_id": event_id, "occurred_at": attempt.clock.now(), "cycle": attempt.cycle, "attempt": attempt.number}


def _publish(attempt: Attempt, event: TrainingEvent) -> None:
    attempt.publisher.publish(outgoing(event, attempt.traces.carrier()))
