"""A crash on both sides of every write point that a set of schedules comes to."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tests.chaos.faulty import Point
from tests.chaos.runner import Outcome
from tests.chaos.schedule import Fault, Schedule

PLANNED = 4
"""So many crashes are planned for one run: each gives the others something to mend."""


@dataclass
class Coverage:
    """What has been reached, and where a process died.

    Attributes:
        met: sides of points (what is written may be there already: then nobody stands behind the write), each with the first schedule
            that comes to it.
        ended: how cycles stood at the end.
        runs: how many schedules were run.
        failed: outcomes with breaches.
    """

    met: dict[tuple[Point, str], Schedule] = field(default_factory=dict)
    crashed: set[tuple[Point, str]] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    runs: int = 0
    failed: list[Outcome] = field(default_factory=list)

    def add(self, outcome: Outcome) -> None:
        """Take in what one more schedule came to."""
        self.runs += 1
        self.crashed |= outcome.crashed
        self.ended.update(outcome.ended)
        for side in sorted(outcome.met - self.met.keys()):
            self.met[side] = outcome.schedule
        if outcome.breaches:
            self.failed.append(outcome)

    @property
    def points(self) -> list[Point]:
        """Return the points that were met."""
        return sorted({point for point, _ in self.met})

    @property
    def missing(self) -> list[tuple[Point, str]]:
        """Return the sides of points on which nobody has died yet."""
        return [each for each in sorted(self.met) if each not in self.crashed]


def crash_everywhere(schedules: Iterable[Schedule], run: Callable[[Schedule], Outcome]) -> Coverage:
    """Run schedules, then again with crashes planned where none has been, until each point had one or cannot have it.

    Args:
        schedules: the fixed set.
        run: runs one.
    """
    coverage = Coverage()
    for schedule in schedules:
        coverage.add(run(schedule))
    for batch in planned(coverage):
        for schedule in batch:
            coverage.add(run(schedule))
    return coverage


def planned(coverage: Coverage) -> Iterator[list[Schedule]]:
    """Yield histories with crashes where none has been, batch after batch; what each of a batch comes to must be added before the next."""
    tries: Counter[tuple[Point, str]] = Counter()
    while wanted := [each for each in coverage.missing if tries[each] < 2]:
        # At first together with others, which may keep the history from this point; then alone, which nothing can.
        by_schedule: dict[Schedule, list[tuple[Point, str]]] = defaultdict(list)
        for side in wanted:
            by_schedule[coverage.met[side]].append(side)
        yield [
            _with_crashes(schedule, group)
            for schedule, sides in by_schedule.items()
            for group in (*_groups([side for side in sides if not tries[side]]), *([side] for side in sides if tries[side]))
        ]
        tries.update(wanted)


def _groups(sides: list[tuple[Point, str]]) -> Iterator[list[tuple[Point, str]]]:
    return (sides[first : first + PLANNED] for first in range(0, len(sides), PLANNED))


def _with_crashes(schedule: Schedule, sides: list[tuple[Point, str]]) -> Schedule:
    return schedule.with_steps((*(Fault(side, point.actor, point.what) for point, side in sides), *schedule.steps))
