"""An always-valid comparison of two error rates, from the standard library alone: look at it every minute, act on it at any.

The contrast is d = p_new - ratio * p_old (ratio 1: is it worse at all; ratio 1.2: worse by more than a fifth; ratio 0:
the rate alone). With E errors in N utterances of each version (E at most N), d is estimated by E_new/N_new - ratio *
E_old/N_old with the variance

    V = effect * (v(p_new)/N_new + ratio^2 v(p_old)/N_old),  v(p) = p (1 - p), p = (E + 1/2)/(N + 1), and v_new the
    larger of v(p_new), v(ratio * p_old)

A limit is the end of a one-sided confidence sequence: with r = tau^2/V and k = r/(1 + r) the mixture of likelihood
ratios over a half-normal prior of scale tau,

    M(z) = 2 / sqrt(1 + r) * exp(k z^2 / 2) * Phi(z sqrt(k)),

is a non-negative martingale under d = 0, and so is above 1/alpha at any time with probability at most alpha (Ville).
The limit is estimate -/+ z sqrt(V) with M(z) = 1/alpha. tau decides where the sequence is tight, never whether it is
valid; the margin that matters is a good one.

Assumptions: intervals far enough apart are independent, and enough of them were seen that the estimates are near
normal: the level is asymptotic. The resampling unit is the interval, not the utterance: errors come in bursts of one
session, and a binomial test of utterances would find differences that are not there. `effect`, estimated from the
intervals, makes up for it.

Source: H. Robbins, Ann. Math. Statist. 41 (1970) 1397-1409; S. Howard et al., Ann. Statist. 49 (2021) 1055-1080
(arXiv:1810.08240), one-sided normal mixture, section 3.2; I. Waudby-Smith et al. (arXiv:2103.06476), estimated
variances; R. Johari et al. (arXiv:1512.04922), the use of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf, log, sqrt
from statistics import NormalDist
from typing import NamedTuple

FEWEST_BLOCKS = 10
"""A block length of which fewer fit tells nothing about the variance."""


class Counts(NamedTuple):
    """Errors and utterances of one version."""

    errors: int = 0
    utterances: int = 0

    @property
    def rate(self) -> float | None:
        """Errors per utterance, at most 1 (an error may be counted before its traffic); None without utterances."""
        return min(self.errors / self.utterances, 1.0) if self.utterances else None


class Pair(NamedTuple):
    """The counts of both versions in one interval."""

    new: Counts
    old: Counts


@dataclass(frozen=True)
class Contrast:
    """An estimate of p_new - ratio * p_old, and what its limits need.

    Attributes:
        estimate: of the contrast.
        variance: of the estimate, as if each utterance were independent.
        scale: tau of the prior.
    """

    estimate: float
    variance: float
    scale: float

    def lower(self, alpha: float, effect: float = 1.0) -> float:
        """Return the lower limit: at no time is the contrast below it, with probability 1 - alpha. `effect` multiplies the variance."""
        return self.estimate - self._margin(alpha, effect)

    def upper(self, alpha: float, effect: float = 1.0) -> float:
        """Return the upper limit."""
        return self.estimate + self._margin(alpha, effect)

    def _margin(self, alpha: float, effect: float) -> float:
        variance = self.variance * effect
        if variance == inf:
            return inf
        return sqrt(variance) * boundary(self.scale**2 / variance, alpha)


def total(pairs: Iterable[Pair]) -> Pair:
    """Return the sum of intervals."""
    sums = [0, 0, 0, 0]
    for new, old in pairs:
        sums[0] += new.errors
        sums[1] += new.utterances
        sums[2] += old.errors
        sums[3] += old.utterances
    return Pair(Counts(sums[0], sums[1]), Counts(sums[2], sums[3]))


def contrast(counts: Pair, ratio: float, scale: float) -> Contrast:
    """Return the estimate of p_new - ratio * p_old.

    Args:
        counts: the sum of all intervals; both versions with utterances (with ratio 0 the new one is enough).
        ratio: see the module.
        scale: tau, in units of the rate, above 0.
    """
    new, old = counts
    smooth_new, smooth_old = _smooth(new), _smooth(old)
    variance = max(_spread(smooth_new), _spread(min(ratio * smooth_old, 1.0))) / new.utterances
    estimate = new.rate or 0.0
    if ratio:
        estimate -= ratio * (old.rate or 0.0)
        variance += ratio**2 * _spread(smooth_old) / old.utterances
    return Contrast(estimate, variance, scale)


def design_effect(pairs: Sequence[Pair], ratio: float, session: float) -> float:
    """Return by how much the contrast varies more than if each utterance were independent; at least 1, infinite with too few intervals.

    With residuals e - p n of each interval, weighted as in the contrast, the variance of the sum is estimated from sums over
    blocks of b = 1, 2, 4, ... intervals (batch means), up to the first that is twice as long as a session, as long as there
    are ten of them. Each estimate is raised by 1 + sqrt(2/(m - 1)), the relative standard error of a variance from m blocks;
    the largest counts. Where the longest blocks are shorter than a session, theirs is raised by session/b as well, the most
    that they can miss: the variance of k sums added is at most k^2 times that of one (Cauchy-Schwarz). Too large an effect
    costs time, too small a one is an error.

    Args:
        pairs: intervals of about the same length, in order.
        ratio: as in the contrast.
        session: so many intervals are as long as most sessions.
    """
    new, old = total(pairs)
    naive = _spread(new.rate or 0.0) / max(new.utterances, 1) + ratio**2 * _spread(old.rate or 0.0) / max(old.utterances, 1)
    blocks = [_residual(pair.new, new) - (ratio * _residual(pair.old, old) if ratio else 0.0) for pair in pairs]
    if len(blocks) < FEWEST_BLOCKS:
        return inf
    if naive <= 0.0:
        return 1.0
    largest, length = naive, 1
    while True:
        count = len(blocks)
        variance = max(naive, count / (count - 1) * sum(value * value for value in blocks) * (1.0 + sqrt(2.0 / (count - 1))))
        largest = max(largest, variance)
        if length >= 2 * session or count < 2 * FEWEST_BLOCKS:
            return max(largest, variance * max(1.0, session / length)) / naive
        blocks = [sum(blocks[start : start + 2]) for start in range(0, count, 2)]
        length *= 2


def boundary(ratio: float, alpha: float) -> float:
    """Return the z at which the one-sided mixture reaches 1/alpha; `ratio` is r = tau^2/V of the module, above 0."""
    shrink = ratio / (1.0 + ratio)
    wanted = log(1.0 / alpha) + 0.5 * log(1.0 + ratio) - log(2.0)
    low, high = 0.0, sqrt(2.0 * (wanted + log(2.0)) / shrink)
    for _ in range(60):
        z = (low + high) / 2.0
        reached = shrink * z * z / 2.0 + log(_NORMAL.cdf(z * sqrt(shrink)))
        low, high = (z, high) if reached < wanted else (low, z)
    return high


def fixed_upper(counts: Counts, alpha: float, effect: float) -> float:
    """Return the one-sided upper limit of a rate that is looked at once: p + z sqrt(effect p (1 - p)/N), p as in the module, at most 1."""
    rate = _smooth(counts)
    return min(1.0, rate + _NORMAL.inv_cdf(1.0 - alpha) * sqrt(effect * _spread(rate) / max(counts.utterances, 1)))


def _smooth(counts: Counts) -> float:
    """Return the rate p of the variance, which is never 0 nor 1: otherwise nothing varies, and no limit can be told."""
    return (min(counts.errors, counts.utterances) + 0.5) / (counts.utterances + 1.0)


def _spread(rate: float) -> float:
    return rate * (1.0 - rate)


def _residual(part: Counts, whole: Counts) -> float:
    utterances = max(whole.utterances, 1)
    return (part.errors - whole.errors / utterances * part.utterances) / utterances


_NORMAL = NormalDist()
