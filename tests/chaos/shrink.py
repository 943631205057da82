"""Cuts a failing schedule down to what it takes. Pure, but for the question whether a schedule still fails."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tests.chaos.schedule import Fault, Schedule, Step

Item = Step | Fault


def shrink(schedule: Schedule, fails: Callable[[Schedule], bool], *, most_runs: int = 400) -> Schedule:
    """Return a schedule that fails as well, and of which no single step, fault or number can be taken any more.

    Runs of steps are left out, the longest first, then numbers are made smaller, and so on until neither helps.

    Args:
        schedule: one that fails.
        fails: says whether another one fails in the same way.
        most_runs: so often is asked at most; then what has been reached is returned.
    """
    cutter = _Cutter(schedule, fails, most_runs)
    while cutter.leave_out() | cutter.simplify():
        pass
    return cutter.schedule


@dataclass
class _Cutter:
    schedule: Schedule
    fails: Callable[[Schedule], bool]
    left: int

    def leave_out(self) -> bool:
        """Leave out what the failure does not need; return whether anything went."""
        before = len(self.schedule.steps)
        size = max(before // 2, 1)
        while size:
            first = 0
            while first < len(self.schedule.steps):
                steps = self.schedule.steps
                if not self._try((*steps[:first], *steps[first + size :])):
                    first += size
            size //= 2
        return len(self.schedule.steps) < before

    def simplify(self) -> bool:
        """Make numbers smaller; return whether one is."""
        before = self.schedule
        for number in range(len(before.steps)):
            while any(self._try(self._with(number, item)) for item in _simpler(self.schedule.steps[number])):
                pass
        return self.schedule != before

    def _with(self, number: int, item: Item) -> tuple[Item, ...]:
        steps = self.schedule.steps
        return (*steps[:number], item, *steps[number + 1 :])

    def _try(self, steps: tuple[Item, ...]) -> bool:
        if not self.left:
            return False
        self.left -= 1
        smaller = self.schedule.with_steps(steps)
        if failed := self.fails(smaller):
            self.schedule = smaller
        return failed


def _simpler(item: Item) -> Iterator[Item]:
    """Yield the same thing with less in it: what comes to the same end sooner is tried first."""
    if isinstance(item, Fault):
        if item.nth > 1:
            yield from (replace(item, nth=nth) for nth in {1: None, item.nth // 2: None, item.nth - 1: None})
    elif item.number > 1:
        yield from (replace(item, number=number) for number in {item.number // 2: None, item.number - 1: None})
