"""What happened, put together from what the harness, the functions' logs and the journal of the store say."""

import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, order=True)
class Line:
    """One thing that happened.

    Attributes:
        at: seconds since the epoch.
    """

    at: float
    text: str


@dataclass
class Timeline:
    """What the harness itself did and saw; safe to share between threads."""

    began: float = field(default_factory=time.time)
    lines: list[Line] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, text: str) -> None:
        """Write one more line."""
        with self._lock:
            self.lines.append(Line(time.time(), text))

    def told(self, *others: Line) -> list[str]:
        """Return everything in the order in which it happened, with the seconds since the beginning."""
        return [f"{line.at - self.began:8.2f} {line.text}" for line in sorted((*self.lines, *others))]


class Stamped:
    """In place of standard output: each line goes to a file at once, with the time, and is whole or not there when the process is killed."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._lock = threading.Lock()
        self._rest = ""

    def write(self, text: str) -> int:
        """Write text; a line that has no end yet waits for it."""
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
            for line in lines:
                os.write(self._descriptor, json.dumps({"at": time.time(), "line": line}).encode() + b"\n")
        return len(text)

    def flush(self) -> None:
        """Do nothing: every line is written at once."""


def stamped_lines(path: Path) -> Iterator[Line]:
    """Yield what `Stamped` wrote."""
    if path.exists():
        for line in path.read_text().splitlines():
            found = json.loads(line)
            yield Line(found["at"], found["line"])
