"""The run's sign of life, and its ear: a cancelled cycle or a newer attempt must not be worked on."""

import threading
from types import TracebackType
from typing import Self

from shared import keys
from shared.cas import find
from shared.cycle import CODEC, Status
from shared.documents import document_bytes
from shared.errors import CommitUnknown, Retryable
from shared.log import log
from shared.training import Heartbeat, RunProgress
from trainer.shell.attempt import Attempt
from trainer.shell.failures import RunStopped

JOIN_TIMEOUT_S = 5.0
"""A preempted machine has 30 s; a store that hangs may not take them all."""


def check_wanted(attempt: Attempt) -> None:
    """Look at the state itself, as before something is written for good.

    Raises:
        RunStopped: the cycle does not want this attempt to go on.
        Retryable: the store could not be reached.
    """
    found = find(attempt.store, keys.state(attempt.cycle))
    state = CODEC.parse(found.data) if found else None
    if state is None:
        raise RunStopped(f"cycle {attempt.cycle} has no state any more")
    if state.status != Status.TRAINING:
        raise RunStopped(f"cycle {attempt.cycle} is {state.status}")
    if state.attempt != attempt.number:
        raise RunStopped(f"attempt {state.attempt} is at work, not {attempt.number}")


class HeartbeatThread:
    """Writes `runs/n/heartbeat.json` at once and then every `attempt.heartbeat_s`, until the block ends.

    A store that is away is reported and tried again at the next beat: training needs no store.
    """

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
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
        attempt, progress = self._attempt, self._attempt.progress
        try:
            check_wanted(attempt)
        except RunStopped as stop:
            progress.interrupt(stop)
            return
        position = progress.position
        beat = Heartbeat(
            cycle=attempt.cycle,
            attempt=attempt.number,
            at=attempt.clock.now(),
            phase=position.phase,
            done=position.done,
            total=position.total,
        )
        attempt.store.put(keys.heartbeat(attempt.cycle), document_bytes(beat), content_type="application/json")
        learned = progress.learned
        shown = RunProgress(**dict(beat), left_s=learned.left_s, loss=learned.loss, epochs=learned.epochs)
        attempt.store.put(keys.progress(attempt.cycle), document_bytes(shown), content_type="application/json")

    def _beat_until_ended(self) -> None:
        while True:
            try:
                self.beat()
            except (Retryable, CommitUnknown) as error:
                log(f"heartbeat: {error}", severity="WARNING", cycle=self._attempt.cycle, attempt=self._attempt.number)
            except Exception as error:  # noqa: BLE001 - raised again in the training thread, which can say so
                self._attempt.progress.interrupt(error)
                return
            if self._ended.wait(self._attempt.heartbeat_s):
                return
