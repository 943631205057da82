"""The trace of one cycle, read from the file that spans are appended to: a tree with begin and duration of each. Pure but for the read."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import AwareDatetime, ValidationError
from rich.console import Group, RenderableType
from rich.text import Text

from infra.errors import Refused, Unreachable
from infra.wording import when
from shared.documents import Frozen
from shared.tracing import ROOT

PREFIX = "retune."
TOLD = ("status", "outcome", "ending", "move", "attempt")
"""Attributes that stand beside a span's name."""
NAMED = ("report ", "announce ")
"""Spans whose event is known by an id that the service gave."""


class MomentView(Frozen):
    """Something that happened within a span."""

    name: str
    at: AwareDatetime


class SpanView(Frozen):
    """One span, as a line of the file has it.

    Attributes:
        parent_id: None = it is the root.
        failed: type of the error that ended it; None = none did.
        attributes: those of ours, without their prefix.
        links: `trace_id/span_id` of spans of other traces, in hexadecimal.
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    service: str
    name: str
    start: AwareDatetime
    end: AwareDatetime
    failed: str | None
    attributes: dict[str, str | int | float | bool]
    moments: tuple[MomentView, ...]
    links: tuple[str, ...]


class TraceView(Frozen):
    """The trace of one cycle.

    Attributes:
        spans: each once, in the order of their beginning.
    """

    cycle: int
    trace_id: str
    spans: tuple[SpanView, ...]


def read_trace(file: Path, cycle: int | None) -> TraceView:
    """Read the trace of a cycle, the newest by default.

    Raises:
        Unreachable: there is no file.
        Refused: a line is no span, or nothing of the cycle is in the file.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise Unreachable(f"{file}: expected the file of `retune up --traces`, found {error.strerror or error}") from error
    whole = text[: text.rfind("\n") + 1]  # the last line may be on its way
    spans = {span.span_id: span for span in (_parse(file, line) for line in whole.splitlines())}
    cycles = sorted({found for span in spans.values() if isinstance(found := span.attributes.get("cycle"), int) and found > 0})
    wanted = cycle if cycle is not None else max(cycles, default=None)
    own = tuple(
        sorted((span for span in spans.values() if span.attributes.get("cycle") == wanted), key=lambda span: (span.start, span.name))
    )
    if wanted is None or not own:
        raise Refused(f"{file}: expected spans of {'a cycle' if wanted is None else f'cycle {wanted}'}, found those of cycles {cycles}")
    return TraceView(cycle=wanted, trace_id=own[0].trace_id, spans=own)


def _parse(file: Path, line: str) -> SpanView:
    try:
        found: dict[str, Any] = json.loads(line)
        return SpanView(
            trace_id=found["context"]["trace_id"].removeprefix("0x"),
            span_id=found["context"]["span_id"].removeprefix("0x"),
            parent_id=found["parent_id"].removeprefix("0x") if found["parent_id"] else None,
            service=str(found["resource"]["attributes"]["service.name"]),
            name=found["name"],
            start=found["start_time"],
            end=found["end_time"],
            failed=found["status"].get("description") or None,
            attributes={name.removeprefix(PREFIX): value for name, value in found["attributes"].items() if name.startswith(PREFIX)},
            moments=tuple(MomentView(name=event["name"], at=event["timestamp"]) for event in found["events"]),
            links=tuple(_link(link["context"]) for link in found["links"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, ValidationError) as error:
        raise Refused(f"{file}: expected one span a line, as OpenTelemetry's SDK writes it, found {line[:60]!r}") from error


def _link(context: Mapping[str, str]) -> str:
    return "/".join(context[name].removeprefix("0x") for name in ("trace_id", "span_id"))


def render(trace: TraceView) -> RenderableType:
    """Return the tree for people."""
    first, last = trace.spans[0].start, max(span.end for span in trace.spans)
    ended = any(span.name == ROOT and span.parent_id is None for span in trace.spans)
    state = f"{lasting(last - first)} from the first error to the last span" if ended else "has not ended"
    title = Text(f"cycle {trace.cycle}: {state}; trace {trace.trace_id}, since {when(first)}", style="bold")
    rows = [f"{'at':>11} {'lasts':>11}  what", *(_row(span, depth, first) for span, depth in in_tree(trace.spans))]
    return Group(title, *map(Text, rows))


def in_tree(spans: Sequence[SpanView]) -> Iterator[tuple[SpanView, int]]:
    """Yield each span after its parent, with its depth; one whose parent is not there (yet) stands at the top."""
    known = {span.span_id for span in spans}
    under: dict[str | None, list[SpanView]] = defaultdict(list)
    for span in spans:
        under[span.parent_id if span.parent_id in known else None].append(span)

    def walk(parent: str | None, depth: int) -> Iterator[tuple[SpanView, int]]:
        for span in under[parent]:
            yield span, depth
            yield from walk(span.span_id, depth + 1)

    yield from walk(None, 0)


def _row(span: SpanView, depth: int, first: AwareDatetime) -> str:
    told = ", ".join((*_told(span), *(f"linked to trace {link.partition('/')[0]}" for link in span.links)))
    name = f"{'  ' * depth}{span.service.removeprefix('retune-')}: {span.name}"
    return f"{lasting(span.start - first):>11} {lasting(span.end - span.start):>11}  {name}{f' ({told})' if told else ''}"


def _told(span: SpanView) -> Iterator[str]:
    for name in TOLD:
        if name in span.attributes:
            yield f"attempt {span.attributes[name]}" if name == "attempt" else str(span.attributes[name])
    if span.name.startswith(NAMED) and "event_id" in span.attributes:
        yield str(span.attributes["event_id"])
    if span.failed:
        yield f"failed: {span.failed}"


def lasting(time: timedelta) -> str:
    """Return a duration as people read it: `0.25 s`, `12.0 s`, `4 min 05 s`, `3 h 12 min`."""
    seconds = time.total_seconds()
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
