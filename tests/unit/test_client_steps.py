"""What the reporter's thread does next, state by state."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from retune_client.steps import Hand, Step, View, backoff_s, decide_step

CALM = View(now=100.0, max_queue=10, next_tick=160.0)
SPOOL = replace(CALM, spool_usable=True)
AWAY = replace(SPOOL, away=True, retry_at=104.0)
FLYING = replace(CALM, hand=Hand.MEMORY, flying=True, give_up_at=130.0)
CLOSING = replace(CALM, closing=True, closing_at=105.0, next_tick=math.inf)


@pytest.mark.parametrize(
    ("view", "step", "until"),
    [
        (CALM, Step.WAIT, 160.0),
        (replace(CALM, now=160.0), Step.TICK, 160.0),
        (replace(CALM, queued=1), Step.TAKE, 100.0),
        (replace(SPOOL, queued=1, spool_pending=True), Step.LOAD, 100.0),
        (replace(SPOOL, hand=Hand.SEGMENT, spool_pending=True), Step.SEND, 100.0),
        (FLYING, Step.WAIT, 130.0),
        (replace(FLYING, landed=True), Step.SETTLE, 100.0),
        (replace(FLYING, now=130.0), Step.SETTLE, 130.0),
        # away: memory goes to disk, but never past a batch from memory that is older
        (AWAY, Step.WAIT, 104.0),
        (replace(AWAY, queued=1), Step.SPILL, 100.0),
        (replace(AWAY, queued=1, hand=Hand.MEMORY), Step.WAIT, 104.0),
        (replace(AWAY, queued=1, spool_usable=False), Step.WAIT, 104.0),
        (replace(AWAY, queued=1, now=104.0, spool_pending=True), Step.LOAD, 104.0),
        (replace(AWAY, queued=1, hand=Hand.SEGMENT, flying=True, give_up_at=130.0), Step.SPILL, 100.0),
        # a queue that is half full goes to disk behind a segment that is being sent
        (replace(SPOOL, queued=5, hand=Hand.SEGMENT, flying=True, give_up_at=130.0), Step.SPILL, 100.0),
        (replace(SPOOL, queued=4, hand=Hand.SEGMENT, flying=True, give_up_at=130.0), Step.WAIT, 130.0),
        (CLOSING, Step.STOP, 100.0),
        (replace(CLOSING, queued=1), Step.TAKE, 100.0),
        (replace(CLOSING, queued=1, now=105.0), Step.STOP, 105.0),
        (replace(CLOSING, hand=Hand.MEMORY, flying=True, give_up_at=130.0), Step.WAIT, 105.0),
        (replace(CLOSING, hand=Hand.MEMORY, flying=True, give_up_at=130.0, now=105.0), Step.SETTLE, 105.0),
        (replace(CLOSING, hand=Hand.MEMORY, away=True, retry_at=103.0), Step.WAIT, 103.0),
    ],
)
def test_the_next_step_follows_from_the_state_and_waits_until_it_is_due(view: View, step: Step, until: float) -> None:
    assert decide_step(view) == (step, until)


@given(
    st.builds(
        View,
        now=st.floats(0, 10),
        queued=st.integers(0, 10),
        max_queue=st.just(10),
        hand=st.sampled_from(Hand),
        landed=st.booleans(),
        give_up_at=st.floats(0, 10),
        away=st.booleans(),
        retry_at=st.floats(0, 10),
        spool_usable=st.booleans(),
        spool_pending=st.booleans(),
        next_tick=st.floats(0, 10),
        closing=st.booleans(),
        closing_at=st.floats(0, 10),
    ),
    st.booleans(),
)
def test_a_wait_is_always_for_a_time_to_come_and_nothing_overtakes(view: View, flying: bool) -> None:
    view = replace(view, flying=flying and view.hand is not Hand.EMPTY)
    step, until = decide_step(view)
    assert step is not Step.WAIT or until > view.now
    assert step is not Step.SPILL or (view.queued and view.spool_usable and view.hand is not Hand.MEMORY)
    assert step is not Step.TAKE or (view.hand is Hand.EMPTY and not view.spool_pending)
    assert step is not Step.SEND or not view.flying
    assert step is not Step.STOP or view.closing or view.now >= view.closing_at


def test_the_pauses_double_up_to_a_minute() -> None:
    assert [backoff_s(failures, 1.0) for failures in (1, 2, 3, 6, 7, 1000)] == [1, 2, 4, 32, 60, 60]
    assert backoff_s(3, 0.5) == 2.0
