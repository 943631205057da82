"""The scale that is chosen helps most among those that clean speech can bear."""

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

from shared.training import LambdaTrial
from trainer.learning.sweep import decide_scale

pytestmark = pytest.mark.torch


def trial(scale: float, errors: float | None, clean: float | None) -> LambdaTrial:
    return LambdaTrial(scale=scale, dev_errors_wer=errors, dev_replay_wer=clean)


def test_the_scale_that_helps_most_without_hurting_clean_speech_is_chosen() -> None:
    trials = [trial(0.0, 0.6, 0.080), trial(0.5, 0.5, 0.084), trial(0.7, 0.45, 0.085), trial(1.0, 0.4, 0.10)]
    assert decide_scale(trials, 0.005).scale == 0.7


def test_a_run_that_only_hurts_keeps_the_base() -> None:
    assert decide_scale([trial(0.0, 0.6, 0.08), trial(0.1, 0.7, 0.08), trial(1.0, 0.3, 0.2)], 0.005).scale == 0.0


def test_the_larger_of_equal_scales_is_taken() -> None:
    assert decide_scale([trial(0.0, 0.6, 0.08), trial(0.1, 0.5, 0.08), trial(0.2, 0.5, 0.08)], 0.005).scale == 0.2


def test_an_empty_dev_set_has_no_say() -> None:
    unguarded = decide_scale([trial(0.0, 0.6, None), trial(1.0, 0.4, None)], 0.005)
    assert unguarded.scale == 1.0
    assert "no clean dev clips" in unguarded.reason
    assert decide_scale([trial(0.0, None, 0.08), trial(0.5, None, 0.08), trial(1.0, None, 0.2)], 0.005).scale == 0.5
