"""Masks over time and channels of the projected features while training (Park et al. 2019, arXiv:1904.08779).

transformers' own masks cover two spans at least, whatever the length of the clip: 64% of half a second where 5% were asked
for, and an error for what is shorter. Here a clip never loses more than its share, and one too short for a mask keeps all.

The masks are drawn on the host, from lengths alone; laying them over the features makes the GPU wait for nothing.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from shared.training import SpecAugment

Mask = npt.NDArray[np.bool_]

ROUNDING = 1e-9
"""0.29 of 100 frames are 29, though the product in floating point is less."""


def time_mask(lengths: Sequence[int], settings: SpecAugment, rng: np.random.Generator) -> Mask:
    """Draw the frames that each clip of a batch loses, in spans of `time_frames` that do not overlap.

    Args:
        lengths: true frames of each clip, 0 or more.
        settings: share and length of the masks.
        rng: draws where the masks lie.

    Returns:
        `(batch, frames)`, True = masked, as wide as the longest clip; of no clip more than `time_share` of its frames.
    """
    return _spans(np.asarray(lengths, dtype=np.int64), settings.time_share, settings.time_frames, rng)


def channel_mask(batch: int, channels: int, settings: SpecAugment, rng: np.random.Generator) -> Mask:
    """Draw the channels that each clip loses over its whole length: `(batch, channels)`, True = masked."""
    return _spans(np.full(batch, channels, dtype=np.int64), settings.channel_share, settings.channel_width, rng)


def _spans(lengths: npt.NDArray[np.int64], share: float, width: int, rng: np.random.Generator) -> Mask:
    """Return `(rows, longest)`: as many spans of `width` in each row as fit into `share` of its length, uniform and apart."""
    mask: Mask = np.zeros((lengths.size, int(lengths.max(initial=0))), dtype=np.bool_)
    counts = ((share * lengths + ROUNDING) // width).astype(np.int64)
    most = int(counts.max(initial=0))
    if most == 0:
        return mask
    place = np.arange(most)
    is_drawn = place < counts[:, None]
    # sorted places in what the spans leave free; each span then shifts those after it by its own width
    free = np.sort(np.where(is_drawn, rng.random(is_drawn.shape), np.inf))[is_drawn]
    rows, order = np.nonzero(is_drawn)
    starts = (free * (lengths - counts * width + 1)[rows]).astype(np.int64) + order * width
    mask[rows[:, None], starts[:, None] + np.arange(width)] = True
    return mask


def apply_masks(hidden: torch.Tensor, time: Mask, channels: Mask, fill: torch.Tensor | None, lengths: torch.Tensor) -> torch.Tensor:
    """Lay masks over projected features; nothing is changed in place.

    Args:
        hidden: `(batch, frames, hidden)`, what comes out of the feature projection.
        time: `(batch, frames)` from `time_mask`.
        channels: `(batch, hidden)` from `channel_mask`; masked channels are 0.
        fill: `(hidden,)`, the network's `masked_spec_embed`. None where the checkpoint lacks it: transformers would put random numbers
            there, which adapters cannot unlearn. A masked frame then becomes the mean of its clip, which tells nothing of the frame.
        lengths: `(batch,)` true frames, on the host: padding is no part of a clip's mean.

    Returns:
        `(batch, frames, hidden)` in the type of `hidden`; `hidden` itself where nothing is masked.
    """
    if time.any():
        masked = _to_device(torch.from_numpy(time), hidden.device)
        hidden = torch.where(masked[:, :, None], (_clip_means(hidden, lengths) if fill is None else fill).to(hidden.dtype), hidden)
    if channels.any():
        hidden = hidden.masked_fill(_to_device(torch.from_numpy(channels), hidden.device)[:, None, :], 0.0)
    return hidden


def _clip_means(hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Return `(batch, 1, hidden)` float32, without a graph."""
    lengths = _to_device(lengths, hidden.device)
    inside = torch.arange(hidden.shape[1], device=hidden.device)[None, :] < lengths[:, None]
    total = (hidden.detach().float() * inside[:, :, None]).sum(dim=1, keepdim=True)
    return total / lengths.clamp(min=1)[:, None, None]


def _to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)  # a copy from pageable memory would wait for the stream
