"""Names of traces and spans, and how reports came. Pure."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from functions.cycle_trace import whole_cycle
from shared.arrivals import Arrival, arrived, choose, find_arrival, report_span, with_arrival
from shared.cycle import Status, move, open_cycle
from shared.messages import outgoing, parse_stored
from shared.testing import builders
from shared.testing.clock import START
from shared.tracing import OFF, Moment, PastSpan, SpanRef, cycle_root, derived_span, parse_traceparent, sender_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = SpanRef(int(TRACE, 16), int(SPAN, 16))


def test_a_cycles_trace_is_the_same_for_ever_and_for_nobody_else() -> None:
    root = cycle_root("gs://retune-test", 1)
    assert root.traceparent == "00-331e9fc78eb950ff35f42d0da0b853fa-af55771cc5f16202-01"
    assert len({root, cycle_root("gs://retune-test", 2), cycle_root("gs://retune-tes", 1), cycle_root("gs://retune-test1", 1)}) == 4


def test_a_span_that_is_told_from_records_has_its_id_from_what_it_is() -> None:
    root = cycle_root("gs://b", 3)
    assert derived_span(root, "cycle") == root
    report = derived_span(root, "report e1")
    assert report.trace_id == root.trace_id
    assert report == derived_span(root, "report e1")
    assert len({report, root, derived_span(root, "report e2"), derived_span(cycle_root("gs://b", 4), "report e1")}) == 4


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"00-{TRACE}-{SPAN}-01", GIVEN),
        (f"00-{TRACE}-{SPAN}-00", GIVEN),
        (f"01-{TRACE}-{SPAN}-01", GIVEN),
        (f"cc-{TRACE}-{SPAN}-01-what-a-later-version-adds", GIVEN),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{TRACE}-{SPAN}", None),
        (f"00-{TRACE}-{SPAN}-01\n", None),
        ("", None),
    ],
)
def test_a_header_is_read_as_the_standard_says_and_ignored_where_it_is_malformed(text: str, found: SpanRef | None) -> None:
    assert parse_traceparent(text) == found


def test_what_a_messages_maker_says_goes_before_what_the_publishing_library_does() -> None:
    library = f"00-{TRACE}-{SPAN}-01"
    made = f"00-{TRACE}-{'1' * 16}-01"
    assert sender_of({"googclient_traceparent": library, "traceparent": made}) == SpanRef(int(TRACE, 16), int("1" * 16, 16))
    assert sender_of({"googclient_traceparent": library, "traceparent": "broken"}) == GIVEN
    assert sender_of({"type": "SttError"}) is None


def test_an_event_travels_with_its_span_and_without_one_as_ever() -> None:
    event = builders.error(1)
    assert outgoing(event, {"traceparent": "x"}).attributes == {"type": "SttError", "v": "1", "traceparent": "x"}
    assert outgoing(event, OFF.carrier()) == outgoing(event)


def arrival(seconds: int, traceparent: str | None = None) -> Arrival:
    at = START + timedelta(seconds=seconds)
    return Arrival(published_at=at, collected_at=at + timedelta(seconds=1), traceparent=traceparent)


def test_a_line_of_the_ledger_with_an_arrival_is_the_same_event() -> None:
    event = builders.error(1)
    line = event.model_dump_json(exclude_none=True).encode()
    came = arrival(5, GIVEN.traceparent)
    kept = with_arrival(line, came)
    assert parse_stored(kept) == event
    assert json.loads(kept) == {**json.loads(line), "arrived": json.loads(came.model_dump_json())}
    assert find_arrival(kept) == came
    assert with_arrival(line, None) == line


@pytest.mark.parametrize(
    "line", [b"{}", b'{"hypothesis":"they arrived late"}', b'{"arrived":1}', b'{"arrived":{"published_at":"then"}}', b"arrived"]
)
def test_how_a_report_came_is_none_where_nobody_kept_it(line: bytes) -> None:
    assert find_arrival(line) is None


def test_the_span_of_a_report_reaches_from_the_error_to_its_record_and_is_linked_to_its_producer() -> None:
    event = builders.error(7, at=START)
    span = report_span(3, arrived(event, arrival(5, GIVEN.traceparent)))
    assert span == PastSpan(
        name="report SttError",
        cycle=3,
        start=START,
        end=START + timedelta(seconds=6),
        identity="report e7",
        attributes={"event_id": "e7"},
        moments=(Moment("published", START + timedelta(seconds=5)),),
        link=GIVEN,
    )


def test_a_producers_clock_that_is_ahead_makes_no_span_that_ends_before_it_begins() -> None:
    span = report_span(3, arrived(builders.error(7, at=START + timedelta(hours=1)), arrival(5)))
    assert (span.start, span.end) == (START + timedelta(seconds=5), START + timedelta(seconds=6))


def test_the_reports_that_are_told_span_the_time_in_which_they_came() -> None:
    every = [arrived(builders.error(n), arrival(n)) for n in range(100)]
    assert [report.event_id for report in choose(every[::-1])] == [f"e{n}" for n in range(0, 100, 11)]
    assert choose(every[:4]) == every[:4]


def test_the_whole_of_a_cycle_reaches_from_its_oldest_error_to_its_first_end() -> None:
    def at(minutes: int) -> datetime:
        return START + timedelta(minutes=minutes)

    state = open_cycle(4, Status.PREPARING, at=at(0), by="launcher", cause="c", reason="r")
    for minutes, status in ((1, Status.TRAINING), (9, Status.VALIDATING), (10, Status.ACCEPTED), (11, Status.DEPLOYED)):
        state = move(state, status, at=at(minutes), by="somebody", cause="c", reason="a person's words")
    span = whole_cycle(state, at(-30))
    assert (span.start, span.end, span.identity) == (at(-30), at(11), "cycle")
    assert span.attributes == {"status": "deployed", "attempts": 1, "forced": False}
    assert [(moment.name, moment.at) for moment in span.moments] == [
        ("preparing", at(0)),
        ("training", at(1)),
        ("validating", at(9)),
        ("accepted", at(10)),
        ("deployed", at(11)),
    ]
    rolled_back = move(state, Status.ROLLED_BACK, at=at(500), by="ana", cause="d", reason="bad")
    assert whole_cycle(rolled_back, at(-30)) == span
    assert whole_cycle(state, None).start == at(0)
    assert "person" not in repr(span)


def test_traces_that_are_off_do_nothing() -> None:
    assert not OFF.on
    with OFF.span("x", 1, attributes={"a": 1}):
        OFF.note(b=2)
        assert OFF.carrier() == {}
    OFF.past(PastSpan("x", 1, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC)))
