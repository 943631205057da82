"""Holm's step-down procedure, by hand."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.multiplicity import holm


def test_each_step_asks_for_less_than_the_one_before() -> None:
    # 0.05 / 4 = 0.0125, / 3 = 0.01667, / 2 = 0.025, / 1 = 0.05
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}, 0.05) == ("d", "a")
    assert holm({"a": 0.01, "b": 0.04, "c": 0.024, "d": 0.005}, 0.05) == ("d", "a", "c", "b")


def test_what_stands_behind_a_step_that_failed_is_not_named() -> None:
    # b would pass at 0.05 / 1; a fails at 0.05 / 2
    assert holm({"a": 0.026, "b": 0.03}, 0.05) == ()


def test_a_step_may_be_met_exactly() -> None:
    assert holm({"a": 0.025, "b": 0.05}, 0.05) == ("a", "b")
    assert holm({}, 0.05) == ()


@given(st.dictionaries(st.sampled_from("abcde"), st.floats(0, 1)), st.sampled_from([0.01, 0.05, 0.2]))
def test_it_is_the_closed_test_of_bonferroni_tests(p_values: dict[str, float], alpha: float) -> None:
    # a hypothesis falls where every intersection that holds it falls at alpha over its size (R. Marcus et al., Biometrika 63 (1976) 655-660)
    groups = [group for size in range(1, len(p_values) + 1) for group in combinations(sorted(p_values), size)]
    closed = {
        name for name in p_values if all(min(p_values[each] for each in group) <= alpha / len(group) for group in groups if name in group)
    }
    assert set(holm(p_values, alpha)) == closed


@pytest.mark.parametrize("alpha", [0.025, 0.05])
def test_one_hypothesis_is_tested_at_alpha_itself(alpha: float) -> None:
    assert holm({"a": alpha}, alpha) == ("a",)
    assert holm({"a": alpha * 1.001}, alpha) == ()
