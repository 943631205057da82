"""Statistics of paired word errors, against numbers worked out by hand."""

from itertools import product
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.testing.paired import compare, non_inferiority
from shared.testing.two_models import Traffic, raised_chance, simulate
from shared.wer_compare import NonInferiority, NotTestable, Superiority
from shared.wer_stats import (
    ClusterTotals,
    PairedUtterance,
    cluster_t_interval,
    cluster_totals,
    effective_sd,
    minimum_clusters,
    relative_change_interval,
    sign_flip_test,
    wer_interval,
)


def utterance(
    cluster: str, base: int, candidate: int, *, words: int = 10, weight: float = 1.0, stratum: str = "errors", name: str = ""
) -> PairedUtterance:
    return PairedUtterance(
        utterance_id=name or f"{cluster}-{base}-{candidate}",
        cluster=cluster,
        stratum=stratum,
        weight=weight,
        words=words,
        base_errors=base,
        candidate_errors=candidate,
    )


def array(*values: float) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    return np.array(values, dtype=np.float64)


def totals(base: list[float], candidate: list[float], words: float = 100.0) -> ClusterTotals:
    return ClusterTotals(words=np.full(len(base), words), base_errors=array(*base), candidate_errors=array(*candidate))


rows = st.lists(
    st.builds(
        utterance,
        st.sampled_from(["a", "b", "c", "d", "e", "f", "g"]),
        st.integers(0, 10),
        st.integers(0, 10),
        weight=st.sampled_from([1.0, 10 / 3, 20.0]),
        stratum=st.sampled_from(["errors", "traffic"]),
    ),
    min_size=1,
    max_size=40,
)


def test_the_sign_flip_test_of_thousands_of_clusters_gives_what_it_gives_of_a_few() -> None:
    # 1600 clusters, 820 better by one and 780 worse: sd of the sum is 40, so that p is about Phi(-1)
    many = sign_flip_test([-1.0] * 820 + [1.0] * 780, seed=1)
    assert (many.exact, many.clusters) == (False, 1600)
    assert many.p_value == pytest.approx(NormalDist().cdf(-39 / 40), abs=0.012)
    assert sign_flip_test([1.0] * 820 + [-1.0] * 780, seed=1).p_value == pytest.approx(NormalDist().cdf(41 / 40), abs=0.012)


def test_cluster_totals_weigh_each_utterance() -> None:
    # a: words 1*10 + 20*10 = 210, base 1*3 + 20*0 = 3, candidate 1*1 + 20*1 = 21; b: 10, 2, 2
    found = cluster_totals([utterance("b", 2, 2), utterance("a", 3, 1), utterance("a", 0, 1, weight=20.0)])
    assert found.words.tolist() == [210.0, 10.0]
    assert found.base_errors.tolist() == [3.0, 2.0]
    assert found.candidate_errors.tolist() == [21.0, 2.0]
    assert found.deltas.tolist() == [18.0, 0.0]


def test_what_rounding_leaves_over_is_no_difference() -> None:
    # 0.1 + 0.2 against 0.3: equal but for the last bit
    found = cluster_totals([utterance("a", 0, 1, weight=0.1), utterance("a", 0, 1, weight=0.2), utterance("a", 3, 0, weight=0.1)])
    assert found.deltas.tolist() == [0.0]


def test_two_sums_that_differ_by_rounding_alone_are_the_same() -> None:
    assert 0.1 + 0.2 > 0.3
    assert totals([0.3, 0.1 + 0.2], [0.1 + 0.2, 0.3]).deltas.tolist() == [0.0, 0.0]


@given(rows)
def test_the_order_of_the_utterances_does_not_matter(drawn: list[PairedUtterance]) -> None:
    forward, backward = cluster_totals(drawn), cluster_totals(reversed(drawn))
    assert forward.deltas.tolist() == backward.deltas.tolist()
    assert forward.words.tolist() == backward.words.tolist()


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_that_is_no_inverse_probability_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="positive weight"):
        utterance("a", 1, 1, weight=weight)


def test_negative_counts_are_refused() -> None:
    for base, candidate, words in ((-1, 1, 10), (1, -1, 10), (1, 1, -1)):
        with pytest.raises(ValueError, match="utterance a: expected counts of 0 or more"):
            utterance("a", base, candidate, words=words, name="a")


def test_three_clusters_are_enumerated() -> None:
    # D = -3, -1, 2: sum -2. Of the 8 sign patterns the sums are -2, 4 (flip -3), 0 (flip -1), -6 (flip 2), 6, 0 (-3 and 2 flipped: 3 - 1 - 2),
    # -4 (-1 and 2 flipped: -3 + 1 - 2), 2 (all). At or below -2: -2, -6, -4, hence p = 3/8.
    found = sign_flip_test([-3.0, -1.0, 2.0], seed=0)
    assert found.exact
    assert found.clusters == 3
    assert found.p_value == pytest.approx(3 / 8)
    assert found.smallest_p == pytest.approx(1 / 8)


def test_clusters_without_a_difference_say_nothing_about_the_sign() -> None:
    assert sign_flip_test([-1.0, 0.0, -2.0, 0.0], seed=0) == sign_flip_test([-1.0, -2.0], seed=0)


def test_no_difference_at_all_gives_p_1() -> None:
    assert sign_flip_test([0.0] * 30, seed=0).p_value == 1.0
    assert sign_flip_test([], seed=0).p_value == 1.0


def test_many_clusters_are_drawn_and_agree_with_the_binomial() -> None:
    # 10 clusters at -1 and 5 at +1: sum -5. A random pattern sums to 15 - 2K, K ~ Bin(15, 1/2), at or below -5 iff K >= 10:
    # (3003 + 1365 + 455 + 105 + 15 + 1) / 32768 = 0.15088; 4 standard errors of 10,000 draws are 0.0143.
    found = sign_flip_test([-1.0] * 10 + [1.0] * 5, seed=1)
    assert not found.exact
    assert found.p_value == pytest.approx(0.15088, abs=0.0143)


def test_so_many_draws_give_no_smaller_p_than_one_of_them_and_one_more() -> None:
    # of 40 and of 1001 clusters all better, no drawn pattern is as good: p is the least there is
    for clusters, draws in ((40, 99), (1001, 99), (40, 2500), (1001, 2500)):
        found = sign_flip_test([-1.0] * clusters, seed=3, draws=draws)
        assert (found.exact, found.clusters) == (False, clusters)
        assert found.p_value == found.smallest_p == pytest.approx(1 / (draws + 1))
        # all worse: every pattern is as good
        assert sign_flip_test([1.0] * clusters, seed=3, draws=draws).p_value == 1.0


def test_fourteen_clusters_are_enumerated_and_fifteen_are_drawn() -> None:
    assert [sign_flip_test([-1.0] * clusters, seed=0).exact for clusters in (14, 15)] == [True, False]


def test_differences_that_are_all_different_are_drawn_in_parts_and_each_draw_counts_once() -> None:
    # 1001 different ones are 999 draws at once: parts of 999, 999 and 502; all worse: every pattern is as good, all better: none is
    worse = [1.0 + number / 1000 for number in range(1001)]
    assert sign_flip_test(worse, seed=3, draws=2500).p_value == 1.0
    assert sign_flip_test([-each for each in worse], seed=3, draws=2500).p_value == pytest.approx(1 / 2501)


@pytest.mark.parametrize("clusters", [15, 1500])
def test_what_is_drawn_follows_from_the_seed(clusters: int) -> None:
    deltas = [-1.0] * (2 * clusters // 3) + [2.0] * (clusters // 3)
    found = sign_flip_test(deltas, seed=1)
    assert 0.3 < found.p_value < 0.7
    assert sign_flip_test(deltas, seed=1) == found
    assert sign_flip_test(deltas, seed=2) != found


def test_a_drawn_p_value_is_never_zero_and_repeats_with_its_seed() -> None:
    found = sign_flip_test([-1.0] * 40, seed=3)
    assert found.p_value == found.smallest_p == pytest.approx(1 / 10_001)
    assert found == sign_flip_test([-1.0] * 40, seed=3)


@given(st.lists(st.integers(-9, 9), max_size=9))
def test_enumeration_agrees_with_its_definition(deltas: list[int]) -> None:
    sums = [sum(sign * delta for sign, delta in zip(signs, deltas, strict=True)) for signs in product((1, -1), repeat=len(deltas))]
    assert sign_flip_test(deltas, seed=0).p_value == pytest.approx(np.mean([total <= sum(deltas) for total in sums]))


@given(st.lists(st.floats(-100, 100), max_size=14))
def test_better_and_worse_cannot_both_be_unlikely(deltas: list[float]) -> None:
    # every pattern is at or below the observed sum, or at or above it, or both
    better, worse = sign_flip_test(deltas, seed=0), sign_flip_test([-delta for delta in deltas], seed=0)
    assert better.p_value + worse.p_value >= 1.0
    assert better.smallest_p <= better.p_value <= 1.0


def test_the_interval_of_a_difference() -> None:
    # D = -2, -4, -6: mean -4, sd 2; N = 60; t(0.95, 2 df) = 2.919986
    # (-4 -+ 2.919986 * 2 / sqrt 3) * 3 / 60 = -0.2 -+ 0.168585
    found = cluster_t_interval(array(-2, -4, -6), array(10, 20, 30), 0.9)
    assert (found.estimate, found.low, found.high) == pytest.approx((-0.2, -0.368585, -0.031415), abs=1e-6)
    assert (found.clusters, found.level) == (3, 0.9)


def test_the_interval_of_one_models_wer() -> None:
    # E = 1, 3 of N = 10, 10: R = 0.2, residuals -1, 1; var = 2/1 * 2 / 400 = 0.01; t(0.975, 1 df) = 12.706205
    found = wer_interval(array(1, 3), array(10, 10), 0.95)
    assert (found.estimate, found.low, found.high) == pytest.approx((0.2, 0.0, 1.4706205), abs=1e-6)
    assert (found.clusters, found.level) == (2, 0.95)


def test_the_interval_of_one_models_wer_over_three_speakers() -> None:
    # E = 1, 2, 6 of N = 10 each: R = 0.3, residuals -2, -1, 3; var = 3/2 * 14 / 900 = 0.0233333; t(0.95, 2 df) = 2.919986
    found = wer_interval(array(1, 2, 6), array(10, 10, 10), 0.9)
    assert (found.estimate, found.low, found.high) == pytest.approx((0.3, 0.0, 0.746035), abs=1e-6)


def test_one_word_is_enough_for_an_interval() -> None:
    assert cluster_t_interval(array(0, 0), array(1, 0), 0.9).estimate == 0.0


def test_errors_in_proportion_to_words_leave_no_doubt_about_the_rate() -> None:
    found = wer_interval(array(1, 2, 3), array(10, 20, 30), 0.95)
    assert (found.low, found.high) == pytest.approx((0.1, 0.1))


def test_the_interval_of_a_relative_change() -> None:
    # A = 10, 10, 10 does not vary, so that Fieller's interval is the t interval of mean(B) / 10: B = 5, 6, 7, mean 6, sd 1,
    # t(0.975, 2 df) = 4.302653, half = 4.302653 / sqrt 3 / 10 = 0.248414; minus 1: -0.4 -+ 0.248414
    found = relative_change_interval(totals([10, 10, 10], [5, 6, 7]), 0.95)
    assert found is not None
    assert (found.estimate, found.low, found.high) == pytest.approx((-0.4, -0.648414, -0.151586), abs=1e-6)
    assert (found.clusters, found.level) == (3, 0.95)


def test_the_interval_of_a_relative_change_of_errors_that_vary_together() -> None:
    # A = 8, 10, 12 and B = 5, 6, 7: var 4 and 1, cov 2, each over 3; t^2 = 18.512821. a = 100 - 24.683761 = 75.316239,
    # b = 60 - 12.341880 = 47.658120, c = 36 - 6.170940 = 29.829060; (b -+ sqrt(b^2 - a c)) / a = 0.632773 -+ 0.065966
    found = relative_change_interval(totals([8, 10, 12], [5, 6, 7]), 0.95)
    assert found is not None
    assert (found.estimate, found.low, found.high) == pytest.approx((-0.4, -0.433192, -0.301261), abs=1e-6)
    few = relative_change_interval(totals([0.4, 0.5, 0.6], [0.25, 0.3, 0.35]), 0.95)
    assert few is not None
    assert (few.low, few.high) == pytest.approx((found.low, found.high))


def test_nothing_falls_by_more_than_all_of_it() -> None:
    found = relative_change_interval(totals([9, 10, 11], [0, 0, 3]), 0.95)
    assert found is not None
    assert found.estimate == pytest.approx(-0.9)
    assert found.low == -1.0


def test_a_model_without_errors_changes_by_minus_one() -> None:
    found = relative_change_interval(totals([9, 10, 11], [0, 0, 0]), 0.95)
    assert found is not None
    assert (found.estimate, found.low, found.high) == pytest.approx((-1.0, -1.0, -1.0))


def test_a_relative_change_of_almost_nothing_has_no_ends() -> None:
    assert relative_change_interval(totals([0, 0, 3], [1, 1, 1]), 0.95) is None
    assert relative_change_interval(totals([0, 0, 0], [1, 1, 1]), 0.95) is None


@given(rows, st.sampled_from([0.8, 0.9, 0.95]))
def test_relative_and_absolute_change_agree_on_whether_there_is_one(drawn: list[PairedUtterance], level: float) -> None:
    found = cluster_totals(drawn)
    if len(found.words) < 2:
        return
    absolute, relative = cluster_t_interval(found.deltas, found.words, level), relative_change_interval(found, level)
    if relative is not None and min(abs(absolute.low), abs(absolute.high)) > 1e-9:
        assert (absolute.low <= 0.0 <= absolute.high) == (relative.low <= 0.0 <= relative.high)


@pytest.mark.parametrize(
    ("words", "reason"),
    [(array(10), "clusters: expected at least 2, found 1"), (array(0, 0), "reference words: expected at least 1, found 0")],
)
def test_an_interval_without_two_clusters_or_words_is_refused(words: "np.ndarray[tuple[int], np.dtype[np.float64]]", reason: str) -> None:
    none = np.zeros(len(words))
    with pytest.raises(ValueError, match=reason):
        cluster_t_interval(none, words, 0.9)
    with pytest.raises(ValueError, match=reason):
        wer_interval(none, words, 0.9)
    with pytest.raises(ValueError, match=reason):
        relative_change_interval(ClusterTotals(words=words, base_errors=none, candidate_errors=none), 0.9)
    with pytest.raises(ValueError, match=reason):
        effective_sd(none, words, 1)


def test_the_sign_flip_test_needs_so_many_clusters() -> None:
    # 2^-5 = 0.031 <= 0.05 < 2^-4; 2^-6 = 0.0156 <= 0.025 < 2^-5
    assert [minimum_clusters(alpha) for alpha in (0.5, 0.05, 0.025, 2**-7)] == [1, 5, 6, 7]


def test_the_effective_sd_without_clusters_is_that_of_the_utterances() -> None:
    # one utterance of 10 words per cluster, d = 1, -1, 1, -1: sd = sqrt(4/3) = 1.154701, over 10 words
    assert effective_sd(array(1, -1, 1, -1), array(10, 10, 10, 10), 4) == pytest.approx(0.1154701, abs=1e-6)


def test_the_effective_sd_holds_the_design_effect() -> None:
    # 8 utterances, pairs that move together: D = 2, -2, 2, -2, sd = 2.309401, se = 2.309401 * 2 / 80 = 0.057735, times sqrt 8 = 0.163299:
    # sqrt 2 times the 0.115470 of independent utterances, the design effect 1 + (2 - 1) * 1
    assert effective_sd(array(2, -2, 2, -2), array(20, 20, 20, 20), 8) == pytest.approx(0.1632993, abs=1e-6)


def better_by(errors: int, clusters: int) -> list[PairedUtterance]:
    return [utterance(f"s{number}", 5 + number % 3, 5 + number % 3 - errors - number % 2) for number in range(clusters)]


def test_a_clear_gain_is_significant() -> None:
    found = compare(better_by(2, 12), alpha=0.05, seed=0)
    assert isinstance(found, Superiority)
    assert found.better
    assert not found.worse
    assert not found.short_of_gain
    # d = -2, -3 in turn over 12 clusters of 10 words: -30 / 120
    assert found.delta.estimate == pytest.approx(-0.25)
    assert found.flip.p_value == pytest.approx(2.0**-12)


def test_a_clear_loss_is_worse_and_short_of_any_gain() -> None:
    swapped = [utterance(row.cluster, row.candidate_errors, row.base_errors) for row in better_by(2, 12)]
    found = compare(swapped, alpha=0.05, seed=0)
    assert isinstance(found, Superiority)
    assert found.worse
    assert found.short_of_gain
    assert not found.better


def test_four_clusters_cannot_reach_five_percent() -> None:
    found = compare(better_by(2, 4), alpha=0.05, seed=0)
    assert isinstance(found, Superiority)
    assert not found.better
    assert found.flip.smallest_p == pytest.approx(1 / 16)


@pytest.mark.parametrize(
    ("drawn", "reason"),
    [
        ([], "no independent speakers"),
        ([utterance("a", 3, 1), utterance("a", 4, 1)], "1 independent speaker"),
        ([utterance("a", 3, 1, words=0), utterance("b", 4, 1, words=0)], "no reference words"),
    ],
)
def test_a_set_that_permits_no_test_says_why(drawn: list[PairedUtterance], reason: str) -> None:
    found = compare(drawn, alpha=0.05, seed=0)
    assert isinstance(found, NotTestable)
    assert reason in found.reason
    assert isinstance(non_inferiority(drawn, margin=0.01, alpha=0.05), NotTestable)


@given(rows)
@settings(max_examples=50, deadline=None)
def test_identical_models_are_never_better_and_never_worse(drawn: list[PairedUtterance]) -> None:
    same = [utterance(row.cluster, row.base_errors, row.base_errors, weight=row.weight) for row in drawn]
    found = compare(same, alpha=0.05, seed=0)
    if isinstance(found, Superiority):
        assert (found.better, found.worse, found.short_of_gain) == (False, False, False)
        assert found.flip.p_value == found.flip_worse.p_value == 1.0
        assert (found.delta.low, found.delta.high) == (0.0, 0.0)


@given(rows)
@settings(max_examples=50, deadline=None)
def test_swapping_the_models_mirrors_the_result(drawn: list[PairedUtterance]) -> None:
    swapped = [utterance(row.cluster, row.candidate_errors, row.base_errors, weight=row.weight) for row in drawn]
    found, mirrored = compare(drawn, alpha=0.05, seed=0), compare(swapped, alpha=0.05, seed=0)
    if isinstance(found, Superiority) and isinstance(mirrored, Superiority):
        assert found.delta.low == pytest.approx(-mirrored.delta.high)
        assert found.flip.p_value == pytest.approx(mirrored.flip_worse.p_value)
        assert not (found.better and mirrored.better)
        assert found.worse or not mirrored.better


def test_a_gain_that_one_unseen_regression_would_undo_is_not_significant() -> None:
    # 12 speakers each better by one error on reported utterances of weight 1 (-12 together); one sampled utterance a speaker, unchanged, at
    # weight 100: none of 12 came out worse, yet one that did would cost 100.
    reported = [utterance(f"s{number}", 3, 2, name=f"r{number}") for number in range(12)]
    sample = [utterance(f"s{number}", 0, 0, weight=100.0, stratum="traffic", name=f"t{number}") for number in range(12)]
    thin = compare(reported + sample, alpha=0.05, seed=0)
    assert isinstance(thin, Superiority)
    assert thin.flip.p_value <= 0.05
    assert thin.delta.high < 0.0
    # u = 100 * mean change 1; sd(D) = 0; t(0.95, 11 df) = 1.795885: (-12 + 100 + 1.795885 * 100) / (12 * 10 + 12 * 1000)
    assert thin.unseen == "utterance"
    assert thin.cautious_high == pytest.approx((88 + 179.5885) / 12_120, abs=1e-6)
    assert not thin.better
    dense = compare(reported + [utterance(f"s{n}", 0, 0, weight=2.0, name=f"t{n}") for n in range(12)], alpha=0.05, seed=0)
    assert isinstance(dense, Superiority)
    assert dense.better  # (-12 + 2 + 1.795885 * 2) < 0


def test_a_gain_that_one_more_usual_speaker_would_undo_is_not_significant() -> None:
    # D = -6 five times, +3 once: of 64 sign patterns two sum to -27 or less; 6 var(D) = 81, t(0.95, 5 df) = 2.015048: -27 + 18.135 < 0.
    # One more speaker of the median |D| = 6 who came out worse: -27 + 6 + 2.015048 * sqrt(81 + 36) = 0.79607 errors of 120 words.
    better = [utterance(f"s{number}", 6, 3, name=f"{number}/{again}") for number in range(5) for again in range(2)]
    worse = [utterance("s5", 1, 4, words=20)]
    found = compare(better + worse, alpha=0.05, seed=0)
    assert isinstance(found, Superiority)
    assert found.flip.p_value == pytest.approx(2 / 64)
    assert found.delta.high < 0.0
    assert found.unseen == "cluster"  # one more utterance would weigh 3, the mean size of a change
    assert found.cautious_high == pytest.approx(0.79607 / 120, abs=1e-6)
    assert not found.better


def test_a_gain_surely_smaller_than_the_wanted_one_is_short_of_it() -> None:
    # WER falls by 25% of 60 points or so; a gain of 90% is out of reach, one of 10% is not
    assert isinstance(found := compare(better_by(2, 12), alpha=0.05, seed=0, wanted_gain=0.9), Superiority)
    assert found.short_of_gain
    assert isinstance(found := compare(better_by(2, 12), alpha=0.05, seed=0, wanted_gain=0.1), Superiority)
    assert not found.short_of_gain


def test_a_suite_is_judged_against_its_margin() -> None:
    # d = 0, 1, 0, 1 over 10 words each: delta 2/40 = 0.05; sd = 0.577350, t(0.95, 3 df) = 2.353363:
    # half = 2.353363 * 0.577350 * 2 / 40 = 0.067936, hence -0.017936 to 0.117936
    suite = [utterance("a", 1, 1), utterance("b", 1, 2), utterance("c", 1, 1), utterance("d", 1, 2)]
    verdicts = {}
    for margin in (0.2, 0.1, 0.01):
        found = non_inferiority(suite, margin=margin, alpha=0.05)
        assert isinstance(found, NonInferiority)
        assert (found.delta.low, found.delta.high) == pytest.approx((-0.017936, 0.117936), abs=1e-6)
        verdicts[margin] = (found.non_inferior, found.worse)
    assert verdicts == {0.2: (True, False), 0.1: (False, False), 0.01: (False, False)}


def test_a_suite_far_beyond_its_margin_is_worse() -> None:
    found = non_inferiority(
        [utterance(name, 1, 6 + extra) for name, extra in zip("abcd", (0, 1, 0, 1), strict=True)], margin=0.01, alpha=0.05
    )
    assert isinstance(found, NonInferiority)
    assert found.worse
    assert not found.non_inferior


def test_identical_models_are_non_inferior_at_any_margin() -> None:
    found = non_inferiority([utterance("a", 1, 1), utterance("b", 2, 2)], margin=0.0, alpha=0.05)
    assert isinstance(found, NonInferiority)
    assert found.non_inferior


def false_deploys(traffic: Traffic, trials: int) -> tuple[float, float]:
    """Share of trials in which an equal model looks better on the errors alone, and by the gate."""
    rng = np.random.default_rng(20)
    alone = gate = 0
    for trial in range(trials):
        drawn = simulate(traffic, rng)
        errors = compare([row for row in drawn if row.stratum == "errors"], alpha=0.05, seed=trial)
        weighted = compare(drawn, alpha=0.05, seed=trial)
        alone += isinstance(errors, Superiority) and errors.flip.p_value <= 0.05
        gate += isinstance(weighted, Superiority) and weighted.better
    return alone / trials, gate / trials


def test_a_model_that_is_no_better_passes_rarely_though_it_looks_better_on_the_reported_errors() -> None:
    alone, gate = false_deploys(Traffic(speakers=50, utterances=40, redrawn=0.3, report_rate=0.3, sample_rate=0.1), trials=200)
    assert alone >= 0.3
    assert gate <= 0.08


def test_a_model_that_is_no_better_does_not_pass_on_a_thin_sample() -> None:
    _, gate = false_deploys(Traffic(speakers=20, utterances=60, redrawn=0.3, report_rate=1.0, sample_rate=0.02), trials=100)
    assert gate <= 0.05


def test_a_model_that_corrects_a_fifth_of_the_errors_passes() -> None:
    _, gate = false_deploys(Traffic(speakers=30, utterances=40, redrawn=0.05, report_rate=0.3, sample_rate=0.1, fixed=0.2), trials=50)
    assert gate >= 0.8


def test_a_speaker_whom_the_simulated_model_suits_worse_has_so_many_more_errors_however_often_some_fail_already() -> None:
    # expected errors of ten words each: 9 + 1 = 10, half as many again are 15; the first can take 1, hence the second has 5 (a cut at a
    # chance of 1 would leave it at 1.5). The second speaker has 2 + 2, thrice as many are 6 + 6.
    chance = np.array([[0.9, 0.1], [0.2, 0.2]])
    words = np.full((2, 2), 10)
    raised = raised_chance(chance, words, np.array([[1.5], [3.0]]))
    np.testing.assert_allclose(raised, [[1.0, 0.5], [0.6, 0.6]], atol=1e-4)
