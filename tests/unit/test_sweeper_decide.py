"""What a cycle that stands still needs, status by status."""

from datetime import datetime, timedelta

import pytest

from functions.sweeper.decide import Need, decide_need
from shared.cycle import Status
from shared.policy import Policy
from shared.testing.builders import cycle_state
from shared.testing.clock import START

S = Status
POLICY = Policy(preparing_lease_s=900, heartbeat_timeout_s=300, auto_deploy=True)


def need(
    status: Status,
    after_s: float,
    *,
    result: bool = False,
    trainer_lives: bool = False,
    last_sign: datetime | None = None,
    policy: Policy = POLICY,
    over_budget: str = "",
) -> tuple[Need, str]:
    """Return what a cycle needs that came to `status` so many seconds ago."""
    now = START + timedelta(seconds=after_s)
    state = cycle_state(status)
    return decide_need(state, policy, now, result=result, trainer_lives=trainer_lives, last_sign=last_sign, over_budget=over_budget)


NOTHING = (Need.NOTHING, "")


@pytest.mark.parametrize(
    ("status", "needed"),
    [(S.PREPARING, Need.CARRY_ON), (S.VALIDATING, Need.ANNOUNCE_RESULT), (S.ACCEPTED, Need.ANNOUNCE_VERDICT)],
)
def test_what_has_stood_still_for_the_lease_is_moved_on_and_not_a_second_earlier(status: Status, needed: Need) -> None:
    assert need(status, 899) == NOTHING
    assert need(status, 900) == (needed, f"stood in {status} for 900 s")


def test_a_machine_has_a_lease_to_come_to_work_even_when_the_sweeper_started_it() -> None:
    assert need(S.PREPARING, 1799, trainer_lives=True) == NOTHING
    assert need(S.PREPARING, 1800, trainer_lives=True) == (Need.INTERRUPT, "stood in preparing for 1800 s")


def test_machines_that_are_gone_each_time_are_not_started_for_ever() -> None:
    assert need(S.PREPARING, 1799)[0] == Need.CARRY_ON
    assert need(S.PREPARING, 1800) == (Need.INTERRUPT, "stood in preparing for 1800 s")


def test_an_interruption_is_mended_at_every_tick() -> None:
    assert need(S.INTERRUPTED, 0) == (Need.RELAUNCH, "stood in interrupted for 0 s")


def test_capacity_is_looked_for_when_its_time_has_come() -> None:
    assert need(S.WAITING_FOR_CAPACITY, 59) == NOTHING
    assert need(S.WAITING_FOR_CAPACITY, 60) == (Need.FIND_CAPACITY, "stood in waiting_for_capacity for 60 s")


def test_an_accepted_candidate_waits_for_a_person_where_nothing_is_deployed_by_itself() -> None:
    assert need(S.ACCEPTED, 5000, policy=POLICY.model_copy(update={"auto_deploy": False})) == NOTHING


@pytest.mark.parametrize(
    "status",
    [S.AWAITING_APPROVAL, S.CANARY, S.DEPLOYED, S.REJECTED, S.INCONCLUSIVE, S.FAILED, S.CANCELLED, S.ROLLED_BACK],
)
def test_what_waits_for_a_person_serves_or_has_ended_needs_nothing(status: Status) -> None:
    assert need(status, 1e6, result=True) == NOTHING


def test_every_status_was_looked_at() -> None:
    by_themselves = {S.PREPARING, S.VALIDATING, S.ACCEPTED, S.WAITING_FOR_CAPACITY, S.INTERRUPTED, S.TRAINING}
    assert {status for status in Status if need(status, 1e6) != NOTHING} == by_themselves


# training


@pytest.mark.parametrize("trainer_lives", [True, False])
def test_a_result_is_announced_before_anything_else(trainer_lives: bool) -> None:
    expected = (Need.ANNOUNCE_RESULT, "result.json is written")
    assert need(S.TRAINING, 5000, result=True, trainer_lives=trainer_lives) == expected


def test_a_trainer_that_is_gone_without_a_result_is_an_interruption_at_once() -> None:
    assert need(S.TRAINING, 0) == (Need.INTERRUPT, "the trainer is gone without a result")
    assert need(S.TRAINING, 10, last_sign=START + timedelta(seconds=10)) == (Need.INTERRUPT, "the trainer is gone without a result")


def test_a_trainer_is_silent_from_its_start_or_its_last_sign_of_life() -> None:
    assert need(S.TRAINING, 300, trainer_lives=True) == NOTHING
    assert need(S.TRAINING, 301, trainer_lives=True) == (Need.INTERRUPT, "no heartbeat for 301 s")
    beat = START + timedelta(seconds=200)
    assert need(S.TRAINING, 500, trainer_lives=True, last_sign=beat) == NOTHING
    assert need(S.TRAINING, 501, trainer_lives=True, last_sign=beat) == (Need.INTERRUPT, "no heartbeat for 301 s")


def test_a_sign_of_life_from_a_clock_that_is_ahead_is_no_silence() -> None:
    assert need(S.TRAINING, 0, trainer_lives=True, last_sign=START + timedelta(seconds=30)) == NOTHING


# budget


@pytest.mark.parametrize("status", Status)
def test_what_has_a_trainer_or_is_about_to_get_one_stops_when_the_budget_is_spent(status: Status) -> None:
    stops = status in {S.PREPARING, S.WAITING_FOR_CAPACITY, S.TRAINING, S.INTERRUPTED}
    assert (need(status, 0, over_budget="1.5 of 1 h", trainer_lives=True) == (Need.STOP, "1.5 of 1 h")) == stops


def test_a_result_is_paid_for() -> None:
    assert need(S.TRAINING, 0, over_budget="1.5 of 1 h", result=True)[0] == Need.ANNOUNCE_RESULT
    assert need(S.INTERRUPTED, 0, over_budget="1.5 of 1 h", result=True)[0] == Need.RELAUNCH, "which finds the result"
