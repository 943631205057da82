"""What training minimises."""

from collections.abc import Sequence
from itertools import chain

import torch


def ctc_loss(logits: torch.Tensor, frames: torch.Tensor, labels: Sequence[Sequence[int]], blank: int) -> torch.Tensor:
    """Return the `(batch,)` CTC loss of each clip over its labels, in float32.

    cuDNN's version is off: it takes at most 256 labels and disagrees on gradients (pytorch/pytorch#21680). Infeasible
    labels never come here, so infinity is not hidden by `zero_infinity`.

    Args:
        logits: `(batch, frames, outputs)`.
        frames: `(batch,)` true frames, on the host.
        labels: one sequence for each clip.
        blank: index of the CTC blank.
    """
    log_probabilities = torch.nn.functional.log_softmax(logits, dim=-1, dtype=torch.float32).transpose(0, 1)
    targets, target_lengths = join_labels(labels, logits.device)
    with torch.backends.cudnn.flags(enabled=False):
        losses = torch.nn.functional.ctc_loss(log_probabilities, targets, frames, target_lengths, blank=blank, reduction="none")
    return losses / target_lengths.clamp(min=1).to(losses.device)


def join_labels(labels: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all labels one after another on `device` and the `(batch,)` lengths on the host: no padding value can reach the CTC loss."""
    lengths = torch.tensor([len(clip) for clip in labels])
    return torch.tensor(list(chain.from_iterable(labels)), dtype=torch.long, device=device), lengths
