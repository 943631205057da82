"""Sets the local stack on fire: `python -m tests.chaos.fire --seed 1 --seconds 180`.

Real processes, sockets and clients under a seeded schedule of faults. Then the faults stop, everything comes to rest, and the books are
checked. What fails prints its seed and its timeline. The schedule follows from the seed; how processes overtake each other does not.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.chaos.fire.defects import DEFECTS
from tests.chaos.fire.run import Burned, burn
from tests.chaos.fire.schedule import generate
from tests.chaos.fire.weather import FATES
from tests.chaos.simulate import folded


def main(arguments: Sequence[str] | None = None) -> int:
    """Burn so many stacks one after the other, until one fails; return 0 where none has."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.fire", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="of the first stack; the next ones count on from it")
    parser.add_argument("--stacks", type=int, default=1, help="so many are set on fire, one after the other")
    parser.add_argument("--seconds", type=float, default=60.0, help="each burns so long before the faults stop")
    parser.add_argument("--defect", choices=sorted(DEFECTS), action="append", default=[], help="plant a defect, to see that it is found")
    parser.add_argument("--timeline", action="store_true", help="print what happened, also where nothing is wrong")
    options = parser.parse_args(arguments)
    for seed in range(options.seed, options.seed + options.stacks):
        began = time.monotonic()
        with TemporaryDirectory(prefix="retune-fire-") as folder:
            burned = burn(generate(seed, options.seconds, defects=tuple(options.defect)), Path(folder))
        if report(burned, took_s=time.monotonic() - began, timeline=options.timeline):
            return 1
    return 0


def report(burned: Burned, *, took_s: float, timeline: bool) -> int:
    """Print what came of a plan, with the timeline where something is wrong; return 0 where nothing is."""
    if burned.breaches or timeline:
        print("\n".join(folded(burned.timeline)))
    print(summary(burned, took_s))
    if burned.breaches:
        print(told(burned))
    return 1 if burned.breaches else 0


def summary(burned: Burned, took_s: float) -> str:
    """Return in words what was run and reached."""
    struck = sum(burned.struck.values())
    kinds = sum(len(fates) for fates in FATES.values())
    killed = ", ".join(f"{name} {count}" for name, count in burned.killed.items() if count) or "nobody"
    ends = ", ".join(f"{burned.cycles.count(status)} {status}" for status in dict.fromkeys(burned.cycles)) or "none"
    return "\n".join(
        (
            f"seed {burned.plan.seed}, policy {burned.plan.policy!r}: burned {burned.plan.seconds:g} s, {took_s:.1f} s in all",
            f"  {burned.published} messages published, {burned.handled} deliveries handled; {burned.machines} machines",
            f"  cycles: {ends}; {burned.moves} moves of the alias",
            f"  {struck} calls met one of {len(burned.struck)} of {kinds} troubles; killed: {killed}",
        )
    )


def told(burned: Burned) -> str:
    """Return what is wrong, and the command that burns the same stack again."""
    plan = burned.plan
    defects = "".join(f" --defect {defect!r}" for defect in plan.defects)
    return "\n".join(
        (
            "what is wrong:",
            *(f"  {breach}" for breach in burned.breaches),
            f"again: python -m tests.chaos.fire --seed {plan.seed} --seconds {plan.seconds:g}{defects}",
        )
    )


if __name__ == "__main__":
    sys.exit(main())
