"""Tells on the terminal what a cycle does while it does it; everything it says was read from the store."""

import threading
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from shared import keys
from shared.cas import find
from shared.cycle import CODEC, CycleState, Status
from shared.documents import parse_document
from shared.objectstore import ObjectStore
from shared.training import Heartbeat

POLL_S = 0.4


class DemoTimeout(RuntimeError):  # noqa: N818 - says what happened
    """Something that the demo waits for did not happen in time."""


def progress_bar(console: Console) -> Progress:
    """Return the bar that all long steps of the demo use."""
    columns = (TextColumn("  {task.description:<34}"), BarColumn(30), TextColumn("{task.completed:.0f}/{task.total:.0f}"))
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, transient=False)


def wait_until(condition: Callable[[], bool], what: str, *, timeout_s: float, poll_s: float = POLL_S) -> None:
    """Wait until a condition holds.

    Raises:
        DemoTimeout: it did not in time.
    """
    pause = threading.Event()
    waited = 0.0
    while not condition():
        if waited >= timeout_s:
            raise DemoTimeout(f"expected {what} within {timeout_s:.0f} s, and it did not come: see the logs that `retune up` names")
        pause.wait(poll_s)
        waited += poll_s


def read_state(store: ObjectStore, cycle: int) -> CycleState | None:
    """Return a cycle's state."""
    found = find(store, keys.state(cycle))
    return CODEC.parse(found.data) if found else None


class CycleStory:
    """Follows one cycle from its opening to its end.

    Args:
        console: where it is told.
        store: the registry's.
        cycle: its number.
        timeout_s: an end is expected within.
        on_canary: called at every look while the cycle's version is on canary: there a service must serve.
    """

    def __init__(
        self,
        console: Console,
        store: ObjectStore,
        cycle: int,
        *,
        timeout_s: float = 900.0,
        on_canary: Callable[[], object] = lambda: None,
    ) -> None:
        self._console = console
        self._store = store
        self._cycle = cycle
        self._timeout_s = timeout_s
        self._on_canary = on_canary
        self._told = 0
        self._phase = ""
        self._task: TaskID | None = None

    def follow(self) -> CycleState:
        """Tell every move and the trainer's progress until the cycle has ended; return its last state.

        Raises:
            DemoTimeout: it did not end in time.
        """
        with progress_bar(self._console) as bar:
            wait_until(lambda: self._look(bar), f"cycle {self._cycle} to end", timeout_s=self._timeout_s)
        state = read_state(self._store, self._cycle)
        assert state is not None
        return state

    def _look(self, bar: Progress) -> bool:
        state = read_state(self._store, self._cycle)
        if state is None:
            return False
        for entry in state.history[self._told :]:
            bar.console.print(f"  cycle {self._cycle} is [bold]{entry.status}[/bold] ({entry.by}): {entry.reason}", highlight=False)
        self._told = len(state.history)
        if state.status != Status.TRAINING:
            self._finish_phase(bar)
        if state.status == Status.TRAINING:
            self._show_training(bar)
        if state.status == Status.CANARY:
            self._on_canary()
        return state.ended

    def _show_training(self, bar: Progress) -> None:
        found = find(self._store, keys.heartbeat(self._cycle))
        if found is None:
            return
        beat = parse_document(Heartbeat, found.data, what=found.info.key)
        if beat.phase != self._phase:
            self._finish_phase(bar)
            self._phase = beat.phase
            self._task = bar.add_task(f"trainer: {beat.phase}", total=max(beat.total, 1))
        if self._task is not None:
            bar.update(self._task, completed=beat.done, total=max(beat.total, 1))

    def _finish_phase(self, bar: Progress) -> None:
        """Fill the bar of a phase that has ended: its last pieces fell between two heartbeats."""
        if self._task is not None:
            bar.update(self._task, completed=bar.tasks[self._task].total)
            bar.stop_task(self._task)
            self._task = None
