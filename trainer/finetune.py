"""Low-rank adaptation (Hu et al. 2021, arXiv:2106.09685) of a frozen wav2vec2 CTC model: one loop, all of it visible.

Deliberately absent: `transformers.Trainer` (it multiplies CTC gradients by the number of accumulated batches,
huggingface/transformers#47688), gradient accumulation, SpecAugment, and every dropout but that of the adapters.
"""

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from torch.nn.utils import parametrize

from shared.training import TrainingConfig
from trainer.batching import BatchBudget, join_labels, padding_share, plan_batches
from trainer.data import UsableClip
from trainer.failures import RunFailed
from trainer.features import FeatureCache, encode
from trainer.model import AcousticModel
from trainer.progress import Progress

ADAPTED = (
    r"wav2vec2\.encoder\.layers\.\d+\.(attention\.(q|k|v|out)_proj|feed_forward\.(intermediate|output)_dense)"
    r"|wav2vec2\.feature_projection\.projection|lm_head"
)
"""All linear layers, head included: what is not adapted by LoRA would be out of reach of the scale."""
ADAM_BETAS = (0.9, 0.98)


@dataclass(frozen=True)
class Adapted:
    """A network with trained adapters.

    Attributes:
        model: the same model as before; its network now holds the adapters.
        wrapper: the PEFT model around the network.
    """

    model: AcousticModel
    wrapper: Any

    def set_scale(self, scale: float) -> None:
        """Multiply the whole update by `scale` in [0, 1]: 0 is the base to the last bit, 1 is what was trained."""
        for layer in self.wrapper.modules():
            if isinstance(layer, LoraLayer):
                layer.set_scale("default", scale)


@dataclass(frozen=True)
class FineTuned:
    """The adapters and how the training went."""

    adapted: Adapted
    figures: dict[str, Any]


def add_adapters(model: AcousticModel, config: TrainingConfig) -> Adapted:
    """Freeze the network and put untrained adapters into it; the base stays in eval mode, only LoRA's dropout is active."""
    torch.manual_seed(config.seed)
    model.network.requires_grad_(requires_grad=False)
    model.network.freeze_feature_encoder()  # otherwise transformers turns the input's gradients on
    lora = LoraConfig(
        r=config.lora.rank,
        lora_alpha=config.lora.alpha,  # type: ignore[arg-type]  # only ever divided by the rank
        lora_dropout=config.lora.dropout,
        target_modules=ADAPTED,
    )
    wrapper = get_peft_model(model.network, lora)
    wrapper.eval()
    _lora_dropout(wrapper, active=True)
    return Adapted(model, wrapper)


def ctc_loss(logits: torch.Tensor, frames: torch.Tensor, labels: Sequence[Sequence[int]], blank: int) -> torch.Tensor:
    """Return the CTC loss in float32: of each clip over its labels, then the mean of the batch.

    cuDNN's version is off: it takes at most 256 labels and disagrees on gradients (pytorch/pytorch#21680). Infeasible
    labels never come here, so infinity is not hidden by `zero_infinity`.

    Args:
        logits: `(batch, frames, outputs)`.
        frames: `(batch,)` true frames.
        labels: one sequence for each clip.
        blank: index of the CTC blank.
    """
    log_probabilities = torch.nn.functional.log_softmax(logits, dim=-1, dtype=torch.float32).transpose(0, 1)
    targets, target_lengths = join_labels(labels, logits.device)
    with torch.backends.cudnn.flags(enabled=False):
        return torch.nn.functional.ctc_loss(log_probabilities, targets, frames, target_lengths, blank=blank, reduction="mean")


def learning_rate_share(step: int, steps: int, warmup_ratio: float) -> float:
    """Return the share of the peak rate at `step` (from 0): a linear rise over the warm-up, then a linear fall to zero."""
    warmup = max(1, round(warmup_ratio * steps))
    return (step + 1) / warmup if step < warmup else (steps - step) / max(1, steps - warmup)


def finetune(model: AcousticModel, clips: Sequence[UsableClip], config: TrainingConfig, progress: Progress) -> FineTuned:
    """Train adapters on `clips`; the same clips, config and number of CPU threads give the same weights on a CPU.

    Raises:
        RunFailed: (diverged) a loss or gradient is not finite; (internal) an adapter gets no gradient.
        RunStopped: the run is no longer wanted.
    """
    device = model.device
    adapted = add_adapters(model, config)
    trained = {name: weight for name, weight in adapted.wrapper.named_parameters() if weight.requires_grad}
    cache = FeatureCache(model, [clip.waveform for clip in clips])
    frames = [model.frames_of(clip.samples) for clip in clips]
    budget = BatchBudget(config.batch_size, math.ceil(config.max_batch_s * model.frames_of(model.sampling_rate_hz * 60) / 60))
    epochs = [plan_batches(frames, budget, np.random.default_rng((config.seed, epoch))) for epoch in range(config.epochs)]
    batches = [(epoch, batch) for epoch, planned in enumerate(epochs, 1) for batch in planned]
    optimizer = torch.optim.AdamW(trained.values(), lr=config.learning_rate, betas=ADAM_BETAS, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate_share(step, len(batches), config.warmup_ratio))
    lower_precision = torch.autocast("cuda", dtype=torch.bfloat16) if device.type == "cuda" else nullcontext()
    started, losses = time.monotonic(), []

    with parametrize.cached():  # the frozen positional convolution's weight norm is folded once, not at every step
        for step, (epoch, batch) in enumerate(progress.track(batches, "training", len(batches)), 1):
            features, lengths = cache.batch(batch)
            with lower_precision:
                logits = encode(model.network, features, lengths)
            loss = ctc_loss(logits, lengths, [clips[index].labels for index in batch], model.vocabulary.blank)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(trained.values(), config.max_grad_norm)
            figures = {"loss": loss.item(), "grad_norm": norm.item()}
            if not all(math.isfinite(figure) for figure in figures.values()):
                raise RunFailed("diverged", f"step {step} of epoch {epoch}: expected finite numbers, found {figures}")
            if step == 1:
                check_every_adapter_learns(trained)
            losses.append(figures["loss"])
            progress.log("step", step=step, epoch=epoch, clips=len(batch), lr=schedule.get_last_lr()[0], **figures)
            optimizer.step()
            schedule.step()

    _lora_dropout(adapted.wrapper, active=False)
    last_epoch = losses[-len(epochs[-1]) :]
    return FineTuned(
        adapted,
        {
            "steps": len(batches),
            "trained_clips": len(clips),
            "audio_s": round(sum(clip.samples for clip in clips) / model.sampling_rate_hz, 1),
            "trained_parameters": sum(weight.numel() for weight in trained.values()),
            "padding_share": round(padding_share(frames, epochs[0]), 4),
            "first_loss": losses[0],
            "last_epoch_loss": sum(last_epoch) / len(last_epoch),
            "train_s": round(time.monotonic() - started, 1),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        },
    )


def check_every_adapter_learns(trained: dict[str, torch.nn.Parameter]) -> None:
    """Refuse a network in which an adapter has no way to the loss.

    An architecture whose forward pass reads a layer's weight past its adapter would train a part of it and say nothing
    (huggingface/transformers#48773). After the first backward pass every B has a gradient, and A has none as B is zero.

    Raises:
        RunFailed: (internal) with the names of the adapters.
    """
    idle = [name for name, weight in trained.items() if "lora_B" in name and (weight.grad is None or not weight.grad.any())]
    if idle:
        raise RunFailed("internal", f"expected a gradient for every adapter, found none for {len(idle)}: {', '.join(idle[:3])}")


def _lora_dropout(wrapper: Any, *, active: bool) -> None:
    for layer in wrapper.modules():
        if isinstance(layer, LoraLayer):
            layer.lora_dropout.train(active)
