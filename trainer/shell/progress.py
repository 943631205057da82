"""What a run shows while it works: a bar for people, JSON lines for machines, and a number for the heartbeat."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from shared.clock import Clock
from shared.tracing import Moment
from shared.training import EpochFigures

Item = TypeVar("Item")
TRAIN_LOG = "train-log.jsonl"
"""Name of the train log, in the folder of a run."""
LOG_FILE_SECONDS = 15.0
"""How often the bar prints a line where stderr is a file."""
OFTEN = frozenset({"phase", "step"})
"""Events of the train log that are no moments of a phase."""
SHOWN_EPOCHS = 200
"""So many newest epochs are shown while a run goes on; the train log has all."""


@dataclass(frozen=True)
class Position:
    """Where the run is: `done` of `total` pieces of `phase`."""

    phase: str
    done: int
    total: int


@dataclass(frozen=True)
class Learned:
    """How the training does.

    Attributes:
        left_s: seconds until the phase is over, at its speed so far; None = no piece of it is done.
        loss: of the last step; None = no step yet.
        epochs: that are over, the newest.
    """

    left_s: float | None
    loss: float | None
    epochs: tuple[EpochFigures, ...]


@dataclass(frozen=True)
class Phase:
    """A phase of the run.

    Attributes:
        moments: what happened in it.
    """

    name: str
    began: datetime
    moments: list[Moment] = field(default_factory=list)


class Progress:
    """The run's progress. The training thread moves it on; the heartbeat reads `position` and may interrupt it.

    Attributes:
        log_path: the train log: one JSON object a line, each with the time `at`, `phase` and an `event`.
    """

    def __init__(self, log_path: Path, clock: Clock, *, bars: bool = True) -> None:
        self.log_path = log_path
        self._bars = bars
        self._clock = clock
        self._position = Position("starting", 0, 0)
        self._interruption: Exception | None = None
        self._lock = threading.Lock()
        self._started = self._phase_began = time.monotonic()
        self._phase_done = 0
        self._loss: float | None = None
        self._epochs: tuple[EpochFigures, ...] = ()
        self._phases: list[Phase] = []

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The phases so far, and when each began."""
        with self._lock:
            return tuple(self._phases)

    @property
    def position(self) -> Position:
        """Where the run is now."""
        with self._lock:
            return self._position

    @property
    def learned(self) -> Learned:
        """How the training does now."""
        with self._lock:
            position, fresh = self._position, self._position.done - self._phase_done
            each_s = (time.monotonic() - self._phase_began) / fresh if fresh > 0 else None
            left_s = None if each_s is None else each_s * max(position.total - position.done, 0)
            return Learned(left_s, self._loss, self._epochs)

    def note_loss(self, loss: float) -> None:
        """Take note of the loss of a step."""
        with self._lock:
            self._loss = loss

    def note_epochs(self, epochs: Sequence[EpochFigures]) -> None:
        """Take note of the epochs that are over."""
        with self._lock:
            self._epochs = tuple(epochs[-SHOWN_EPOCHS:])

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start of the run."""
        return time.monotonic() - self._started

    def interrupt(self, error: Exception) -> None:
        """Have the training thread raise `error` at its next piece of work."""
        with self._lock:
            self._interruption = error

    @property
    def interrupted(self) -> bool:
        """`check` would raise."""
        with self._lock:
            return self._interruption is not None

    def check(self) -> None:
        """Raise what `interrupt` was given, if anything."""
        with self._lock:
            interruption = self._interruption
        if interruption:
            raise interruption

    def enter(self, phase: str, total: int = 0) -> None:
        """Begin a phase of `total` pieces and say so in the log."""
        self.check()
        with self._lock:
            self._position = Position(phase, 0, total)
            self._phase_began, self._phase_done = time.monotonic(), 0
            self._phases.append(Phase(phase, self._clock.now()))
        self.log("phase", total=total)

    def track(self, items: Iterable[Item], phase: str, total: int) -> Iterator[Item]:
        """Yield `items` behind a progress bar; before each it is checked whether to stop."""
        with self.counting(phase, total) as advance:
            for item in items:
                self.check()
                yield item
                advance()

    @contextmanager
    def counting(self, phase: str, total: int, done: int = 0) -> Iterator[Callable[[], None]]:
        """Show a bar, with the time left, that each call of what is given moves on by one piece; `done` of `total` were done before."""
        from tqdm import tqdm  # comes with the extra `trainer`, which a run that counts nothing can do without

        self.enter(phase, total)
        with self._lock:
            self._position, self._phase_done = Position(phase, done, total), done
        interval = 0.2 if sys.stderr.isatty() else LOG_FILE_SECONDS
        options = {"file": sys.stderr, "mininterval": interval, "dynamic_ncols": True, "unit": "", "disable": not self._bars}
        with tqdm(total=total, initial=done, desc=phase, **options) as bar:

            def advance() -> None:
                nonlocal done
                done += 1
                with self._lock:
                    self._position = Position(phase, done, total)
                bar.update()

            yield advance

    def log(self, event: str, **figures: Any) -> None:
        """Append one line to the train log; what ends an epoch or chooses is a moment of its phase, with its numbers alone."""
        if event not in OFTEN:
            numbers = {name: value for name, value in figures.items() if isinstance(value, int | float)}
            with self._lock:
                if self._phases:
                    self._phases[-1].moments.append(Moment(event, self._clock.now(), numbers))
        line = {"at": self._clock.now().isoformat(), "phase": self.position.phase, "event": event, **figures}
        with self.log_path.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
