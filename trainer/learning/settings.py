"""From the config that a person wrote to the numbers that a run uses: every `None` and `auto` decided, impossible pairs refused."""

from typing import Literal

import torch

from shared.training import TrainingConfig
from trainer.network.model import AcousticModel
from trainer.shell.failures import RunFailed

LORA_RATE_TIMES_WIDTH = 0.48
"""3e-3 suits a network of width 160, 6e-4 one of 768: Adam's best rate falls with the width (Yang et al. 2022, arXiv:2203.03466)."""
FULL_SHARE = 1 / 3
"""Full fine-tuning wants a smaller rate than LoRA. Measured on the demo's model; for language models it is about a tenth
(Biderman et al. 2024, arXiv:2405.09673), which left it behind here."""


def default_learning_rate(width: int, method: Literal["lora", "full"]) -> float:
    """Return the peak learning rate for a network of hidden size `width`."""
    rate = LORA_RATE_TIMES_WIDTH / width
    return rate if method == "lora" else FULL_SHARE * rate


def resolve(config: TrainingConfig, model: AcousticModel) -> TrainingConfig:
    """Return the config with every choice made, as it stands in the model's manifest.

    Raises:
        RunFailed: (bad_spec) two settings exclude each other, or the network has not what one of them names.
    """
    layers = int(model.network.config.num_hidden_layers)
    top = config.lora.top_layers
    if top is not None and config.method == "full":
        raise RunFailed("bad_spec", f"lora.top_layers: expected none with method `full`, which trains every layer, found {top}")
    if top is not None and top > layers:
        raise RunFailed("bad_spec", f"lora.top_layers: expected at most the network's {layers} layers, found {top}")
    if config.min_duration_s >= config.max_duration_s:
        bounds = f"{config.min_duration_s:g} and {config.max_duration_s:g}"
        raise RunFailed("bad_spec", f"min_duration_s, max_duration_s: expected a smaller and a larger, found {bounds}")
    rate = config.learning_rate or default_learning_rate(int(model.network.config.hidden_size), config.method)
    return config.model_copy(update={"learning_rate": rate, "precision": precision(config.precision, model.device)})


def precision(wanted: Literal["auto", "fp32", "bf16"], device: torch.device) -> Literal["fp32", "bf16"]:
    """Return the precision of forward and backward passes; a CPU gains from bf16 only where it has the units for it, so must be told."""
    if wanted == "auto":
        return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return wanted
