"""A bounded queue in memory, a spool behind it, and the one thread that empties both into Pub/Sub.

Callers only append to the queue, under a lock that is never held during I/O. All publishing and all disk writes are done
by the thread; only when it does not end in time does `close` take the rest from it.
"""

import logging
import math
import random
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice

from retune_client.backlog import Backlog
from retune_client.clock import Clock
from retune_client.events import EventMessage
from retune_client.pubsub import PUBLISH_TIMEOUT_S, Flight, Publisher
from retune_client.spool import SEGMENT_MESSAGES, Segment, Spool, chunks
from retune_client.steps import Hand, Step, View, backoff_s, decide_step
from retune_client.tally import Tally

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class OutboxConfig:
    """What an outbox is made of.

    Attributes:
        publisher: makes the publisher at the first publish; must return the same one each time.
        topic: full topic name.
        max_queue: messages in memory at most, the batch in hand not counted.
        periodic: returns the messages that are due every `period_s`, at most as many as the room it is given.
    """

    publisher: Callable[[], Publisher]
    topic: str
    max_queue: int
    spool: Spool | None
    clock: Clock
    rng: random.Random
    periodic: Callable[[int], list[EventMessage]]
    period_s: float


@dataclass
class _Batch:
    messages: list[EventMessage]
    segment: Segment | None = None
    flight: Flight | None = None
    give_up_at: float = math.inf


class Outbox:
    """Sends messages in the order in which they were put, at least once, without ever keeping the caller waiting."""

    def __init__(self, config: OutboxConfig) -> None:
        self.tally = Tally()
        self._config = config
        self._clock = config.clock
        self._backlog = Backlog(config.spool, config.clock, self.tally)
        self._io = threading.Lock()  # guards the backlog; taken before `_cond`
        self._cond = threading.Condition()  # guards what follows; never held during I/O
        self._queue: deque[EventMessage] = deque()
        self._batch: _Batch | None = None
        self._failures = 0
        self._retry_at = -math.inf
        self._next_tick = self._clock.monotonic() + config.period_s
        self._closing_at: float | None = None
        self._ended = False
        self._thread: threading.Thread | None = None
        self._steps: Mapping[Step, Callable[[], None]] = {
            Step.TICK: self._tick,
            Step.SEND: self._send,
            Step.SETTLE: self._settle,
            Step.LOAD: self._load,
            Step.TAKE: self._take,
            Step.SPILL: self._spill,
        }

    def put(self, message: EventMessage) -> None:
        """Queue a message, or drop and count it."""
        with self._cond:
            if self._closing_at is not None:
                self.tally.drop("closed")
            elif len(self._queue) >= self._config.max_queue:
                self.tally.drop("queue_full")
            else:
                self._queue.append(message)
                self.tally.add(accepted=1)
                self._start()
                self._cond.notify_all()

    def start(self) -> None:
        """Start the thread, if it does not run: the first event does, so that a service may fork before."""
        with self._cond:
            if self._closing_at is None:
                self._start()

    def flush(self, timeout_s: float) -> bool:
        """Try at once to publish everything, periodic messages and spool included; tell whether all of it is published."""
        deadline = self._clock.monotonic() + timeout_s
        with self._cond:
            if self._closing_at is None:
                self._queue_periodic()
                self._backlog.look_again()
                self._retry_at = -math.inf
                self._start()
                self._cond.notify_all()
            while not self._idle() and not self._ended and self._clock.monotonic() < deadline:
                self._clock.wait_until(self._cond, deadline)
            return self._idle()

    def close(self, timeout_s: float) -> None:
        """Publish what can be published within `timeout_s`, spool the rest (without a spool: drop and count it) and end."""
        with self._cond:
            if self._closing_at is not None:
                return
            self._queue_periodic(last=True)
            self._next_tick = math.inf
            self._retry_at = -math.inf
            self._closing_at = self._clock.monotonic() + timeout_s
            if self._queue:
                self._start()
            self._cond.notify_all()
            while self._thread is not None and not self._ended and self._clock.monotonic() < self._closing_at:
                self._clock.wait_until(self._cond, self._closing_at)
        self._end()

    def waiting(self) -> int:
        """Return how many messages are in memory alone."""
        with self._cond:
            in_hand = len(self._batch.messages) if self._batch is not None and self._batch.segment is None else 0
            return len(self._queue) + in_hand

    def _start(self) -> None:
        if self._thread is None and not self._ended:
            thread = threading.Thread(target=self._run, name="retune-reporter", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # no more threads, or the interpreter is going: not the caller's trouble
                self.tally.problem(str(error))
            else:
                self._thread = thread

    def _run(self) -> None:
        while True:
            with self._cond:
                step, wake_at = (Step.STOP, 0.0) if self._ended else decide_step(self._view())
                if step is Step.WAIT:
                    self._clock.wait_until(self._cond, wake_at)
                    continue
            if step is Step.STOP:
                self._end()
                return
            self._steps[step]()

    def _view(self) -> View:
        batch = self._batch
        flight = batch.flight if batch is not None else None
        return View(
            now=self._clock.monotonic(),
            queued=len(self._queue),
            max_queue=self._config.max_queue,
            hand=Hand.EMPTY if batch is None else Hand.MEMORY if batch.segment is None else Hand.SEGMENT,
            flying=flight is not None,
            landed=flight is not None and flight.landed,
            give_up_at=batch.give_up_at if batch is not None else math.inf,
            away=self._failures > 0,
            retry_at=self._retry_at,
            spool_usable=self._backlog.usable,
            spool_pending=self._backlog.pending,
            next_tick=self._next_tick,
            closing=self._closing_at is not None,
            closing_at=math.inf if self._closing_at is None else self._closing_at,
        )

    def _idle(self) -> bool:
        return not (self._queue or self._batch is not None or self._backlog.pending or self._backlog.unreadable)

    def _wake(self) -> None:
        with self._cond:
            self._cond.notify_all()

    # The steps. Each is run by the thread alone.

    def _tick(self) -> None:
        with self._cond:
            if self._closing_at is None:
                self._queue_periodic()
                self._backlog.look_again()
                self._next_tick = self._clock.monotonic() + self._config.period_s
        self.tally.tell_drops()

    def _queue_periodic(self, *, last: bool = False) -> None:
        messages = self._config.periodic(sys.maxsize if last else self._config.max_queue - len(self._queue))
        self._queue.extend(messages)
        self.tally.add(accepted=len(messages))

    def _take(self) -> None:
        with self._cond:
            self._batch = _Batch([self._queue.popleft() for _ in range(min(SEGMENT_MESSAGES, len(self._queue)))])

    def _load(self) -> None:
        with self._io:
            if not self._ended:
                segment = self._backlog.take()
                with self._cond:
                    self._batch = None if segment is None else _Batch(segment.messages, segment)
                    self._cond.notify_all()

    def _spill(self) -> None:
        with self._io:
            with self._cond:
                oldest = list(islice(self._queue, SEGMENT_MESSAGES))
            if oldest and self._backlog.store(oldest):
                with self._cond:
                    for _ in oldest:
                        self._queue.popleft()
                    self._cond.notify_all()

    def _send(self) -> None:
        batch = self._batch
        if batch is not None:
            flight = Flight(self._wake)
            flight.launch(self._config.publisher, self._config.topic, batch.messages)  # may block: no lock is held
            with self._cond:
                batch.give_up_at = self._clock.monotonic() + PUBLISH_TIMEOUT_S
                batch.flight = flight

    def _settle(self) -> None:
        with self._io:
            batch = self._batch
            if self._ended or batch is None or batch.flight is None:
                return
            failed, problem = self._landed(batch, batch.flight)
            with self._cond:
                batch.messages, batch.flight = failed, None
            self._note(problem)
            if failed and (batch.segment is not None or not self._backlog.store(failed)):
                return  # stays in hand
            if batch.segment is not None:
                self._backlog.finish(batch.segment)
            with self._cond:
                self._batch = None
                self._cond.notify_all()

    def _landed(self, batch: _Batch, flight: Flight) -> tuple[list[EventMessage], str | None]:
        failed, problem = flight.failed()
        self.tally.add(published=len(batch.messages) - len(failed) - flight.refused)
        self.tally.drop("refused", flight.refused)
        return failed, problem

    def _note(self, problem: str | None) -> None:
        with self._cond:
            before, self._failures = self._failures, 0 if problem is None else self._failures + 1
            if problem is not None:
                self._retry_at = self._clock.monotonic() + backoff_s(self._failures, self._config.rng.uniform(0.5, 1.0))
        if problem is not None:
            self.tally.problem(problem)
            log.log(logging.DEBUG if before else logging.WARNING, "Pub/Sub is away: %s", problem)
        elif before:
            log.info("Pub/Sub is back")

    def _end(self) -> None:
        """Save what is left, once: by the thread, or by `close` where the thread hangs in a publish."""
        with self._io:
            with self._cond:
                if self._ended:
                    return
                self._ended = True
                batch, self._batch = self._batch, None
                queued = list(self._queue)
                self._queue.clear()
            for chunk in chunks([*self._unpublished(batch), *queued]):
                if not self._backlog.store(chunk):
                    self.tally.drop("closed", len(chunk))
            self._backlog.close(batch.segment if batch is not None else None)
            self._wake()
        self.tally.tell_drops()

    def _unpublished(self, batch: _Batch | None) -> list[EventMessage]:
        """Return what of the batch in hand is neither published nor on disk."""
        if batch is None or batch.segment is not None:
            return []
        return batch.messages if batch.flight is None else self._landed(batch, batch.flight)[0]
