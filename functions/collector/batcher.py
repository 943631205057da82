"""Group commit: requests that come together share one write.

The first request of a batch has it led: the batch waits a short linger for company, closes, and is handled in one go in a thread.

    request 1 ---- submit ----.
    request 2 ------ submit --+--- linger ---> handle_all([1, 2, 3]) in a thread ---> each request's outcome
    request 3 -------- submit-'
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Executor
from typing import Generic, TypeVar

from shared.errors import Retryable

MAX_LINGERS = 5
"""While company keeps coming a batch waits so many lingers at most."""
LONELY_LINGERS = 10
"""What comes so many lingers after the one before it waits for nobody: company within one is unlikely."""


async def is_set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, at most so long; tell whether it came."""
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


class _Batch(Generic[Item, Outcome]):
    def __init__(self) -> None:
        self.items: list[Item] = []
        self.futures: list[asyncio.Future[Outcome]] = []
        self.full = asyncio.Event()


class GroupCommit(Generic[Item, Outcome]):
    """Gathers what concurrent requests submit into single calls; for one event loop.

    Args:
        handle_all: handles a batch and returns the outcome of each item, in order; called in a thread, several batches may be under way.
        pool: the threads.
        max_items: a batch closes at this size.
        linger_s: how long a batch waits for company; as long as some came, it waits again, up to `MAX_LINGERS` times.
        patience_s: how long requests wait for their batch.
        clock: seconds, from any zero.
        linger: waits until the batch is full, at most so many seconds, and tells whether it is.
    """

    def __init__(
        self,
        handle_all: Callable[[Sequence[Item]], Sequence[Outcome]],
        pool: Executor,
        *,
        max_items: int,
        linger_s: float,
        patience_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        linger: Callable[[asyncio.Event, float], Awaitable[bool]] = is_set_within,
    ) -> None:
        self._handle_all = handle_all
        self._pool = pool
        self._max_items = max_items
        self._linger_s = linger_s
        self._patience_s = patience_s
        self._clock = clock
        self._linger = linger
        self._open: _Batch[Item, Outcome] | None = None
        self._last_s = float("-inf")
        self._leaders: set[asyncio.Task[None]] = set()

    async def submit(self, item: Item) -> Outcome:
        """Return the outcome of `item` when its batch has been handled.

        Raises:
            Retryable: the batch failed, or did not end in `patience_s`: nobody knows what came of it.
        """
        now_s = self._clock()
        lonely = now_s - self._last_s > LONELY_LINGERS * self._linger_s
        self._last_s = now_s
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        batch = self._open
        if batch is None:
            batch = self._open = _Batch()
            leader = asyncio.create_task(self._lead(batch, lonely=lonely))
            self._leaders.add(leader)  # the loop itself keeps no task alive
            leader.add_done_callback(self._leaders.discard)
        batch.items.append(item)
        batch.futures.append(future)
        if len(batch.items) >= self._max_items:
            self._close(batch)
            batch.full.set()
        return await future

    async def _lead(self, batch: _Batch[Item, Outcome], *, lonely: bool) -> None:
        try:
            if not lonely:
                await self._gather(batch)
            self._close(batch)
            work = asyncio.get_running_loop().run_in_executor(self._pool, self._handle_all, batch.items)
            outcomes = await asyncio.wait_for(work, self._patience_s)
            for future, outcome in zip(batch.futures, outcomes, strict=True):
                if not future.done():  # a request that was given up
                    future.set_result(outcome)
        except TimeoutError:
            self._fail(batch, Retryable(f"expected the batch to be written in {self._patience_s} s, it still is under way"))
        except Exception as error:  # noqa: BLE001 - handed to every request of the batch, each raises it
            failure = Retryable(f"the batch was not written: {error}")
            failure.__cause__ = error
            self._fail(batch, failure)
        finally:  # whatever interrupts the leader must not leave the others waiting
            self._close(batch)
            self._fail(batch, Retryable("the batch was given up before it was written"))

    async def _gather(self, batch: _Batch[Item, Outcome]) -> None:
        """Wait until the batch is full, nobody came for a linger, or it has waited long enough."""
        size = 0
        for _ in range(MAX_LINGERS):
            size, before = len(batch.items), size
            if size == before or await self._linger(batch.full, self._linger_s):
                return

    def _close(self, batch: _Batch[Item, Outcome]) -> None:
        if self._open is batch:
            self._open = None

    def _fail(self, batch: _Batch[Item, Outcome], error: Exception) -> None:
        for future in batch.futures:
            if not future.done():
                future.set_exception(error)
