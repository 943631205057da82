"""Cuts a failing schedule down to what it takes. Pure, but for the question whether a schedule still fails."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.chaos.schedule import Fault, Schedule, Step

Item = Step | Fault


def shrink(schedule: Schedule, fails: Callable[[Schedule], bool], *, most_runs: int = 600) -> Schedule:
    """Return a schedule that fails as well, and of which no single step, fault or number can be taken any more.

    First runs of steps are left out, the longest first, then numbers are made smaller, until neither helps.

    Args:
        schedule: one that fails.
        fails: says whether another one fails in the same way.
        most_runs: so often is asked at most; then what has been reached is returned.
    """
    left = most_runs
    while True:
        smaller = None
        for candidate in _candidates(schedule):
            if not left:
                return schedule
            left -= 1
            if fails(candidate):
                smaller = candidate
                break
        if smaller is None:
            return schedule
        schedule = smaller


def _candidates(schedule: Schedule) -> Iterator[Schedule]:
    steps = schedule.steps
    length = len(steps)
    size = max(length // 2, 1)
    while size and length:
        for first in range(0, length, size):
            yield schedule.with_steps((*steps[:first], *steps[first + size :]))
        size //= 2
    for number, item in enumerate(steps):
        for simpler in _simpler(item):
            yield schedule.with_steps((*steps[:number], simpler, *steps[number + 1 :]))


def _simpler(item: Item) -> Iterator[Item]:
    """Yield the same thing with less in it: what comes to the same end sooner is tried first."""
    if isinstance(item, Fault):
        if item.nth > 1:
            yield from (replace(item, nth=nth) for nth in {1: None, item.nth // 2: None, item.nth - 1: None})
    elif item.number > 1:
        yield from (replace(item, number=number) for number in {item.number // 2: None, item.number - 1: None})
