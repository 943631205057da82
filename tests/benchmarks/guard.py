"""How often the guard rolls a promoted version back that is no worse, and how soon one that is worse.

A day of guard, a look every minute, decided by the sweeper's own `decide_watch`. Beside it what is often set up instead: an alert as soon as the
error rate is half as high again, and a test of two proportions that is looked at every minute. Run as `python -m tests.benchmarks.guard`.
"""

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from pathlib import Path
from statistics import NormalDist, median

import numpy as np
from numpy.typing import NDArray

from functions.sweeper.verdict import SMALLEST_RATE, decide_watch
from shared.policy import CanaryPolicy
from shared.sequential import FEWEST_BLOCKS, Counts, Pair, contrast, fixed_upper
from shared.testing.canary_traffic import GuardTraffic, simulate_takeover
from shared.testing.clock import START
from shared.watch import Subject, advance, begin

POLICY = CanaryPolicy()
SETTLE = int(POLICY.session_s / 60)
SUBJECT = Subject(kind="guard", version=2, against=1, since=START)
TRIALS = 200
POWER_TRIALS = 40
SEED = 1
Z = NormalDist().inv_cdf(1.0 - POLICY.alpha)
Z_LOOK = 3.0
"""No boundary of the always-valid test at half of 5% is below 3.03 standard deviations."""

EVEN = GuardTraffic(drift=0.0, rush=0.0)
"""The same error rate and traffic at every hour: what the level is promised for."""

SERVICES = {
    "independent utterances, no rhythm": replace(EVEN, session_utterances=1.001, correlation=0.0),
    "sessions of 10, correlation 0.1, no rhythm": EVEN,
    "sessions of 20, correlation 0.2, no rhythm": replace(EVEN, session_utterances=20, correlation=0.2),
    "2% errors, no rhythm": replace(EVEN, error_rate=0.02),
    "base of 1,000 utterances, no rhythm": replace(EVEN, before_min=10),
    "base of 300 utterances at 3 a minute, no rhythm": replace(EVEN, before_min=100, utterances_per_minute=3),
    "base of 300 independent utterances, 2% errors, no rhythm": replace(
        EVEN, before_min=3, error_rate=0.02, session_utterances=1.001, correlation=0.0
    ),
    "traffic +-50%, error rate +-30% over the day": GuardTraffic(),
    "the same, sessions of 20, correlation 0.2": GuardTraffic(session_utterances=20, correlation=0.2),
    "the same, sessions of 10, 2% errors": GuardTraffic(error_rate=0.02),
    "traffic +-50%, error rate +-50% over the day": GuardTraffic(drift=0.5),
    "traffic +-50%, error rate +-30%, base of two hours": GuardTraffic(before_min=120),
    "traffic +-50%, error rate +-50%, base of two hours": GuardTraffic(before_min=120, drift=0.5),
}
POWER = {
    "100 utterances a minute, 10% errors": GuardTraffic(),
    "100 utterances a minute, 2% errors": GuardTraffic(error_rate=0.02),
    "3 utterances a minute, 10% errors": GuardTraffic(utterances_per_minute=3),
}
Rule = Callable[[Counts, NDArray[np.int64]], int | None]
"""From what the version before showed and the new one's errors and utterances, (minutes, 2), to the minute of the rollback; None = never."""


def ours(before: Counts, after: NDArray[np.int64]) -> int | None:
    """Look every minute as the sweeper does."""
    counted = _counted(after)
    allowed = (1.0 + POLICY.guard_margin) * fixed_upper(before, POLICY.alpha / 2, 1.0)
    scale = POLICY.guard_margin * max(before.rate or 0.0, SMALLEST_RATE)
    # With errors in bursts the sweeper's limits are further apart than these, so its other looks decide nothing and need not be taken.
    looks = {
        minute + 1
        for minute in np.flatnonzero(_lower(counted, Z_LOOK) > allowed).tolist()
        if contrast(Pair(Counts(*counted[minute].tolist()), Counts()), 0.0, scale).lower(POLICY.alpha / 2) > allowed
    }
    watch = begin(SUBJECT, {0: (0, 0, *before)}, START)
    for minute, (errors, utterances) in enumerate(after.cumsum(axis=0)[: max(looks, default=0)].tolist(), 1):
        now = START + timedelta(minutes=minute)
        watch = advance(watch, {0: (errors, utterances, *before)}, now, settle_s=POLICY.session_s)
        if minute in looks and decide_watch(watch, POLICY, now, champion=None, auto_deploy=True).action == "rollback":
            return minute
    return None


def alert(before: Counts, after: NDArray[np.int64]) -> int | None:
    """Roll back as soon as the error rate is half as high again."""
    return _first(_believed(after) & (_lower(_counted(after), 0.0) > (1.0 + POLICY.guard_margin) * (before.rate or 0.0)))


def z_test(before: Counts, after: NDArray[np.int64]) -> int | None:
    """Test at each look whether the rate is half as high again, as if it were the only look and utterances were independent."""
    ratio, base, counted = 1.0 + POLICY.guard_margin, before.rate or 0.0, _counted(after)
    new = _rate(counted)
    deviation = np.sqrt(new * (1.0 - new) / np.maximum(counted[:, 1], 1) + ratio**2 * base * (1.0 - base) / before.utterances)
    return _first(_believed(after) & (new - ratio * base > Z * deviation))


def _counted(after: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what is counted up to each minute: nothing while the version settles."""
    settled = after.copy()
    settled[:SETTLE] = 0
    return settled.cumsum(axis=0)


def _believed(after: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Tell at which minutes there is enough to look at."""
    return (_counted(after)[:, 1] >= POLICY.min_utterances) & (np.arange(1, len(after) + 1) >= SETTLE + FEWEST_BLOCKS)


def _rate(counted: NDArray[np.int64]) -> NDArray[np.float64]:
    rate: NDArray[np.float64] = counted[:, 0] / np.maximum(counted[:, 1], 1)
    return rate


def _lower(counted: NDArray[np.int64], z: float) -> NDArray[np.float64]:
    """Return the lower limit of the rate at each minute, as if it were looked at once."""
    smooth = (counted[:, 0] + 0.5) / (counted[:, 1] + 1.0)
    limit: NDArray[np.float64] = _rate(counted) - z * np.sqrt(smooth * (1.0 - smooth) / np.maximum(counted[:, 1], 1))
    return limit


def _first(holds: NDArray[np.bool_]) -> int | None:
    return int(holds.argmax()) + 1 if holds.any() else None


@dataclass(frozen=True)
class Outcome:
    """Share of guards that rolled back; medians of those: minutes after the promotion, utterances that the new version had served."""

    rolled_back: float
    minutes: float | None
    utterances: float | None


def outcome(days: Iterable[tuple[Counts, NDArray[np.int64]]], rule: Rule) -> Outcome:
    """Guard simulated promotions by a rule."""
    found = [(rule(before, after), after) for before, after in days]
    hits = [(minute, int(after[:minute, 1].sum())) for minute, after in found if minute is not None]
    minutes, utterances = ([each[place] for each in hits] for place in (0, 1))
    return Outcome(len(hits) / len(found), median(minutes) if hits else None, median(utterances) if hits else None)


def guards(traffic: GuardTraffic, trials: int, seed: int) -> list[tuple[Counts, NDArray[np.int64]]]:
    """Return simulated promotions."""
    rng = np.random.default_rng(seed)
    return [simulate_takeover(traffic, rng) for _ in range(trials)]


def main() -> None:
    """Print and store the tables."""
    started = time.process_time()
    wrong: dict[str, dict[str, dict[str, float]]] = {}
    for name, traffic in SERVICES.items():
        cases = {"no change": traffic}
        if traffic.drift == 0.0:  # elsewhere such a version is beyond the margin for hours, and a rollback is right
            cases["worse by the margin"] = replace(traffic, worse=1.0 + POLICY.guard_margin)
        wrong[name] = {}
        for case, simulated in cases.items():
            days = guards(simulated, TRIALS, SEED)
            shares = {rule.__name__: outcome(days, rule).rolled_back for rule in (ours, alert, z_test)}
            wrong[name][case] = shares
            print(f"{name}: {case}: " + ", ".join(f"{rule} {share:.3f}" for rule, share in shares.items()), flush=True)
    power: dict[str, dict[str, Outcome]] = {}
    for name, traffic in POWER.items():
        power[name] = {}
        for worse in (1.5, 2.0, 3.0):
            found = outcome(guards(replace(traffic, worse=worse), POWER_TRIALS, SEED), ours)
            power[name][f"{worse:g}"] = found
            print(f"{name}: {worse:g} times the errors: {found}", flush=True)
    print(f"processor time: {time.process_time() - started:.0f} s")
    folder = Path("bench-results")
    folder.mkdir(exist_ok=True)
    document = {
        "alpha": POLICY.alpha,
        "margin": POLICY.guard_margin,
        "trials": TRIALS,
        "power_trials": POWER_TRIALS,
        "wrong": wrong,
        "power": {name: {worse: asdict(found) for worse, found in rows.items()} for name, rows in power.items()},
    }
    (folder / "guard.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
