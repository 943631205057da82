"""One trace a cycle: names that follow from bucket and cycle alone, and the port that spans go through.

Whoever works for a cycle lands in its trace, on whatever machine and at whatever delivery: the ids of the trace and of its root are
hashes, so that nobody needs to be told them and nothing is kept. Between handlers the W3C `traceparent` travels in the message's
attributes, and says which span caused which. A producer's own trace is another one: it is linked.

Source: W3C Trace Context, section 3.2; OpenTelemetry semantic conventions for messaging.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from shared.bus import Message
from shared.clock import Clock

TRACEPARENT = "traceparent"
GOOGLE_TRACEPARENT = "googclient_traceparent"
"""Where Google's own publisher puts the context, if its tracing is switched on."""
ROOT = "cycle"
"""Name and identity of a cycle's root span."""

ENDPOINT_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT"
FILE_VARIABLE = "RETUNE_TRACES_FILE"
"""Either switches traces on; all else is OpenTelemetry's own variables."""

Attribute = str | int | float | bool
_CONTEXT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")


@dataclass(frozen=True)
class SpanRef:
    """A span of any process.

    Attributes:
        trace_id: 128 bits, not 0.
        span_id: 64 bits, not 0.
    """

    trace_id: int
    span_id: int

    @property
    def traceparent(self) -> str:
        """The W3C header that names it, sampled."""
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-01"


def cycle_root(uri: str, cycle: int) -> SpanRef:
    """Return the root span of a cycle: the same for whoever asks.

    Args:
        uri: address of the bucket: two deployments must not share a trace.
        cycle: number of the cycle, or of the version that it made.
    """
    digest = hashlib.sha256(f"retune\x1f{uri}\x1f{cycle}".encode()).digest()
    return SpanRef(_nonzero(digest[:16]), _nonzero(digest[16:24]))


def derived_span(root: SpanRef, identity: str) -> SpanRef:
    """Return a span of a cycle that is told from records, and may be told again: it is the same span each time."""
    if identity == ROOT:
        return root
    digest = hashlib.sha256(f"{root.traceparent}\x1f{identity}".encode()).digest()
    return SpanRef(root.trace_id, _nonzero(digest[:8]))


def _nonzero(data: bytes) -> int:
    return int.from_bytes(data) or 1


def parse_traceparent(text: str) -> SpanRef | None:
    """Return the span that a header names; None = it is malformed, which the standard wants ignored."""
    match = _CONTEXT.fullmatch(text)
    if match is None or (text.startswith("00") and match[3]):
        return None
    found = SpanRef(int(match[1], 16), int(match[2], 16))
    return found if found.trace_id and found.span_id else None


def sender_of(attributes: Mapping[str, str]) -> SpanRef | None:
    """Return the span in which a message was made: what its maker says goes before what the publishing library does."""
    found = (parse_traceparent(attributes.get(name, "")) for name in (TRACEPARENT, GOOGLE_TRACEPARENT))
    return next((ref for ref in found if ref is not None), None)


@dataclass(frozen=True)
class Moment:
    """Something that happened within a span."""

    name: str
    at: datetime
    attributes: Mapping[str, Attribute] = field(default_factory=dict)


@dataclass(frozen=True)
class PastSpan:
    """A span that is told from records, after it has ended.

    Attributes:
        identity: what the span's id is derived from, under the root; None = another id each time, under the span that is current.
        link: a span of another trace that it belongs to.
    """

    name: str
    cycle: int
    start: datetime
    end: datetime
    identity: str | None = None
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    moments: tuple[Moment, ...] = ()
    link: SpanRef | None = None


class Traces(Protocol):
    """Where spans go. No call raises for what becomes of them."""

    @property
    def on(self) -> bool:
        """Spans go anywhere: what only they need is worth its reads."""
        ...

    def span(
        self, name: str, cycle: int, *, message: Message | None = None, attributes: Mapping[str, Attribute] | None = None
    ) -> AbstractContextManager[None]:
        """Make what happens in the block a span of the cycle's trace; the outermost one is exported when it returns.

        An exception marks it as failed, by its type alone: the text may quote what a person said.

        Args:
            name: one of few.
            cycle: whose trace.
            message: what is handled: the span in which it was made is the parent, or is linked where it is of another trace.
            attributes: by name, without prefix.
        """
        ...

    def past(self, span: PastSpan) -> None:
        """Tell a span that has ended."""
        ...

    def note(self, **attributes: Attribute) -> None:
        """Put attributes on the current span, if there is one."""
        ...

    def carrier(self) -> Mapping[str, str]:
        """Return the message attributes that name the current span; none where there is none."""
        ...


class NoTraces:
    """`Traces` that go nowhere, at no cost."""

    on = False

    @contextmanager
    def span(
        self, name: str, cycle: int, *, message: Message | None = None, attributes: Mapping[str, Attribute] | None = None
    ) -> Iterator[None]:
        """Do nothing; see `Traces.span`."""
        del name, cycle, message, attributes
        yield

    def past(self, span: PastSpan) -> None:
        """Do nothing; see `Traces.past`."""

    def note(self, **attributes: Attribute) -> None:
        """Do nothing; see `Traces.note`."""

    def carrier(self) -> Mapping[str, str]:
        """Return nothing; see `Traces.carrier`."""
        return {}


OFF = NoTraces()


@dataclass(frozen=True)
class Place:
    """Who makes spans, and of which cycles.

    Attributes:
        service: name of the part, `retune-launcher`.
        uri: address of the bucket.
        project: Google Cloud project.
    """

    service: str
    uri: str
    project: str


def open_traces(place: Place, clock: Clock, *, endpoint: str, file: Path | None) -> Traces:
    """Return where spans go; where they go nowhere nothing of OpenTelemetry's SDK is loaded.

    Args:
        place: who makes them.
        clock: gives begin and end of spans.
        endpoint: base address of an OTLP receiver over HTTP, `http://localhost:4318`; empty = none.
        file: that lines of JSON are appended to; None = none.
    """
    if not endpoint and file is None:
        return OFF
    from shared.otel import open_exported

    return open_exported(place, clock, endpoint=endpoint, file=file)


def traces_from_env(place: Place, clock: Clock, environ: Mapping[str, str]) -> Traces:
    """Return where spans go as the environment says; see `open_traces`."""
    file = environ.get(FILE_VARIABLE, "")
    return open_traces(place, clock, endpoint=environ.get(ENDPOINT_VARIABLE, ""), file=Path(file) if file else None)
