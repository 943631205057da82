"""The always-valid comparison of two error rates: its numbers by hand, and that looking every minute does not break it."""

from dataclasses import replace
from math import inf, isclose, sqrt

import numpy as np
import pytest

from shared.sequential import Counts, Pair, boundary, contrast, design_effect, fixed_upper, total
from shared.testing.canary_traffic import CanaryTraffic, GuardTraffic, simulate, simulate_takeover
from tests.benchmarks.canary import WITHIN, WORSE, error_rates, outcomes
from tests.benchmarks.guard import EVEN, POLICY, Z_LOOK, alert, guards, ours, outcome


def test_the_boundary_solves_its_equation() -> None:
    # r = 1, alpha = 0.05: 2/sqrt(2) exp(z^2/4) Phi(z/sqrt(2)) = 20. At z = 3.2618: z^2/4 = 2.65984, Phi(2.3064) = 0.98945, whose log is -0.01060;
    # the sum 2.64924 is log(20/sqrt(2)) = 2.64922
    assert isclose(boundary(1.0, 0.05), 3.2618, abs_tol=5e-4)


@pytest.mark.parametrize("ratio", [1e-6, 0.01, 1.0, 10.0, 1e6])
def test_looking_at_any_time_costs_more_than_looking_once(ratio: float) -> None:
    assert boundary(ratio, 0.05) > 1.6449  # the normal quantile of one look
    assert boundary(ratio, 0.01) > boundary(ratio, 0.05)


def test_a_contrast_is_the_difference_with_the_larger_variance() -> None:
    counts = Pair(Counts(20, 100), Counts(100, 1000))
    # smoothed: 20.5/101 = 0.2029703, p(1-p) = 0.1617733; 100.5/1001 = 0.1003996, p(1-p) = 0.0903195
    worse = contrast(counts, 1.0, 0.02)
    assert isclose(worse.estimate, 0.1)
    assert isclose(worse.variance, 0.001617733 + 0.0000903195, rel_tol=1e-5)
    # with ratio 1.2 the null has a rate of 0.1204795, whose p(1-p) of 0.1059642 is the smaller one
    beyond = contrast(counts, 1.2, 0.02)
    assert isclose(beyond.estimate, 0.08)
    assert isclose(beyond.variance, 0.001617733 + 1.44 * 0.0000903195, rel_tol=1e-5)
    # a canary that was lucky is held to the spread of the null: 0.5/101 has 0.0049261 only
    lucky = contrast(Pair(Counts(0, 100), Counts(100, 1000)), 1.2, 0.02)
    assert isclose(lucky.variance, 0.001059642 + 1.44 * 0.0000903195, rel_tol=1e-5)


def test_the_limits_stand_a_boundary_away_and_wider_where_errors_come_in_bursts() -> None:
    found = contrast(Pair(Counts(20, 100), Counts(100, 1000)), 1.0, 0.02)
    half = sqrt(found.variance) * boundary(0.0004 / found.variance, 0.05)
    assert isclose(found.lower(0.05), 0.1 - half)
    assert isclose(found.upper(0.05), 0.1 + half)
    assert found.lower(0.05, 4.0) < found.lower(0.05)
    assert found.lower(0.05, inf) == -inf


def test_an_error_counted_before_its_traffic_is_no_rate_above_one() -> None:
    assert Counts(3, 2).rate == 1.0
    assert Counts(3, 0).rate is None
    assert total([Pair(Counts(1, 2), Counts(3, 4)), Pair(Counts(10, 20), Counts(30, 40))]) == Pair(Counts(11, 22), Counts(33, 44))


def test_more_errors_than_utterances_vary_as_an_error_in_each_does() -> None:
    for counts in (Counts(100, 100), Counts(300, 100)):
        # 100.5/101, p(1-p) = 0.0049261
        found = contrast(Pair(counts, Counts()), 0.0, 0.05)
        assert (found.estimate, isclose(found.variance, 0.000049261, rel_tol=1e-4)) == (1.0, True)
        assert 0.9 < found.lower(0.05) < 1.0
        assert fixed_upper(counts, 0.025, 1.0) == 1.0
    steady = [Pair(Counts(30, 10), Counts(count, 10)) for count in (0, 2)] * 5
    assert design_effect(steady, 1.0, 1.0) == design_effect([Pair(Counts(10, 10), pair.old) for pair in steady], 1.0, 1.0)


def minutes(*errors: int) -> list[Pair]:
    return [Pair(Counts(count, 10), Counts(0, 10)) for count in errors]


def test_too_few_intervals_tell_nothing_about_bursts() -> None:
    assert design_effect(minutes(*[0, 2] * 4, 0), 0.0, 1.0) == inf


def test_the_design_effect_is_that_of_the_blocks_and_is_raised_where_sessions_are_longer() -> None:
    # ten intervals of 10 utterances, 0 or 2 errors: N = 100, p = 0.1, residuals +-1/100; 10/9 * 10 * 1e-4 = 0.00111111, raised by
    # 1 + sqrt(2/9) = 1.471405 to 0.00163489; independent utterances: 0.09/100 = 0.0009
    assert isclose(design_effect(minutes(*[0, 2] * 5), 0.0, 1.0), 1.816545, rel_tol=1e-5)
    assert isclose(design_effect(minutes(*[0, 2] * 5), 0.0, 10.0), 18.16545, rel_tol=1e-5)


def test_bursts_that_last_two_intervals_show_in_blocks_of_two() -> None:
    # twenty intervals 0, 0, 2, 2, ...: N = 200; ten blocks of two with residuals +-2/200: the same 0.00163489; 0.09/200 = 0.00045
    assert isclose(design_effect(minutes(*[0, 0, 2, 2] * 5), 0.0, 2.0), 3.633090, rel_tol=1e-5)
    # the same errors, alternating, cancel in blocks of two; 20/19 * 20 * 2.5e-5 = 0.000526316, raised by 1.324443
    assert isclose(design_effect(minutes(*[0, 2] * 10), 0.0, 2.0), 0.000697075 / 0.00045, rel_tol=1e-5)


def test_without_errors_there_is_no_burst() -> None:
    assert design_effect(minutes(*[0] * 12), 1.0, 1.0) == 1.0


def test_a_rate_that_is_looked_at_once_has_the_usual_limit() -> None:
    # smoothed 10.5/101 = 0.1039604, p(1-p) = 0.0931526; 1.959964 * sqrt(4 * 0.0931526/100) = 0.1196411
    assert isclose(fixed_upper(Counts(10, 100), 0.025, 4.0), 0.2236015, rel_tol=1e-5)


def test_simulated_traffic_has_the_rates_it_is_asked_for_and_comes_in_bursts() -> None:
    traffic = CanaryTraffic(minutes=3000, worse=1.5, drift=0.0)
    runs = simulate(traffic, np.random.default_rng(0))
    sums = total(runs)
    assert isclose((sums.new.rate or 0) / (sums.old.rate or 1), 1.5, rel_tol=0.1)
    assert isclose(sums.old.rate or 0, 0.1, rel_tol=0.05)
    assert isclose(sums.new.utterances / (sums.new.utterances + sums.old.utterances), 0.1, rel_tol=0.1)
    # sessions of a geometric number of utterances, 10 in the mean: 1 + 0.1 * (E[L^2]/E[L] - 1) = 1 + 0.1 * 18 = 2.8
    assert 2.0 < design_effect(runs, 1.0, 10.0) < 5.5


def test_peeking_every_minute_at_bursts_of_errors_decides_wrongly_no_more_often_than_asked() -> None:
    traffic = CanaryTraffic(minutes=180, utterances_per_minute=300)
    same = error_rates(traffic, WORSE, trials=40, seed=3)
    assert same.ours <= 0.05
    assert same.z_every_minute >= 0.3, "what the test is for"
    at_margin = error_rates(CanaryTraffic(minutes=180, utterances_per_minute=300, worse=1.2), WITHIN, trials=40, seed=4)
    assert at_margin.ours <= 0.05


def test_a_canary_that_is_much_worse_is_rolled_back_and_a_better_one_promoted() -> None:
    bad = outcomes(CanaryTraffic(minutes=180, utterances_per_minute=300, worse=2.0), trials=4, seed=5)
    good = outcomes(CanaryTraffic(minutes=480, utterances_per_minute=300, worse=0.7), trials=4, seed=6)
    assert (bad.promoted, bad.rolled_back) == (0.0, 1.0)
    assert (good.promoted, good.rolled_back) == (1.0, 0.0)


def test_simulated_promotions_have_the_rates_and_the_daily_rhythm_that_they_are_asked_for() -> None:
    traffic = GuardTraffic(before_min=2880, minutes=2880, worse=2.0, drift=0.0, rush=0.5)
    before, after = simulate_takeover(traffic, np.random.default_rng(0))
    assert isclose(before.rate or 0, 0.1, rel_tol=0.05)
    assert isclose(after[:, 0].sum() / after[:, 1].sum(), 0.2, rel_tol=0.05)
    assert isclose(before.utterances, 288_000, rel_tol=0.02)
    days = after[:, 1].reshape(2, 24, 60).sum(axis=(0, 2))
    assert isclose(days.max() / days.min(), 3.0, rel_tol=0.15)  # 1.5 / 0.5
    # a wave of 0.3: the worst hour has (1 + 0.3) / (1 - 0.3) = 1.86 times the errors of the best one
    _, after = simulate_takeover(GuardTraffic(minutes=14_400, drift=0.3, rush=0.0), np.random.default_rng(1))
    errors = after[:, 0].reshape(10, 24, 60).sum(axis=(0, 2))
    assert isclose(errors.max() / errors.min(), 1.86, rel_tol=0.15)


@pytest.mark.parametrize("ratio", np.geomspace(1e-9, 1e9, 37))
def test_no_look_that_could_roll_back_is_left_out_of_the_simulation_of_the_guard(ratio: float) -> None:
    assert boundary(ratio, POLICY.alpha / 2) > Z_LOOK


def test_a_guard_that_looks_every_minute_keeps_what_is_no_worse_where_an_alert_does_not() -> None:
    no_worse = guards(GuardTraffic(before_min=300, minutes=600, utterances_per_minute=10, drift=0.0), trials=40, seed=7)
    assert outcome(no_worse, ours).rolled_back <= 0.05
    assert outcome(no_worse, alert).rolled_back >= 0.1, "what the test is for"
    at_margin = guards(replace(EVEN, before_min=300, minutes=600, worse=1.0 + POLICY.guard_margin), trials=40, seed=8)
    assert outcome(at_margin, ours).rolled_back <= 0.05
    assert outcome(at_margin, alert).rolled_back >= 0.5


def test_a_guard_rolls_back_what_is_much_worse_and_counts_whom_it_served_until_then() -> None:
    bad = outcome(guards(GuardTraffic(minutes=240, worse=3.0), trials=4, seed=9), ours)
    assert bad.rolled_back == 1.0
    assert bad.minutes is not None
    assert POLICY.session_s / 60 + 10 <= bad.minutes < 120
    assert bad.utterances is not None
    assert 40 * bad.minutes < bad.utterances < 160 * bad.minutes  # 100 a minute, half as many and half as many again over the day
