"""How a report came: kept beside it on its line of the ledger where traces are on, and told in the cycle's trace. Pure."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from heapq import nsmallest
from zlib import crc32

from pydantic import AwareDatetime, ValidationError

from shared.documents import Frozen, line_bytes
from shared.events import Event
from shared.tracing import Moment, PastSpan, parse_traceparent

FIELD = "arrived"
"""A reader of events ignores it, also one of an older release."""
TOLD = 10
"""So many reports of a cycle are told at most: whoever wants all of them has the ledger."""
LOOKED_AT = 2_000


class Arrival(Frozen):
    """How a report came.

    Attributes:
        published_at: when the bus took it.
        collected_at: when the collector did.
        traceparent: the producer's span in which it was made; None = nobody told.
    """

    published_at: AwareDatetime
    collected_at: AwareDatetime
    traceparent: str | None = None


@dataclass(frozen=True)
class Arrived:
    """A report and how it came."""

    event_id: str
    event_type: str
    occurred_at: AwareDatetime
    arrival: Arrival


def arrived(event: Event, arrival: Arrival) -> Arrived:
    """Return a report with how it came."""
    return Arrived(event.event_id, type(event).__name__, event.occurred_at, arrival)


def with_arrival(line: bytes, arrival: Arrival | None) -> bytes:
    """Return the line of an event with how it came."""
    if arrival is None:
        return line
    return b'%b,"%b":%b}' % (line.removesuffix(b"}"), FIELD.encode(), line_bytes(arrival))


def find_arrival(line: bytes) -> Arrival | None:
    """Return how the report on a line came; None where nobody kept it."""
    if FIELD.encode() not in line:
        return None
    try:
        return Arrival.model_validate(json.loads(line)[FIELD])
    except (ValueError, KeyError, ValidationError):
        return None


def report_span(cycle: int, report: Arrived) -> PastSpan:
    """Return the span from an error to its record: the same whoever tells it."""
    arrival = report.arrival
    return PastSpan(
        name=f"report {report.event_type}",
        cycle=cycle,
        start=min(report.occurred_at, arrival.published_at),
        end=max(arrival.collected_at, arrival.published_at),
        identity=f"report {report.event_id}",
        attributes={"event_id": report.event_id},
        moments=(Moment("published", arrival.published_at),),
        link=parse_traceparent(arrival.traceparent or ""),
    )


def choose(reports: Iterable[Arrived]) -> list[Arrived]:
    """Return at most `TOLD` reports, evenly over the time in which they came, each once: the first and the last are among them.

    Of many, those are looked at whose ids have the least checksums: the same whoever asks again, and no more are held.
    """
    ends: list[Arrived] = []

    def watched() -> Iterator[Arrived]:
        for report in reports:
            ends[:] = [min(*ends, report, key=_when), max(*ends, report, key=_when)] if ends else [report, report]
            yield report

    sample = nsmallest(LOOKED_AT, watched(), key=lambda report: (crc32(report.event_id.encode()), _when(report)))
    first: dict[str, Arrived] = {}
    for report in sorted([*sample, *ends], key=_when):
        first.setdefault(report.event_id, report)
    inorder = list(first.values())
    if len(inorder) <= TOLD:
        return inorder
    return [inorder[place * (len(inorder) - 1) // (TOLD - 1)] for place in range(TOLD)]


def _when(report: Arrived) -> tuple[datetime, str]:
    return report.arrival.collected_at, report.event_id
