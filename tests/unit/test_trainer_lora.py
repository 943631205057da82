"""The adapters: every one learns, their scale reaches everything, and merging changes nothing."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import torch
from peft.tuners.lora import LoraLayer
from transformers import Wav2Vec2ForCTC

from shared.audio_source import AudioSource
from shared.testing.clock import FakeClock
from shared.testing.memory_store import MemoryStore
from shared.training import LambdaTrial, LoraConfig, TrainingConfig
from trainer.batching import pad_features
from trainer.data import ClipLoader, UsableClip
from trainer.export import export
from trainer.failures import RunFailed
from trainer.features import conv_features, encode
from trainer.finetune import (
    Adapted,
    add_adapters,
    check_every_adapter_learns,
    ctc_loss,
    finetune,
    learning_rate_share,
)
from trainer.model import AcousticModel, load_model
from trainer.progress import Progress
from trainer.sweep import decide_scale
from trainer.testing import AUDIO_STORE, stored_clip, tones, write_tiny_model

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),  # PEFT reads it
]

CPU = torch.device("cpu")
CONFIG = TrainingConfig(epochs=3, batch_size=2, lora=LoraConfig(rank=4, alpha=8, dropout=0.1))
TEXTS = ["hotellet", "go", "jak lom", "abba"]


@pytest.fixture
def base_folder(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "base")


def load_clips(model: AcousticModel, folder: Path) -> list[UsableClip]:
    store = MemoryStore()
    loader = ClipLoader(AudioSource(lambda _uri: store, (AUDIO_STORE,)), model, CONFIG, folder / "audio")
    clips = [stored_clip(store, f"clip-{number}", text) for number, text in enumerate(TEXTS)]
    return [clip for clip in loader.load(clips, "train", "train_errors") if isinstance(clip, UsableClip)]


def trained(base_folder: Path, folder: Path, config: TrainingConfig = CONFIG) -> tuple[AcousticModel, Adapted]:
    torch.set_num_threads(1)
    model = load_model(base_folder, CPU)
    tuned = finetune(model, load_clips(model, folder), config, Progress(folder / "log.jsonl", FakeClock()))
    return model, tuned.adapted


def logits(model: AcousticModel) -> torch.Tensor:
    with torch.inference_mode():
        return encode(model.network, *pad_features([conv_features(model, tones(text)) for text in TEXTS]))


def test_every_adapter_gets_a_gradient_and_nothing_else_does(base_folder: Path) -> None:
    model = load_model(base_folder, CPU)
    adapted = add_adapters(model, CONFIG)
    features, lengths = pad_features([conv_features(model, tones(text)) for text in TEXTS])
    labels = [model.vocabulary.encode(text) for text in TEXTS]
    ctc_loss(encode(model.network, features, lengths), lengths, labels, model.vocabulary.blank).backward()
    with_grad = {name for name, weight in adapted.wrapper.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert with_grad == {name for name, _ in adapted.wrapper.named_parameters() if "lora_B" in name}
    adapted_layers = {name.split(".lora_B")[0].rsplit(".", 1)[-1] for name in with_grad}
    linear = {"q_proj", "k_proj", "v_proj", "out_proj", "intermediate_dense", "output_dense"}
    assert adapted_layers == {*linear, "projection", "lm_head"}


def test_an_adapter_without_a_gradient_is_refused() -> None:
    idle = torch.nn.Parameter(torch.zeros(2))
    idle.grad = torch.zeros(2)
    with pytest.raises(RunFailed, match=r"q_proj\.lora_B"):
        check_every_adapter_learns({"layer.q_proj.lora_B.default.weight": idle})


def test_only_the_adapters_dropout_is_active_in_training(base_folder: Path) -> None:
    adapted = add_adapters(load_model(base_folder, CPU), CONFIG)
    training = {name for name, module in adapted.wrapper.named_modules() if module.training}
    assert training
    assert all("lora_dropout" in name for name in training)


def test_scale_zero_is_the_base_to_the_last_bit(base_folder: Path, tmp_path: Path) -> None:
    model, adapted = trained(base_folder, tmp_path)
    before = logits(load_model(base_folder, CPU))
    assert not torch.equal(logits(model), before)
    adapted.set_scale(0.0)
    assert torch.equal(logits(model), before)


def test_the_scale_reaches_the_whole_update_head_included(base_folder: Path, tmp_path: Path) -> None:
    _, adapted = trained(base_folder, tmp_path)
    adapted.set_scale(0.25)
    scales = {layer.scaling["default"] for layer in adapted.wrapper.modules() if isinstance(layer, LoraLayer)}
    assert scales == {0.25 * 8 / 4}


@pytest.mark.parametrize("scale", [0.0, 0.6, 1.0])
def test_the_exported_model_is_the_adapted_one(base_folder: Path, tmp_path: Path, scale: float) -> None:
    model, adapted = trained(base_folder, tmp_path)
    adapted.set_scale(scale)
    expected = logits(model)
    export(adapted, scale, base_folder, tmp_path / "out")
    torch.testing.assert_close(logits(load_model(tmp_path / "out", CPU)), expected, atol=1e-5, rtol=0)
    loaded: Any = Wav2Vec2ForCTC.from_pretrained(tmp_path / "out", output_loading_info=True)
    _, report = loaded
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in base_folder.iterdir()}


def test_an_untouched_scale_zero_export_has_the_bases_weights(base_folder: Path, tmp_path: Path) -> None:
    _, adapted = trained(base_folder, tmp_path)
    export(adapted, 0.0, base_folder, tmp_path / "out")
    before, after = (load_model(folder, CPU).network.state_dict() for folder in (base_folder, tmp_path / "out"))
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_training_lowers_the_loss(base_folder: Path, tmp_path: Path) -> None:
    model = load_model(base_folder, CPU)
    config = CONFIG.model_copy(update={"epochs": 12, "learning_rate": 1e-2})
    tuned = finetune(model, load_clips(model, tmp_path), config, Progress(tmp_path / "log.jsonl", FakeClock()))
    assert tuned.figures["last_epoch_loss"] < 0.5 * tuned.figures["first_loss"]
    assert (tmp_path / "log.jsonl").read_text().count('"event": "step"') == tuned.figures["steps"] == 24


def test_a_loss_that_is_not_finite_ends_the_run(base_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFailed) as caught:
        trained(base_folder, tmp_path, CONFIG.model_copy(update={"learning_rate": 1e30}))
    assert caught.value.reason == "diverged"


def test_the_loss_is_the_mean_of_each_clips_loss_over_its_labels() -> None:
    torch.manual_seed(0)
    frames, labels = torch.tensor([6, 4]), [[1, 2, 2], [3]]
    together = ctc_loss(torch.randn(2, 6, 5), frames, labels, 0)
    torch.manual_seed(0)
    rows = torch.randn(2, 6, 5)
    alone = [ctc_loss(rows[row : row + 1, : frames[row]], frames[row : row + 1], labels[row : row + 1], 0) for row in range(2)]
    torch.testing.assert_close(together, torch.stack(alone).mean())


def test_what_is_past_the_end_of_a_clip_does_not_move_its_loss() -> None:
    rows = torch.randn(1, 6, 5)
    other = rows.clone()
    other[:, 4:] = 7.0
    losses = [ctc_loss(each, torch.tensor([4]), [[1, 2]], 0) for each in (rows, other)]
    assert losses[0] == losses[1]


def test_the_rate_rises_over_the_warm_up_and_falls_to_zero() -> None:
    shares = [learning_rate_share(step, 20, 0.1) for step in range(20)]
    assert shares[:3] == [0.5, 1.0, 1.0]
    assert shares[3] == pytest.approx(17 / 18)
    assert shares[-1] == pytest.approx(1 / 18)


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
