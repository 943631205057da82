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
from typing import Protocol

from shared import keys
from shared.bus import Publisher
from shared.cas import apply_with_cas, find
from shared.clock import Clock
from shared.cycle import CODEC, decide_begin_training
from shared.errors import RetuneError
from shared.events import TrainingEvent, TrainingFailed, TrainingPreempted
from shared.ids import derived_event_id
from shared.log import bind, log
from shared.machine import Machine
from shared.messages import outgoing
from shared.objectstore import ObjectStore
from shared.tracing import PastSpan, Traces
from shared.training import TrainingResult, completed_event
from trainer.shell.failures import RunFailed, RunPreempted, RunStopped, explain_failure
from trainer.shell.heartbeat import HeartbeatThread
from trainer.shell.preemption import Preemption
from trainer.shell.progress import Progress


class Outside(Protocol):
    """What the shell needs of the outside world."""

    @property
    def store(self) -> ObjectStore:
        """Of states, heartbeats and results."""
        ...

    @property
    def publisher(self) -> Publisher:
        """Takes the last word."""
        ...

    @property
    def clock(self) -> Clock:
        """Tells the time."""
        ...

    @property
    def heartbeat_s(self) -> float:
        """Seconds between two signs of life."""
        ...

    @property
    def preemption(self) -> Preemption:
        """Hears that the machine is taken away."""
        ...

    @property
    def machine(self) -> Machine | None:
        """That the run is on; None = nobody said."""
        ...

    @property
    def traces(self) -> Traces:
        """Where spans go."""
        ...


class Work(Protocol):
    """One attempt at work."""

    @property
    def deps(self) -> Outside:
        """Everything outside."""
        ...

    @property
    def cycle(self) -> int:
        """Number of the cycle."""
        ...

    @property
    def number(self) -> int:
        """Number of the attempt."""
        ...

    @property
    def progress(self) -> Progress:
        """Where the run is."""
        ...


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


def carry(work: Work, do: Callable[[], TrainingResult]) -> Ending:
    """Carry out one attempt; its events are published, its end is returned.

    Args:
        work: the attempt.
        do: its work, which writes `result.json`.

    Raises:
        Retryable: a failure could not be published; the stale heartbeat will tell.
    """
    bind(cycle=work.cycle, attempt=work.number)
    with work.deps.traces.span("train", work.cycle, attributes={"attempt": work.number}):
        ending = _carry(work, do)
        work.deps.traces.note(ending=ending.value[0])
        return ending


def _carry(work: Work, do: Callable[[], TrainingResult]) -> Ending:
    try:
        if refusal := _begin(work):
            log(f"nothing to do: {refusal}")
            return Ending.NOTHING_TO_DO
        with (
            _told_phases(work),
            HeartbeatThread(work.deps.store, work.cycle, work.number, work.progress, work.deps.clock, work.deps.heartbeat_s),
        ):
            result = do()
    except RunStopped as stop:
        log(f"stopped: {stop}", severity="WARNING")
        return Ending.STOPPED
    except RunPreempted as preemption:
        log(f"preempted: {preemption}", severity="WARNING")
        _publish(work, TrainingPreempted(**_identity(work, "TrainingPreempted")))
        return Ending.PREEMPTED
    except Exception as error:  # noqa: BLE001 - the process's last resort: whatever happened is told as a typed failure
        return _fail(work, explain_failure(error))
    log("completed", scale=result.scale, run_s=result.train["run_s"])
    _announce(work, result)
    return Ending.COMPLETED


@contextmanager
def _told_phases(work: Work) -> Iterator[None]:
    """Tell the phases of the work, however it ends."""
    try:
        yield
    finally:
        ends = work.deps.clock.now()
        for phase in reversed(work.progress.phases):
            work.deps.traces.past(PastSpan(phase.name, work.cycle, phase.began, ends, moments=tuple(phase.moments)))
            ends = phase.began


def _begin(work: Work) -> str:
    """Claim the state; return why not, or an empty text."""
    if find(work.deps.store, keys.result(work.cycle)) is not None:
        return f"cycle {work.cycle} has a result"
    cause = derived_event_id("TrainingStarted", f"cycle-{work.cycle}", f"attempt-{work.number}")
    now, machine = work.deps.clock.now(), work.deps.machine
    decide = partial(decide_begin_training, attempt=work.number, at=now, cause=cause, machine=machine)
    return apply_with_cas(work.deps.store, keys.state(work.cycle), CODEC, decide).reason


def _fail(work: Work, failure: RunFailed) -> Ending:
    work.deps.preemption.disarm()  # what remains is to say what happened; a group's other processes may be ending already
    traceback.print_exc(file=sys.stderr)
    log(f"failed: {failure}", severity="ERROR", reason=failure.reason)
    _store_train_log(work)
    _publish(work, TrainingFailed(**_identity(work, "TrainingFailed"), reason=failure.reason, detail=failure.detail))
    return Ending.FAILED


def _announce(work: Work, result: TrainingResult) -> None:
    """Say that the result stands. It does whether anybody hears it: the sweeper announces what was not announced."""
    _store_train_log(work)
    try:
        _publish(work, completed_event(result))
    except RetuneError as error:
        log(f"the result is written, its announcement failed: {error}", severity="ERROR")


def _store_train_log(work: Work) -> None:
    """Keep the train log; it is for people, so that a store which is away must not keep the events back."""
    if not work.progress.log_path.exists():
        return
    try:
        work.deps.store.put_file(keys.train_log(work.cycle, work.number), work.progress.log_path)
    except RetuneError as error:
        log(f"the train log was not stored: {error}", severity="ERROR")


def _identity(work: Work, event_type: str) -> dict[str, object]:
    event_id = derived_event_id(event_type, f"cycle-{work.cycle}", f"attempt-{work.number}")
    return {"event_id": event_id, "occurred_at": work.deps.clock.now(), "cycle": work.cycle, "attempt": work.number}


def _publish(work: Work, event: TrainingEvent) -> None:
    work.deps.publisher.publish(outgoing(event, work.deps.traces.carrier()))
