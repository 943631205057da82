"""The run's sign of life, and its ear: a cancelled cycle or a newer attempt must not be worked on."""

import threading
from types import TracebackType
from typing import Self

from shared import keys
from shared.cas import find
from shared.clock import Clock
from shared.cycle import CODEC, Status
from shared.errors import CommitUnknown, Retryable
from shared.log import log
from shared.objectstore import ObjectStore
from shared.training import Heartbeat, RunProgress, document_bytes
from trainer.shell.failures import RunStopped
from trainer.shell.progress import Progress

JOIN_TIMEOUT_S = 5.0
"""A preempted machine has 30 s; a store that hangs may not take them all."""


def why_unwanted(store: ObjectStore, cycle: int, attempt: int) -> str:
    """Return why the cycle does not want this attempt to go on, or an empty text.

    Raises:
        Retryable: the store could not be reached.
    """
    found = find(store, keys.state(cycle))
    state = CODEC.parse(found.data) if found else None
    if state is None:
        return f"cycle {cycle} has no state any more"
    if state.status != Status.TRAINING:
        return f"cycle {cycle} is {state.status}"
    if state.attempt != attempt:
        return f"attempt {state.attempt} is at work, not {attempt}"
    return ""


class HeartbeatThread:
    """Writes `runs/n/heartbeat.json` at once and then every `interval_s`, until the block ends.

    A store that is away is reported and tried again at the next beat: training needs no store.
    """

    def __init__(self, store: ObjectStore, cycle: int, attempt: int, progress: Progress, clock: Clock, interval_s: float) -> None:
        self._store = store
        self._cycle = cycle
        self._attempt = attempt
        self._progress = progress
        self._clock = clock
        self._interval_s = interval_s
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_ended, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join(timeout=JOIN_TIMEOUT_S)

    def beat(self) -> None:
        """Look whether the run is still wanted, then write one heartbeat: never over that of a newer attempt."""
        if reason := why_unwanted(self._store, self._cycle, self._attempt):
            self._progress.interrupt(RunStopped(reason))
            return
        position = self._progress.position
        beat = Heartbeat(
            cycle=self._cycle,
            attempt=self._attempt,
            at=self._clock.now(),
            phase=position.phase,
            done=position.done,
            total=position.total,
        )
        self._store.put(keys.heartbeat(self._cycle), document_bytes(beat), content_type="application/json")
        learned = self._progress.learned
        shown = RunProgress(**dict(beat), left_s=learned.left_s, loss=learned.loss, epochs=learned.epochs)
        self._store.put(keys.progress(self._cycle), document_bytes(shown), content_type="application/json")

    def _beat_until_ended(self) -> None:
        while True:
            try:
                self.beat()
            except (Retryable, CommitUnknown) as error:
                log(f"heartbeat: {error}", severity="WARNING", cycle=self._cycle, attempt=self._attempt)
            except Exception as error:  # noqa: BLE001 - raised again in the training thread, which can say so
                self._progress.interrupt(error)
                return
            if self._ended.wait(self._interval_s):
                return
