"""What a run trains on: no clip twice, none that judges, and replay in the share that the config asks for."""

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

from shared.audio_source import AudioPin
from shared.testing.memory_store import MemoryStore
from shared.training import Clip, SetRole, TrainingConfig
from trainer.attempt.dataset import drop_repeated, leaked
from trainer.clips.load import UsableClip
from trainer.clips.sets import training_sets
from trainer.testing import stored_clip

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


def test_a_repeated_utterance_trains_once() -> None:
    clip = stored_clip(MemoryStore(), "clip", "hello")
    kept, aside = drop_repeated([clip, clip.model_copy(update={"reference": "other"})], "train")
    assert kept == [clip]
    assert [(entry.utterance_id, entry.reason) for entry in aside] == [("clip", "duplicate")]


def test_a_clip_that_judges_may_not_train() -> None:
    one, two = (stored_clip(MemoryStore(), name, "hello") for name in ("one", "two"))
    assert leaked({"train_errors": [one], "dev_replay": [two], "judge": [two]}) == ["two"]
    assert leaked({"train_errors": [one], "judge": [two]}) == []


def test_a_clip_that_decides_nothing_may_also_train_or_judge() -> None:
    one, two = (stored_clip(MemoryStore(), name, "hello") for name in ("one", "two"))
    assert leaked({"train_errors": [one], "judge": [two], "recheck": [one, two]}) == []
