"""The forward pass of `Wav2Vec2ForCTC` in its parts, so that the frozen ones can be computed once and kept.

    waveform -> convolutions -> projection -> (masks) -> position -> layers 0 .. k-1 -> layers k .. -> head
                             ^ features                                             ^ hidden states at k

Padding before the convolutions changes what a model with `feat_extract_norm="group"` hears: its norm runs over the padded time axis
(huggingface/transformers#10117). Here it runs over each clip's own frames. Padding after them changes nothing: the encoder masks it.
"""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint
from transformers.masking_utils import create_bidirectional_mask

from trainer.network.model import AcousticModel, Samples, frames_of

Mask = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""From projected features `(batch, frames, hidden)` and the `(batch,)` true lengths to the same with some of them masked."""
BF16_GROUP_CHANNELS = 16
"""A grouped convolution has to have so many channels in each group to be right in bf16 on every CPU; wav2vec2-base has 48."""


def convolve(model: AcousticModel, clips: Sequence[Samples]) -> list[torch.Tensor]:
    """Return the convolution features of some clips: of each the same as if it came alone, up to rounding.

    A GPU takes the clips in one padded batch. A CPU takes one after another: there a batch saves nothing, padding costs, and alone the
    numbers do not depend on the company at all.

    Args:
        model: the network and its preprocessing.
        clips: `(samples,)` float32 each at the model's rate, as decoded.

    Returns:
        `(frames, channels)` float32 for each, on the model's device, without a graph.
    """
    prepared = [torch.from_numpy(model.prepare(clip)) for clip in clips]
    if model.device.type == "cpu":
        return [_convolve(model, [clip])[0] for clip in prepared]
    return _convolve(model, prepared)


def _convolve(model: AcousticModel, prepared: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    samples = [len(clip) for clip in prepared]
    padded = torch.nn.utils.rnn.pad_sequence(list(prepared), batch_first=True).to(model.device)
    hidden, config = padded[:, None], model.network.config
    with torch.no_grad():
        for number, layer in enumerate(model.network.wav2vec2.feature_extractor.conv_layers):
            if number == 0 and config.feat_extract_norm == "group":
                frames = [(length - config.conv_kernel[0]) // config.conv_stride[0] + 1 for length in samples]
                hidden = layer.activation(_norm_each_clip(layer.conv(hidden), frames, layer.layer_norm))
            else:
                hidden = layer(hidden)
    features = hidden.transpose(1, 2)  # (batch, frames, channels)
    return [features[row, : frames_of(config, length)].clone() for row, length in enumerate(samples)]


def _norm_each_clip(hidden: torch.Tensor, frames: Sequence[int], norm: torch.nn.GroupNorm) -> torch.Tensor:
    """Apply a group norm of one channel a group over the true frames of each clip; `hidden` is `(batch, channels, frames)`."""
    if len(frames) == 1:
        normed: torch.Tensor = norm(hidden)
        return normed
    hidden = hidden.float()
    lengths = torch.tensor(frames, device=hidden.device)[:, None, None]
    inside = torch.arange(hidden.shape[2], device=hidden.device) < lengths
    mean = (hidden * inside).sum(dim=2, keepdim=True) / lengths
    variance = ((hidden - mean).square() * inside).sum(dim=2, keepdim=True) / lengths
    scaled = (hidden - mean) * torch.rsqrt(variance + norm.eps)
    return scaled * norm.weight[:, None] + norm.bias[:, None]


def project(network: Any, features: torch.Tensor) -> torch.Tensor:
    """Return `(batch, frames, hidden)` of convolution features `(batch, frames, channels)`."""
    hidden: torch.Tensor = network.wav2vec2.feature_projection(features)[0]
    return hidden


def positions(network: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Return the convolutional position embeddings of `(batch, frames, hidden)`, in float32 where bf16 is wrong."""
    exact = hidden.device.type == "cpu" and bf16_positions_are_wrong(network)
    embedded: torch.Tensor
    with torch.autocast("cpu", enabled=False) if exact else nullcontext():
        embedded = network.wav2vec2.encoder.pos_conv_embed(hidden.float() if exact else hidden)
    return embedded


def bf16_positions_are_wrong(network: Any) -> bool:
    """Tell whether the grouped convolution of the positions may come out wrong in bf16 on a CPU: see docs/traps.md."""
    conv = network.wav2vec2.encoder.pos_conv_embed.conv
    return bool(conv.in_channels // conv.groups < BF16_GROUP_CHANNELS)


def add_positions(network: Any, hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Return what the first layer gets: projected features and their positions, zero past the end of a clip."""
    inside = _inside(hidden, lengths)
    if inside is not None:
        hidden = hidden.masked_fill(~inside[:, :, None], 0.0)
    encoder = network.wav2vec2.encoder
    hidden = hidden + positions(network, hidden)
    if not network.config.do_stable_layer_norm:
        hidden = encoder.layer_norm(hidden)
    return hidden


def run_layers(
    network: Any, hidden: torch.Tensor, lengths: torch.Tensor, layers: range, *, gradient_checkpointing: bool = False
) -> torch.Tensor:
    """Return `(batch, frames, hidden)` after some of the encoder's layers; `lengths` is `(batch,)`, on the host.

    Args:
        network: `Wav2Vec2ForCTC`, with or without LoRA inside.
        hidden: what the first of `layers` gets.
        lengths: true frames of each clip.
        layers: which, in order.
        gradient_checkpointing: compute each layer's activations again in the backward pass. Not re-entrant: below there may be nothing
            that needs a gradient.
    """
    mask = create_bidirectional_mask(config=network.config, inputs_embeds=hidden, attention_mask=_inside(hidden, lengths))
    for number in layers:
        layer = network.wav2vec2.encoder.layers[number]
        if gradient_checkpointing and torch.is_grad_enabled():
            hidden = checkpoint(layer, hidden, attention_mask=mask, use_reentrant=False)
        else:
            hidden = layer(hidden, attention_mask=mask)
    return hidden


def head(network: Any, hidden: torch.Tensor) -> torch.Tensor:
    """Return `(batch, frames, outputs)` logits of what the last layer gave."""
    if network.config.do_stable_layer_norm:
        hidden = network.wav2vec2.encoder.layer_norm(hidden)
    logits: torch.Tensor = network.lm_head(hidden)
    return logits


def hold_in_bf16(network: Any) -> None:
    """Keep the frozen matrices in bf16: half the memory, and autocast need not convert them at every step. Norms stay float32."""
    for module in network.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv1d) and not module.weight.requires_grad:
            if parametrize.is_parametrized(module):
                continue  # the positional convolution's weight is made of two
            module.to(torch.bfloat16)


def _inside(hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor | None:
    """Return `(batch, frames)`, true where a clip has a frame; None where no clip is padded, which lets attention take its fast kernel."""
    frames = hidden.shape[1]
    if int(lengths.min()) == frames:
        return None
    return torch.arange(frames, device=hidden.device)[None, :] < lengths.to(hidden.device, non_blocking=True)[:, None]
