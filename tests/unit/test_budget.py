"""What earlier attempts cost, and when another cycle would cost too much."""

from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from shared.budget import AttemptCost, BudgetPolicy, attempt_costs, expected, gpu_hours, over_budget, spent
from shared.cycle import CODEC, CycleState, Entry, Status, decide_begin_training
from shared.machine import Machine
from shared.testing.clock import START
from shared.training import BaseModelRef, Heartbeat, ObjectRef, TrainingResult

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NOW = START + 100 * DAY
REF = ObjectRef(key="k", sha256="a" * 64)


def state(*moves: tuple[Status, float, int], cycle: int = 1) -> CycleState:
    """Return a cycle by its moves: status, hours after START, attempt."""
    entries = tuple(
        Entry(status=status, at=START + hours * HOUR, by="somebody", cause="c", attempt=attempt) for status, hours, attempt in moves
    )
    return CycleState(cycle=cycle, status=moves[-1][0], attempt=moves[-1][2], history=entries)


def result(attempt: int, *, finished_h: float, **train: Any) -> TrainingResult:
    return TrainingResult(
        cycle=1,
        attempt=attempt,
        finished_at=START + finished_h * HOUR,
        spec_sha256="b" * 64,
        base=BaseModelRef(version=0, manifest=REF),
        manifest=REF,
        evaluations=(),
        set_aside=(),
        lambda_trials=(),
        scale=1.0,
        train=train,
    )


def beat(attempt: int, at_h: float) -> Heartbeat:
    return Heartbeat(cycle=1, attempt=attempt, at=START + at_h * HOUR, phase="training")


def cost(cycle: int, hours: float, *, ended_days_ago: float, machine: Machine | None = None) -> AttemptCost:
    return AttemptCost(cycle=cycle, ended_at=NOW - ended_days_ago * DAY, gpu_s=3600 * hours, machine=machine)


SPOT, STANDARD = (Machine(machine_type="g2-standard-8", provisioning=kind) for kind in ("spot", "standard"))
TABLE = {"g2-standard-8": {"spot": 0.3, "standard": 0.9}, "a2-highgpu-1g": {"spot": 1.2}}


COMPLETED = state((Status.PREPARING, 0, 1), (Status.TRAINING, 1, 1), (Status.VALIDATING, 5, 1), (Status.REJECTED, 6, 1))


def test_a_completed_attempt_cost_what_it_measured_itself() -> None:
    (found,) = attempt_costs(COMPLETED, result(1, finished_h=4, run_s=9000.0), None, NOW)
    assert (found.gpu_s, found.ended_at) == (9000.0, START + 4 * HOUR)


def test_a_result_without_a_measured_time_cost_the_time_from_its_start_to_its_end() -> None:
    (found,) = attempt_costs(COMPLETED, result(1, finished_h=4), None, NOW)
    assert found.gpu_s == 3 * 3600


def test_every_attempt_counts_to_its_last_sign_of_life_or_to_the_move_that_noted_its_end() -> None:
    tried = state(
        (Status.PREPARING, 0, 1),
        (Status.TRAINING, 1, 1),
        (Status.INTERRUPTED, 3, 1),  # 2 h by the state: the heartbeat is the second attempt's
        (Status.PREPARING, 3, 2),
        (Status.TRAINING, 4, 2),
        (Status.FAILED, 9, 2),  # silent since hour 6: 2 h
    )
    assert [found.gpu_s / 3600 for found in attempt_costs(tried, None, beat(2, 6), NOW)] == [2, 2]
    assert [found.gpu_s / 3600 for found in attempt_costs(tried, None, None, NOW)] == [2, 5]


def test_an_attempt_that_still_trains_costs_until_now_and_one_that_never_began_costs_nothing() -> None:
    training = state((Status.PREPARING, 0, 1), (Status.TRAINING, 1, 1))
    assert [found.gpu_s / 3600 for found in attempt_costs(training, None, None, START + 3 * HOUR)] == [2]
    assert attempt_costs(state((Status.PREPARING, 0, 1), (Status.FAILED, 2, 1)), None, None, NOW) == []


def test_what_ended_a_period_ago_is_no_longer_spent() -> None:
    costs = [cost(1, 5, ended_days_ago=30), cost(2, 2, ended_days_ago=29.9), cost(3, 1, ended_days_ago=1)]
    assert spent(costs, gpu_hours, 30 * DAY, NOW) == 3
    assert spent(costs, gpu_hours, 10 * DAY, NOW) == 1


def test_the_next_cycle_is_expected_to_take_the_median_of_whole_cycles() -> None:
    costs = [cost(1, 1, ended_days_ago=9), cost(1, 2, ended_days_ago=8), cost(2, 10, ended_days_ago=5), cost(3, 2, ended_days_ago=1)]
    assert expected(costs, gpu_hours) == 3  # of 3 (two attempts), 10 and 2
    assert expected([], gpu_hours) is None


def test_without_a_limit_nothing_is_over_budget() -> None:
    assert list(over_budget([cost(1, 1000, ended_days_ago=1)], BudgetPolicy(usd_per_gpu_hour=3.0), NOW)) == []


def test_a_cycle_that_would_exceed_the_limit_is_held_until_the_window_frees_enough() -> None:
    # 4 + 4 spent, 4 expected: 12 of 10; when the first run leaves the window, 4 + 4 = 8 fit
    costs = [cost(1, 4, ended_days_ago=20), cost(2, 4, ended_days_ago=5)]
    ((reason, opens),) = over_budget(costs, BudgetPolicy(max_gpu_hours=10), NOW)
    assert opens == NOW + 10 * DAY
    assert reason == (
        "budget of 10.00 GPU-hours in 30 days: 8.00 spent, a cycle takes about 4.00; "
        f"the window frees enough on {(NOW + 10 * DAY).isoformat(timespec='seconds')}"
    )
    assert list(over_budget(costs, BudgetPolicy(max_gpu_hours=12), NOW)) == [], "exactly the limit is within it"
    assert list(over_budget(costs, BudgetPolicy(max_gpu_hours=10), NOW + 10 * DAY)) == []


def test_a_limit_below_one_cycle_never_frees() -> None:
    ((reason, opens),) = over_budget([cost(1, 4, ended_days_ago=20)], BudgetPolicy(max_gpu_hours=3), NOW)
    assert opens is None
    assert reason.endswith("raise the limit: no waiting frees enough")


def test_money_is_hours_at_their_price_and_each_limit_is_told() -> None:
    # 8 h at 2.50 = 20 USD, 4 h more = 30 of 25 USD; and 12 of 11 h
    costs = [cost(1, 4, ended_days_ago=20), cost(2, 4, ended_days_ago=5)]
    found = list(over_budget(costs, BudgetPolicy(max_gpu_hours=11, max_usd=25, usd_per_gpu_hour=2.5), NOW))
    assert [reason.split(";")[0] for reason, _ in found] == [
        "budget of 11.00 GPU-hours in 30 days: 8.00 spent, a cycle takes about 4.00",
        "budget of 25.00 USD in 30 days: 20.00 spent, a cycle takes about 10.00",
    ]


def test_money_without_a_price_is_refused() -> None:
    with pytest.raises(ValidationError, match="max_usd needs usd_per_gpu_hour or prices"):
        BudgetPolicy(max_usd=100)
    assert BudgetPolicy.model_validate({"max_usd": 100, "prices": TABLE}).max_usd == 100


@pytest.mark.parametrize("prices", [{"g2-standard-8": {"spot": 0.0}}, {"g2-standard-8": {"SPOT": 0.3}}, {"g2-standard-8": {}}])
def test_a_table_with_a_price_that_is_none_is_refused(prices: dict[str, dict[str, float]]) -> None:
    with pytest.raises(ValidationError, match="prices"):
        BudgetPolicy.model_validate({"prices": prices})


def test_an_hour_costs_what_the_table_says_of_the_machine_and_its_provisioning() -> None:
    budget = BudgetPolicy.model_validate({"usd_per_gpu_hour": 2.0, "prices": TABLE})
    assert [budget.usd_per_hour(machine) for machine in (SPOT, STANDARD)] == [0.3, 0.9]
    unlisted = [None, Machine(machine_type="a2-highgpu-1g", provisioning="standard"), Machine(machine_type="g4", provisioning="spot")]
    assert [budget.usd_per_hour(machine) for machine in unlisted] == [2.0] * 3


def test_what_is_not_in_the_table_costs_as_much_as_the_dearest_where_nothing_else_is_said() -> None:
    assert BudgetPolicy.model_validate({"prices": TABLE}).usd_per_hour(None) == 1.2
    assert BudgetPolicy().usd_per_hour(SPOT) is None


def test_each_attempt_costs_the_price_of_its_own_machine() -> None:
    # cycle 1: 4 h on Spot, 2 h on demand = 1.2 + 1.8 = 3 USD; cycle 2: 1 h, unknown = 2 USD; expected: their median
    budget = BudgetPolicy.model_validate({"max_usd": 7.0, "usd_per_gpu_hour": 2.0, "prices": TABLE})
    costs = [
        cost(1, 4, ended_days_ago=9, machine=SPOT),
        cost(1, 2, ended_days_ago=8, machine=STANDARD),
        cost(2, 1, ended_days_ago=1),
    ]
    assert spent(costs, budget.usd, budget.period, NOW) == pytest.approx(5.0)
    assert expected(costs, budget.usd) == pytest.approx(2.5)
    ((reason, _),) = over_budget(costs, budget, NOW)
    assert reason.startswith("budget of 7.00 USD in 30 days: 5.00 spent, a cycle takes about 2.50; ")


def test_an_attempt_ran_on_the_machine_of_its_first_act() -> None:
    prepared = state((Status.PREPARING, 0, 1))
    begun = decide_begin_training(prepared, 1, at=START + HOUR, cause="start", machine=SPOT).state
    assert begun is not None
    assert [found.machine for found in attempt_costs(begun, None, None, START + 3 * HOUR)] == [SPOT]
    assert [found.machine for found in attempt_costs(COMPLETED, None, None, NOW)] == [None]


def test_a_state_that_was_stored_before_machines_were_told_can_be_read() -> None:
    stored = CODEC.dump(COMPLETED).replace(b',\n   "machine": null', b"")
    assert b"machine" not in stored
    assert CODEC.parse(stored) == COMPLETED


def test_before_the_first_run_only_what_is_spent_counts() -> None:
    assert list(over_budget([], BudgetPolicy(max_gpu_hours=0.1), NOW)) == []
