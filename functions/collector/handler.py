"""The collector: reports in, durable in the ledger, then a look at the level."""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta

from functions.collector.batcher import GroupCommit
from functions.collector.checks import check_report
from functions.crossing import announce_crossing
from functions.runtime import Ports
from shared import ledger
from shared.arrivals import Arrival, Arrived, arrived, report_span
from shared.bus import Message
from shared.errors import Retryable
from shared.events import Event, SttCorrection, SttError, SttSample, SttTraffic
from shared.head import KnownHead
from shared.ids import new_token
from shared.log import bind
from shared.messages import parse_event
from shared.tracing import sender_of

REPORTS = (SttError, SttCorrection, SttSample, SttTraffic)
MAX_EVENTS = 128
"""A batch has so many at most. More would save few writes and wake more requests at once, and Cloud Storage takes no more than 8 KiB of
metadata, in which each event's version may have its counters."""
WRITERS = 16
"""So many batches may be under way."""


@dataclass(frozen=True)
class Outcome:
    """What came of one report: it is durable, or the request that brought it raises `error`.

    Attributes:
        report: how it came, where that is kept.
    """

    event_id: str | None = None
    error: Exception | None = None
    report: Arrived | None = None

    def settle(self) -> None:
        """Let later log lines name the event. Raises `error` where there is one."""
        if self.event_id is not None:
            bind(event_id=self.event_id)
        if self.error is not None:
            raise self.error


class Collector:
    """Handles the topic `stt-errors`."""

    def __init__(self, ports: Ports, check_uri: Callable[[str], object]) -> None:
        self._ports = ports
        self._check_uri = check_uri
        self._pool = ThreadPoolExecutor(WRITERS, thread_name_prefix="collector")
        self._commit = GroupCommit(self._take_batch, self._pool, max_items=MAX_EVENTS, linger_s=ports.settings.linger_s)
        self._head = KnownHead()
        self._lock = threading.Lock()
        self._next_count: datetime | None = None

    async def collect(self, message: Message) -> str:
        """Make one report durable, together with those that come at the same time; return what came of it.

        Raises:
            InvalidMessage: the report can never be used.
            Retryable: nobody knows whether the report is durable.
        """
        outcome = await self._commit.submit(message)
        outcome.settle()
        if not self._is_time_to_count():
            return "collected"
        crossed = await asyncio.get_running_loop().run_in_executor(self._pool, self._count, message, outcome.report)
        return crossed or "collected"

    def __call__(self, message: Message) -> str:
        """Make one report durable by itself, where the head stands now; see `collect`."""
        (outcome,) = self._take([message], KnownHead())
        outcome.settle()
        return (self._count(message, outcome.report) if self._is_time_to_count() else None) or "collected"

    def _count(self, message: Message, report: Arrived | None) -> str | None:
        """Look at the level; a report that is seen to have reached it is told in the trace of the cycle."""

        def tell(cycle: int) -> None:
            if report is not None:
                self._ports.traces.note(event_id=report.event_id)
                self._ports.traces.past(report_span(cycle, report))

        return announce_crossing(self._ports, seen_by=message, tell=tell)

    def _take_batch(self, messages: Sequence[Message]) -> list[Outcome]:
        return self._take(messages, self._head)

    def _take(self, messages: Sequence[Message], head: KnownHead) -> list[Outcome]:
        """Make reports durable by one write; a malformed one is no fault of the others."""
        found = [self._parse(message) for message in messages]
        events = [event for event in found if isinstance(event, Event)]
        arrivals = self._arrivals(messages, found) if self._ports.traces.on else {}
        failure: Exception | None = None
        if events:
            try:
                ledger.append(self._ports.store, events, new_token(), head, arrivals)
            except Exception as error:  # noqa: BLE001 - each request of the batch raises it
                failure = error
        return [_outcome(item, failure, arrivals) for item in found]

    def _arrivals(self, messages: Sequence[Message], found: Sequence[Event | Exception]) -> dict[str, Arrival]:
        """Return how errors and corrections came, by event_id: they are what a cycle starts from."""
        now = self._ports.clock.now()
        return {
            event.event_id: Arrival(published_at=message.publish_time, collected_at=now, traceparent=_sender(message))
            for message, event in zip(messages, found, strict=True)
            if isinstance(event, SttError | SttCorrection)
        }

    def _parse(self, message: Message) -> Event | Exception:
        try:
            event = parse_event(message, expect=REPORTS)
            check_report(event, now=self._ports.clock.now(), check_uri=self._check_uri)
        except Exception as error:  # noqa: BLE001 - the request that brought it raises it, and no other
            return error
        return event

    def _is_time_to_count(self) -> bool:
        """Let one request in each interval count; the sweeper counts what falls between."""
        now = self._ports.clock.now()
        with self._lock:
            due = self._next_count is None or now >= self._next_count
            if due:
                self._next_count = now + timedelta(seconds=self._ports.settings.count_interval_s)
        return due


def _sender(message: Message) -> str | None:
    sender = sender_of(message.attributes)
    return sender.traceparent if sender is not None else None


def _outcome(found: Event | Exception, failure: Exception | None, arrivals: Mapping[str, Arrival]) -> Outcome:
    if isinstance(found, Exception):
        return Outcome(error=found)
    if failure is None:
        arrival = arrivals.get(found.event_id)
        return Outcome(found.event_id, report=arrived(found, arrival) if arrival is not None else None)
    # Also where the write met something malformed: that is no fault of the event, which is delivered again.
    error = Retryable(f"event {found.event_id}: its batch was not written: {failure}")
    error.__cause__ = failure
    return Outcome(found.event_id, error)
