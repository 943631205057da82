"""Batches of clips of nearly equal length: padding is work for nothing, and one long clip must not fill the memory."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

JITTER = 0.03
"""Clips are sorted by their length give or take so much: little padding, yet other batches in every epoch."""


@dataclass(frozen=True)
class BatchBudget:
    """What one batch may hold.

    Attributes:
        clips: at most so many clips.
        frames: at most so many frames, padding included; a clip that is longer makes a batch of its own.
    """

    clips: int
    frames: int


def plan_batches(lengths: Sequence[int], budget: BatchBudget, rng: np.random.Generator | None = None) -> list[list[int]]:
    """Return batches of indices into `lengths` (frames), each index once.

    Without `rng` the longest come first, so that a batch too large for the memory fails at once and not at the end;
    with it clips and batches are shuffled.
    """
    spread = np.ones(len(lengths)) if rng is None else rng.uniform(1 - JITTER, 1 + JITTER, size=len(lengths))
    order = np.argsort(-np.asarray(lengths) * spread, kind="stable")
    batches: list[list[int]] = []
    longest = 0
    for index in order.tolist():
        longest = max(longest, lengths[index])
        if batches and len(batches[-1]) < budget.clips and (len(batches[-1]) + 1) * longest <= budget.frames:
            batches[-1].append(index)
        else:
            batches.append([index])
            longest = lengths[index]
    return batches if rng is None else [batches[index] for index in rng.permutation(len(batches))]


def split_batch(batch: Iterable[int], lengths: Sequence[int], budget_frames: int | None, max_padding: float) -> list[list[int]]:
    """Cut one step's batch into pieces that are computed one after another; their gradients add up to those of the whole.

    Longest first; a new piece begins where one more clip would put the piece over `budget_frames` (padding included; a single clip may)
    or make more than `max_padding` of it padding.

    Args:
        batch: indices into `lengths`.
        lengths: frames of every clip.
        budget_frames: what fits into the memory at once; None = everything.
        max_padding: share of a piece's frames in [0, 1].
    """
    pieces: list[list[int]] = []
    for index in sorted(batch, key=lambda clip: -lengths[clip]):
        if pieces:
            longer = [*pieces[-1], index]
            fits = budget_frames is None or len(longer) * lengths[longer[0]] <= budget_frames
            if fits and padding_share(lengths, [longer]) <= max_padding:
                pieces[-1] = longer
                continue
        pieces.append([index])
    return pieces


def padding_share(lengths: Sequence[int], batches: Sequence[Sequence[int]]) -> float:
    """Return the share of all computed frames that is padding."""
    computed = sum(max(lengths[index] for index in batch) * len(batch) for batch in batches)
    return 1.0 - sum(lengths[index] for batch in batches for index in batch) / computed if computed else 0.0


def pad_features(features: Sequence[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Stack features of several clips.

    Args:
        features: one `(frames, channels)` tensor for each clip.

    Returns:
        `(batch, frames, channels)` on the features' device, zero past the end of a clip, and the `(batch,)` true lengths on the host;
        of no clips two empty tensors.
    """
    if not features:
        return torch.empty(0), torch.empty(0, dtype=torch.long)
    return torch.nn.utils.rnn.pad_sequence(list(features), batch_first=True), torch.tensor([len(clip) for clip in features])
