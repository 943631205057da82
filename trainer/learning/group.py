"""Several processes that train one model, one a GPU, as torchrun starts them: each takes a share of every step's clips.

    torchrun --nproc-per-node 2 -m trainer --spec gs://bucket/cycles/000012/spec.json

Gradients are added up, so that the processes hold the same weights after every step. Only rank 0 speaks to the outside: it hands the
others their work (`trainer.attempt.follow`) when base model and clips lie on the disk that they share.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from shared.errors import InvalidMessage

Item = TypeVar("Item")

PATIENCE = timedelta(hours=24)
"""The others wait while rank 0 fetches clips and asks for gold; whoever dies closes its connections, which ends the wait at once."""


@dataclass(frozen=True)
class Group:
    """This process among those that train together; alone by default."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Rank 0: reads and writes what lies outside."""
        return self.rank == 0

    def share(self, items: Sequence[Item]) -> list[Item]:
        """Return what this process takes of a step; with items in order of length all get about the same work."""
        return list(items[self.rank :: self.size])

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace tensors of one type and device by their sums over all processes, in place, in one exchange."""
        if self.size == 1 or not tensors:
            return
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            tensor.copy_(part.view_as(tensor))

    def sums(self, numbers: Sequence[float], device: torch.device) -> list[float]:
        """Return the sums of a few numbers over all processes."""
        if self.size == 1:
            return list(numbers)
        total = torch.tensor(numbers, dtype=torch.float64, device=device)
        dist.all_reduce(total)
        return total.tolist()

    def text_from_leader(self, text: str = "") -> str:
        """Return rank 0's `text` everywhere."""
        if self.size == 1:
            return text
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        data = torch.frombuffer(bytearray(text.encode()) or bytearray(1), dtype=torch.uint8).to(device)
        length = torch.tensor(len(text.encode()), device=device)
        dist.broadcast(length, src=0)
        if not self.leads:
            data = torch.zeros(max(1, int(length)), dtype=torch.uint8, device=device)
        dist.broadcast(data, src=0)
        return bytes(data[: int(length)].tolist()).decode()


def open_group() -> Group:
    """Join the processes that torchrun started; without torchrun a process is alone.

    Raises:
        InvalidMessage: they are spread over several machines: the followers read the leader's local files.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Group()
    local = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    if local != size:
        raise InvalidMessage(f"torchrun: expected all {size} processes on one machine, found {local} here; use --nnodes 1")
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    return Group(dist.get_rank(), size)


@contextmanager
def left_in_order() -> Iterator[None]:
    """Leave the group at the end: a process that only exits now and then aborts in gloo's threads, and torchrun calls the run failed."""
    try:
        yield
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
