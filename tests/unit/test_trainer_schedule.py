"""All steps of a training are known beforehand."""

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

from trainer.learning.schedule import Schedule

pytestmark = pytest.mark.torch


def test_what_is_left_of_an_epoch_follows_from_the_steps_that_are_done() -> None:
    schedule = Schedule([[[0, 1], [2]], [[2], [0, 1]]], warmup_ratio=0.0)
    assert (schedule.steps, schedule.ends) == (4, [2, 4])
    assert schedule.left(0, 0) == [[0, 1], [2]]
    assert schedule.left(0, 1) == [[2]]
    assert schedule.left(1, 2) == [[2], [0, 1]]
    assert schedule.left(1, 3) == [[0, 1]]


def test_the_rate_rises_over_the_warm_up_and_falls_to_zero() -> None:
    schedule = Schedule([[[0]] * 20], warmup_ratio=0.1)
    shares = [schedule.rate_share(step) for step in range(20)]
    assert shares[:3] == [0.5, 1.0, 1.0]
    assert shares[3] == pytest.approx(17 / 18)
    assert shares[-1] == pytest.approx(1 / 18)
