"""When each clip is learned from, and how fast: known before training begins."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np

from trainer.network.batching import BatchBudget

Plan = Callable[[Sequence[int], BatchBudget, np.random.Generator], list[list[int]]]
"""Makes one epoch's batches of indices from the clips' frames."""


@dataclass(frozen=True)
class Schedule:
    """All steps of a training.

    Attributes:
        epochs: of each its batches of clips, in order.
        warmup_ratio: share of the steps in which the learning rate rises.
    """

    epochs: Sequence[Sequence[list[int]]]
    warmup_ratio: float

    @cached_property
    def ends(self) -> list[int]:
        """Steps that are done when each epoch is over."""
        return list(accumulate(len(batches) for batches in self.epochs))

    @property
    def steps(self) -> int:
        """Steps of all epochs."""
        return self.ends[-1]

    def left(self, epoch: int, step: int) -> Sequence[list[int]]:
        """Return the batches of `epoch` (from 0) that are still to come after `step` steps of the training."""
        batches = self.epochs[epoch]
        return batches[step - (self.ends[epoch] - len(batches)) :]

    def rate_share(self, step: int) -> float:
        """Return the share of the peak learning rate at `step` (from 0): a linear rise, then a linear fall to zero."""
        warmup = max(1, round(self.warmup_ratio * self.steps))
        return (step + 1) / warmup if step < warmup else (self.steps - step) / max(1, self.steps - warmup)
