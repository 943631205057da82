"""The port of traces on OpenTelemetry's SDK [io]. Loaded only where traces are on.

What leaves a process is what its outermost span of a cycle held: it is exported before the handler returns, since Cloud Run takes the
processor away after the answer. The exporter's own time-out bounds that, and what cannot be exported is lost, never the handler's work.
"""

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from google.auth.exceptions import GoogleAuthError
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, ConsoleSpanExporter, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from shared.bus import Message
from shared.clock import Clock
from shared.log import log
from shared.tracing import OFF, TRACEPARENT, Attribute, PastSpan, Place, SpanRef, Traces, cycle_root, derived_span, sender_of

GOOGLE = "telemetry.googleapis.com"
"""Google Cloud's Telemetry API, which wants the account's own credentials."""
SCOPES = ("https://www.googleapis.com/auth/trace.append",)
TIMEOUT_S = 5.0
"""A handler waits so long at most for its spans to leave, where OTEL_EXPORTER_OTLP_TIMEOUT says nothing else."""
TIMEOUT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class DerivedIds(RandomIdGenerator):
    """Random ids, but for spans whose id is derived."""

    def __init__(self) -> None:
        self._wanted: ContextVar[SpanRef | None] = ContextVar("wanted_span", default=None)

    @contextmanager
    def as_if(self, ref: SpanRef) -> Iterator[None]:
        """Give the span that is started in the block these ids."""
        token = self._wanted.set(ref)
        try:
            yield
        finally:
            self._wanted.reset(token)

    def generate_span_id(self) -> int:
        """Return the id of the next span."""
        wanted = self._wanted.get()
        return wanted.span_id if wanted else super().generate_span_id()

    def generate_trace_id(self) -> int:
        """Return the id of the next trace."""
        wanted = self._wanted.get()
        return wanted.trace_id if wanted else super().generate_trace_id()


class OtelTraces:
    """`Traces` on a tracer provider of our own: the process's global one stays its owner's.

    Args:
        service: name of the part that works, `retune-launcher`.
        uri: address of the bucket whose cycles are traced.
        clock: gives begin and end of spans.
        resource: what else describes the process.
    """

    on = True

    def __init__(self, service: str, uri: str, clock: Clock, *, resource: Mapping[str, str] | None = None) -> None:
        self._uri = uri
        self._clock = clock
        self._ids = DerivedIds()
        described = Resource.create({SERVICE_NAME: service, **(resource or {})})
        self.provider = TracerProvider(resource=described, id_generator=self._ids, shutdown_on_exit=False)
        self._tracer = self.provider.get_tracer("retune")

    @contextmanager
    def span(
        self, name: str, cycle: int, *, message: Message | None = None, attributes: Mapping[str, Attribute] | None = None
    ) -> Iterator[None]:
        """Make the block a span; see `Traces.span`."""
        root = cycle_root(self._uri, cycle)
        around = _ref(trace.get_current_span())
        outermost = around is None or around.trace_id != root.trace_id
        sender = sender_of(message.attributes) if message is not None else None
        inside = [ref for ref in (around, sender) if ref is not None and ref.trace_id == root.trace_id]
        elsewhere = [ref for ref in (around, sender) if ref is not None and ref.trace_id != root.trace_id]
        span = self._tracer.start_span(
            name,
            context=_under(inside[0] if inside else root),
            kind=SpanKind.INTERNAL if message is None else SpanKind.CONSUMER,
            attributes={**_described(cycle, attributes or {}), **(_messaging(message) if message is not None else {})},
            links=[Link(_context(ref)) for ref in elsewhere],
            start_time=_nanoseconds(self._clock.now()),
        )
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                yield
        except BaseException as error:
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
            raise
        finally:
            span.end(_nanoseconds(self._clock.now()))
            if outermost:
                self.provider.force_flush()

    def past(self, span: PastSpan) -> None:
        """Tell a span that has ended; see `Traces.past`."""
        root = cycle_root(self._uri, span.cycle)
        if span.identity is None:
            around = _ref(trace.get_current_span())
            self._tell(span, _under(around if around is not None and around.trace_id == root.trace_id else root))
            return
        own = derived_span(root, span.identity)
        with self._ids.as_if(own):
            self._tell(span, Context() if own == root else _under(root))

    def _tell(self, span: PastSpan, context: Context) -> None:
        told = self._tracer.start_span(
            span.name,
            context=context,
            attributes=_described(span.cycle, span.attributes),
            links=[Link(_context(span.link))] if span.link is not None else [],
            start_time=_nanoseconds(span.start),
        )
        for moment in span.moments:
            told.add_event(moment.name, _prefixed(moment.attributes), _nanoseconds(moment.at))
        told.end(_nanoseconds(span.end))

    def note(self, **attributes: Attribute) -> None:
        """Put attributes on the current span; see `Traces.note`."""
        trace.get_current_span().set_attributes(_prefixed(attributes))

    def carrier(self) -> Mapping[str, str]:
        """Return what names the current span; see `Traces.carrier`."""
        current = _ref(trace.get_current_span())
        return {} if current is None else {TRACEPARENT: current.traceparent}


def open_exported(place: Place, clock: Clock, *, endpoint: str, file: Path | None) -> Traces:
    """Return traces that are exported over OTLP, to a file, or both; see `shared.tracing.open_traces`.

    OpenTelemetry's own variables for resource, sampler, headers and time-out are honoured by its SDK. Where an exporter cannot be made,
    the log says so and there are no traces.
    """
    _tell_failures_once()
    try:
        exporters = [*([_otlp(endpoint)] if endpoint else ()), *([_lines(file)] if file is not None else ())]
    except (GoogleAuthError, OSError, ValueError) as error:
        log(f"traces are not exported: {type(error).__name__}: {error}", severity="WARNING")
        return OFF
    traces = OtelTraces(place.service, place.uri, clock, resource={"gcp.project_id": place.project} if _is_google(endpoint) else None)
    for exporter in exporters:
        traces.provider.add_span_processor(BatchSpanProcessor(exporter))
    return traces


def _is_google(endpoint: str) -> bool:
    return urlsplit(endpoint).hostname == GOOGLE


def _otlp(endpoint: str) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    told = any(os.environ.get(name) for name in TIMEOUT_VARIABLES)
    session = _google_session() if _is_google(endpoint) else None
    return OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=None if told else TIMEOUT_S, session=session)


def _google_session() -> Any:
    import google.auth
    from google.auth.transport.requests import AuthorizedSession

    credentials, _ = google.auth.default(scopes=SCOPES)
    return AuthorizedSession(credentials)


def _lines(file: Path) -> SpanExporter:
    """Append one line of JSON a span; processes may share the file, since each write is appended whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    out = os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), "w", encoding="utf-8")
    return _Lines(out=out, formatter=_line)


class _Lines(ConsoleSpanExporter):
    def shutdown(self) -> None:
        self.out.close()


def _line(span: ReadableSpan) -> str:
    return f"{span.to_json(indent=None)}\n"


class _Once(logging.Handler):
    """Writes the first thing that went wrong to the log, as one of our own lines."""

    told = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, once."""
        if not self.told:
            self.told = True
            log(f"traces are not exported, told once: {record.getMessage()}", severity="WARNING")


def _tell_failures_once() -> None:
    logger = logging.getLogger("opentelemetry")
    if not any(isinstance(handler, _Once) for handler in logger.handlers):
        logger.addHandler(_Once(logging.ERROR))
        logger.propagate = False


def _ref(span: trace.Span) -> SpanRef | None:
    context = span.get_span_context()
    return SpanRef(context.trace_id, context.span_id) if span.is_recording() else None


def _context(ref: SpanRef) -> SpanContext:
    return SpanContext(ref.trace_id, ref.span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _under(ref: SpanRef) -> Context:
    return trace.set_span_in_context(NonRecordingSpan(_context(ref)), Context())


def _described(cycle: int, attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    return _prefixed({"cycle": cycle, **attributes})


def _prefixed(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    return {f"retune.{name}": value for name, value in attributes.items()}


def _messaging(message: Message) -> dict[str, Attribute]:
    found: dict[str, Attribute | None] = {
        "messaging.system": "gcp_pubsub",
        "messaging.operation.type": "process",
        "messaging.message.id": message.message_id,
        "messaging.destination.subscription.name": message.subscription,
        "messaging.gcp_pubsub.message.delivery_attempt": message.delivery_attempt,
    }
    return {name: value for name, value in found.items() if value is not None}


def _nanoseconds(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1) * 1000
