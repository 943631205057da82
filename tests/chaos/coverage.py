"""A crash on both sides of every write point that a set of schedules comes to."""

from collections import Counter
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
        for side in sorted(outcome.met):
            self.met.setdefault(side, outcome.schedule)
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
    for schedule in planned(coverage):
        coverage.add(run(schedule))
    return coverage


def planned(coverage: Coverage) -> Iterator[Schedule]:
    """Yield histories with crashes where none has been; what each comes to must be added before the next is asked for."""
    tries: Counter[tuple[Point, str]] = Counter()
    while wanted := [each for each in coverage.missing if tries[each] < 2]:
        schedule = coverage.met[wanted[0]]
        # At first together with others, which may keep the history from this point; then alone, which nothing can.
        others = [each for each in wanted[1:] if coverage.met[each] == schedule] if not tries[wanted[0]] else []
        tries[wanted[0]] += 1
        crashes = tuple(Fault(side, point.actor, point.what) for point, side in (wanted[0], *others[: PLANNED - 1]))
        yield schedule.with_steps((*crashes, *schedule.steps))
