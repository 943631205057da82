"""SIGTERM: the machine will be gone in half a minute."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from trainer.shell.failures import RunPreempted


class Preemption:
    """Turns the first SIGTERM into `RunPreempted` in the main thread, until it is disarmed."""

    def __init__(self) -> None:
        self._armed = True
        self._held = False
        self._waiting = False

    def install(self) -> None:
        """Handle SIGTERM from now on; only the main thread may call this."""
        signal.signal(signal.SIGTERM, self.on_signal)

    def disarm(self) -> None:
        """Let later signals pass: what follows takes a moment and is better finished than said to be cut off."""
        self._armed = False

    @contextmanager
    def held(self) -> Iterator[None]:
        """Finish the block before a signal is raised: half an optimizer step would be in no checkpoint's order."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._waiting:
            self._waiting = False
            raise RunPreempted("SIGTERM")

    def on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Raise `RunPreempted`, now or at the end of the block that is held."""
        if not self._armed:
            return
        self._armed = False
        if self._held:
            self._waiting = True
        else:
            raise RunPreempted("SIGTERM")
