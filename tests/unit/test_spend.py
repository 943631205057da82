"""What a running cycle has spent of the budget: when it is warned of, when it must stop."""

from datetime import timedelta

import pytest

from shared.budget import AttemptCost, BudgetPolicy, spends, why_stop, why_warn
from shared.testing.clock import START

NOW = START + timedelta(days=100)


def cost(cycle: int, hours: float, *, days_ago: float = 0) -> AttemptCost:
    return AttemptCost(cycle=cycle, ended_at=NOW - timedelta(days=days_ago), gpu_s=3600 * hours)


BEFORE = cost(1, 5, days_ago=10)


def test_the_running_cycle_and_the_window_are_counted_together() -> None:
    (found,) = spends([cost(1, 100, days_ago=30), BEFORE, cost(2, 1, days_ago=1), cost(2, 2)], BudgetPolicy(max_gpu_hours=20), 2, NOW)
    assert (found.spent, found.by_cycle, found.share) == (8, 3, 0.4)
    assert found.text == "budget of 20.00 GPU-hours in 30 days: 8.00 spent, 3.00 of it by this cycle"


@pytest.mark.parametrize(
    ("hours", "warned", "stopped"),
    [(2.99, False, False), (3.0, True, False), (5.0, True, False), (5.01, True, True)],
)
def test_from_four_fifths_on_it_is_told_and_past_the_limit_it_stops(hours: float, warned: bool, stopped: bool) -> None:
    found = spends([BEFORE, cost(2, hours)], BudgetPolicy(max_gpu_hours=10), 2, NOW)
    assert (bool(why_warn(found)), bool(why_stop(found))) == (warned, stopped)


def test_a_warning_tells_the_share() -> None:
    found = spends([BEFORE, cost(2, 3.5)], BudgetPolicy(max_gpu_hours=10), 2, NOW)
    assert why_warn(found) == "85% of the budget of 10.00 GPU-hours in 30 days: 8.50 spent, 3.50 of it by this cycle"


def test_a_stop_tells_what_was_spent_the_limit_and_what_to_do() -> None:
    found = spends([BEFORE, cost(2, 6)], BudgetPolicy(max_gpu_hours=100, max_usd=20, usd_per_gpu_hour=2), 2, NOW)
    assert why_stop(found) == (
        "budget of 20.00 USD in 30 days: 22.00 spent, 12.00 of it by this cycle. "
        "Its errors wait for the next cycle: raise policy.budget.max_usd, or wait until the window frees enough (`retune explain`)"
    )


def test_every_limit_that_is_passed_is_told() -> None:
    found = spends([BEFORE, cost(2, 6)], BudgetPolicy(max_gpu_hours=10, max_usd=20, usd_per_gpu_hour=2), 2, NOW)
    assert "raise policy.budget.max_gpu_hours and policy.budget.max_usd, or wait" in why_stop(found)


def test_without_a_limit_nothing_stops() -> None:
    assert spends([cost(2, 1e6)], BudgetPolicy(usd_per_gpu_hour=3), 2, NOW) == ()
    assert (why_stop(()), why_warn(())) == ("", "")
