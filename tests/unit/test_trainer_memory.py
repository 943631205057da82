"""What a forward pass keeps is counted, what does not fit is told apart, and audio is decoded ahead in order."""

import math
import subprocess
import sys
import threading
from collections.abc import Sequence

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import psutil
import torch

from trainer.network.memory import CPU_SHARE, Room, frames_that_fit, in_halves, saved_bytes
from trainer.network.prefetch import prefetched
from trainer.shell.failures import is_out_of_memory

pytestmark = pytest.mark.torch


def test_what_the_backward_pass_needs_is_counted_once_and_weights_are_not() -> None:
    weight = torch.nn.Parameter(torch.ones(4, 4))
    values = torch.ones(8, 4)

    def forward() -> torch.Tensor:
        hidden = values @ weight  # keeps `values`: 8 x 4 x 4 bytes
        return hidden.sigmoid().sum() + hidden.tanh().sum()  # each keeps its own output: 2 x 8 x 4 x 4 bytes

    assert saved_bytes(forward) == 3 * 8 * 4 * 4


def test_a_frozen_pass_keeps_nothing() -> None:
    assert saved_bytes((torch.ones(8, 4) @ torch.ones(4, 4)).sigmoid) == 0


def test_the_frames_that_fit_follow_from_the_free_memory() -> None:
    free = psutil.virtual_memory().available
    found = frames_that_fit(10_000, 100)
    assert math.log2(found).is_integer()
    assert 0.4 * CPU_SHARE * free / 100 < found < 1.1 * CPU_SHARE * free / 100
    assert frames_that_fit(10**15, 100) == 1, "one clip alone is always tried"


def test_the_room_is_halved_from_what_was_tried() -> None:
    room = Room()
    room.halve(300)
    assert (room.frames, room.halvings) == (150, 1)
    room.halve(151)
    assert (room.frames, room.halvings) == (75, 2)


def test_memory_that_ran_out_is_told_from_other_errors() -> None:
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))


def test_the_cpu_allocators_own_error_is_recognised() -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))\n"
    code = f"""{limit}
import torch
from trainer.shell.failures import is_out_of_memory
try:
    torch.ones(64 << 30, dtype=torch.uint8)
except (RuntimeError, MemoryError) as error:
    print(is_out_of_memory(error))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert ended.stdout.strip() == "True"


def test_work_that_does_not_fit_is_done_in_halves_in_order() -> None:
    tried: list[int] = []

    def work(items: Sequence[int]) -> list[int]:
        tried.append(len(items))
        if len(items) > 2:
            raise torch.OutOfMemoryError("too many")
        return [item * 10 for item in items]

    assert in_halves(work, [1, 2, 3, 4, 5]) == [10, 20, 30, 40, 50]
    assert tried == [5, 2, 3, 1, 2]


def test_one_item_that_does_not_fit_and_any_other_error_are_raised() -> None:
    def full(_items: Sequence[int]) -> list[int]:
        raise torch.OutOfMemoryError("even one")

    def broken(_items: Sequence[int]) -> list[int]:
        raise RuntimeError("shapes do not match")

    with pytest.raises(torch.OutOfMemoryError, match="even one"):
        in_halves(full, [1, 2])
    with pytest.raises(RuntimeError, match="shapes do not match"):
        in_halves(broken, [1, 2])


def test_batches_come_in_order_and_are_loaded_ahead() -> None:
    loaded: list[int] = []
    third = threading.Event()

    def load(key: int) -> int:
        loaded.append(key)
        if key == 3:
            third.set()
        return key * 10

    batches = prefetched([[1, 2], [3], [4]], load, ahead=1)
    assert next(batches) == ([1, 2], [10, 20])
    assert third.wait(10)  # the second batch is on its way before anybody asks for it
    assert list(batches) == [([3], [30]), ([4], [40])]
    assert sorted(loaded) == [1, 2, 3, 4]


def test_what_a_load_raises_is_raised_when_its_batch_is_due() -> None:
    def load(key: int) -> int:
        if key == 2:
            raise ValueError("clip 2")
        return key

    batches = prefetched([[1], [2], [3]], load)
    assert next(batches) == ([1], [1])
    with pytest.raises(ValueError, match="clip 2"):
        next(batches)
