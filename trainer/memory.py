"""How much of a batch fits into the memory at once: measured beforehand, and halved where it was too much after all.

What one optimizer step sees is fixed by the config. Only the pieces in which it is computed depend on the memory.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.autograd.graph import saved_tensors_hooks

CPU_SHARE = 0.5
"""Share of the free memory that activations may take: a CPU process that asks for too much is killed without a word."""


@dataclass
class PieceBudget:
    """The most frames, padding included, that are computed at once; infinite until something did not fit.

    Attributes:
        frames: the limit.
        halvings: how often it had to be lowered.
    """

    frames: float = float("inf")
    halvings: int = 0

    def halve(self, tried_frames: int) -> None:
        """Lower the limit after a piece of `tried_frames` did not fit."""
        self.frames = min(self.frames, tried_frames) / 2
        self.halvings += 1


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception means that memory ran out.

    On the CPU it is a plain RuntimeError of the allocator, so its text has to be looked at (c10/core/impl/alloc_cpu.cpp).
    """
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


def saved_bytes(forward: Callable[[], object]) -> int:
    """Return the bytes that a forward pass keeps for its backward pass, every storage counted once, weights left out."""
    storages: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        kept = forward()  # alive until all is counted: a freed storage's address is used again
    del kept
    return sum(storages.values())


def frames_that_fit(bytes_used: int, frames: int, device: torch.device) -> float:
    """Return how many frames fit, from what `frames` of them kept; infinite on a GPU, which is asked by trying."""
    if device.type != "cpu" or not bytes_used:
        return float("inf")
    import psutil

    return CPU_SHARE * float(psutil.virtual_memory().available) / (bytes_used / frames)
