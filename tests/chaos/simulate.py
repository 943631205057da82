"""Simulates seeded histories of all handlers: `python -m tests.chaos.simulate --seed 1 --schedules 1000 --seconds 60`.

First as they are drawn, then again with crashes where nobody has died yet. A history that leaves books which do not balance is cut down, and its seed and timeline are printed.
"""

import argparse
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import groupby

from tests.chaos.coverage import Coverage, planned
from tests.chaos.runner import Outcome, run
from tests.chaos.schedule import Schedule, generate
from tests.chaos.shrink import shrink

DRAWN_SHARE = 0.7
"""Of the time, for histories as they are drawn; in the rest they are run again, with crashes where nobody has died yet."""
MOST_TOLD = 10


def shrunk(outcome: Outcome, run: Callable[[Schedule], Outcome] = run) -> Outcome:
    """Return the outcome of the smallest history that breaks one of the same rules."""
    rules = {breach.rule for breach in outcome.breaches}

    def fails(schedule: Schedule) -> bool:
        return not rules.isdisjoint(breach.rule for breach in run(schedule).breaches)

    return run(shrink(outcome.schedule, fails))


def told(outcome: Outcome) -> str:
    """Return a failure in words: the seed, the history that it was cut down to, and what is wrong at its end."""
    schedule = outcome.schedule
    lines = [
        f"seed {schedule.seed}, policy {schedule.policy!r}, cut down to {len(schedule.steps)} steps:",
        *(f"  {step!r}," for step in schedule.steps),
        "what happened:",
        *(f"  {line}" for line in folded(outcome.timeline)),
        "what is wrong:",
        *(f"  {breach}" for breach in outcome.breaches),
        f"again: python -m tests.chaos.simulate --seed {schedule.seed} --schedules 1",
        f"or, just this: tests.chaos.runner.run(Schedule({schedule.seed}, {schedule.policy!r}, (the steps above)))",
    ]
    return "\n".join(lines)


def folded(lines: Sequence[str]) -> list[str]:
    """Return a timeline in which reports that were collected without more ado take one line."""
    told: list[str] = []
    for dull, group in groupby(lines, lambda line: "collector <- " in line and line.endswith(": collected")):
        run = list(group)
        told += (
            [run[0], f"{' ' * (len(run[0]) - len(run[0].lstrip()))}... {len(run) - 1} more were collected"]
            if dull and len(run) > 2
            else run
        )
    return told


def main(arguments: Sequence[str] | None = None) -> int:
    """Run schedules until their number or the time is used up, or one fails; return 0 where none has."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.simulate", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the first history; the next ones count on from it")
    parser.add_argument("--schedules", type=int, default=1000, help="at most so many histories")
    parser.add_argument("--seconds", type=float, default=60.0, help="none is waited for after so many seconds")
    parser.add_argument(
        "--jobs", type=int, default=os.cpu_count() or 1, help="so many processes; what a seed comes to does not depend on it"
    )
    parser.add_argument("--timeline", action="store_true", help="print what happened in each history, also where nothing is wrong")
    options = parser.parse_args(arguments)
    coverage, began = Coverage(), time.monotonic()
    with _runs(options.jobs) as runs:
        drawn = runs(map(generate, range(options.seed, options.seed + options.schedules)))
        again = (outcome for batch in planned(coverage) for outcome in runs(batch))
        for outcomes, ends in ((drawn, began + DRAWN_SHARE * options.seconds), (again, began + options.seconds)):
            for outcome in outcomes:
                coverage.add(outcome)
                if options.timeline:
                    print("\n".join((f"seed {outcome.schedule.seed}, policy {outcome.schedule.policy!r}", *folded(outcome.timeline))))
                if outcome.breaches:
                    print(f"seed {outcome.schedule.seed}: {outcome.breaches[0]}; cutting its history down", file=sys.stderr)
                    print(told(shrunk(outcome)))
                    return 1
                if time.monotonic() > ends:
                    break
            outcomes.close()
    print(summary(coverage, time.monotonic() - began))
    return 0


Outcomes = Generator[Outcome, None, None]


@contextmanager
def _runs(jobs: int) -> Iterator[Callable[[Iterable[Schedule]], Outcomes]]:
    """Give what runs schedules, so many at a time, and yields what they come to in their order."""
    if jobs == 1:
        yield lambda schedules: (run(schedule) for schedule in schedules)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield partial(_in_order, pool, 4 * jobs)


def _in_order(pool: ProcessPoolExecutor, ahead: int, schedules: Iterable[Schedule]) -> Outcomes:
    """Run schedules, a few ahead of what is asked for; whoever asks for no more waits for no more than those."""
    waiting: deque[Future[Outcome]] = deque()
    try:
        for schedule in schedules:
            waiting.append(pool.submit(run, schedule))
            if len(waiting) == ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def summary(coverage: Coverage, took_s: float) -> str:
    """Return in words what was run and reached."""
    rate = 60 * coverage.runs / took_s if took_s else 0.0
    sides = len(coverage.met)
    lines = [
        f"{coverage.runs} histories in {took_s:.1f} s, {rate:.0f} a minute: the books of {coverage.runs - len(coverage.failed)} balance",
        f"{len(coverage.points)} write points met, crashes on {sides - len(coverage.missing)} of their {sides} sides",
        *(f"  no {side}: {point}" for point, side in coverage.missing[:MOST_TOLD]),
        *([f"  and {more} more: give it more time"] if (more := len(coverage.missing) - MOST_TOLD) > 0 else []),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
