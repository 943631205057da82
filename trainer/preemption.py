"""SIGTERM: the machine will be gone in half a minute."""

import signal
from types import FrameType

from trainer.failures import RunPreempted


class Preemption:
    """Turns the first SIGTERM into `RunPreempted` in the main thread, until it is disarmed."""

    def __init__(self) -> None:
        self._armed = True

    def install(self) -> None:
        """Handle SIGTERM from now on; only the main thread may call this."""
        signal.signal(signal.SIGTERM, self._on_signal)

    def disarm(self) -> None:
        """Let later signals pass: what follows takes a moment and is better finished than said to be cut off."""
        self._armed = False

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._armed:
            self._armed = False
            raise RunPreempted("SIGTERM")
