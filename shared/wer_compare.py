"""The validator's tests: is the candidate better on traffic, and is it no worse than a margin on a suite."""

from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np

from shared.rates import Interval
from shared.wer_stats import (
    ClusterTotals,
    SignFlip,
    cluster_t_interval,
    effective_sd,
    sign_flip_test,
    t_quantile,
)

Unseen = Literal["utterance", "cluster"]
"""What may have come out worse had one more of it been drawn."""


@dataclass(frozen=True)
class NotTestable:
    """A set that permits no test.

    Attributes:
        reason: why, in plain English.
    """

    reason: str


@dataclass(frozen=True)
class Superiority:
    """Paired comparison on one weighted set.

    Attributes:
        delta: WER of the candidate minus the base's, at level 1 - 2 alpha, so that each end is a one-sided limit at 1 - alpha.
        flip: sign-flip test of "delta is below zero".
        flip_worse: sign-flip test of "delta is above zero".
        cautious_high: upper limit of delta had one more of `unseen` come out worse.
        unseen: which of the two would weigh more, a sampled utterance or a usual cluster.
        better: all three say so: flip, the upper end of delta, and cautious_high.
        worse: flip_worse and the lower end of delta both say so.
        short_of_gain: even the upper limit of the gain is below the wanted relative gain.
        sd_d: for `shared.wer_power`, design effect included.
    """

    delta: Interval
    flip: SignFlip
    flip_worse: SignFlip
    cautious_high: float
    unseen: Unseen
    better: bool
    worse: bool
    short_of_gain: bool
    sd_d: float


@dataclass(frozen=True)
class NonInferiority:
    """Comparison on one suite against its margin.

    Attributes:
        delta: WER of the candidate minus the base's, at level 1 - 2 alpha.
        margin: the rise of WER that is still bearable, as a rate (0.005 is half a point).
        non_inferior: the upper limit does not exceed the margin.
        worse: even the lower limit exceeds the margin.
        sd_d: for `shared.wer_power`, design effect included.
    """

    delta: Interval
    margin: float
    non_inferior: bool
    worse: bool
    sd_d: float


@dataclass(frozen=True)
class Sampling:
    """How a weighted set was drawn, as far as the comparison must know.

    Attributes:
        utterances: utterances compared.
        largest_weight: the largest weight of one; 0 where there is none.
        mean_change: mean number of errors by which the models differ, over the utterances where they do; 0 where they never do.
    """

    utterances: int
    largest_weight: float
    mean_change: float


def compare_totals(
    totals: ClusterTotals, sampling: Sampling, *, alpha: float, seed: int, wanted_gain: float = 0.0
) -> Superiority | NotTestable:
    """Test whether the candidate's weighted WER is lower than the base's, and whether its gain can still reach `wanted_gain` (relative).

    The weights undo the selection: an utterance is reported because the base failed on it, so that any other model, a worse one included,
    looks better on the reported ones alone (regression to the mean). Reported errors weigh 1, unreported traffic sampled at p weighs 1/p.

    One condition is added to the sign-flip test and the t interval, because both are too sure where the clusters' differences are skewed.
    Where few sampled utterances stand for much traffic, most draws of the sample hold none of the rare utterances on which the candidate
    is worse (a no-better model passes in up to 60% of all trials). Where it suits a few speakers much worse and most a little better, few
    speakers in a sample hold none of the few (up to 8%). Hence the limit must hold as though one more of them had been drawn:
    sum D + u + t sqrt(G sd(D)^2 + u^2) < 0, u = largest weight * mean size of a change, or median |D| if that is more. For x regressions
    seen the former adds about what the exact Poisson limit adds to x + z sqrt(x) (3.0 at x = 0, where the normal limit is 0). The latter
    is a choice, and costs power where speakers are few. Both are measured in `tests.benchmarks.false_deploy`.

    Resampling unit: the cluster. Identical models are never better.

    Args:
        totals: weighted words and errors of each cluster.
        sampling: how the set was drawn.
        alpha: one-sided level of each test, as 0.05.
        seed: of the sign-flip tests' draws.
        wanted_gain: relative, as 0.1; see `Superiority.short_of_gain`.
    """
    obstacle = _obstacle(totals)
    if obstacle is not None:
        return obstacle
    delta = cluster_t_interval(totals.deltas, totals.words, 1 - 2 * alpha)
    flip, flip_worse = sign_flip_test(totals.deltas, seed), sign_flip_test(-totals.deltas, seed)
    unseen, cautious_high = _cautious_upper_limit(totals, sampling, 1 - alpha)
    return Superiority(
        delta=delta,
        flip=flip,
        flip_worse=flip_worse,
        cautious_high=cautious_high,
        unseen=unseen,
        better=flip.p_value <= alpha and delta.high < 0.0 and cautious_high < 0.0,
        worse=flip_worse.p_value <= alpha and delta.low > 0.0,
        short_of_gain=cluster_t_interval(totals.beyond_gain(wanted_gain), totals.words, 1 - 2 * alpha).low > 0.0,
        sd_d=effective_sd(totals.deltas, totals.words, sampling.utterances),
    )


def non_inferiority_of_totals(totals: ClusterTotals, utterances: int, *, margin: float, alpha: float) -> NonInferiority | NotTestable:
    """Test whether the candidate's WER on a suite exceeds the base's by at most `margin`, one-sided at alpha.

    The confidence limit is `cluster_t_interval`'s. That every suite must pass is an intersection-union test: each at alpha, no correction
    for their number (R. L. Berger, Technometrics 24 (1982) 295-300).
    """
    obstacle = _obstacle(totals)
    if obstacle is not None:
        return obstacle
    delta = cluster_t_interval(totals.deltas, totals.words, 1 - 2 * alpha)
    return NonInferiority(
        delta=delta,
        margin=margin,
        non_inferior=delta.high <= margin,
        worse=delta.low > margin,
        sd_d=effective_sd(totals.deltas, totals.words, utterances),
    )


def _obstacle(totals: ClusterTotals) -> NotTestable | None:
    clusters = len(totals.words)
    if clusters < 2:
        return NotTestable(f"{clusters or 'no'} independent speaker{'s' if clusters != 1 else ''} or calls: a test needs at least 2")
    if totals.words.sum() <= 0.0:
        return NotTestable("no reference words: there is no error rate")
    return None


def _cautious_upper_limit(totals: ClusterTotals, sampling: Sampling, confidence: float) -> tuple[Unseen, float]:
    deltas, clusters = totals.deltas, len(totals.deltas)
    changes: dict[Unseen, float] = {
        "utterance": sampling.largest_weight * sampling.mean_change,
        "cluster": float(np.median(np.abs(deltas))),
    }
    unseen = max(changes, key=lambda one: changes[one])
    change = changes[unseen]
    spread = sqrt(clusters * float(np.var(deltas, ddof=1)) + change**2)
    return unseen, (float(deltas.sum()) + change + t_quantile(clusters - 1, confidence) * spread) / float(totals.words.sum())
