"""The tests that papers report, against published examples and numbers worked out by hand."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap, kstest, norm

from shared.testing.paired import utterance_totals
from shared.testing.two_models import Traffic, simulate
from shared.wer_align import Alignment, align_words
from shared.wer_classic import error_segments, mapsswe, mcnemar, mcnemar_of, paired_bootstrap
from shared.wer_stats import ClusterTotals, PairedUtterance, cluster_totals

REFERENCE = "it was the best of times it was the worst of times it was"
"""The example of D. Jurafsky, J. H. Martin, Speech and Language Processing, on the matched-pairs test, after Gillick and Cox."""
SYSTEM_A = "its the best of times it is the worst of times or it was"
SYSTEM_B = "it was the best times it won the test of times it was"


def segments(reference: str, base: str, candidate: str) -> list[tuple[int, int]]:
    return error_segments(align_words(reference, base), align_words(reference, candidate))


def utterance(words: int, base: int, candidate: int, *, cluster: str = "s", weight: float = 1.0) -> PairedUtterance:
    return PairedUtterance("u", cluster, "traffic", weight, words, base, candidate)


def test_the_textbook_example_has_four_segments() -> None:
    # I: "it was" | its (2), right (0); II: "of" right, lost; III: "was the worst" is (1), won + test (2), the single right "the" parts nothing;
    # IV: "or" inserted (1), nothing (0)
    assert segments(REFERENCE, SYSTEM_A, SYSTEM_B) == [(2, 0), (0, 1), (1, 2), (1, 0)]


def test_the_textbook_example_is_no_evidence() -> None:
    # Z = -2, 1, 1, -1: mean -0.25, s^2 = (3.0625 + 1.5625 + 1.5625 + 0.5625) / 3 = 2.25, W = -0.25 / (1.5 / 2) = -1/3, p = 2 (1 - Phi(1/3))
    found = mapsswe(segments(REFERENCE, SYSTEM_A, SYSTEM_B))
    assert (found.segments, found.mean) == (4, -0.25)
    assert found.w == pytest.approx(-1 / 3)
    assert found.p_value == pytest.approx(0.738883, abs=1e-6)


@pytest.mark.parametrize(
    ("base", "candidate", "expected"),
    [
        ("a b c d e f", "a b c d e f", []),
        ("x b c d e f", "a b c d e x", [(1, 0), (0, 1)]),  # four right words between
        ("a b x d e f", "a b c d e x", [(1, 0), (0, 1)]),  # d, e: two are enough
        ("a b x d e f", "a b c d x f", [(1, 1)]),  # d alone is not
        ("a x c d e f", "a x c d e f", [(1, 1)]),  # the same error of both is a segment, too
        ("a x c u d e f", "a b c d e f", [(2, 0)]),  # c and d are right, but for the word between them
        ("a x c u d e f", "a b c d v e f", [(2, 1)]),
        ("u a b c d e f", "a b c d e f v", [(1, 0), (0, 1)]),  # inserted at either end
        ("", "a b c d e f", [(6, 0)]),
        ("a b c d e x", "a b c d e", [(1, 1)]),
    ],
)
def test_two_words_that_both_got_right_part_segments(base: str, candidate: str, expected: list[tuple[int, int]]) -> None:
    assert segments("a b c d e f", base, candidate) == expected


def test_silence_is_one_segment_where_words_were_made_up() -> None:
    assert segments("", "uh huh", "") == [(2, 0)]
    assert segments("", "", "") == []


def test_alignments_of_different_references_are_refused() -> None:
    with pytest.raises(ValueError, match="same reference"):
        error_segments(align_words("a b", "a b"), align_words("a c", "a c"))


texts = st.lists(st.sampled_from(["a", "b", "c"]), max_size=12).map(" ".join)


@given(texts, texts, texts)
def test_segments_hold_every_error_and_mirror_when_the_models_are_swapped(reference: str, base: str, candidate: str) -> None:
    def errors(alignment: Alignment) -> int:
        return sum(op.kind != "hit" for op in alignment)

    found = segments(reference, base, candidate)
    assert sum(each for each, _ in found) == errors(align_words(reference, base))
    assert sum(each for _, each in found) == errors(align_words(reference, candidate))
    assert [(b, a) for a, b in segments(reference, candidate, base)] == found


def test_a_clear_gain_per_segment() -> None:
    # Z = -1 x 12, 0 x 4: mean -0.75, s^2 = (12 * 0.0625 + 4 * 0.5625) / 15 = 0.2, W = -0.75 / sqrt(0.2 / 16) = -6.708204
    found = mapsswe([(1, 0)] * 12 + [(1, 1)] * 4)
    assert found.w == pytest.approx(-6.708204, abs=1e-6)
    assert found.p_value == pytest.approx(2 * norm.cdf(-6.708204), rel=1e-5)


def test_no_spread_and_no_segments_say_nothing() -> None:
    for nothing in ([], [(2, 1)], [(2, 1)] * 50):
        found = mapsswe(nothing)
        assert (found.w, found.p_value, found.segments) == (0.0, 1.0, len(nothing))


def test_mapsswe_holds_its_level_where_segments_are_independent() -> None:
    rng = np.random.default_rng(4)
    p_values = [mapsswe(zip(*rng.poisson(1.0, size=(2, 200)).tolist(), strict=True)).p_value for _ in range(400)]
    assert kstest(p_values, "uniform").pvalue > 0.01


def test_mcnemars_test_on_a_published_table() -> None:
    # A. Agresti, Categorical Data Analysis (1990), p. 350 (R's mcnemar.test): 86 and 150: (64 - 1)^2 / 236 = 16.8178
    found = mcnemar(86, 150)
    assert found.chi_squared == pytest.approx(16.8178, abs=1e-4)
    assert found.p_value == pytest.approx(4.115e-5, rel=1e-3)
    # S. Raschka's mlxtend, scenario B: 25 and 15: 9^2 / 40 = 2.025
    found = mcnemar(25, 15)
    assert found.chi_squared == pytest.approx(2.025)
    assert found.p_value == pytest.approx(0.1547, abs=1e-4)


def test_few_discordant_sentences_are_tested_exactly() -> None:
    # mlxtend, scenario A: 11 and 1: 2 (1 + 12) / 4096 = 0.006348
    found = mcnemar(11, 1)
    assert found.chi_squared is None
    assert found.p_value == pytest.approx(0.006348, abs=1e-6)
    assert mcnemar(1, 11).p_value == found.p_value
    # 0 and 5: 2 / 32; 3 and 3: 2 (1 + 6 + 15 + 20) / 64 > 1
    assert mcnemar(0, 5).p_value == pytest.approx(0.0625)
    assert mcnemar(3, 3).p_value == mcnemar(0, 0).p_value == 1.0


def test_the_exact_test_ends_at_twenty_five() -> None:
    assert mcnemar(12, 12).chi_squared is None
    assert mcnemar(13, 12).chi_squared == 0.0
    assert mcnemar(20, 20).p_value == 1.0


def test_a_sentence_is_right_or_wrong() -> None:
    found = mcnemar_of(
        utterance_totals([utterance(9, 0, 1), utterance(9, 5, 0), utterance(9, 1, 0, weight=10.0), utterance(9, 0, 0), utterance(9, 5, 1)])
    )
    assert (found.only_base_right, found.only_candidate_right) == (1, 2)


def test_two_utterances_are_drawn_in_four_ways() -> None:
    # u: 10 words, 4 -> 1; v: 30 words, 2 -> 2. Drawn uu (1/4): 8/20 -> 2/20, -0.3; uv (1/2): 6/40 -> 3/40, -0.075; vv (1/4): 4/60, 0, a tie.
    found = paired_bootstrap(utterance_totals([utterance(10, 4, 1), utterance(30, 2, 2)]), seed=0, level=0.9)
    assert (found.base.estimate, found.candidate.estimate, found.delta.estimate) == pytest.approx((0.15, 0.075, -0.075))
    assert (found.base.low, found.base.high) == pytest.approx((4 / 60, 0.4))
    assert (found.delta.low, found.delta.high) == pytest.approx((-0.3, 0.0))
    # strict: vv does not count; 4 standard errors of 10,000 draws at 3/4 are 0.0173
    assert found.improvement == pytest.approx(0.75, abs=0.0173)
    assert (found.draws, found.delta.clusters, found.delta.level) == (10_000, 2, 0.9)


def test_clusters_are_drawn_whole() -> None:
    # each speaker's utterances cancel: no draw of speakers differs, a draw of utterances may
    rows = [utterance(10, 1, 2, cluster=name) for name in "abcd"] + [utterance(10, 2, 1, cluster=name) for name in "abcd"]
    whole, apart = paired_bootstrap(cluster_totals(rows), seed=0), paired_bootstrap(utterance_totals(rows), seed=0)
    assert (whole.delta.low, whole.delta.high, whole.improvement, whole.delta.clusters) == (0.0, 0.0, 0.0, 4)
    assert apart.delta.low < 0.0 < apart.delta.high
    assert apart.delta.clusters == 8


def test_the_spread_of_the_draws_is_the_known_one() -> None:
    # equal lengths: WER* is a mean of N draws, sd = sd(E) / (n sqrt N); percentiles of a near-normal mean are 1.96 sd away
    rng = np.random.default_rng(1)
    base, candidate = rng.poisson(1.5, 1000), rng.poisson(1.2, 1000)
    units = ClusterTotals(np.full(1000, 10.0), base.astype(np.float64), candidate.astype(np.float64))
    found = paired_bootstrap(units, seed=2)
    for interval, errors in ((found.base, base), (found.candidate, candidate), (found.delta, candidate - base)):
        half = 1.959964 * float(np.std(errors)) / 10 / 1000**0.5
        assert (interval.high - interval.low) / 2 == pytest.approx(half, rel=0.04)
        assert (interval.high + interval.low) / 2 == pytest.approx(float(np.mean(errors)) / 10, abs=0.1 * half)


def test_it_agrees_with_scipys_bootstrap() -> None:
    rng = np.random.default_rng(3)
    rows = simulate(Traffic(speakers=30, utterances=5, redrawn=0.2, report_rate=0.0, sample_rate=1.0, fixed=0.1), rng)
    table = tuple(np.array(column) for column in zip(*((row.words, row.base_errors, row.candidate_errors) for row in rows), strict=True))
    found = paired_bootstrap(utterance_totals(rows), seed=5)
    theirs = bootstrap(
        table,
        lambda words, base, candidate, axis: (candidate.sum(axis) - base.sum(axis)) / words.sum(axis),
        paired=True,
        vectorized=True,
        n_resamples=10_000,
        method="percentile",
        rng=np.random.default_rng(6),
    )
    width = found.delta.high - found.delta.low
    assert found.delta.low == pytest.approx(theirs.confidence_interval.low, abs=0.05 * width)
    assert found.delta.high == pytest.approx(theirs.confidence_interval.high, abs=0.05 * width)
    assert found.improvement == pytest.approx(float(np.mean(theirs.bootstrap_distribution < 0)), abs=0.02)


@pytest.mark.parametrize("totals", [utterance_totals, cluster_totals])
def test_identical_models_are_never_an_improvement(totals: Callable[[list[PairedUtterance]], ClusterTotals]) -> None:
    rows = [utterance(10, errors % 4, errors % 4, cluster=f"s{errors % 7}", weight=10 / 3) for errors in range(50)]
    found = paired_bootstrap(totals(rows), seed=0)
    assert (found.improvement, found.delta.low, found.delta.high) == (0.0, 0.0, 0.0)


def test_draws_without_words_are_left_out_and_a_set_without_words_is_refused() -> None:
    # of the draws of (10 words, 0 words) three in four hold words; 4 standard errors are 173
    found = paired_bootstrap(utterance_totals([utterance(10, 1, 0), utterance(0, 1, 0)]), seed=0)
    assert found.draws == pytest.approx(7500, abs=175)
    with pytest.raises(ValueError, match="expected at least 1, found 0"):
        paired_bootstrap(utterance_totals([utterance(0, 1, 0)]), seed=0)
    with pytest.raises(ValueError, match="expected at least 1, found 0"):
        paired_bootstrap(cluster_totals([]), seed=0)


def test_the_same_seed_gives_the_same_draws() -> None:
    units = utterance_totals([utterance(10, number % 5, number % 3) for number in range(40)])
    assert paired_bootstrap(units, seed=7) == paired_bootstrap(units, seed=7)
    assert paired_bootstrap(units, seed=7) != paired_bootstrap(units, seed=8)
