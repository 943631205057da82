"""Bounds on an error rate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.rates import wilson_lower_bound


def test_two_errors_in_ten_do_not_prove_a_rate_of_ten_percent() -> None:
    # z = Phi^-1(0.95) = 1.644854, z^2 = 2.705543; p = 0.2, n = 10
    # centre = 0.2 + 2.705543/20 = 0.335277; spread = 1.644854 * sqrt(0.016 + 2.705543/400) = 1.644854 * 0.150878 = 0.248172
    # bound = (0.335277 - 0.248172) / 1.270554 = 0.068557
    assert wilson_lower_bound(2, 10, 0.95) == pytest.approx(0.068557, abs=2e-6)


def test_two_hundred_errors_in_a_thousand_do() -> None:
    # centre = 0.2 + 2.705543/2000 = 0.2013528; spread = 1.644854 * sqrt(0.00016 + 2.705543/4e6) = 1.644854 * 0.01267578 = 0.0208498
    # bound = 0.1805030 / 1.002705543 = 0.1800159
    assert wilson_lower_bound(200, 1000, 0.95) == pytest.approx(0.1800159, abs=1e-6)


def test_no_error_and_no_trial_prove_nothing() -> None:
    assert wilson_lower_bound(0, 50) == 0.0
    assert wilson_lower_bound(0, 0) == 0.0


def test_only_errors_prove_less_than_one() -> None:
    # p = 1: (1 + z^2/2n - z^2/2n) / (1 + z^2/n) = 1 / (1 + 0.2705543) = 0.787058
    assert wilson_lower_bound(10, 10, 0.95) == pytest.approx(0.787058, abs=1e-6)


@pytest.mark.parametrize(("successes", "n", "confidence"), [(11, 10, 0.95), (-1, 10, 0.95), (1, 10, 1.0), (1, 10, 0.0)])
def test_counts_and_levels_outside_their_range_are_refused(successes: int, n: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="expected"):
        wilson_lower_bound(successes, n, confidence)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.floats(0.5, 0.999))
def test_the_bound_lies_between_zero_and_the_rate(counts: tuple[int, int], confidence: float) -> None:
    successes, n = counts
    assert 0.0 <= wilson_lower_bound(successes, n, confidence) <= successes / n + 1e-12


@given(st.integers(1, 500), st.integers(1, 20))
def test_more_evidence_for_the_same_rate_raises_the_bound(successes: int, times: int) -> None:
    n = 3 * successes
    assert wilson_lower_bound(times * successes, times * n) >= wilson_lower_bound(successes, n) - 1e-12
