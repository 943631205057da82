"""What the speech-to-text service calls: report an error, observe an utterance, report a correction."""

import random
import threading
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from retune_client.clock import Clock, SystemClock
from retune_client.errors import InvalidEventError
from retune_client.events import (
    EventMessage,
    Provenance,
    Stamp,
    Utterance,
    correction_event,
    error_event,
    sample_event,
    traffic_event,
    version_number,
)
from retune_client.outbox import Outbox, OutboxConfig
from retune_client.pubsub import Publisher, google_publisher
from retune_client.sampling import Sampler, TrafficWindow
from retune_client.spool import Spool
from retune_client.tracing import current_traceparent


@dataclass(frozen=True)
class ReporterStats:
    """What the reporter did so far.

    Attributes:
        observed: utterances counted as traffic.
        sampled: utterances drawn into the sample.
        invalid: calls whose fields Retune would refuse; `last_invalid` says which.
        accepted: events queued, traffic included.
        published: events that Pub/Sub has, those of an earlier life's spool included.
        waiting: events in memory.
        spooled: events written to disk so far.
        dropped: events that are lost, by cause: `queue_full`, `closed`, `refused` (by the publisher), `spool_expired`, `spool_corrupt`.
        last_problem: why the last publish or write to disk failed.
        last_invalid: what was wrong with the last invalid call; never quotes a value.
    """

    observed: int
    sampled: int
    invalid: int
    accepted: int
    published: int
    waiting: int
    spooled: int
    dropped: Mapping[str, int]
    last_problem: str | None
    last_invalid: str | None


class ErrorReporter:
    """Tells Retune about the service's utterances, without ever slowing or breaking the service.

    No method but `flush` and `close` waits for anything, and none raises for what an utterance holds: what cannot be
    reported is counted in `stats()`. One background thread publishes; it and the Pub/Sub client are made at the first
    event, so a process that forks afterwards needs a reporter of its own. Safe between threads.
    """

    def __init__(
        self,
        project: str,
        topic: str = "stt-errors",
        *,
        sample_rate: float = 0.05,
        traffic_interval_s: float = 60.0,
        max_queue: int = 10_000,
        spool_dir: Path | str | None = None,
        spool_max_bytes: int = 64 * 1024 * 1024,
        publisher: Publisher | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        """Set the reporter up; nothing is contacted.

        Args:
            project: Google Cloud project of the topic.
            topic: short topic id.
            sample_rate: probability in [0, 1] with which an observed utterance is sampled.
            traffic_interval_s: how often traffic is reported.
            max_queue: events in memory at most; what does not fit is dropped and counted.
            spool_dir: where events wait while Pub/Sub is away; None = in memory only. Processes may share it.
            spool_max_bytes: the most that the spool may hold.
            publisher: instead of a Pub/Sub client of our own; it stays the caller's to stop.
            clock: instead of the machine's.
            rng: source of the sampling salt and of the back-off's jitter.

        Raises:
            ValueError: a number is out of range.
            OSError: `spool_dir` cannot be created.
        """
        if not (traffic_interval_s > 0 and max_queue > 0 and spool_max_bytes > 0):
            raise ValueError("traffic_interval_s, max_queue, spool_max_bytes: expected numbers above 0")
        rng = rng or random.SystemRandom()
        self._clock = clock or SystemClock()
        self._sampler = Sampler(sample_rate, rng.getrandbits(256).to_bytes(32, "big"))
        self._window = TrafficWindow(self._clock.monotonic())
        spool = None if spool_dir is None else Spool(Path(spool_dir), max_bytes=spool_max_bytes, clock=self._clock)
        self._given = publisher
        self._own: Any = None
        self._lock = threading.Lock()
        self._observed = self._sampled = self._invalid = 0
        self._last_invalid: str | None = None
        self._outbox = Outbox(
            OutboxConfig(
                publisher=self._publisher,
                topic=f"projects/{project}/topics/{topic}",
                max_queue=max_queue,
                spool=spool,
                clock=self._clock,
                rng=rng,
                periodic=self._traffic,
                period_s=traffic_interval_s,
            )
        )

    def observe(self, utterance: Utterance) -> None:
        """Call once for every transcribed utterance, errors included, before anyone knows whether it is one.

        Counts it as traffic of its model version and, with probability `sample_rate`, publishes it as a sample. Whether
        it is drawn does not depend on whether it turns out to be an error.
        """
        self._put(lambda: self._observe(utterance))

    def draws(self, utterance_id: str) -> bool:
        """Tell whether `observe` will publish an utterance as a sample: whether a shadow's transcript of it would be of use."""
        return self._sampler.draws(utterance_id)

    def report_error(
        self,
        utterance: Utterance,
        *,
        error_type: str | None = None,
        reference: str | None = None,
        reference_provenance: Provenance | None = None,
    ) -> None:
        """Report that the service transcribed an utterance wrongly: a user corrected it, or a rule fired.

        Args:
            utterance: the one that was observed before.
            error_type: the service's name for the kind of error, at most 100 characters.
            reference: what was really said, where known already.
            reference_provenance: whose word the reference is; a person's when not told.
        """
        self._put(
            lambda: _traced(
                error_event(utterance, self._stamp(), error_type=error_type, reference=reference, provenance=reference_provenance)
            )
        )

    def report_correction(
        self,
        utterance_id: str,
        reference: str,
        *,
        reference_provenance: Provenance = "human",
        by: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Report what was really said in an utterance that was or will be reported or sampled.

        Args:
            utterance_id: the service's name of it.
            reference: what was said, at most 10,000 characters.
            reference_provenance: whose word that is.
            by: who says so, at most 200 characters; None = a user of the service.
            reason: why, in their words, at most 2,000 characters.
        """
        provenance = reference_provenance
        self._put(lambda: _traced(correction_event(utterance_id, reference, self._stamp(), provenance=provenance, by=by, reason=reason)))

    def flush(self, timeout: float = 10.0) -> bool:
        """Publish now what waits, traffic counts and spool included; tell whether all of it was published within `timeout` seconds."""
        return self._outbox.flush(timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Publish what can be published within `timeout` seconds and end; the rest is spooled, or dropped and counted."""
        self._outbox.close(timeout)
        with self._lock:
            own, self._own = self._own, None
        if own is not None:
            with suppress(RuntimeError):  # "already stopped"
                own.stop()
            own.transport.close()

    def stats(self) -> ReporterStats:
        """Return what happened so far."""
        counts, waiting = self._outbox.tally.counts(), self._outbox.waiting()
        with self._lock:
            return ReporterStats(
                observed=self._observed,
                sampled=self._sampled,
                invalid=self._invalid,
                accepted=counts.accepted,
                published=counts.published,
                waiting=waiting,
                spooled=counts.spooled,
                dropped={cause: count for cause, count in counts.dropped.items() if count},
                last_problem=counts.problem,
                last_invalid=self._last_invalid,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _put(self, build: Callable[[], EventMessage | None]) -> None:
        try:
            message = build()
        except InvalidEventError as error:
            with self._lock:
                self._invalid += 1
                self._last_invalid = str(error)
            return
        if message is not None:
            self._outbox.put(message)

    def _observe(self, utterance: Utterance) -> EventMessage | None:
        self._window.count(version_number(utterance.model_version))
        with self._lock:
            self._observed += 1
        self._outbox.start()
        if not self._sampler.draws(str(utterance.utterance_id)):
            return None
        message = sample_event(utterance, self._stamp(), sample_rate=self._sampler.rate)
        with self._lock:
            self._sampled += 1
        return message

    def _traffic(self, room: int) -> list[EventMessage]:
        interval_s, counts = self._window.roll(self._clock.monotonic(), room)
        return [traffic_event(version, count, interval_s, self._stamp()) for version, count in sorted(counts.items())]

    def _stamp(self) -> Stamp:
        return Stamp(uuid.uuid4().hex, self._clock.now())

    def _publisher(self) -> Publisher:
        if self._given is not None:
            return self._given
        with self._lock:
            if self._own is None:
                self._own = google_publisher()
            publisher: Publisher = self._own
            return publisher


def _traced(message: EventMessage) -> EventMessage:
    """Let a message name the caller's span: the thread that publishes it has another."""
    return replace(message, traceparent=current_traceparent())
