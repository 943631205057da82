"""The two ways to change a network: adapters in a frozen one (Hu et al. 2021, arXiv:2106.09685), or all of it but the convolutions.

Both can be scaled afterwards: 0 is the base, 1 is what was trained, in between lies less of the gain and less of the forgetting. For
adapters that is their own scale, for all weights the straight line between the two models (Wortsman et al. 2022, arXiv:2109.01903).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer

from shared.training import TrainingConfig
from trainer.network.features import Frontend
from trainer.network.forward import hold_in_bf16
from trainer.network.model import AcousticModel, load_model
from trainer.shell.failures import RunFailed

LINEAR = r"(attention\.(q|k|v|out)_proj|feed_forward\.(intermediate|output)_dense)"
ALL_LAYERS = rf"wav2vec2\.encoder\.layers\.\d+\.{LINEAR}|wav2vec2\.feature_projection\.projection|lm_head"
"""All linear layers, head included: what is not adapted by LoRA would be out of reach of the scale."""

Weights = Mapping[str, torch.Tensor]


class LoraAdapted:
    """A frozen network with adapters.

    Attributes:
        wrapper: PEFT's.
        frontend: where the network is cut: nothing below has trained weights.
        trained: the weights that training changes, by name.
    """

    def __init__(self, model: AcousticModel, config: TrainingConfig) -> None:
        assert config.precision != "auto"  # `resolve` has decided
        self._config = config
        torch.manual_seed(config.seed)
        model.network.requires_grad_(requires_grad=False)
        model.network.freeze_feature_encoder()  # otherwise transformers turns the input's gradients on
        self.wrapper = _with_adapters(model.network, config)
        if config.precision == "bf16":
            hold_in_bf16(model.network)
        self.wrapper.eval()
        cut = None
        if config.lora.top_layers is not None and config.spec_augment is None:
            cut = model.network.config.num_hidden_layers - config.lora.top_layers
        self.frontend = Frontend(model, cut, config.precision)
        self.trained = {name: weight for name, weight in self.wrapper.named_parameters() if weight.requires_grad}

    def weights(self) -> dict[str, torch.Tensor]:
        """Return a copy of the adapters, on the CPU."""
        return _copy(self.trained)

    def load(self, weights: Weights) -> None:
        """Take adapters over, at scale 1."""
        _load(self.trained, weights)
        self.set_scale(1.0)

    def training_mode(self, *, active: bool) -> None:
        """Switch the adapters' dropout; the base stays in eval mode, with none of its own."""
        for layer in _lora_layers(self.wrapper):
            layer.lora_dropout.train(active)

    def set_scale(self, scale: float) -> None:
        """Multiply the whole update by `scale` in [0, 1]: 0 is the base to the last bit, 1 is what was trained."""
        for layer in _lora_layers(self.wrapper):
            layer.set_scale("default", scale)

    def merged(self, base_folder: Path, scale: float) -> Any:
        """Return the base with the adapters added to its weights, in float32, whatever precision they were trained in.

        Raises:
            ValueError: a merged weight is not finite (`safe_merge`).
        """
        wrapper = _with_adapters(load_model(base_folder, torch.device("cpu")).network, self._config)
        _load(dict(wrapper.named_parameters()), self.trained)
        for layer in _lora_layers(wrapper):
            layer.set_scale("default", scale)
        return wrapper.merge_and_unload(safe_merge=True)

    def save_adapter(self, folder: Path, scale: float, base_name: str) -> None:
        """Write the adapters as PEFT loads them (`PeftModel.from_pretrained`), the scale within their alpha.

        Args:
            folder: to write to.
            scale: of the update.
            base_name: folder or hub name of the base, which the adapter's config names.
        """
        settings = self.wrapper.peft_config["default"]
        before = settings.lora_alpha, settings.base_model_name_or_path
        settings.lora_alpha, settings.base_model_name_or_path = self._config.lora.alpha * scale, base_name
        try:
            self.wrapper.save_pretrained(folder, save_embedding_layers=False)  # PEFT takes an adapted head for an embedding
        finally:
            settings.lora_alpha, settings.base_model_name_or_path = before


class FullAdapted:
    """A network of which everything but the convolutions is trained; `frontend` and `trained` as in `LoraAdapted`."""

    def __init__(self, model: AcousticModel, config: TrainingConfig) -> None:
        assert config.precision != "auto"
        network = model.network
        network.requires_grad_(requires_grad=True)
        network.freeze_feature_encoder()
        if config.spec_augment is None and hasattr(network.wav2vec2, "masked_spec_embed"):
            network.wav2vec2.masked_spec_embed.requires_grad_(requires_grad=False)  # nothing reads it, nothing could teach it
        network.eval()
        self.frontend = Frontend(model, None, config.precision)
        self.trained = {name: weight for name, weight in network.named_parameters() if weight.requires_grad}
        self._base = self.weights()
        self._tuned: dict[str, torch.Tensor] | None = None

    def weights(self) -> dict[str, torch.Tensor]:
        """Return a copy of the trained weights, on the CPU."""
        return _copy(self.trained)

    def load(self, weights: Weights) -> None:
        """Take weights over, at scale 1."""
        self._tuned = None
        _load(self.trained, weights)

    def training_mode(self, *, active: bool) -> None:
        """Do nothing: the network trains in eval mode, without any dropout."""

    def set_scale(self, scale: float) -> None:
        """Move all weights to `scale` of the way from the base to what was trained."""
        self._tuned = self._at_1()
        _load(self.trained, _between(self._base, self._tuned, scale))

    def merged(self, base_folder: Path, scale: float) -> Any:
        """Return the base with its weights moved to `scale` of the way."""
        network = load_model(base_folder, torch.device("cpu")).network
        _load(dict(network.named_parameters()), _between(self._base, self._at_1(), scale))
        return network

    def _at_1(self) -> dict[str, torch.Tensor]:
        return self.weights() if self._tuned is None else self._tuned


Adapted = LoraAdapted | FullAdapted
"""A network in training, or trained."""


def adapt(model: AcousticModel, config: TrainingConfig) -> Adapted:
    """Prepare a network for training as a resolved config says; its weights change in place from now on."""
    return LoraAdapted(model, config) if config.method == "lora" else FullAdapted(model, config)


def check_every_adapter_learns(trained: Mapping[str, torch.nn.Parameter]) -> None:
    """Refuse a network in which an adapter has no way to the loss.

    An architecture whose forward pass reads a layer's weight past its adapter would train a part of it and say nothing
    (huggingface/transformers#48773). After the first backward pass every B has a gradient, and A has none as B is zero.

    Raises:
        RunFailed: (internal) with the names of the adapters.
    """
    idle = [name for name, weight in trained.items() if "lora_B" in name and (weight.grad is None or not weight.grad.any())]
    if idle:
        raise RunFailed("internal", f"expected a gradient for every adapter, found none for {len(idle)}: {', '.join(idle[:3])}")


def _with_adapters(network: Any, config: TrainingConfig) -> Any:
    return get_peft_model(
        network,
        LoraConfig(
            r=config.lora.rank,
            lora_alpha=config.lora.alpha,  # type: ignore[arg-type]  # only ever divided by the rank
            lora_dropout=config.lora.dropout,
            target_modules=_targets(int(network.config.num_hidden_layers), config.lora.top_layers),
        ),
    )


def _targets(layers: int, top: int | None) -> str:
    if top is None:
        return ALL_LAYERS
    chosen = "|".join(str(number) for number in range(layers - top, layers))
    return rf"wav2vec2\.encoder\.layers\.({chosen})\.{LINEAR}|lm_head"


def _lora_layers(wrapper: Any) -> list[LoraLayer]:
    return [module for module in wrapper.modules() if isinstance(module, LoraLayer)]


def _between(base: Weights, tuned: Weights, scale: float) -> dict[str, torch.Tensor]:
    if scale in {0.0, 1.0}:  # exactly one of the two, without rounding
        return dict(tuned if scale else base)
    return {name: torch.lerp(base[name], weight, scale) for name, weight in tuned.items()}


def _copy(trained: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: weight.detach().to("cpu", copy=True) for name, weight in trained.items()}


def _load(present: Mapping[str, torch.Tensor], weights: Weights) -> None:
    with torch.no_grad():
        for name, weight in weights.items():
            present[name].copy_(weight)
