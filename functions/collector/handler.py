"""The collector: one report in, durable in the ledger, then a look at the level."""

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from functions.collector.batcher import GroupCommit
from functions.collector.decide import check_report
from functions.crossing import announce_crossing
from functions.runtime import Ports
from shared import ledger
from shared.bus import Message
from shared.events import Event, SttCorrection, SttError, SttSample, SttTraffic
from shared.ids import new_token
from shared.log import bind
from shared.messages import parse_event

REPORTS = (SttError, SttCorrection, SttSample, SttTraffic)


class Collector:
    """Handles the topic `stt-errors`; safe to call from many threads."""

    def __init__(self, ports: Ports, check_uri: Callable[[str], object]) -> None:
        self._ports = ports
        self._check_uri = check_uri
        self._commit = GroupCommit(self._write, linger_s=ports.settings.linger_s)
        self._lock = threading.Lock()
        self._next_count: datetime | None = None

    def __call__(self, message: Message) -> str:
        """Make one report durable; return what came of it.

        Raises:
            InvalidMessage: the report can never be used.
        """
        event = parse_event(message, expect=REPORTS)
        bind(event_id=event.event_id)
        check_report(event, now=self._ports.clock.now(), check_uri=self._check_uri)
        self._commit.submit(event)
        crossed = announce_crossing(self._ports) if self._is_time_to_count() else None
        return crossed or "collected"

    def _write(self, events: Sequence[Event]) -> None:
        ledger.append(self._ports.store, events, new_token())

    def _is_time_to_count(self) -> bool:
        """Let one request in each interval count; the sweeper counts what falls between."""
        now = self._ports.clock.now()
        with self._lock:
            due = self._next_count is None or now >= self._next_count
            if due:
                self._next_count = now + timedelta(seconds=self._ports.settings.count_interval_s)
        return due
