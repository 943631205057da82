"""Compute Engine whose VMs are processes: each works as a trainer does until it is done, killed, frozen or taken away."""

import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from functions.launcher.trainers import TrainerRun, parse_name
from shared.clock import Clock
from tests.chaos.books import Span
from tests.google_api.compute import GOOD, Compute, Fate, failed
from tests.google_api.server import Request

Key = tuple[str, str]
"""Zone and name of a VM."""
_Operation = Any
HARMS = {"preempt": signal.SIGTERM, "kill": signal.SIGKILL, "hang": signal.SIGSTOP}
"""What may happen to a VM: its trainer is told and it goes; it is gone without a word; its trainer does nothing any more."""
NOTICE_S = 5.0
"""A machine that is taken away goes after so long in real time, whatever its trainer does."""
FATES: Mapping[str, Fate] = {
    "none left": failed("ZONE_RESOURCE_POOL_EXHAUSTED"),
    "lost": Fate(lost=True),
    "taken away at once": Fate(stays=False),
    "slow": Fate(ends=False),
    "here": GOOD,
}
"""What may happen to an insert."""


@dataclass
class Life:
    """One life of a VM.

    Attributes:
        begin, end: of its trainer's work, in the order of what was observed; None = not yet.
        idle: its trainer does nothing any more.
    """

    run: TrainerRun
    process: BaseProcess
    begin: int | None = None
    end: int | None = None
    idle: bool = False


class BurningCompute(Compute):
    """`Compute` that gives each VM a process.

    Args:
        clock: tells when a VM was made.
        start: starts the process of a run, and returns it with the line on which it speaks.
        tell: takes a line for the timeline.

    Attributes:
        unexpected: what trainers raised that no fault explains.
    """

    def __init__(self, clock: Clock, start: Callable[[TrainerRun], tuple[BaseProcess, Connection]], tell: Callable[[str], None]) -> None:
        super().__init__(looks=1)
        self.unexpected: list[str] = []
        self._shown = clock
        self._start = start
        self._tell = tell
        self._lives: dict[Key, Life] = {}
        self._past: list[Life] = []
        self._observed = 0
        self._threads: list[threading.Thread] = []

    def spans(self) -> tuple[Span, ...]:
        """Return when trainers were at work."""
        with self._lock:
            lives = (*self._past, *self._lives.values())
            return tuple(Span(life.run.cycle, life.run.attempt, life.begin, life.end) for life in lives if life.begin is not None)

    @property
    def lives_so_far(self) -> int:
        """How many VMs there have been."""
        return len(self._past) + len(self._lives)

    @property
    def working(self) -> bool:
        """Some trainer may still do something."""
        with self._lock:
            return any(life.process.is_alive() and not life.idle for life in self._lives.values())

    def harm(self, how: str) -> str:
        """Do one of HARMS to the VM that was made last; return its name, or an empty text where there is none."""
        with self._lock:
            found = list(self._lives.items())
            if not found:
                return ""
            key, life = found[-1]
            pid = life.process.pid
            if pid is not None and life.process.is_alive():
                os.kill(pid, HARMS[how])
                life.idle = life.idle or how == "hang"
        if how == "preempt":
            life.process.join(NOTICE_S)
            life.process.kill()
        return key[1]

    def kill_trainers(self) -> None:
        """Kill whatever works as a trainer."""
        with self._lock:
            for life in self._lives.values():
                life.process.kill()

    def close(self) -> None:
        """End all of them."""
        self.kill_trainers()
        for thread in self._threads:
            thread.join()

    def _time(self, age_s: float = 0.0) -> str:
        return (self._shown.now() - timedelta(seconds=age_s)).isoformat(timespec="milliseconds")

    def _insert(self, request: Request) -> Any:
        before = set(self.vms)
        try:
            return super()._insert(request)
        finally:
            for key in set(self.vms) - before:
                self._begin_life(key)

    def _end(self, operation: _Operation) -> None:
        key = (operation.zone, operation.target)
        if (operation.kind == "delete" or not operation.fate.stays) and key in self._lives:
            life = self._lives[key]
            life.process.kill()
            life.process.join()
            self._end_life(key, life)
        super()._end(operation)

    def _begin_life(self, key: Key) -> None:
        run = parse_name(key[1])
        assert run is not None, key
        process, line = self._start(run)
        life = self._lives[key] = Life(run, process)
        thread = threading.Thread(target=self._follow, args=(key, life, line), name=f"{key[1]} in {key[0]}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _end_life(self, key: Key, life: Life) -> None:
        """Note the end of a life, once. The lock is held."""
        if self._lives.get(key) is life:
            self._end_work(life)
            self._past.append(self._lives.pop(key))

    def _end_work(self, life: Life) -> None:
        """Note the end of a trainer's work, once. The lock is held."""
        if life.end is None:
            self._observed += 1
            life.end = self._observed

    def _follow(self, key: Key, life: Life, line: Connection) -> None:
        """Hear what a trainer says until it is gone; then its machine is gone, too."""
        while True:
            try:
                kind, text = line.recv()
            except (EOFError, OSError):
                break
            if kind == "begun":
                with self._lock:
                    if life.end is None:
                        self._observed += 1
                        life.begin = self._observed
            if kind == "done":
                with self._lock:
                    life.idle = True
                    self._end_work(life)
            if kind == "unexpected":
                self.unexpected.append(text)
            self._tell(f"{life.run.name} in {key[0]}: {text or kind}")
        life.process.join()
        with self._lock:
            if self._lives.get(key) is life:
                self._end_life(key, life)
                self.vms.pop(key, None)
                self._tell(f"{life.run.name} in {key[0]}: gone")
