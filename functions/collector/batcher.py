"""Group commit: requests that come together share one write.

The first request of a batch leads: it waits a short linger for company, closes the batch, writes it and wakes the
others. No thread of its own, because an instance is throttled between requests.
"""

import threading
from collections.abc import Callable, Sequence

from shared.errors import Retryable
from shared.events import Event


class _Batch:
    def __init__(self) -> None:
        self.events: list[Event] = []
        self.full = threading.Event()
        self.done = threading.Event()
        # Until a write has ended well: whatever interrupts the leader must not acknowledge the others.
        self.error: Exception | None = Retryable("the request that was to write it has ended")


class GroupCommit:
    """Gathers events of concurrent requests into single writes.

    Args:
        write: makes the events durable; called by one of the waiting threads, several batches may be under way.
        max_events: a batch closes at this size; Cloud Storage takes 8 KiB of metadata, in which each event's version may have its counters.
        linger_s: how long a batch waits for company.
        patience_s: how long a request waits for its batch's write.
    """

    def __init__(
        self, write: Callable[[Sequence[Event]], object], *, max_events: int = 250, linger_s: float = 0.02, patience_s: float = 60.0
    ) -> None:
        self._write = write
        self._max_events = max_events
        self._linger_s = linger_s
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._open: _Batch | None = None

    def submit(self, event: Event) -> None:
        """Return when `event` is durable.

        Raises:
            Retryable: its batch was not written, or not in `patience_s`; nobody knows whether the event is durable, so it
                is not acknowledged. That the write found something malformed is no fault of the event.
        """
        batch, leads = self._join(event)
        if leads:
            self._lead(batch)
        elif not batch.done.wait(self._patience_s):
            raise Retryable(f"event {event.event_id}: expected its batch to be written in {self._patience_s} s, it still is under way")
        if batch.error is not None:
            raise Retryable(f"event {event.event_id}: its batch was not written: {batch.error}") from batch.error

    def _join(self, event: Event) -> tuple[_Batch, bool]:
        with self._lock:
            leads = self._open is None
            batch = self._open = self._open or _Batch()
            batch.events.append(event)
            if len(batch.events) >= self._max_events:
                self._open = None
                batch.full.set()
        return batch, leads

    def _lead(self, batch: _Batch) -> None:
        try:
            batch.full.wait(self._linger_s)
            self._close(batch)
            self._write(batch.events)
            batch.error = None
        except Exception as error:  # noqa: BLE001 - handed to every request of the batch, each raises it
            batch.error = error
        finally:
            self._close(batch)
            batch.done.set()

    def _close(self, batch: _Batch) -> None:
        with self._lock:
            if self._open is batch:
                self._open = None
