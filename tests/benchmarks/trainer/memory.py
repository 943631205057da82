"""What training takes at most: on a GPU what torch has allocated, on a CPU what the process has grown by."""

import gc
import resource
import threading
from types import TracebackType
from typing import Self

import psutil
import torch

INTERVAL_S = 0.01


class PeakMemory:
    """Measures a block of code. In a fresh process only: a CPU allocator keeps what earlier work has freed.

    GPU: `torch.cuda.max_memory_allocated` in the block, weights included. CPU: the largest resident set in the block less the one at its
    start, so that the interpreter, the libraries, the weights and the clips do not count; a thread samples it, and where the kernel's own
    peak (`ru_maxrss`) has risen in the block, that is exact and is taken.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._done = threading.Event()
        self._sampled = 0
        self.bytes = 0

    def __enter__(self) -> Self:
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            return self
        self._kernel_before = _kernel_peak()
        self._before = psutil.Process().memory_info().rss
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None) -> None:
        if self._device.type == "cuda":
            self.bytes = torch.cuda.max_memory_allocated()
            return
        self._done.set()
        self._thread.join()
        kernel = _kernel_peak()
        peak = kernel if kernel > self._kernel_before else self._sampled
        self.bytes = max(0, peak - self._before)

    def _sample(self) -> None:
        process = psutil.Process()
        while True:
            self._sampled = max(self._sampled, process.memory_info().rss)
            if self._done.wait(INTERVAL_S):
                return


def _kernel_peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
