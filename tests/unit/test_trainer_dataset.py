"""What a run trains on: the errors, and replay in the share that the config asks for."""

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

from shared.audio_source import AudioPin
from shared.training import Clip, SetRole, TrainingConfig
from trainer.attempt.dataset import training_sets
from trainer.clips.load import UsableClip

pytestmark = pytest.mark.torch


def clips(name: str, count: int) -> list[UsableClip]:
    pin = AudioPin(uri="gs://calls/a.wav", generation=1, crc32c="AAAAAA==", size_bytes=1)
    return [
        UsableClip(
            Clip(utterance_id=f"{name}{n}", cluster="c", stratum="errors", audio=pin, reference="hi", provenance="human"),
            Path("a"),
            1,
            (1,),
        )
        for n in range(count)
    ]


def replayed(errors: int, replay: int, **config: object) -> list[str]:
    by_role: dict[SetRole, list[UsableClip]] = {
        "train_errors": clips("e", errors),
        "train_replay": clips("r", replay),
        "dev_errors": [],
        "dev_replay": clips("q", 2),
    }
    sets = training_sets(by_role, TrainingConfig.model_validate(config))
    assert len(sets.train_errors) == errors
    assert len(sets.dev_replay) == 2
    return [clip.clip.utterance_id for clip in sets.train_replay]


def test_by_default_there_is_one_replay_clip_for_each_error() -> None:
    drawn = replayed(5, 40)
    assert len(drawn) == len(set(drawn)) == 5


@pytest.mark.parametrize(("ratio", "number"), [(0.0, 0), (0.5, 2), (2.0, 8), (100.0, 9)])
def test_the_ratio_says_how_many_as_long_as_there_are_so_many(ratio: float, number: int) -> None:
    assert len(replayed(4, 9, replay_ratio=ratio)) == number


def test_the_seed_draws_them() -> None:
    assert replayed(5, 40, seed=1) == replayed(5, 40, seed=1)
    assert replayed(5, 40, seed=1) != replayed(5, 40, seed=2)
