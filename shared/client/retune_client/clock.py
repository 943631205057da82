"""Time as an argument, waiting included."""

import math
import threading
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits for it; settable in tests (`retune_client.testing.ManualClock`)."""

    def now(self) -> datetime:
        """Return the present time, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Return seconds since some fixed moment; never goes back."""
        ...

    def wait_until(self, condition: threading.Condition, deadline_s: float) -> None:
        """Wait, holding `condition`, until it is notified or `monotonic()` reaches `deadline_s`; may return early."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the present time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds since some fixed moment; never goes back."""
        return time.monotonic()

    def wait_until(self, condition: threading.Condition, deadline_s: float) -> None:
        """Wait, holding `condition`, until it is notified or `monotonic()` reaches `deadline_s`; may return early."""
        left_s = deadline_s - self.monotonic()
        if left_s > 0:
            condition.wait(None if math.isinf(left_s) else min(left_s, threading.TIMEOUT_MAX))
