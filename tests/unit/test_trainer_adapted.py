"""The adapters: every one learns, their scale reaches everything, and merging changes nothing."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from transformers import Wav2Vec2ForCTC

from shared.testing.clock import FakeClock
from shared.training import LoraConfig, TrainingConfig
from trainer.clips.load import UsableClip
from trainer.clips.sets import TrainingSets
from trainer.learning.adapted import Adapted, FullAdapted, LoraAdapted, adapt, check_every_adapter_learns
from trainer.learning.export import export
from trainer.learning.loss import ctc_loss
from trainer.learning.settings import resolve
from trainer.learning.train import TrainingRun, train
from trainer.network.batching import pad_features
from trainer.network.features import Frontend
from trainer.network.forward import convolve
from trainer.network.model import AcousticModel, load_model
from trainer.shell.failures import RunFailed
from trainer.shell.progress import Progress
from trainer.testing import tones, usable_clips, write_tiny_model

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
CONFIG = TrainingConfig(epochs=3, batch_size=2, lora=LoraConfig(rank=4, alpha=8, dropout=0.1))
TEXTS = ["hotellet", "gob", "jak lom", "abba"]


@pytest.fixture
def base_folder(tmp_path: Path) -> Path:
    return write_tiny_model(tmp_path / "base")


def load_clips(model: AcousticModel, folder: Path) -> list[UsableClip]:
    return usable_clips(model, folder, {f"clip-{number}": text for number, text in enumerate(TEXTS)}, config=CONFIG)


def trained(base_folder: Path, folder: Path, config: TrainingConfig = CONFIG) -> tuple[AcousticModel, Adapted]:
    torch.set_num_threads(1)
    model = load_model(base_folder, CPU)
    run = TrainingRun(Progress(folder / "log.jsonl", FakeClock()))
    return model, train(model, TrainingSets(load_clips(model, folder)), config, run).adapted


def logits(model: AcousticModel) -> torch.Tensor:
    with torch.inference_mode():
        return Frontend(model).above(*pad_features(convolve(model, [tones(text) for text in TEXTS])))


def fresh(base_folder: Path, **changes: Any) -> tuple[AcousticModel, Adapted]:
    model = load_model(base_folder, CPU)
    return model, adapt(model, resolve(CONFIG.model_copy(update=changes), model))


def backward(model: AcousticModel) -> None:
    features, lengths = pad_features(convolve(model, [tones(text) for text in TEXTS]))
    labels = [model.vocabulary.encode(text) for text in TEXTS]
    ctc_loss(Frontend(model).above(features, lengths), lengths, labels, model.vocabulary.blank).sum().backward()


def layers_with_gradient(adapted: LoraAdapted) -> set[str]:
    names = {name for name, weight in adapted.wrapper.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert names == {name for name in adapted.trained if "lora_B" in name}
    return {name.split(".lora_B")[0].removeprefix("base_model.model.") for name in names}


LINEAR = {"attention.q_proj", "attention.k_proj", "attention.v_proj", "attention.out_proj"} | {
    "feed_forward.intermediate_dense",
    "feed_forward.output_dense",
}


def test_every_adapter_gets_a_gradient_and_nothing_else_does(base_folder: Path) -> None:
    model, adapted = fresh(base_folder)
    backward(model)
    assert isinstance(adapted, LoraAdapted)
    layers = {f"wav2vec2.encoder.layers.{number}.{name}" for number in range(2) for name in LINEAR}
    assert layers_with_gradient(adapted) == {*layers, "wav2vec2.feature_projection.projection", "lm_head"}


def test_adapters_in_the_top_layers_leave_all_below_without_a_gradient(base_folder: Path) -> None:
    model, adapted = fresh(base_folder, lora=LoraConfig(rank=4, alpha=8, top_layers=1))
    backward(model)
    assert isinstance(adapted, LoraAdapted)
    assert adapted.frontend.layer == 1
    assert layers_with_gradient(adapted) == {*(f"wav2vec2.encoder.layers.1.{name}" for name in LINEAR), "lm_head"}


def test_full_fine_tuning_teaches_everything_but_the_convolutions(base_folder: Path) -> None:
    model, adapted = fresh(base_folder, method="full")
    backward(model)
    idle = {name for name, weight in model.network.named_parameters() if weight.grad is None or not weight.grad.any()}
    convolutions = {name for name, _ in model.network.named_parameters() if "feature_extractor" in name}
    assert idle == {*convolutions, "wav2vec2.masked_spec_embed", *(name for name in idle if "k_proj.bias" in name)}  # softmax ignores it
    assert not set(adapted.trained) & convolutions


def test_an_adapter_without_a_gradient_is_refused() -> None:
    idle = torch.nn.Parameter(torch.zeros(2))
    idle.grad = torch.zeros(2)
    with pytest.raises(RunFailed, match=r"q_proj\.lora_B"):
        check_every_adapter_learns({"layer.q_proj.lora_B.default.weight": idle})


def test_only_the_adapters_dropout_is_active_in_training(base_folder: Path) -> None:
    _, adapted = fresh(base_folder)
    assert isinstance(adapted, LoraAdapted)
    adapted.training_mode(active=True)
    training = {name for name, module in adapted.wrapper.named_modules() if module.training}
    assert training
    assert all("lora_dropout" in name for name in training)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_scale_zero_is_the_base_to_the_last_bit_and_one_what_was_trained(base_folder: Path, tmp_path: Path, method: str) -> None:
    model, adapted = trained(base_folder, tmp_path, CONFIG.model_copy(update={"method": method}))
    before, after = logits(load_model(base_folder, CPU)), logits(model)
    assert not torch.equal(after, before)
    adapted.set_scale(0.0)
    assert torch.equal(logits(model), before)
    adapted.set_scale(1.0)
    assert torch.equal(logits(model), after)


def test_the_scale_reaches_the_whole_update_head_included(base_folder: Path, tmp_path: Path) -> None:
    _, adapted = trained(base_folder, tmp_path)
    assert isinstance(adapted, LoraAdapted)
    adapted.set_scale(0.25)
    scales = {layer.scaling["default"] for layer in adapted.wrapper.modules() if isinstance(layer, LoraLayer)}
    assert scales == {0.25 * 8 / 4}


def test_half_of_a_full_update_lies_half_way_between_the_two_models(base_folder: Path, tmp_path: Path) -> None:
    _, adapted = trained(base_folder, tmp_path, CONFIG.model_copy(update={"method": "full"}))
    assert isinstance(adapted, FullAdapted)
    after = adapted.weights()
    adapted.set_scale(0.5)
    half = adapted.weights()
    adapted.set_scale(0.0)
    for name, base in adapted.weights().items():
        torch.testing.assert_close(half[name], (base + after[name]) / 2)


@pytest.mark.parametrize("method", ["lora", "full"])
@pytest.mark.parametrize("scale", [0.0, 0.6, 1.0])
def test_the_exported_model_is_the_adapted_one(base_folder: Path, tmp_path: Path, scale: float, method: str) -> None:
    model, adapted = trained(base_folder, tmp_path, CONFIG.model_copy(update={"method": method}))
    export(adapted, scale, base_folder, tmp_path / "out")
    adapted.set_scale(scale)
    torch.testing.assert_close(logits(load_model(tmp_path / "out", CPU)), logits(model), atol=1e-5, rtol=0)
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


def test_the_saved_adapter_loads_with_peft_and_gives_the_exported_model(base_folder: Path, tmp_path: Path) -> None:
    _, adapted = trained(base_folder, tmp_path)
    assert isinstance(adapted, LoraAdapted)
    adapted.save_adapter(tmp_path / "adapter", 0.6, str(base_folder))
    export(adapted, 0.6, base_folder, tmp_path / "out")
    network = PeftModel.from_pretrained(Wav2Vec2ForCTC.from_pretrained(base_folder, dtype=torch.float32), tmp_path / "adapter").eval()
    samples = torch.from_numpy(load_model(base_folder, CPU).prepare(tones("hotellet")))[None]
    with torch.inference_mode():
        expected = Wav2Vec2ForCTC.from_pretrained(tmp_path / "out").eval()(samples).logits
        torch.testing.assert_close(network(samples).logits, expected, atol=1e-5, rtol=0)
