"""What a holdout can show, against numbers worked out by hand."""

import subprocess
import sys
from collections.abc import Callable
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import stdtrit

from infra.bundle import ROOT
from shared.testing.two_models import Traffic, simulate
from shared.wer_power import (
    PRIOR_RHO,
    PRIOR_SD_D,
    Holdout,
    SeenSpread,
    Spread,
    Wanted,
    _t_quantile,
    pool_spreads,
    power_before,
    size_for_margin,
    smallest_gain,
    smallest_margin,
    weights_effect,
)
from shared.wer_stats import cluster_totals, effective_sd

ALONE = Spread(sd_d=0.085, rho=0.0)
holdouts = st.builds(lambda clusters, each: Holdout(clusters * each, clusters), st.integers(0, 60), st.integers(1, 40))


def test_many_speakers_of_one_utterance_each_need_the_published_sizes() -> None:
    # ((1.644854 + 0.841621) * 0.085 / delta)^2: 447 utterances for one point, 1787 for half a point; t in place of z adds a little
    assert smallest_margin(Holdout(447, 447), ALONE, alpha=0.05) == pytest.approx(0.01, rel=0.005)
    assert smallest_margin(Holdout(1787, 1787), ALONE, alpha=0.05) == pytest.approx(0.005, rel=0.002)


def test_few_speakers_pay_for_what_their_utterances_share() -> None:
    # m = 10, rho = 0.07: design effect 1.63; t(0.95, 9 df) = 1.833113, t(0.8, 9 df) = 0.883404. k = 0.985010 is above 0.6745 and solves
    # 10 k = k + 1.833113 sqrt(10 + k^2) + 0.883404 sqrt(10): 9.850097 = 0.985010 + 6.071507 + 2.793568;
    # k sqrt(10) = 3.114874, 3.114874 * 0.085 * sqrt(1.63 / 100) = 0.033803
    found = power_before(Holdout(100, 10), Spread(), Wanted(base_wer=0.146, relative_gain=0.25))
    assert found.smallest_gain == pytest.approx(0.033803, abs=2e-6)
    assert found.smallest_relative_gain == pytest.approx(0.033803 / 0.146, abs=2e-5)
    assert found.enough
    assert (found.further_utterances, found.further_clusters, found.further_of_the_same) == (0, 0, 0)


def test_what_is_lacking_is_told_in_utterances_and_speakers() -> None:
    # 8 speakers of 5: design effect 1.28. To show 0.0365 at G speakers of 5: k sqrt(G) * 0.085 * sqrt(1.28 / 5G) <= 0.0365.
    # G = 12: k = 0.858382 solves 12 k = k + 1.795885 sqrt(12 + k^2) + 0.875530 sqrt(12), 2.973522 * 0.085 * 0.146059 = 0.036916, too much;
    # G = 13: k = 0.811079 solves 13 k = k + 1.782288 sqrt(13 + k^2) + 0.872609 sqrt(13), 2.924389 * 0.085 * 0.140329 = 0.034882
    wanted = Wanted(base_wer=0.146, relative_gain=0.25)
    found = power_before(Holdout(40, 8), Spread(), wanted)
    assert not found.enough
    assert (found.further_utterances, found.further_clusters) == (25, 5)
    # of the same 8: k sqrt(8) = 3.373953; (0.0365 / (3.373953 * 0.085))^2 = 0.016198, times 8 = 0.129586;
    # m = 0.93 / (0.129586 - 0.07) = 15.60770, 8 m = 124.9: 125 - 40
    assert found.further_of_the_same == 85
    assert found.in_words() == (
        "a holdout of 40 utterances of 8 speakers or calls shows a fall of the WER by 35% (in 80% of trials, one-sided 5.0%); "
        "to show 25% it takes 25 further utterances with 5 further speakers or calls among them"
    )


def test_no_number_of_utterances_of_five_speakers_shows_a_tenth() -> None:
    # t(0.95, 4) + t(0.8, 4) = 2.131847 + 0.940965 alone: even without end sd * 3.072812 * sqrt(0.07 / 5) = 0.0309 > 0.0146
    found = power_before(Holdout(50, 5), Spread(), Wanted(base_wer=0.146, relative_gain=0.1))
    assert found.further_of_the_same is None
    assert found.further_clusters > 0


def test_four_speakers_show_nothing_at_five_percent_but_may_hold_a_margin() -> None:
    # 2^-4 = 0.0625 > 0.05
    assert smallest_gain(Holdout(400, 4), Spread(), alpha=0.05) == inf
    assert smallest_margin(Holdout(400, 4), Spread(), alpha=0.05) < 1.0
    found = power_before(Holdout(400, 4), Spread(), Wanted(base_wer=0.146, relative_gain=0.5))
    assert "can show no gain" in found.in_words()
    assert (found.further_clusters, found.further_utterances) == (1, 100)


@pytest.mark.parametrize("holdout", [Holdout(0, 0), Holdout(7, 1)])
def test_a_holdout_that_is_no_holdout_says_what_it_lacks(holdout: Holdout) -> None:
    assert smallest_margin(holdout, Spread(), alpha=0.05) == inf
    found = power_before(holdout, Spread(), Wanted(base_wer=0.146, relative_gain=0.25))
    assert found.further_of_the_same is None
    grown = Holdout(holdout.utterances + found.further_utterances, holdout.clusters + found.further_clusters)
    assert power_before(grown, Spread(), found.wanted).enough


@given(holdouts, st.sampled_from([0.05, 0.1, 0.25, 0.9]), st.sampled_from([0.0, 0.07, 0.5]))
def test_what_is_said_to_be_lacking_is_enough_and_one_speaker_less_is_not(holdout: Holdout, gain: float, rho: float) -> None:
    spread, wanted = Spread(rho=rho), Wanted(base_wer=0.146, relative_gain=gain)
    found = power_before(holdout, spread, wanted)
    each = holdout.utterances // holdout.clusters if holdout.clusters else 1
    clusters = holdout.clusters + found.further_clusters
    assert power_before(Holdout(clusters * each, clusters), spread, wanted).enough
    if not found.enough:
        assert not power_before(Holdout((clusters - 1) * each, clusters - 1), spread, wanted).enough
    if found.further_of_the_same:
        assert power_before(Holdout(holdout.utterances + found.further_of_the_same, holdout.clusters), spread, wanted).enough


def test_what_a_suite_lacks_for_its_margin_is_told() -> None:
    # 20 speakers of 5: design effect 1.28; t(0.95, 19) = 1.729133, t(0.8, 19) = 0.860951: 2.590084 * 0.085 * sqrt(1.28 / 100) = 0.024908.
    # For 0.015 about (0.024908 / 0.015)^2 * 20 = 55 speakers, fewer as t falls: G = 53 (t 1.674689 + 0.848724): 0.014909; G = 52: 0.015056
    found = size_for_margin(Holdout(100, 20), Spread(), margin=0.015, alpha=0.05)
    assert found.smallest_margin == pytest.approx(0.024908, abs=1e-6)
    assert (found.enough, found.further_clusters, found.further_utterances) == (False, 33, 165)
    found = size_for_margin(Holdout(265, 53), Spread(), margin=0.015, alpha=0.05)
    assert (found.enough, found.further_clusters, found.further_utterances) == (True, 0, 0)
    with pytest.raises(ValueError, match="nothing rises at all"):
        size_for_margin(Holdout(100, 20), Spread(), margin=0.0, alpha=0.05)


def test_two_speakers_may_hold_a_wide_margin_and_one_holds_none() -> None:
    assert size_for_margin(Holdout(2000, 2), Spread(), margin=0.3, alpha=0.05).enough
    alone = size_for_margin(Holdout(2000, 1), Spread(), margin=0.3, alpha=0.05)
    assert (alone.smallest_margin, alone.further_clusters, alone.further_utterances) == (inf, 1, 2000)


def test_spreads_are_freed_from_their_clusters_and_pooled_by_degrees_of_freedom() -> None:
    # m = 11 at rho 0.1: 1 + 10 * 0.1 = 2, hence 0.02 / 2 = 0.01 with 4 df; m = 1: 0.04 with 8 df; (4 * 0.01 + 8 * 0.04) / 12 = 0.03
    found = pool_spreads([SeenSpread(sd_d=0.02**0.5, utterances=55, clusters=5), SeenSpread(0.2, 9, 9)], rho=0.1)
    assert found.sd_d == pytest.approx(0.03**0.5)
    assert (found.rho, found.measured) == (0.1, 2)


def test_what_says_nothing_of_a_spread_leaves_the_prior() -> None:
    assert pool_spreads([]) == Spread(sd_d=PRIOR_SD_D, rho=PRIOR_RHO, measured=0)
    assert pool_spreads([SeenSpread(0.1, 20, 1), SeenSpread(0.0, 20, 5)]) == Spread()


def test_unequal_weights_cost_utterances_with_the_prior_and_are_inside_a_measured_spread() -> None:
    # 300 of weight 1 and 100 of weight 10: 400 * (300 + 10,000) / 1300^2 = 2.437870
    effect = weights_effect({1.0: 300, 10.0: 100})
    assert effect == pytest.approx(2.437870, abs=1e-6)
    assert weights_effect({}) == 1.0
    plain, weighted = Holdout(400, 40), Holdout(400, 40, weights_effect=effect)
    assert smallest_gain(weighted, Spread(), 0.05) == pytest.approx(effect**0.5 * smallest_gain(plain, Spread(), 0.05))
    assert smallest_gain(weighted, Spread(measured=2), 0.05) == smallest_gain(plain, Spread(), 0.05)


def test_the_prior_is_what_a_simulated_candidate_shows() -> None:
    # all traffic at equal weights, ten utterances a speaker: sd_d at the prior's design effect
    rng = np.random.default_rng(0)
    traffic = Traffic(speakers=400, utterances=10, redrawn=0.1, report_rate=0.0, sample_rate=1.0, fixed=0.2, interaction=0.1)
    seen = []
    for _ in range(5):
        totals = cluster_totals(simulate(traffic, rng))
        seen.append(SeenSpread(effective_sd(totals.deltas, totals.words, 4000), 4000, 400))
    assert pool_spreads(seen).sd_d == pytest.approx(PRIOR_SD_D, rel=0.1)


@pytest.mark.parametrize("probability", [0.8, 0.9, 0.95, 0.975, 0.99])
def test_students_t_without_scipy_is_close_to_scipys(probability: float) -> None:
    for degrees_of_freedom, accuracy in ((3, 0.005), (4, 0.0015), (9, 0.0005), (50, 0.0005), (3000, 0.0005)):
        assert _t_quantile(degrees_of_freedom, probability) == pytest.approx(float(stdtrit(degrees_of_freedom, probability)), rel=accuracy)


@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda: Holdout(3, 4), "found 4"),
        (lambda: Holdout(3, 0), "found 0"),
        (lambda: Spread(sd_d=0.0), "found 0.0"),
        (lambda: Spread(rho=1.0), "and 1.0"),
        (lambda: Wanted(base_wer=0.0, relative_gain=0.25), "nothing to gain"),
        (lambda: Wanted(base_wer=0.1, relative_gain=1.5), "and 1.5"),
    ],
)
def test_impossible_sizes_are_refused(make: Callable[[], object], found: str) -> None:
    with pytest.raises(ValueError, match=found):
        make()


def test_functions_that_start_without_numpy_may_ask() -> None:
    program = "import shared.wer_power, sys; print('numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"
