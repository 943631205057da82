"""Training lowers the loss whatever is switched on, and contradictory settings are refused before it."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import torch

from shared.testing.clock import FakeClock
from shared.training import LoraConfig, SpecAugment, TrainingConfig
from trainer.clips.sets import TrainingSets
from trainer.learning.settings import default_learning_rate, resolve
from trainer.learning.train import TrainingRun, Tuned, train
from trainer.network.model import load_model
from trainer.shell.failures import RunFailed
from trainer.shell.progress import Progress
from trainer.testing import usable_clips, write_tiny_model

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
CONFIG = TrainingConfig(epochs=3, batch_size=2, lora=LoraConfig(rank=4, alpha=8, dropout=0.1))
TEXTS = ["hotellet", "gob", "jak lom", "abba"]


@pytest.fixture
def base_folder(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "base")


def fine_tune(base_folder: Path, folder: Path, config: TrainingConfig) -> Tuned:
    model = load_model(base_folder, CPU)
    clips = usable_clips(model, folder, {f"clip-{number}": text for number, text in enumerate(TEXTS)}, config=CONFIG)
    return train(model, TrainingSets(clips), config, TrainingRun(Progress(folder / "log.jsonl", FakeClock())))


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 1e-2},
        {"learning_rate": 3e-3, "method": "full"},
        {"learning_rate": 1e-2, "precision": "bf16"},
        {"learning_rate": 1e-2, "gradient_checkpointing": True},
        {"learning_rate": 2e-2, "lora": LoraConfig(rank=4, alpha=8, top_layers=1)},
        {"learning_rate": 1e-2, "spec_augment": SpecAugment(time_share=0.2, time_frames=2)},
    ],
    ids=["lora", "full", "bf16", "checkpointing", "top layer", "spec augment"],
)
def test_training_lowers_the_loss(base_folder: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    tuned = fine_tune(base_folder, tmp_path, CONFIG.model_copy(update={"epochs": 12, **changes}))
    assert tuned.figures["last_epoch_loss"] < 0.6 * tuned.figures["first_loss"]
    assert (tmp_path / "log.jsonl").read_text().count('"event": "step"') == tuned.figures["steps"] == 24


def test_a_loss_that_is_not_finite_ends_the_run(base_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFailed) as caught:
        fine_tune(base_folder, tmp_path, CONFIG.model_copy(update={"learning_rate": 1e30}))
    assert caught.value.reason == "diverged"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "full", "lora": LoraConfig(top_layers=1)}, "trains every layer"),
        ({"lora": LoraConfig(top_layers=3)}, "at most the network's 2 layers, found 3"),
        ({"min_duration_s": 30.0}, "a smaller and a larger, found 30 and 30"),
    ],
)
def test_settings_that_exclude_each_other_are_refused_by_name(base_folder: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(RunFailed, match=message) as caught:
        resolve(CONFIG.model_copy(update=changes), load_model(base_folder, CPU))
    assert caught.value.reason == "bad_spec"


def test_the_rate_follows_the_width_and_the_method() -> None:
    assert default_learning_rate(160, "lora") == pytest.approx(3e-3)
    assert default_learning_rate(768, "lora") == pytest.approx(6.25e-4)
    assert default_learning_rate(768, "full") == pytest.approx(6.25e-4 / 3)
