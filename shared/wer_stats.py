"""Statistics of word error rates from paired utterances: what may be said about two models, and how sure one may be.

The resampling unit is the cluster (a speaker, else a call), never the utterance: a model can suit one voice and not another, and tests that
take the utterances of one speaker for independent let a no-better model through in 12-32% of all trials at a nominal 5%.

Notation: utterance i in cluster g(i), w_i its weight, n_i its reference words, a_i and b_i the word errors of base and candidate.
D_g = sum w_i (b_i - a_i), N_g = sum w_i n_i over the cluster, G clusters. Negative differences are improvements.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, fsum, isfinite, log2, sqrt

import numpy as np
from numpy.typing import NDArray

from shared.rates import Interval

Array = NDArray[np.float64]

_ENUMERATED_CLUSTERS = 14
_DRAWS_AT_ONCE = 1000
_ALIKE_ABOVE = 1000
_CELLS_AT_ONCE = 1_000_000
# Two sums of the same numbers in another order differ by rounding; such a tie must count against the candidate.
_TIE = 1e-9


@dataclass(frozen=True)
class PairedUtterance:
    """Word errors of two models on one utterance, decoded and normalised alike.

    Attributes:
        utterance_id: unique within a comparison.
        cluster: the independent unit it belongs to (speaker, else session or call).
        stratum: the way it came into the set, `errors` (reported) or `traffic` (a random part of what nobody reported).
        weight: inverse of its probability to be in the set (Horvitz-Thompson): 1 for reported errors, 1/p for unreported traffic that was
            sampled at p.
        words: reference words.
        base_errors: errors of the model in production.
        candidate_errors: errors of the model to be judged.
    """

    utterance_id: str
    cluster: str
    stratum: str
    weight: float
    words: int
    base_errors: int
    candidate_errors: int

    def __post_init__(self) -> None:
        if not (isfinite(self.weight) and self.weight > 0):
            raise ValueError(f"utterance {self.utterance_id}: expected a positive weight, found {self.weight}")
        if min(self.words, self.base_errors, self.candidate_errors) < 0:
            raise ValueError(f"utterance {self.utterance_id}: expected counts of 0 or more")


@dataclass(frozen=True, eq=False)
class ClusterTotals:
    """Weighted sums for each cluster, float64 of shape `(clusters,)`, in the sorted order of the clusters' names."""

    words: Array
    base_errors: Array
    candidate_errors: Array

    @property
    def deltas(self) -> Array:
        """Candidate minus base errors, D_g; what only rounding of the weights leaves over is 0."""
        return self.beyond_gain(0.0)

    def beyond_gain(self, gain: float) -> Array:
        """Return candidate errors minus (1 - gain) of the base errors: below zero where the WER fell by more than the relative `gain`."""
        aim = (1.0 - gain) * self.base_errors
        difference = self.candidate_errors - aim
        return np.where(np.abs(difference) <= _TIE * (self.candidate_errors + aim), 0.0, difference)


def cluster_totals(utterances: Iterable[PairedUtterance]) -> ClusterTotals:
    """Sum the weighted words and errors of each cluster; the result does not depend on the order of the utterances."""
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for row in utterances:
        weighted = (row.weight * row.words, row.weight * row.base_errors, row.weight * row.candidate_errors)
        rows.setdefault(row.cluster, []).append(weighted)
    sums = [[fsum(column) for column in zip(*rows[name], strict=True)] for name in sorted(rows)]
    table = np.array(sums).reshape(-1, 3)
    return ClusterTotals(words=table[:, 0], base_errors=table[:, 1], candidate_errors=table[:, 2])


@dataclass(frozen=True)
class SignFlip:
    """Result of the cluster sign-flip test.

    Attributes:
        p_value: one-sided, for "the sum is below zero".
        smallest_p: the least p-value that this many clusters (or draws) could have given; above alpha the test could not have succeeded.
        exact: all sign patterns were enumerated.
        clusters: clusters with a difference other than zero; the others say nothing about the sign.
    """

    p_value: float
    smallest_p: float
    exact: bool
    clusters: int


def sign_flip_test(cluster_deltas: Sequence[float] | Array, seed: int, draws: int = 10_000) -> SignFlip:
    """Test whether the clusters' differences sum to less than nothing (an improvement), one-sided.

    If the models were alike, D_g and -D_g would be equally likely. p = #[sum s_g D_g <= sum D_g] / 2^G over all sign patterns s, the
    observed one included, for G <= 14; for more clusters (1 + #[...]) / (draws + 1) over random patterns, valid at any number of draws.

    Assumes independent clusters and differences that are symmetric about zero under the hypothesis. Identical models give p = 1.
    For "worse" hand in the negated differences.

    Source: E. J. G. Pitman, J. R. Stat. Soc. Suppl. 4 (1937) 119-130; (1 + #)/(B + 1): B. Phipson, G. K. Smyth, Stat. Appl. Genet. Mol.
    Biol. 9 (2010) 39.
    """
    deltas = np.asarray(cluster_deltas)
    deltas = deltas[deltas != 0.0]
    count = len(deltas)
    # sum s_g D_g <= sum D_g over signs is the same event as sum over the kept (+1) clusters <= sum over all.
    threshold = deltas.sum() + _TIE * np.abs(deltas).sum()
    if count <= _ENUMERATED_CLUSTERS:
        kept = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        p_value = float(np.mean(kept @ deltas <= threshold))
        return SignFlip(p_value=p_value, smallest_p=2.0**-count, exact=True, clusters=count)
    rng = np.random.default_rng(seed)
    as_low = 0
    if count > _ALIKE_ABOVE:
        # Of n clusters of one difference Bin(n, 1/2) keep their sign: the same distribution with a draw for each distinct difference.
        values, counts = np.unique(deltas, return_counts=True)
        at_once = max(1, _CELLS_AT_ONCE // len(values))
        for start in range(0, draws, at_once):
            kept = rng.binomial(counts, 0.5, size=(min(at_once, draws - start), len(values)))
            as_low += int(np.count_nonzero(kept @ values <= threshold))
        return SignFlip(p_value=(1 + as_low) / (draws + 1), smallest_p=1 / (draws + 1), exact=False, clusters=count)
    for start in range(0, draws, _DRAWS_AT_ONCE):
        kept = rng.integers(2, size=(min(_DRAWS_AT_ONCE, draws - start), count), dtype=np.int8)
        as_low += int(np.count_nonzero(kept @ deltas <= threshold))
    return SignFlip(p_value=(1 + as_low) / (draws + 1), smallest_p=1 / (draws + 1), exact=False, clusters=count)


def t_quantile(degrees_of_freedom: int, probability: float) -> float:
    """Return the quantile of Student's t."""
    from scipy.special import stdtrit  # 0.3 s to import: not before the first interval

    return float(stdtrit(degrees_of_freedom, probability))


def cluster_t_interval(deltas: Array, words: Array, level: float) -> Interval:
    """Return the interval of the difference in WER, sum D_g / sum N_g.

    (mean(D) -+ t sd(D) / sqrt(G)) * G / sum N with t the (1 + level)/2 quantile of Student's t at G - 1 degrees of freedom.
    Assumes independent clusters and a roughly normal mean of D_g; the words are taken as fixed.

    Raises:
        ValueError: fewer than two clusters, or no reference words.
    """
    clusters, total_words = _check_clusters(words)
    half = t_quantile(clusters - 1, (1 + level) / 2) * float(np.std(deltas, ddof=1)) * sqrt(clusters) / total_words
    estimate = float(deltas.sum()) / total_words
    return Interval(estimate=estimate, low=estimate - half, high=estimate + half, level=level, clusters=clusters)


def wer_interval(errors: Array, words: Array, level: float) -> Interval:
    """Return the interval of one model's pooled WER, R = sum E_g / sum N_g, from each cluster's errors and words.

    Linearised ratio estimator: residuals e_g = E_g - R N_g, var(R) = G/(G-1) sum e_g^2 / (sum N_g)^2, R -+ t sqrt(var) at G - 1 degrees of
    freedom; the lower end is cut at 0. Unlike a binomial interval it lets errors and lengths vary together within a cluster.

    Raises:
        ValueError: fewer than two clusters, or no reference words.

    Source: W. G. Cochran, Sampling Techniques, 3rd ed. (1977), sections 2.11 and 9A.
    """
    clusters, total_words = _check_clusters(words)
    rate = float(errors.sum()) / total_words
    residuals = errors - rate * words
    spread = sqrt(clusters / (clusters - 1) * float(residuals @ residuals)) / total_words
    half = t_quantile(clusters - 1, (1 + level) / 2) * spread
    return Interval(estimate=rate, low=max(0.0, rate - half), high=rate + half, level=level, clusters=clusters)


def relative_change_interval(totals: ClusterTotals, level: float) -> Interval | None:
    """Return the interval of the relative change of WER, sum B_g / sum A_g - 1 (-0.38: it fell by 38%); None where it has no finite ends.

    Fieller's interval: all theta for which a cluster t test does not refuse mean(B_g - theta A_g) = 0, a quadratic in theta; then minus 1.
    Chosen above a bootstrap or the log delta method for agreement: it leaves out 0 exactly when `cluster_t_interval` leaves out 0, so a
    report cannot contradict itself. It needs no seed and holds when a model makes no error. Without ends where the base errors
    themselves are not significantly above zero.

    Raises:
        ValueError: fewer than two clusters, or no reference words.

    Source: E. C. Fieller, J. R. Stat. Soc. B 16 (1954) 175-185; resampling speakers for WER: M. Bisani, H. Ney, ICASSP 2004.
    """
    clusters, _ = _check_clusters(totals.words)
    base, candidate = totals.base_errors, totals.candidate_errors
    mean_base, mean_candidate = float(base.mean()), float(candidate.mean())
    covariance = np.cov(base, candidate) / clusters
    t_squared = t_quantile(clusters - 1, (1 + level) / 2) ** 2
    square = mean_base**2 - t_squared * float(covariance[0, 0])
    if square <= 0.0:
        return None
    linear = mean_base * mean_candidate - t_squared * float(covariance[0, 1])
    constant = mean_candidate**2 - t_squared * float(covariance[1, 1])
    root = sqrt(max(0.0, linear**2 - square * constant))
    low, high = (linear - root) / square - 1, (linear + root) / square - 1
    return Interval(estimate=mean_candidate / mean_base - 1, low=max(-1.0, low), high=high, level=level, clusters=clusters)


def minimum_clusters(alpha: float) -> int:
    """Return the fewest clusters with which a sign-flip test can reach alpha at all: 2^-G <= alpha (5 at 0.05, 6 at 0.025)."""
    return ceil(-log2(alpha))


def effective_sd(deltas: Array, words: Array, utterances: int) -> float:
    """Return sd_d for `shared.wer_power`: the cluster-based standard error of the difference in WER times sqrt(utterances).

    More utterances of the same make-up (as many per cluster, the same weights) shrink the error by the square root of their number, so that
    the design effect 1 + (m - 1) rho of clusters and weights is inside.

    Raises:
        ValueError: fewer than two clusters, or no reference words.
    """
    clusters, total_words = _check_clusters(words)
    return float(np.std(deltas, ddof=1)) * sqrt(clusters) / total_words * sqrt(utterances)


def _check_clusters(words: Array) -> tuple[int, float]:
    clusters, total = len(words), float(words.sum())
    if clusters < 2:
        raise ValueError(f"clusters: expected at least 2, found {clusters}")
    if total <= 0.0:
        raise ValueError("reference words: expected at least 1, found 0")
    return clusters, total
