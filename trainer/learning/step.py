"""The gradient of one optimizer step, whatever the memory holds at once.

    the step's clips -> this process's share -> pieces that fit -> their gradients add up -> and those of all processes

Where memory runs out in one process, all begin the step again in smaller pieces, and where that is one clip already, with activations
computed twice. What a step learns does not depend on it, but for the adapters' dropout, which is drawn for each piece.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import torch

from shared.log import log
from shared.training import TrainingConfig
from trainer.augment.variation import RowMask, step_mask
from trainer.learning.adapted import Adapted
from trainer.learning.group import Group
from trainer.learning.loss import ctc_loss
from trainer.network.batching import split_batch
from trainer.network.memory import Room, frames_that_fit, saved_bytes
from trainer.shell.failures import RunFailed, RunStopped, is_out_of_memory
from trainer.shell.progress import Progress

ADVICE = (
    "one clip alone does not fit into the memory, not even with gradient checkpointing: lower training.max_duration_s or "
    "training.lora.top_layers, or take a machine with more memory"
)


@dataclass(frozen=True)
class StepShare:
    """What one process computes of a step; of a step with fewer clips than processes some have none.

    Attributes:
        step: number of the step, from 0.
        step_clips: in all processes together.
        values: `(batch, frames, channels or hidden)` at the cut, zero past the end of a clip; the longest clip first.
        lengths: `(batch,)` true frames, on the host.
        labels: of each clip.
    """

    step: int
    step_clips: int
    values: torch.Tensor
    lengths: torch.Tensor
    labels: Sequence[Sequence[int]]


@dataclass(frozen=True)
class Misfit:
    """A piece that did not fit into the memory: its frames, padding included, and its clips."""

    frames: int
    clips: int


@dataclass(frozen=True)
class StepGradient:
    """Computes gradients of a network's trained weights.

    Attributes:
        max_padding: share of a piece that may be padding.
    """

    adapted: Adapted
    config: TrainingConfig
    group: Group
    progress: Progress
    max_padding: float

    def of(self, share: StepShare, room: Room) -> float:
        """Leave the gradient of the mean loss over all clips of the step in the weights, and return that mean.

        Args:
            share: what is this process's to compute.
            room: what fits at once; less of it from now on where memory ran out.

        Raises:
            RunStopped: the run is no longer wanted; all processes leave at the same step, so that none waits for another.
            RunFailed: (out_of_memory) one clip alone does not fit.
        """
        while True:
            self.forget()
            torch.manual_seed((self.config.seed * 1_000_003 + share.step) * self.group.size + self.group.rank)
            loss, misfit = self._add_pieces(share, room)
            told = [loss, misfit is not None, misfit is not None and misfit.clips == 1, self.progress.interrupted]
            loss, misfits, single_clips, stops = self.group.sums([float(each) for each in told], self._device)
            if stops:
                self.progress.check()
                raise RunStopped("rank 0 was told to stop")
            if not misfits:
                break
            self._make_room(room, misfit, one_clip=single_clips > 0)
        gradients = []
        for weight in self.adapted.trained.values():
            weight.grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
            gradients.append(weight.grad)
        self.group.add_up(gradients)
        return loss

    def probe(self, largest: StepShare, room: Room) -> None:
        """Find out how much fits at once: a CPU is asked how much one clip keeps, a GPU gets the largest share to try."""
        if self._device.type == "cuda":
            self.of(largest, room)
            self.forget()
            return
        frames = int(largest.lengths[0])
        with suppress(MemoryError, RuntimeError):  # what is wrong with this clip shows in its step, which knows what to do
            kept = saved_bytes(lambda: self.adapted.frontend.above(largest.values[:1, :frames], largest.lengths[:1]))
            room.frames = frames_that_fit(kept, frames)

    def forget(self) -> None:
        """Drop the gradients."""
        for weight in self.adapted.trained.values():
            weight.grad = None

    @property
    def _device(self) -> torch.device:
        return self.adapted.frontend.model.device

    def _add_pieces(self, share: StepShare, room: Room) -> tuple[float, Misfit | None]:
        """Add up gradients until all pieces are done or one does not fit; return the sum of their losses and that one."""
        frames = share.lengths.tolist()
        mask = step_mask(self.adapted.frontend.model, self.config, frames, (share.step, self.group.rank))
        loss = 0.0
        for rows in split_batch(range(len(frames)), frames, room.frames, self.max_padding):
            try:
                loss += self._add_piece(share, rows, mask, gradient_checkpointing=room.gradient_checkpointing)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                return loss, Misfit(len(rows) * max(frames[row] for row in rows), len(rows))
        return loss, None

    def _add_piece(self, share: StepShare, rows: list[int], mask: RowMask, *, gradient_checkpointing: bool) -> float:
        lengths, frontend = share.lengths[rows], self.adapted.frontend
        values = share.values[rows, : int(lengths.max())]
        logits = frontend.above(values, lengths, mask(rows), gradient_checkpointing=gradient_checkpointing)
        losses = ctc_loss(logits, lengths, [share.labels[row] for row in rows], frontend.model.vocabulary.blank)
        loss = losses.sum() / share.step_clips
        loss.backward()
        return loss.item()

    def _make_room(self, room: Room, misfit: Misfit | None, *, one_clip: bool) -> None:
        """Halve what is computed at once, or where that is one clip already, compute activations twice."""
        log("out of memory: going on in smaller pieces", severity="WARNING", frames=misfit.frames if misfit else None)
        self.forget()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        if one_clip:
            if room.gradient_checkpointing:
                raise RunFailed("out_of_memory", ADVICE)
            room.gradient_checkpointing = True
        elif misfit is not None:
            room.halve(misfit.frames)
