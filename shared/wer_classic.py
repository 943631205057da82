"""The tests that papers on speech recognition report: MAPSSWE, McNemar, the Bisani-Ney bootstrap; for comparison, they decide nothing.

Where the utterances of one speaker hang together, MAPSSWE, McNemar and the bootstrap over utterances are too sure (the last is measured in
`tests.benchmarks.false_deploy`); on reported errors alone all three see a gain that is none. The gate is in `shared.wer_compare`.
Differences are candidate minus base; negative is better.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import comb, erfc, sqrt

import numpy as np

from shared.rates import Interval
from shared.wer_align import Alignment
from shared.wer_stats import Array, ClusterTotals

_CORRECT_BETWEEN = 2
_EXACT_BELOW = 25
_CELLS_AT_ONCE = 1_000_000


@dataclass(frozen=True)
class Mapsswe:
    """Result of the matched-pairs sentence-segment word error test.

    Attributes:
        segments: segments in which at least one of the models errs.
        mean: mean difference of errors per segment.
        w: the statistic; 0 where the differences do not vary, or fewer than two segments tell.
        p_value: two-sided, from the normal distribution.
    """

    segments: int
    mean: float
    w: float
    p_value: float


def error_segments(base: Alignment, candidate: Alignment) -> list[tuple[int, int]]:
    """Return the errors of base and candidate in each segment of one utterance in which either errs.

    Two segments are parted by at least two successive words that both models got right, with nothing inserted between them; the ends of the
    utterance part, too. A single right word between errors does not: n-gram context may carry an error over it.

    Args:
        base: alignment of the base's transcript.
        candidate: alignment of the candidate's with the same reference.

    Raises:
        ValueError: the alignments are of different references.

    Source: L. Gillick, S. J. Cox, ICASSP 1989, 532-535; the two words are NIST sclite's default.
    """
    segments: list[tuple[int, int]] = []
    open_errors, right = (0, 0), 0
    for base_errors, candidate_errors, is_word in _side_by_side(base, candidate):
        if base_errors or candidate_errors:
            open_errors, right = (open_errors[0] + base_errors, open_errors[1] + candidate_errors), 0
        elif is_word:
            right += 1
        if right == _CORRECT_BETWEEN and any(open_errors):
            segments.append(open_errors)
            open_errors = (0, 0)
    return [*segments, open_errors] if any(open_errors) else segments


def _side_by_side(base: Alignment, candidate: Alignment) -> Iterator[tuple[int, int, bool]]:
    """Yield errors of both models for each gap between words (insertions) and each word, in the order of the reference."""
    base_words, base_gaps = _word_and_gap_errors(base)
    candidate_words, candidate_gaps = _word_and_gap_errors(candidate)
    if [op.reference for op in base if op.kind != "insertion"] != [op.reference for op in candidate if op.kind != "insertion"]:
        raise ValueError("alignments: expected two of the same reference, found different words")
    for position, (base_gap, candidate_gap) in enumerate(zip(base_gaps, candidate_gaps, strict=True)):
        yield base_gap, candidate_gap, False
        if position < len(base_words):
            yield base_words[position], candidate_words[position], True


def _word_and_gap_errors(alignment: Alignment) -> tuple[list[int], list[int]]:
    """Return for each word of the reference whether it was missed, and the insertions before each word and at the end."""
    words, gaps = [], [0]
    for op in alignment:
        if op.kind == "insertion":
            gaps[-1] += 1
        else:
            words.append(int(op.kind != "hit"))
            gaps.append(0)
    return words, gaps


def mapsswe(segments: Iterable[tuple[int, int]]) -> Mapsswe:
    """Test whether two models err equally often per segment, two-sided.

    Z_i = candidate minus base errors in segment i, W = mean(Z) / (sd(Z) / sqrt n), p = 2 (1 - Phi(|W|)).

    Assumes independent segments, so many of them (50 or so) that the mean is normal, and that the alignments place the errors well.
    Resampling unit: the segment; segments of one speaker are taken for independent, so that with few speakers p is too small.

    Args:
        segments: errors of base and candidate, from `error_segments` of every utterance; may be a stream.

    Source: L. Gillick, S. J. Cox, ICASSP 1989, 532-535; W = 0 without spread as in NIST's sclite.
    """
    count = total = squares = 0
    for base_errors, candidate_errors in segments:
        difference = candidate_errors - base_errors
        count, total, squares = count + 1, total + difference, squares + difference * difference
    mean = total / count if count else 0.0
    spread = count * squares - total * total  # an integer: n (n - 1) times the variance
    w = total / sqrt(spread / (count - 1)) if spread > 0 else 0.0
    return Mapsswe(segments=count, mean=mean, w=w, p_value=_two_sided(w))


@dataclass(frozen=True)
class McNemar:
    """Result of McNemar's test on whole sentences.

    Attributes:
        only_base_right: sentences that the candidate spoils.
        only_candidate_right: sentences that it mends.
        chi_squared: with one degree of freedom; None where the test is exact.
        p_value: two-sided.
    """

    only_base_right: int
    only_candidate_right: int
    chi_squared: float | None
    p_value: float


def mcnemar_of(utterances: ClusterTotals) -> McNemar:
    """Count the sentences that one model gets wholly right and the other does not, and test them; weights are passed over.

    Args:
        utterances: errors of each utterance, from `utterance_totals`.
    """
    base_right, candidate_right = utterances.base_errors == 0.0, utterances.candidate_errors == 0.0
    return mcnemar(int(np.sum(base_right & ~candidate_right)), int(np.sum(candidate_right & ~base_right)))


def mcnemar(only_base_right: int, only_candidate_right: int) -> McNemar:
    """Test whether two models get equally many sentences right, two-sided.

    With b and c the sentences that only one of them gets right: chi^2 = (|b - c| - 1)^2 / (b + c) at one degree of freedom (0 where b = c);
    below b + c = 25 the exact binomial p = min(1, 2 P(X <= min(b, c))), X ~ Bin(b + c, 1/2).

    Assumes independent sentences (resampling unit: the sentence). Passes over how many words of a sentence are wrong: on long sentences it
    sees little of a gain.

    Source: Q. McNemar, Psychometrika 12 (1947) 153-157; correction: A. L. Edwards, Psychometrika 13 (1948) 185-187; for speech: L. Gillick,
    S. J. Cox, ICASSP 1989.
    """
    b, c = only_base_right, only_candidate_right
    if b + c < _EXACT_BELOW:
        tail = sum(comb(b + c, successes) for successes in range(min(b, c) + 1))
        return McNemar(b, c, None, min(1.0, 2 * tail / 2 ** (b + c)))
    chi_squared = max(0, abs(b - c) - 1) ** 2 / (b + c)
    return McNemar(b, c, chi_squared, _two_sided(sqrt(chi_squared)))


@dataclass(frozen=True)
class Bootstrap:
    """Result of the paired bootstrap; the intervals' `clusters` counts the units that were drawn.

    Attributes:
        draws: draws with at least one reference word.
        base, candidate: pooled WER with its percentile interval.
        delta: their difference on the same draws.
        improvement: share of the draws in which the candidate has fewer errors, strictly: ties count against it.
    """

    draws: int
    base: Interval
    candidate: Interval
    delta: Interval
    improvement: float


def paired_bootstrap(units: ClusterTotals, *, seed: int, draws: int = 10_000, level: float = 0.95) -> Bootstrap:
    """Draw as many units as there are, with replacement, `draws` times, and pool errors and words of each draw.

    WER* = sum E* / sum N*, delta* = sum (B* - A*) / sum N* on the same draw, intervals are the percentiles (1 -+ level) / 2 of the draws,
    improvement = #[delta* < 0] / draws. Units of equal counts are drawn together, from a multinomial over the distinct ones: the same
    distribution at a fraction of the work.

    Resampling unit: what a row of `units` holds. `utterance_totals` gives the test as published, which assumes independent utterances;
    `cluster_totals` draws whole speakers or calls (Liu and Peng's blocks), consistent where their utterances hang together, and too sure
    with fewer than 20 or so. Weights count in either.

    Raises:
        ValueError: there are no reference words.

    Source: M. Bisani, H. Ney, ICASSP 2004, I-409; blocks: Z. Liu, F. Peng, arXiv:1912.09508; strict: Kaldi's compute-wer-bootci.
    """
    if not units.words.sum() > 0.0:
        raise ValueError("reference words: expected at least 1, found 0")
    drawn = _resampled(units, draws, np.random.default_rng(seed))
    ends = ((1 - level) / 2, (1 + level) / 2)

    def interval(observed: Array, errors: Array) -> Interval:
        low, high = (float(end) for end in np.quantile(errors / drawn.words, ends))
        rate = float(observed.sum() / units.words.sum())
        return Interval(estimate=rate, low=low, high=high, level=level, clusters=len(units.words))

    return Bootstrap(
        draws=len(drawn.words),
        base=interval(units.base_errors, drawn.base_errors),
        candidate=interval(units.candidate_errors, drawn.candidate_errors),
        delta=interval(units.deltas, drawn.deltas),
        improvement=float(np.mean(drawn.deltas < 0.0)),
    )


def _resampled(units: ClusterTotals, draws: int, rng: np.random.Generator) -> ClusterTotals:
    """Return words and errors of each draw, of shape `(draws,)`; a draw without words has no rate and is left out."""
    table = np.stack((units.words, units.base_errors, units.candidate_errors), axis=1)
    kinds, counts = np.unique(table, axis=0, return_counts=True)
    frequent_first = np.argsort(-counts, kind="stable")  # a draw is complete sooner
    kinds, chances = kinds[frequent_first], counts[frequent_first] / len(table)
    at_once = max(1, _CELLS_AT_ONCE // len(kinds))
    sums = np.concatenate(
        [
            rng.multinomial(len(table), chances, size=min(at_once, draws - start)).astype(np.float64) @ kinds
            for start in range(0, draws, at_once)
        ]
    )
    sums = sums[sums[:, 0] > 0.0]
    return ClusterTotals(words=sums[:, 0], base_errors=sums[:, 1], candidate_errors=sums[:, 2])


def _two_sided(z: float) -> float:
    return erfc(abs(z) / sqrt(2))
