"""How much of a batch fits into the memory at once: measured beforehand, and halved where it was too much after all.

What one optimizer step sees is fixed by the config. Only the pieces in which it is computed depend on the memory.
"""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from pydantic import BaseModel
from torch.autograd.graph import saved_tensors_hooks

from trainer.shell.failures import is_out_of_memory

Item = TypeVar("Item")
Result = TypeVar("Result")

CPU_SHARE = 0.5
"""Share of the free memory that activations may take: a CPU process that asks for too much is killed without a word."""


class Room(BaseModel):
    """What the memory was found to hold.

    Attributes:
        frames: the most frames, padding included, that are computed at once; None until something did not fit.
        halvings: how often that had to be lowered.
        gradient_checkpointing: activations are computed twice instead of being kept.
    """

    frames: int | None = None
    halvings: int = 0
    gradient_checkpointing: bool = False

    def halve(self, tried_frames: int) -> None:
        """Lower the limit after a piece of `tried_frames` did not fit."""
        self.frames = max(1, min(self.frames or tried_frames, tried_frames) // 2)
        self.halvings += 1


def in_halves(work: Callable[[Sequence[Item]], list[Result]], items: Sequence[Item]) -> list[Result]:
    """Return what `work` makes of `items`; where memory runs out, of each half by itself.

    Raises:
        Exception: what `work` raises, for want of memory only if one item alone does not fit.
    """
    try:
        return work(items)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error) or len(items) == 1:
            raise
    # outside of the handler: the error holds on to the tensors of the failed try
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    middle = len(items) // 2
    return [*in_halves(work, items[:middle]), *in_halves(work, items[middle:])]


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


def free_bytes(device: torch.device) -> int:
    """Return what is free of a GPU's memory, or of the host's."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    import psutil

    return int(psutil.virtual_memory().available)


def frames_that_fit(bytes_used: int, frames: int) -> int:
    """Return how many frames fit into the host's memory, from what `frames` of them kept.

    A power of two, so that what else runs on the machine seldom changes it.
    """
    fitting = CPU_SHARE * free_bytes(torch.device("cpu")) / (bytes_used / frames)
    return 1 << max(0, math.floor(math.log2(max(1.0, fitting))))
