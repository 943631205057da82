"""What differs on a GPU: batched convolutions, bf16, memory that runs out. Each has its twin on the CPU; without a GPU all are skipped."""

from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import torch

from shared.testing.clock import FakeClock
from shared.training import LoraConfig, SpecAugment, TrainingConfig
from trainer.clips.load import UsableClip
from trainer.clips.sets import TrainingSets
from trainer.learning.train import TrainingRun, train
from trainer.network.forward import convolve
from trainer.network.model import AcousticModel, load_model
from trainer.recogniser import Recogniser
from trainer.shell.progress import Progress
from trainer.testing import tones, usable_clips, write_tiny_model

pytestmark = [
    pytest.mark.torch,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"),
]

TEXTS = ["hotellet", "gob", "jak lom", "abba"]
CLIPS = [tones(text) for text in TEXTS]


@pytest.fixture(params=["layer", "group"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    norm = request.param
    return write_tiny_model(tmp_path / norm, feat_extract_norm=norm, do_stable_layer_norm=norm == "layer", conv_bias=norm == "layer")


def clips_of(model: AcousticModel, folder: Path) -> list[UsableClip]:
    return usable_clips(model, folder, {f"clip-{number}": text for number, text in enumerate(TEXTS)})


def test_batched_convolutions_are_those_of_the_cpu(folder: Path) -> None:
    expected = convolve(load_model(folder, torch.device("cpu")), CLIPS)
    found = convolve(load_model(folder, torch.device("cuda")), CLIPS)
    for here, there in zip(expected, found, strict=True):
        torch.testing.assert_close(there.cpu(), here, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_logits_are_those_of_the_cpu(folder: Path, precision: str) -> None:
    expected, lengths = (recogniser := Recogniser.load(folder, "cpu")).logits(recogniser.features(CLIPS))
    found, _ = (faster := Recogniser.load(folder, "cuda", "bf16" if precision == "bf16" else "fp32")).logits(faster.features(CLIPS))
    for row, length in enumerate(lengths.tolist()):
        error = (found[row, :length].cpu() - expected[row, :length]).square().mean().sqrt()
        assert error < (0.1 if precision == "bf16" else 1e-3) * expected[row, :length].std()


@pytest.mark.parametrize("top_layers", [None, 1])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_training_in_bf16_lowers_the_loss(folder: Path, tmp_path: Path, method: str, top_layers: int | None) -> None:
    if method == "full" and top_layers:
        pytest.skip("excluded by the config")
    model = load_model(folder, torch.device("cuda"))
    masks = None if top_layers else SpecAugment(time_share=0.2, time_frames=2)
    config = TrainingConfig(
        epochs=12,
        batch_size=2,
        method="full" if method == "full" else "lora",
        learning_rate=3e-3 if method == "full" else 1e-2,
        lora=LoraConfig(rank=4, alpha=8, top_layers=top_layers),
        spec_augment=masks,
    )
    sets = TrainingSets(clips_of(model, tmp_path), dev_errors=clips_of(model, tmp_path / "dev"))
    tuned = train(model, sets, config, TrainingRun(Progress(tmp_path / "log.jsonl", FakeClock(), bars=False)))
    assert tuned.config.precision == "bf16"
    assert tuned.figures["last_epoch_loss"] < 0.7 * tuned.figures["first_loss"]
    assert tuned.figures["cached_bytes"] > 0 or tuned.figures["cache_wins"] is False


def test_a_batch_that_the_gpu_cannot_hold_is_computed_in_pieces(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder, torch.device("cuda"))
    clips = clips_of(model, tmp_path) * 2
    torch.cuda.set_per_process_memory_fraction(1.0)

    def full(_module: object, inputs: tuple[torch.Tensor, ...]) -> None:
        if torch.is_grad_enabled() and inputs[0].shape[0] * inputs[0].shape[1] > 60:
            torch.empty(1 << 46, dtype=torch.uint8, device="cuda")  # the allocator's own error

    model.network.wav2vec2.encoder.layers[0].register_forward_pre_hook(full)
    config = TrainingConfig(epochs=1, batch_size=8, lora=LoraConfig(rank=4, alpha=8))
    run = TrainingRun(Progress(tmp_path / "log.jsonl", FakeClock(), bars=False), max_padding=1.0)
    assert train(model, TrainingSets(clips), config, run).figures["memory_halvings"] >= 1
