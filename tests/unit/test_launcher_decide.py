"""The launcher's decisions about a cycle's state, branch by branch."""

from collections.abc import Callable, Iterable
from datetime import timedelta

import pytest

from functions.launcher.capacity import looks, next_try_at
from functions.launcher.decide import (
    PERMANENT,
    decide_approve,
    decide_cancel,
    decide_failed,
    decide_interrupted,
    decide_next_attempt,
    decide_no_capacity,
    decide_over_budget,
    decide_preempted,
    decide_refused,
    decide_retry_capacity,
    who,
)
from shared.cas import Decision
from shared.cycle import CycleState, Entry, Status
from shared.events import FinetuneApproved, FinetuneCancelled, FinetuneRequested, ThresholdCrossed, TrainingFailed, TrainingPreempted
from shared.policy import Policy
from shared.testing.builders import cycle_state
from shared.testing.clock import START

S = Status
NOW = START + timedelta(hours=2)
POLICY = Policy(max_attempts=3)
APPROVED = FinetuneApproved(event_id="approve-1", occurred_at=START, by="ana", reason="go")
CANCELLED = FinetuneCancelled(event_id="cancel-1", occurred_at=START, by="ana", reason="too early")


def others(*statuses: Status) -> list[Status]:
    return sorted(set(Status) - set(statuses))


def failed(attempt: int = 1, reason: str = "internal", detail: str = "out of disk") -> TrainingFailed:
    fields = {"event_id": "failed-1", "occurred_at": START, "cycle": 1, "attempt": attempt, "reason": reason, "detail": detail}
    return TrainingFailed.model_validate(fields)


def preempted(attempt: int = 1) -> TrainingPreempted:
    return TrainingPreempted(event_id="preempted-1", occurred_at=START, cycle=1, attempt=attempt)


def last(decision: Decision[CycleState]) -> Entry:
    """Return the move that was decided."""
    assert decision.state is not None, decision.reason
    assert decision.state.status == decision.state.history[-1].status
    assert decision.state.attempt == decision.state.history[-1].attempt
    return decision.state.history[-1]


def applied(decision: Decision[CycleState]) -> CycleState:
    assert decision.state is not None, decision.reason
    return decision.state


def refusals(decide: Callable[[CycleState | None], Decision[CycleState]], states: Iterable[CycleState | None]) -> set[str]:
    """Return the reasons of decisions that all write nothing."""
    decisions = [decide(state) for state in states]
    assert all(decision.state is None and decision.events == () for decision in decisions)
    return {decision.reason for decision in decisions}


# people


def test_a_claimed_name_is_recorded_as_a_claim_and_without_one_it_was_the_launcher() -> None:
    assert who(APPROVED) == "ana (claimed)"
    assert who(FinetuneRequested(event_id="x", occurred_at=START)) == "launcher"
    assert who(ThresholdCrossed(event_id="x", occurred_at=START, cycle=1)) == "launcher"


def test_an_approval_lets_the_cycle_prepare() -> None:
    decision = decide_approve(cycle_state(S.AWAITING_APPROVAL, opened=S.AWAITING_APPROVAL), APPROVED, NOW)
    assert last(decision) == Entry(status=S.PREPARING, at=NOW, by="ana (claimed)", cause="approve-1", reason="go", attempt=1)
    assert decision.reason == "go"
    wordless = APPROVED.model_copy(update={"reason": None})
    assert decide_approve(cycle_state(S.AWAITING_APPROVAL), wordless, NOW).reason == "approved"


def test_an_approval_of_what_does_not_await_it_changes_nothing() -> None:
    assert refusals(lambda state: decide_approve(state, APPROVED, NOW), [None]) == {"no cycle awaits approval"}
    for status in others(S.AWAITING_APPROVAL):
        found = refusals(lambda state: decide_approve(state, APPROVED, NOW), [cycle_state(status)])
        assert found == {f"cycle 1 is {status}, not awaiting approval"}


BEFORE_THE_ALIAS = (S.AWAITING_APPROVAL, S.PREPARING, S.WAITING_FOR_CAPACITY, S.TRAINING, S.INTERRUPTED, S.VALIDATING, S.ACCEPTED)


@pytest.mark.parametrize("status", BEFORE_THE_ALIAS)
def test_a_cycle_that_serves_nobody_yet_can_be_cancelled(status: Status) -> None:
    decision = decide_cancel(cycle_state(status), CANCELLED, NOW)
    assert last(decision) == Entry(status=S.CANCELLED, at=NOW, by="ana (claimed)", cause="cancel-1", reason="too early", attempt=1)
    assert decide_cancel(cycle_state(status), CANCELLED.model_copy(update={"reason": None}), NOW).reason == "cancelled by a person"


def test_a_cycle_that_serves_or_has_ended_cannot_be_cancelled() -> None:
    assert refusals(lambda state: decide_cancel(state, CANCELLED, NOW), [None]) == {"no cycle is running"}
    for status in others(*BEFORE_THE_ALIAS):
        found = refusals(lambda state: decide_cancel(state, CANCELLED, NOW), [cycle_state(status)])
        assert found == {f"cycle 1 is {status}: nothing to cancel"}


# the end of an attempt


@pytest.mark.parametrize("status", [S.PREPARING, S.TRAINING])
def test_a_failed_attempt_is_an_interruption_while_attempts_are_left(status: Status) -> None:
    decision = decide_failed(cycle_state(status, attempt=2), failed(2), POLICY, NOW)
    expected = Entry(status=S.INTERRUPTED, at=NOW, by="launcher", cause="failed-1", reason="internal: out of disk", attempt=2)
    assert last(decision) == expected


def test_the_last_attempt_that_fails_is_the_end() -> None:
    decision = decide_failed(cycle_state(S.TRAINING, attempt=3), failed(3, detail=""), POLICY, NOW)
    assert (last(decision).status, decision.reason) == (S.FAILED, "internal")


@pytest.mark.parametrize("reason", sorted(PERMANENT))
def test_what_no_other_attempt_can_mend_is_the_end_at_once(reason: str) -> None:
    assert last(decide_failed(cycle_state(S.TRAINING), failed(reason=reason), POLICY, NOW)).status == S.FAILED


@pytest.mark.parametrize("reason", ["out_of_memory", "diverged", "smoke_test_failed", "store_unavailable", "internal"])
def test_what_another_attempt_may_mend_is_tried_again(reason: str) -> None:
    assert last(decide_failed(cycle_state(S.TRAINING), failed(reason=reason), POLICY, NOW)).status == S.INTERRUPTED


@pytest.mark.parametrize("attempt", [1, 3])
def test_a_preemption_is_an_interruption_also_of_the_last_attempt(attempt: int) -> None:
    decision = decide_preempted(cycle_state(S.TRAINING, attempt=attempt), preempted(attempt), NOW)
    assert last(decision) == Entry(
        status=S.INTERRUPTED, at=NOW, by="launcher", cause="preempted-1", reason="the machine was taken away", attempt=attempt
    )


def test_news_of_another_attempt_or_of_an_unknown_cycle_are_ignored() -> None:
    states = [None, cycle_state(S.TRAINING, attempt=2), cycle_state(S.PREPARING, attempt=2)]
    stale = {"about attempt 1, not the present one"}
    assert refusals(lambda state: decide_failed(state, failed(1, "bad_spec"), POLICY, NOW), states) == stale
    assert refusals(lambda state: decide_preempted(state, preempted(1), NOW), states) == stale


@pytest.mark.parametrize("status", others(S.PREPARING, S.TRAINING))
def test_news_of_an_attempt_that_is_over_are_ignored(status: Status) -> None:
    over = {f"cycle 1 is {status}"}
    assert refusals(lambda state: decide_failed(state, failed(), POLICY, NOW), [cycle_state(status)]) == over
    assert refusals(lambda state: decide_preempted(state, preempted(), NOW), [cycle_state(status)]) == over


@pytest.mark.parametrize("status", [S.PREPARING, S.TRAINING])
def test_a_trainer_that_is_gone_or_never_came_interrupts_only_its_own_attempt(status: Status) -> None:
    decision = decide_interrupted(cycle_state(status, attempt=2), 2, "no heartbeat for 301 s", NOW)
    expected = Entry(status=S.INTERRUPTED, at=NOW, by="sweeper", cause="sweep:1:2", reason="no heartbeat for 301 s", attempt=2)
    assert last(decision) == expected
    elsewhere = [None, cycle_state(status, attempt=3), *(cycle_state(other, attempt=2) for other in others(S.PREPARING, S.TRAINING))]
    assert refusals(lambda state: decide_interrupted(state, 2, "silent", NOW), elsewhere) == {"moved on meanwhile"}


def test_an_interrupted_cycle_is_tried_again_with_the_next_number() -> None:
    decision = decide_next_attempt(cycle_state(S.INTERRUPTED, attempt=2), POLICY, NOW)
    assert last(decision) == Entry(status=S.PREPARING, at=NOW, by="launcher", cause="relaunch:1:2", reason="attempt 3 of 3", attempt=3)


@pytest.mark.parametrize("attempt", [3, 4])
def test_an_interrupted_cycle_without_attempts_left_has_failed_for_the_last_reason(attempt: int) -> None:
    decision = decide_next_attempt(cycle_state(S.INTERRUPTED, attempt=attempt, reason="taken away"), POLICY, NOW)
    reason = f"{attempt} attempts of 3 are used up; last: taken away"
    expected = Entry(status=S.FAILED, at=NOW, by="launcher", cause=f"relaunch:1:{attempt}", reason=reason, attempt=attempt)
    assert last(decision) == expected


def test_an_interrupted_cycle_whose_budget_is_spent_gets_no_next_attempt_however_many_are_left() -> None:
    for attempt in (1, 3):
        decision = decide_next_attempt(cycle_state(S.INTERRUPTED, attempt=attempt), POLICY, NOW, over_budget="1.5 of 1 h")
        cause, reason = f"budget:1:{attempt}", "stopped: 1.5 of 1 h"
        assert last(decision) == Entry(status=S.FAILED, at=NOW, by="launcher", cause=cause, reason=reason, attempt=attempt)


@pytest.mark.parametrize(("status", "to"), [(S.PREPARING, S.INTERRUPTED), (S.TRAINING, S.INTERRUPTED), (S.WAITING_FOR_CAPACITY, S.FAILED)])
def test_a_cycle_over_budget_is_interrupted_where_a_trainer_may_be_at_work_and_else_ends(status: Status, to: Status) -> None:
    decision = decide_over_budget(cycle_state(status, attempt=2), 2, "1.5 of 1 h", NOW)
    assert last(decision) == Entry(status=to, at=NOW, by="sweeper", cause="budget:1:2", reason="stopped: 1.5 of 1 h", attempt=2)
    elsewhere = [
        None,
        cycle_state(status, attempt=3),
        *(cycle_state(other, attempt=2) for other in others(S.PREPARING, S.TRAINING, S.WAITING_FOR_CAPACITY)),
    ]
    assert refusals(lambda state: decide_over_budget(state, 2, "spent", NOW), elsewhere) == {"no trainer to stop"}


def test_what_is_not_interrupted_gets_no_next_attempt() -> None:
    states = [None, *(cycle_state(status) for status in others(S.INTERRUPTED))]
    assert refusals(lambda state: decide_next_attempt(state, POLICY, NOW), states) == {"not interrupted"}


# machines


def test_no_capacity_is_waited_for() -> None:
    decision = decide_no_capacity(cycle_state(S.PREPARING, attempt=2), 2, "no L4 in 9 zones", NOW)
    reason = f"no L4 in 9 zones; next try at {(NOW + timedelta(seconds=60)).isoformat(timespec='seconds')}"
    expected = Entry(status=S.WAITING_FOR_CAPACITY, at=NOW, by="launcher", cause="capacity:1:2", reason=reason, attempt=2)
    assert last(decision) == expected


def test_each_wait_for_capacity_is_twice_the_one_before_up_to_a_quarter_of_an_hour() -> None:
    state, now, waits = cycle_state(S.PREPARING), NOW, []
    for _ in range(7):
        state = applied(decide_no_capacity(state, 1, "full", now))
        waits.append((next_try_at(state) - now).total_seconds())
        assert state.reason == f"full; next try at {next_try_at(state).isoformat(timespec='seconds')}"
        now = next_try_at(state)
        state = applied(decide_retry_capacity(state, now))
    assert waits == [60, 120, 240, 480, 900, 900, 900]


def test_the_next_attempt_begins_with_a_short_wait() -> None:
    state = cycle_state(S.PREPARING)
    for _ in range(2):
        state = applied(decide_retry_capacity(applied(decide_no_capacity(state, 1, "full", NOW)), NOW))
    assert looks(state) == 2
    state = applied(decide_next_attempt(applied(decide_interrupted(state, 1, "gone", NOW)), POLICY, NOW))
    assert looks(applied(decide_no_capacity(state, 2, "full", NOW))) == 1


def test_a_trainer_that_cannot_be_started_at_all_is_the_end() -> None:
    decision = decide_refused(cycle_state(S.PREPARING, attempt=2), 2, "no quota", NOW)
    reason = "the trainer cannot be started: no quota"
    assert last(decision) == Entry(status=S.FAILED, at=NOW, by="launcher", cause="refused:1:2", reason=reason, attempt=2)
    assert decision.reason == reason


@pytest.mark.parametrize("decide", [decide_no_capacity, decide_refused])
def test_an_answer_about_a_launch_that_was_overtaken_changes_nothing(decide: Callable[..., Decision[CycleState]]) -> None:
    elsewhere = [None, cycle_state(S.PREPARING, attempt=3), *(cycle_state(status, attempt=2) for status in others(S.PREPARING))]
    assert refusals(lambda state: decide(state, 2, "full", NOW), elsewhere) == {"moved on meanwhile"}


def test_a_machine_is_looked_for_again_with_the_same_attempt() -> None:
    decision = decide_retry_capacity(cycle_state(S.WAITING_FOR_CAPACITY, attempt=2), NOW)
    expected = Entry(status=S.PREPARING, at=NOW, by="sweeper", cause="capacity:1:2:again", reason="looking for a machine again", attempt=2)
    assert last(decision) == expected
    states = [None, *(cycle_state(status) for status in others(S.WAITING_FOR_CAPACITY))]
    assert refusals(lambda state: decide_retry_capacity(state, NOW), states) == {"not waiting for capacity"}
