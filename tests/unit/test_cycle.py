"""A cycle's states: which moves are legal, what each leaves in the history, and how the state is stored."""

import json
from datetime import timedelta

import pytest

from shared.cycle import CODEC, ENDED, MOVES, STARTS, TRAINABLE, Entry, Status, can_move, decide_begin_training, move, open_cycle
from shared.errors import CorruptObject, InvariantBroken
from shared.machine import Machine
from shared.testing.builders import cycle_state
from shared.testing.clock import START

S = Status
LATER_BY = timedelta(minutes=5)
LATER = START + LATER_BY

DIAGRAM = {
    *((S.AWAITING_APPROVAL, S.PREPARING), (S.PREPARING, S.WAITING_FOR_CAPACITY), (S.WAITING_FOR_CAPACITY, S.PREPARING)),
    *((S.PREPARING, S.TRAINING), (S.TRAINING, S.VALIDATING), (S.TRAINING, S.INTERRUPTED)),
    *((S.INTERRUPTED, S.PREPARING), (S.INTERRUPTED, S.FAILED), (S.INTERRUPTED, S.VALIDATING)),
    *((S.VALIDATING, S.ACCEPTED), (S.VALIDATING, S.REJECTED), (S.VALIDATING, S.INCONCLUSIVE)),
    *((S.ACCEPTED, S.CANARY), (S.CANARY, S.DEPLOYED), (S.ACCEPTED, S.INCONCLUSIVE)),
    (S.CANARY, S.INCONCLUSIVE),
    *((status, S.ROLLED_BACK) for status in (S.ACCEPTED, S.CANARY, S.DEPLOYED)),
    *(
        (status, S.CANCELLED)
        for status in (
            *(S.AWAITING_APPROVAL, S.PREPARING, S.WAITING_FOR_CAPACITY, S.TRAINING),
            *(S.INTERRUPTED, S.VALIDATING, S.ACCEPTED),
        )
    ),
}
"""The diagram of the module, arrow by arrow."""

BESIDES = {
    (S.ACCEPTED, S.DEPLOYED),  # without a canary
    (S.PREPARING, S.INTERRUPTED),  # the trainer died before it could say that it had begun
    *((status, S.FAILED) for status in (S.PREPARING, S.WAITING_FOR_CAPACITY, S.TRAINING)),  # what no other attempt can mend
}


def test_the_table_allows_the_moves_of_the_diagram_and_no_others() -> None:
    allowed = {(before, after) for before in Status for after in Status if can_move(cycle_state(before), after)}
    assert allowed == DIAGRAM | BESIDES
    assert set(MOVES) == set(Status)


@pytest.mark.parametrize("before", sorted(Status))
def test_a_move_that_the_table_does_not_allow_is_refused(before: Status) -> None:
    for after in Status:
        if (before, after) in DIAGRAM | BESIDES:
            assert move(cycle_state(before), after, at=LATER, by="x", cause="y").status == after
        else:
            with pytest.raises(InvariantBroken, match=f"cycle 1: expected a legal move from {before}, found {after}"):
                move(cycle_state(before), after, at=LATER, by="x", cause="y")


def test_an_ended_cycle_is_only_ever_rolled_back_and_every_other_can_end() -> None:
    assert {after for before in ENDED for after in MOVES[before]} == {S.ROLLED_BACK}
    assert all(MOVES[status] for status in set(Status) - ENDED)
    assert {status for status in Status if cycle_state(status).ended} == ENDED


def test_the_history_keeps_who_when_and_why_of_every_move() -> None:
    opened = open_cycle(12, S.PREPARING, at=START, by="ana (claimed)", cause="force-1", reason="forced by a person", forced=True)
    state = move(opened, S.TRAINING, at=LATER, by="trainer", cause="start", reason="attempt 1 started")
    assert state.history == (
        Entry(status=S.PREPARING, at=START, by="ana (claimed)", cause="force-1", reason="forced by a person", attempt=1),
        Entry(status=S.TRAINING, at=LATER, by="trainer", cause="start", reason="attempt 1 started", attempt=1),
    )
    assert (state.cycle, state.status, state.attempt, state.forced) == (12, S.TRAINING, 1, True)
    assert (state.opened_by, state.since, state.reason) == ("force-1", LATER, "attempt 1 started")
    judged = move(state, S.VALIDATING, at=2 * LATER_BY + START, by="launcher", cause="result", reason="its result is there")
    assert (judged.opened_by, judged.since, judged.reason) == ("force-1", 2 * LATER_BY + START, "its result is there")
    assert opened.history == state.history[:1], "a move leaves the earlier state as it was"


def test_a_move_counts_attempts_only_when_told_to() -> None:
    interrupted = cycle_state(S.INTERRUPTED, attempt=2)
    again = move(interrupted, S.PREPARING, at=LATER, by="x", cause="y", attempt=3)
    assert (again.attempt, again.history[-1].attempt) == (3, 3)
    given_up = move(interrupted, S.FAILED, at=LATER, by="x", cause="y")
    assert (given_up.attempt, given_up.history[-1].attempt) == (2, 2)


@pytest.mark.parametrize("status", sorted(Status))
def test_a_cycle_opens_for_approval_for_preparation_or_for_an_imported_model(status: Status) -> None:
    if status in {S.AWAITING_APPROVAL, S.PREPARING, S.INCONCLUSIVE}:
        state = open_cycle(3, status, at=START, by="x", cause="y", reason="z")
        assert (state.status, state.attempt, state.forced) == (status, 1, False)
        assert state.imported == (status == S.INCONCLUSIVE)
    else:
        with pytest.raises(InvariantBroken, match=f"cycle 3: expected to open in one of .*, found {status}"):
            open_cycle(3, status, at=START, by="x", cause="y", reason="z")
    assert len(STARTS) == 3


def test_a_cycle_that_trained_and_was_inconclusive_is_no_import() -> None:
    assert not cycle_state(S.INCONCLUSIVE).imported


def test_a_trainer_begins_its_own_attempt_of_a_cycle_that_prepares() -> None:
    decision = decide_begin_training(cycle_state(S.PREPARING, attempt=2), 2, at=LATER, cause="start")
    assert decision.reason == ""
    assert decision.state is not None
    assert decision.state.status == S.TRAINING
    assert decision.state.history[-1] == Entry(
        status=S.TRAINING, at=LATER, by="trainer", cause="start", reason="attempt 2 started", attempt=2
    )


def test_the_machine_that_a_trainer_tells_stands_beside_its_first_move() -> None:
    machine = Machine(machine_type="g2-standard-8", provisioning="spot")
    decision = decide_begin_training(cycle_state(S.PREPARING), 1, at=LATER, cause="start", machine=machine)
    assert decision.state is not None
    assert decision.state.history[-1].machine == machine


@pytest.mark.parametrize("status", sorted(Status))
def test_only_the_present_attempt_of_a_cycle_without_a_result_wants_a_trainer(status: Status) -> None:
    state = cycle_state(status, attempt=2)
    assert state.wants_trainer(2) == (status in TRAINABLE)
    assert not state.wants_trainer(1)
    assert not state.wants_trainer(3)


def test_a_trainer_that_began_already_goes_on_without_another_write() -> None:
    decision = decide_begin_training(cycle_state(S.TRAINING, attempt=2), 2, at=LATER, cause="start")
    assert (decision.state, decision.reason) == (None, "")


@pytest.mark.parametrize("status", sorted(set(Status) - {S.PREPARING, S.TRAINING}))
def test_a_trainer_goes_where_its_cycle_neither_prepares_nor_trains(status: Status) -> None:
    decision = decide_begin_training(cycle_state(status), 1, at=LATER, cause="start")
    assert (decision.state, decision.reason) == (None, f"cycle 1 is {status}")


@pytest.mark.parametrize("attempt", [1, 3])
@pytest.mark.parametrize("status", sorted(Status))
def test_a_trainer_of_another_attempt_goes_whatever_the_status(status: Status, attempt: int) -> None:
    decision = decide_begin_training(cycle_state(status, attempt=2), attempt, at=LATER, cause="start")
    assert (decision.state, decision.reason) == (None, f"attempt 2 is at work, not {attempt}")


def test_a_trainer_without_a_state_goes() -> None:
    decision = decide_begin_training(None, 1, at=LATER, cause="start")
    assert (decision.state, decision.reason) == (None, "the cycle has no state")


@pytest.mark.parametrize("status", sorted(Status))
def test_a_stored_state_reads_back_as_it_was(status: Status) -> None:
    state = cycle_state(status, cycle=12, attempt=3).model_copy(update={"forced": True})
    assert CODEC.parse(CODEC.dump(state)) == state


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"surprise": 1}, "surprise"),
        ({"status": "sleeping"}, "status"),
        ({"cycle": 0}, "cycle"),
        ({"attempt": 0}, "attempt"),
        ({"history": []}, "history"),
    ],
)
def test_a_stored_state_that_is_none_is_corrupt_and_the_field_is_named(change: dict[str, object], where: str) -> None:
    stored = json.loads(CODEC.dump(cycle_state(S.TRAINING)))
    with pytest.raises(CorruptObject, match=f"cycle state: expected a valid CycleState, found {where}"):
        CODEC.parse(json.dumps(stored | change).encode())
