"""Keeps what code does as it runs: which of the project's functions are called, and what is written and published from within which."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
FOLDERS = ("functions", "infra", "shared", "trainer")
STAND_INS = ("shared/testing/",)
"""Ports in memory are no step of a journey."""


class Place(NamedTuple):
    """A function by its file from the root of the repository, and its name there: a method as `Class.method`."""

    path: str
    name: str


class Step(NamedTuple):
    """A call of a function, or something that was made: `callers` are the functions within which it was."""

    called: Place | None
    made: str | None = None
    callers: frozenset[Place] = frozenset()


class Recorder:
    """Records in the order in which things happen, in all threads that are started meanwhile."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self._on = False
        self._places: dict[CodeType, Place | None] = {}

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record while the block runs."""
        before = sys.getprofile()
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)
        self._on = True
        try:
            yield
        finally:
            self._on = False
            sys.setprofile(before)
            threading.setprofile(before)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Record nothing while the block runs in this thread."""
        profile = sys.getprofile()
        sys.setprofile(None)
        self._on = False
        try:
            yield
        finally:
            self._on = True
            sys.setprofile(profile)

    def make(self, what: str) -> None:
        """Record that something is made, from within whatever functions of the project are running; without any it is not theirs."""
        if not self._on:
            return
        found: set[Place] = set()
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if (place := self._place(frame.f_code)) is not None:
                found.add(place)
            frame = frame.f_back
        if not found:
            return  # it comes from outside
        self.steps.append(Step(None, what, frozenset(found)))

    def _profile(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call" and (place := self._place(frame.f_code)) is not None:
            self.steps.append(Step(place))

    def _place(self, code: CodeType) -> Place | None:
        if code not in self._places:
            self._places[code] = _place_of(code)
        return self._places[code]


def _place_of(code: CodeType) -> Place | None:
    file = Path(code.co_filename)
    if not file.is_relative_to(ROOT):
        return None
    path = file.relative_to(ROOT).as_posix()
    ours = path.split("/")[0] in FOLDERS and not path.startswith(STAND_INS) and "<" not in code.co_qualname.replace("<locals>", "")
    return Place(path, code.co_qualname) if ours else None
