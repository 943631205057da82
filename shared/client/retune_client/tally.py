"""What happened to the events so far; safe between threads."""

import logging
import threading
from collections import Counter
from dataclasses import dataclass, field

log = logging.getLogger(__name__)


@dataclass
class Counts:
    """Numbers of events; `dropped` by cause, `problem` is the last one."""

    accepted: int = 0
    published: int = 0
    spooled: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    problem: str | None = None


class Tally:
    """Counts what becomes of the events."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = Counts()
        self._told = 0

    def add(self, *, accepted: int = 0, published: int = 0, spooled: int = 0) -> None:
        """Count events that went well."""
        with self._lock:
            self._counts.accepted += accepted
            self._counts.published += published
            self._counts.spooled += spooled

    def drop(self, cause: str, count: int = 1) -> None:
        """Count events that are lost."""
        with self._lock:
            self._counts.dropped[cause] += count

    def problem(self, text: str) -> None:
        """Remember what went wrong."""
        with self._lock:
            self._counts.problem = text

    def counts(self) -> Counts:
        """Return a copy."""
        with self._lock:
            now = self._counts
            return Counts(now.accepted, now.published, now.spooled, now.dropped.copy(), now.problem)

    def tell_drops(self) -> None:
        """Write what was lost since the last time into the log."""
        with self._lock:
            dropped = {cause: count for cause, count in self._counts.dropped.items() if count}
            news, self._told = sum(dropped.values()) - self._told, sum(dropped.values())
        if news:
            log.warning("%d events were dropped; so far: %s", news, dropped)
