"""How often the canary's test is wrong when somebody looks every minute, and how long it takes to decide.

Twelve hours of traffic, a canary of 10% of the sessions, errors that come in bursts of one session. Beside it the same mixture without the design
effect (utterances taken for independent), a test of two proportions looked at every minute, and the same looked at once, at the end. Run as
`python -m tests.benchmarks.canary`.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from math import sqrt
from pathlib import Path
from statistics import NormalDist, median

import numpy as np

from shared.policy import CanaryPolicy
from shared.sequential import FEWEST_BLOCKS, Contrast, Counts, Pair, contrast, design_effect
from shared.testing.canary_traffic import CanaryTraffic, simulate

POLICY = CanaryPolicy()
SESSION = POLICY.session_s / 60
TRIALS = 200
SEED = 1

SERVICES = {
    "independent": CanaryTraffic(session_utterances=1.001, correlation=0.0),
    "sessions of 10, correlation 0.1": CanaryTraffic(),
    "sessions of 20, correlation 0.2": CanaryTraffic(session_utterances=20, correlation=0.2),
    "2% errors, sessions of 10, correlation 0.1": CanaryTraffic(error_rate=0.02, utterances_per_minute=300),
    "thousand a minute, sessions of 20, correlation 0.1": CanaryTraffic(utterances_per_minute=1000, session_utterances=20),
}
Z = NormalDist().inv_cdf(1.0 - POLICY.alpha)
"""No test that is valid at all times has a boundary below that of a single look, so looks below it need no closer look."""


@dataclass(frozen=True)
class Question:
    """What is tested: worse at all (a rollback), or within the margin (a promotion)."""

    ratio: float
    sign: int
    first_minute: int


WORSE = Question(1.0, 1, FEWEST_BLOCKS)
WITHIN = Question(1.0 + POLICY.margin, -1, int((POLICY.min_duration_s - POLICY.session_s) / 60))
Rule = Callable[[Sequence[Pair], Contrast, Question], bool]


def ours(pairs: Sequence[Pair], found: Contrast, question: Question) -> bool:
    """Decide as the sweeper does."""
    return _beyond(found, question, 1.0) and _beyond(found, question, design_effect(pairs, question.ratio, SESSION))


def no_design_effect(pairs: Sequence[Pair], found: Contrast, question: Question) -> bool:
    """Take utterances for independent."""
    return _beyond(found, question, 1.0)


def z_test(pairs: Sequence[Pair], found: Contrast, question: Question) -> bool:
    """Test as if this look were the only one."""
    return question.sign * found.estimate > Z * sqrt(found.variance)


def _beyond(found: Contrast, question: Question, effect: float) -> bool:
    return (found.lower(POLICY.alpha, effect) if question.sign > 0 else -found.upper(POLICY.alpha, effect)) > 0


def first_minute(pairs: Sequence[Pair], question: Question, rule: Rule, *, only_last: bool = False) -> int | None:
    """Return the minute of the first look at which a rule decides; None = never."""
    sums = np.cumsum([(*pair.new, *pair.old) for pair in pairs], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        new, old = sums[:, 0] / sums[:, 1], sums[:, 2] / sums[:, 3]
    enough = np.minimum(sums[:, 1], sums[:, 3]) >= POLICY.min_utterances
    leaning = enough & (question.sign * (new - question.ratio * old) > 0)
    first = len(pairs) if only_last else question.first_minute
    for minute in (int(minute) for minute in np.flatnonzero(leaning) + 1 if minute >= first):
        a, b, c, d = (int(value) for value in sums[minute - 1])
        found = contrast(Pair(Counts(a, b), Counts(c, d)), question.ratio, POLICY.margin * max(c / d, 1e-4))
        if question.sign * found.estimate > Z * sqrt(found.variance) and rule(pairs[:minute], found, question):
            return minute
    return None


@dataclass(frozen=True)
class Errors:
    """Share of trials in which each rule decides wrongly."""

    ours: float
    no_design_effect: float
    z_every_minute: float
    z_once: float


def error_rates(traffic: CanaryTraffic, question: Question, trials: int, seed: int) -> Errors:
    """Simulate canaries about which no rule should decide, and count which do."""
    rng = np.random.default_rng(seed)
    runs = [simulate(traffic, rng) for _ in range(trials)]

    def share(rule: Rule, *, only_last: bool = False) -> float:
        return sum(first_minute(pairs, question, rule, only_last=only_last) is not None for pairs in runs) / trials

    return Errors(share(ours), share(no_design_effect), share(z_test), share(z_test, only_last=True))


@dataclass(frozen=True)
class Decided:
    """What came of canaries in twelve hours: shares of trials, and the median hours of those that were decided."""

    promoted: float
    rolled_back: float
    hours: float | None


def outcomes(traffic: CanaryTraffic, trials: int, seed: int) -> Decided:
    """Simulate canaries and decide each as the sweeper does: whichever test decides first."""
    rng = np.random.default_rng(seed)
    promoted = rolled_back = 0
    minutes = []
    for _ in range(trials):
        pairs = simulate(traffic, rng)
        worse, within = first_minute(pairs, WORSE, ours), first_minute(pairs, WITHIN, ours)
        if worse is not None and (within is None or worse <= within):
            rolled_back += 1
            minutes.append(worse)
        elif within is not None:
            promoted += 1
            minutes.append(within)
    return Decided(promoted / trials, rolled_back / trials, (median(minutes) + SESSION) / 60 if minutes else None)


def main() -> None:
    """Print and store the tables."""
    started = time.perf_counter()
    wrong: dict[str, dict[str, Errors]] = {}
    for name, traffic in SERVICES.items():
        wrong[name] = {
            "false_rollback": error_rates(traffic, WORSE, TRIALS, SEED),
            "false_promote": error_rates(replace(traffic, worse=1.0 + POLICY.margin), WITHIN, TRIALS, SEED),
        }
        for kind, errors in wrong[name].items():
            print(f"{name}: {kind}: " + ", ".join(f"{rule} {value:.3f}" for rule, value in asdict(errors).items()), flush=True)
    busy = CanaryTraffic(utterances_per_minute=300)
    times = {worse: outcomes(replace(busy, worse=worse), TRIALS // 4, SEED) for worse in (0.7, 1.0, 1.2, 1.5, 2.0, 4.0)}
    for worse, decided in times.items():
        hours = "none decided" if decided.hours is None else f"median {decided.hours:.1f} h"
        print(f"{worse:g} times the errors: promoted {decided.promoted:.2f}, rolled back {decided.rolled_back:.2f}, {hours}", flush=True)
    print(f"duration: {time.perf_counter() - started:.1f} s")
    folder = Path("bench-results")
    folder.mkdir(exist_ok=True)
    document = {
        "alpha": POLICY.alpha,
        "margin": POLICY.margin,
        "trials": TRIALS,
        "errors": {name: {kind: asdict(errors) for kind, errors in kinds.items()} for name, kinds in wrong.items()},
        "times": {str(worse): asdict(decided) for worse, decided in times.items()},
    }
    (folder / "canary.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
