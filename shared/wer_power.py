"""What a holdout or a suite can show, said before a run spends money on it: from the spread of earlier runs, never from a run's own result.

Standard library alone: the functions that start without numpy call it.

    spread = pool_spreads([SeenSpread(sd_d, utterances, clusters), ...])    # of earlier verdicts; none = the stated prior
    holdout = Holdout(utterances=400, clusters=40, weights_effect=weights_effect({1.0: 300, 10.0: 100}))
    power = power_before(holdout, spread, Wanted(base_wer=0.146, relative_gain=0.25, alpha=0.05))
    power.enough, power.smallest_relative_gain, power.further_utterances, power.further_clusters, power.in_words()
    size = size_for_margin(Holdout(200, 20), spread, margin=0.015, alpha=0.05)                      # of a suite
    size.smallest_margin, size.enough, size.further_utterances, size.further_clusters

Formula: N utterances of G clusters (speakers, else calls), m = N / G each, show a difference of WER of
delta = (t(1 - alpha, G - 1) + t(power, G - 1)) * sd * sqrt(w (1 + (m - 1) rho) / N), one-sided, with sd the spread of the difference for
one independent utterance, rho the correlation of the differences within a cluster and w the effect of unequal weights. It is the closed
form N = ((z_alpha + z_beta) sd / delta)^2 with the design effect of clusters and Student's t in place of z: few speakers count as few.
For a gain the quantiles are those of `_gate_quantiles`: the gate's limit allows for one more speaker who comes out worse.

Assumes clusters of about the same size and a roughly normal mean; the gate asks for more where a thin sample stands for much traffic
(see `shared.wer_compare`). Resampling unit: the cluster.

Source: design effect: L. Kish, Survey Sampling (1965), section 5.4; least detectable difference with two t quantiles: J. H. Zar,
Biostatistical Analysis, chapter 7.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import ceil, fsum, inf, sqrt
from statistics import NormalDist

PRIOR_SD_D = 0.085
"""Spread of the difference for one utterance, before any cycle has measured it: of nine words at a WER of 14.6%, the candidate decides
anew on a tenth of them and mends a fifth of the errors (`shared.testing.two_models`)."""
PRIOR_RHO = 0.07
"""Correlation of the differences of one speaker's utterances in the same simulation, where a model suits some voices 10% better."""
_MEDIAN_OF_NORMAL = 0.6745
_ROUNDS = 20


@dataclass(frozen=True)
class SeenSpread:
    """What an earlier comparison measured, whatever its outcome was.

    Attributes:
        sd_d: `Superiority.sd_d`, the cluster-based standard error times sqrt(utterances).
        utterances: utterances compared.
        clusters: speakers or calls among them.
    """

    sd_d: float
    utterances: int
    clusters: int


@dataclass(frozen=True)
class Spread:
    """Spread of the difference in WER for one independent utterance.

    Attributes:
        sd_d: standard deviation of the difference of errors per utterance, over the mean words per utterance.
        rho: correlation of the differences within a cluster, in [0, 1).
        measured: earlier comparisons it rests on; 0 = the stated prior.
    """

    sd_d: float = PRIOR_SD_D
    rho: float = PRIOR_RHO
    measured: int = 0

    def __post_init__(self) -> None:
        if not (self.sd_d > 0 and 0 <= self.rho < 1):
            raise ValueError(f"spread: expected sd_d above 0 and rho in [0, 1), found {self.sd_d} and {self.rho}")


@dataclass(frozen=True)
class Holdout:
    """Size of a set that is to judge.

    Attributes:
        utterances: utterances in it.
        clusters: speakers or calls among them.
        weights_effect: see `weights_effect`; counts with the prior alone, a measured spread has such weights inside.
    """

    utterances: int
    clusters: int
    weights_effect: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.clusters <= self.utterances or (self.utterances and not self.clusters):
            raise ValueError(f"holdout: expected between 1 cluster and one for each of {self.utterances} utterances, found {self.clusters}")


@dataclass(frozen=True)
class Wanted:
    """The gain to show.

    Attributes:
        base_wer: WER of the model in production on such a set, as weighted as the set is.
        relative_gain: the share of it that the candidate must save, in (0, 1].
        alpha: one-sided level of the test.
        power: probability to show the gain if it is there.
    """

    base_wer: float
    relative_gain: float
    alpha: float = 0.05
    power: float = 0.8

    def __post_init__(self) -> None:
        if not (self.base_wer > 0 and 0 < self.relative_gain <= 1):
            raise ValueError(
                f"wanted gain: expected a WER above 0 and a gain in (0, 1], found {self.base_wer} and {self.relative_gain}: "
                "where production makes no error there is nothing to gain"
            )


@dataclass(frozen=True)
class Power:
    """What a holdout can show, and what it lacks.

    Attributes:
        holdout, wanted: as they were given.
        smallest_gain: least fall of WER that it shows, a rate; infinite where so few clusters can show nothing.
        smallest_relative_gain: the same over the base WER; above 1 nothing that is possible can be shown.
        enough: the wanted gain can be shown.
        further_utterances, further_clusters: how many more it takes, where new clusters bring as many utterances as the present ones do
            (one where there are none); 0 where it is enough.
        further_of_the_same: utterances it takes where all come from the present clusters; None where no number of them is enough.
    """

    holdout: Holdout
    wanted: Wanted
    smallest_gain: float
    smallest_relative_gain: float
    enough: bool
    further_utterances: int
    further_clusters: int
    further_of_the_same: int | None

    def in_words(self) -> str:
        """Return one sentence for a person."""
        size = f"a holdout of {self.holdout.utterances} utterances of {self.holdout.clusters} speakers or calls"
        shows = f"shows a fall of the WER by {self.smallest_relative_gain:.0%}" if self.smallest_relative_gain <= 1 else "can show no gain"
        said = f"{size} {shows} (in {self.wanted.power:.0%} of trials, one-sided {self.wanted.alpha:.1%})"
        if self.enough:
            return said
        return (
            f"{said}; to show {self.wanted.relative_gain:.0%} it takes {self.further_utterances} further utterances "
            f"with {self.further_clusters} further speakers or calls among them"
        )


@dataclass(frozen=True)
class MarginSize:
    """What a suite can show, and what it lacks.

    Attributes:
        suite: as it was given.
        margin: the rise of WER, a rate, that the suite should exclude where there is none.
        smallest_margin: least rise that it excludes, a rate; infinite below two clusters.
        enough: it does not exceed the margin.
        further_utterances, further_clusters: as in `Power`.
    """

    suite: Holdout
    margin: float
    smallest_margin: float
    enough: bool
    further_utterances: int
    further_clusters: int


def pool_spreads(seen: Iterable[SeenSpread], rho: float = PRIOR_RHO) -> Spread:
    """Return the spread that earlier comparisons measured, or the stated prior where there is none.

    sd^2 = sum (G_k - 1) sd_k^2 / (1 + (m_k - 1) rho) / sum (G_k - 1): each variance freed from the design effect of its own m_k utterances
    per cluster, pooled by degrees of freedom. A comparison of fewer than two clusters, or of models that never differed, tells no spread.
    """
    told = [each for each in seen if each.clusters >= 2 and each.sd_d > 0.0]
    if not told:
        return Spread(rho=rho)
    freedom = sum(each.clusters - 1 for each in told)
    variance = fsum((each.clusters - 1) * each.sd_d**2 / _design_effect(each.utterances / each.clusters, rho) for each in told) / freedom
    return Spread(sd_d=sqrt(variance), rho=rho, measured=len(told))


def weights_effect(utterances_at: Mapping[float, int]) -> float:
    """Return by how much unequal weights raise the variance, n sum w^2 / (sum w)^2, from the number of utterances at each weight.

    Errs on the side of too many utterances where errors weigh 1 and rare samples much: the errors differ more than the samples do.

    Source: L. Kish, Survey Sampling (1965), section 11.7.
    """
    total = fsum(weight * count for weight, count in utterances_at.items())
    squares = fsum(weight**2 * count for weight, count in utterances_at.items())
    return sum(utterances_at.values()) * squares / total**2 if total else 1.0


def power_before(holdout: Holdout, spread: Spread, wanted: Wanted) -> Power:
    """Return what the holdout can show and what it lacks to show the wanted gain; formula and assumptions at the top of this file."""
    delta = wanted.relative_gain * wanted.base_wer
    smallest = smallest_gain(holdout, spread, wanted.alpha, wanted.power)
    enough = smallest <= delta
    grown = _grown(holdout, lambda size: smallest_gain(size, spread, wanted.alpha, wanted.power) <= delta)
    return Power(
        holdout=holdout,
        wanted=wanted,
        smallest_gain=smallest,
        smallest_relative_gain=smallest / wanted.base_wer,
        enough=enough,
        further_utterances=grown.utterances - holdout.utterances,
        further_clusters=grown.clusters - holdout.clusters,
        further_of_the_same=0 if enough else _further_of_the_same(holdout, spread, wanted, delta),
    )


def smallest_gain(holdout: Holdout, spread: Spread, alpha: float, power: float = 0.8) -> float:
    """Return the least fall of WER that the gate shows on such a set, a rate; infinite where 2^-G > alpha: no sign-flip test succeeds then.

    Too small at the fewest clusters that the sign-flip test takes (5 at alpha 0.05): there all of them must agree.
    """
    if 2.0**-holdout.clusters > alpha:
        return inf
    return _gate_quantiles(holdout.clusters, alpha, power) * _standard_error(holdout, spread)


def smallest_margin(suite: Holdout, spread: Spread, alpha: float, power: float = 0.8) -> float:
    """Return the smallest margin, a rate, within which a suite shows an unchanged WER to be no worse; infinite below two clusters."""
    if suite.clusters < 2:
        return inf
    return _quantiles(suite.clusters, alpha, power) * _standard_error(suite, spread)


def size_for_margin(suite: Holdout, spread: Spread, margin: float, alpha: float) -> MarginSize:
    """Return what the suite can show and what it lacks to show an unchanged WER to stay within the margin, in 4 of 5 trials.

    Raises:
        ValueError: the margin is not above 0: no suite shows that nothing rises at all.
    """
    if not margin > 0:
        raise ValueError(f"margin: expected a rate above 0, found {margin}: no suite shows that nothing rises at all")
    smallest = smallest_margin(suite, spread, alpha)
    grown = _grown(suite, lambda size: smallest_margin(size, spread, alpha) <= margin)
    return MarginSize(
        suite=suite,
        margin=margin,
        smallest_margin=smallest,
        enough=smallest <= margin,
        further_utterances=grown.utterances - suite.utterances,
        further_clusters=grown.clusters - suite.clusters,
    )


def _grown(holdout: Holdout, enough: Callable[[Holdout], bool]) -> Holdout:
    """Return the least holdout, with as many utterances per cluster, that is enough: doubling, then halving the step."""
    if enough(holdout):
        return holdout
    utterances, of_clusters = (holdout.utterances, holdout.clusters) if holdout.clusters else (1, 1)

    def of(clusters: int) -> Holdout:
        return Holdout(-(-utterances * clusters // of_clusters), clusters, holdout.weights_effect)  # rounded up

    low, high = holdout.clusters, max(2, 2 * holdout.clusters)
    while not enough(of(high)):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(of(middle)) else (middle, high)
    return of(high)


def _further_of_the_same(holdout: Holdout, spread: Spread, wanted: Wanted, delta: float) -> int | None:
    """Solve sqrt(w (1 + (m - 1) rho) / (m G)) = delta / (quantiles sd) for m; the left side never falls below sqrt(w rho / G)."""
    if holdout.clusters < 2 or 2.0**-holdout.clusters > wanted.alpha:
        return None
    needed = (delta / (_gate_quantiles(holdout.clusters, wanted.alpha, wanted.power) * spread.sd_d)) ** 2
    bearable = needed * holdout.clusters / _weights(holdout, spread)
    if bearable <= spread.rho:
        return None
    return ceil(holdout.clusters * (1 - spread.rho) / (bearable - spread.rho)) - holdout.utterances


def _quantiles(clusters: int, alpha: float, power: float) -> float:
    return _t_quantile(clusters - 1, 1 - alpha) + _t_quantile(clusters - 1, power)


def _gate_quantiles(clusters: int, alpha: float, power: float) -> float:
    """Return how many standard errors of a gain the gate asks for: also its limit with one more usual cluster that came out worse.

    k, the mean difference of a cluster over its spread, solves k G = v + t(1 - alpha) sqrt(G + v^2) + t(power) sqrt(G), where v, the median
    of |D| over the spread, is 0.6745 (normal) where the mean is small and about k where it is not. Returned is k sqrt(G).
    """
    at_alpha, at_power = _t_quantile(clusters - 1, 1 - alpha), _t_quantile(clusters - 1, power)
    usual = _MEDIAN_OF_NORMAL
    for _ in range(_ROUNDS):
        mean = (usual + at_alpha * sqrt(clusters + usual**2) + at_power * sqrt(clusters)) / clusters
        usual = max(_MEDIAN_OF_NORMAL, mean)
    return mean * sqrt(clusters)


def _standard_error(holdout: Holdout, spread: Spread) -> float:
    effect = _design_effect(holdout.utterances / holdout.clusters, spread.rho) * _weights(holdout, spread)
    return spread.sd_d * sqrt(effect / holdout.utterances)


def _weights(holdout: Holdout, spread: Spread) -> float:
    return 1.0 if spread.measured else holdout.weights_effect


def _design_effect(per_cluster: float, rho: float) -> float:
    return 1 + (per_cluster - 1) * rho


def _t_quantile(degrees_of_freedom: int, probability: float) -> float:
    """Return Student's t for 0.5 to 0.99: within 0.5% from 3 degrees of freedom on, 0.1% from 4; at 0.95 up to 5% too small at 1.

    Cornish-Fisher expansion about the normal quantile to the fourth order. Source: M. Abramowitz, I. A. Stegun, Handbook of Mathematical
    Functions (1964), 26.7.5.
    """
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + fsum(term / degrees_of_freedom**order for order, term in enumerate(terms, start=1))
