"""Work that threads do ahead: decoding audio releases the interpreter, so the next batches are ready when the device asks."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Key = TypeVar("Key")
Item = TypeVar("Item")

THREADS = 4
AHEAD = 3
"""Batches that are decoded before they are needed: more would only fill the memory."""


def prefetched(batches: Iterable[list[Key]], load: Callable[[Key], Item], *, ahead: int = AHEAD) -> Iterator[tuple[list[Key], list[Item]]]:
    """Yield each batch with what `load` makes of its members, in order; what `load` raises is raised when its batch is due.

    Whoever stops early waits for the few loads that have begun, no more.
    """
    pool = ThreadPoolExecutor(THREADS, thread_name_prefix="prefetch")
    waiting: deque[tuple[list[Key], list[Future[Item]]]] = deque()
    try:
        for batch in batches:
            waiting.append((batch, [pool.submit(load, key) for key in batch]))
            if len(waiting) > ahead:
                yield _ready(waiting.popleft())
        while waiting:
            yield _ready(waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _ready(entry: tuple[list[Key], list[Future[Item]]]) -> tuple[list[Key], list[Item]]:
    batch, futures = entry
    return batch, [future.result() for future in futures]
