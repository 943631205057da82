"""What a step costs: counted operations on the published shapes, without weights; and what it keeps for its backward pass."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC, WavLMConfig, WavLMForCTC

from shared.errors import CorruptObject
from shared.training import LoraConfig, TrainingConfig
from tests.benchmarks.trainer.plan import SHAPES
from trainer.importing import check_and_convert
from trainer.learning.adapted import adapt
from trainer.learning.settings import resolve
from trainer.network.decode import Vocabulary
from trainer.network.features import Frontend
from trainer.network.forward import convolve
from trainer.network.memory import saved_bytes
from trainer.network.model import AcousticModel, load_model
from trainer.testing import tones, write_tiny_model

pytestmark = pytest.mark.torch

SECONDS, CLIPS = 10, 4


def published(**shape: Any) -> AcousticModel:
    """Return a network of a published shape on the meta device, which computes shapes alone."""
    with torch.device("meta"):
        network = Wav2Vec2ForCTC(Wav2Vec2Config(**shape)).eval()
    letters = Vocabulary(("<pad>", "<s>", "</s>", "<unk>", "|", *"abcdefghijklmnopqrstuvwxyz'"), blank=0)
    return AcousticModel(network, letters, 16_000, do_normalize=True)


def flops_of_a_step(model: AcousticModel, config: TrainingConfig, *, cached: bool) -> int:
    """Count one forward and backward pass; what the cache saves is left out where it is used."""
    if config.method == "full":  # as `FullAdapted` does, which copies weights that are not there
        model.network.requires_grad_(requires_grad=True)
        model.network.freeze_feature_encoder()
        frontend = Frontend(model)
    else:
        frontend = adapt(model, resolve(config, model)).frontend
    frames = torch.full((CLIPS,), model.frames_of(SECONDS * 16_000))
    width = model.network.config.conv_dim[-1] if frontend.layer is None else model.network.config.hidden_size
    with FlopCounterMode(display=False) as counter:
        if not cached:
            with torch.no_grad():
                model.network.wav2vec2.feature_extractor(torch.empty(CLIPS, SECONDS * 16_000, device="meta"))
        frontend.above(torch.empty(CLIPS, int(frames[0]), width, device="meta"), frames).sum().backward()
    return int(counter.get_total_flops())


@pytest.mark.parametrize("shape", [SHAPES["base"], SHAPES["large"]], ids=["base", "large"])
def test_the_top_half_with_its_cache_costs_less_than_half_of_full_fine_tuning(shape: dict[str, Any]) -> None:
    layers = int(shape.get("num_hidden_layers", 12))
    full = flops_of_a_step(published(**shape), TrainingConfig(method="full"), cached=False)
    everywhere = flops_of_a_step(published(**shape), TrainingConfig(), cached=False)
    half = flops_of_a_step(published(**shape), TrainingConfig(lora=LoraConfig(top_layers=layers // 2)), cached=True)
    assert 0.55 < everywhere / full < 0.72  # LoRA alone is no threefold gain
    assert half / full <= 0.45


def test_the_top_half_keeps_less_than_six_tenths_of_what_full_fine_tuning_keeps(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path, hidden_size=64, num_hidden_layers=4, intermediate_size=128)

    def kept(config: TrainingConfig) -> int:
        model = load_model(folder, torch.device("cpu"))
        frontend = adapt(model, resolve(config, model)).frontend
        values = torch.nn.utils.rnn.pad_sequence(frontend.below([tones("hotellet")] * 4), batch_first=True)
        lengths = torch.full((4,), values.shape[1])
        return saved_bytes(lambda: frontend.above(values, lengths))

    assert kept(TrainingConfig(lora=LoraConfig(rank=4, alpha=8, top_layers=2))) <= 0.6 * kept(TrainingConfig(method="full"))


def test_attention_takes_the_fused_kernel(tmp_path: Path) -> None:
    network = load_model(write_tiny_model(tmp_path), torch.device("cpu")).network
    assert network.config._attn_implementation == "sdpa"


def test_a_wavlm_model_whose_adapters_would_get_no_gradient_is_refused(tmp_path: Path) -> None:
    folder = write_tiny_model(tmp_path / "wavlm")
    shape = load_model(folder, torch.device("cpu")).network.config.to_dict()
    names = ("conv_dim", "conv_kernel", "conv_stride", "num_feat_extract_layers", "feat_extract_norm", "do_stable_layer_norm", "conv_bias")
    sizes = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size", "pad_token_id")
    convolutions = ("num_conv_pos_embeddings", "num_conv_pos_embedding_groups")
    (folder / "model.safetensors").unlink()
    WavLMForCTC(WavLMConfig(**{name: shape[name] for name in (*names, *sizes, *convolutions)})).save_pretrained(folder)
    with pytest.raises(CorruptObject):
        check_and_convert(str(folder), tmp_path / "out")


def test_features_kept_of_one_clip_do_not_hold_on_to_the_batch(tmp_path: Path) -> None:
    model = load_model(write_tiny_model(tmp_path), torch.device("cpu"))
    for values in convolve(model, [tones("go"), tones("hotellet")]):
        assert values.untyped_storage().nbytes() == values.nbytes
