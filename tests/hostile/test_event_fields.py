"""`parse_event` on anything: an event whose numbers stay in bounds, or a refusal of a few lines; and what stands in a ledger can be read."""

import json
from datetime import UTC, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.collector.handler import MAX_EVENTS
from shared import events, keys, ledger
from shared.bus import Message
from shared.errors import CorruptObject, InvalidMessage
from shared.events import EVENT_TYPES, Event, SttTraffic
from shared.messages import outgoing, parse_event, parse_stored
from shared.testing.clock import START
from shared.testing.memory_store import MemoryStore

FUZZ = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
METADATA_BYTES = 8 * 1024
"""Cloud Storage: the most that an object's custom metadata may have."""

REFUSAL_CHARS = 3_000
NUMBERS = st.integers() | st.sampled_from([-1, 0, 1, 10**6, 2**63, 10**400, True]) | st.floats()
TEXTS = st.text(st.characters(codec=None), max_size=20) | st.sampled_from(
    ["", "\0", "\u2028", "../../x", "a" * 201, "2026-01-05T08:59:00Z"]
)
VALUES = st.none() | NUMBERS | TEXTS | st.lists(TEXTS, max_size=3) | st.dictionaries(st.text(max_size=3), NUMBERS, max_size=2)
FIELDS = sorted(
    {name for cls in EVENT_TYPES.values() for name in cls.model_fields} | {"force", "approve", "promote", "rollback", "pin", "unpin"}
)


def typed(name: str | None, payload: Any) -> Message:
    return Message(json.dumps(payload).encode(), {} if name is None else {"type": name}, "7", START)


def valid(cls: type[Event]) -> st.SearchStrategy[dict[str, Any]]:
    """Make payloads that are nearly events: every field there, each one right or wrong."""
    right = {
        "event_id": st.just("e-1"),
        "occurred_at": st.datetimes(timezones=st.just(UTC)).map(lambda at: at.isoformat()),
        "reason": st.just("bad_spec"),
        "report_sha256": st.just("a" * 64),
        "manifest_sha256": st.just("b" * 64),
    }
    default = st.sampled_from([0, 1, 0.5, "text", True, 999_999])
    return st.fixed_dictionaries({name: right.get(name, default) | VALUES for name in cls.model_fields if name != "type"})


def parsed(message: Message) -> Event | None:
    """Return the event; None where it is refused, in a few lines."""
    try:
        return parse_event(message)
    except InvalidMessage as error:
        if len(str(error)) > REFUSAL_CHARS:
            raise AssertionError(f"{len(str(error))} characters of refusal") from error
        return None


def check_bounds(value: Any) -> None:
    for found in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        check_bounds(found)
    if isinstance(value, int | float):
        assert abs(value) <= events.MAX_COUNT
    if isinstance(value, str):
        assert len(value) <= events.MAX_TEXT_CHARS
        value.encode()


@FUZZ
@given(data=st.data())
def test_what_is_nearly_an_event_is_one_or_refused_in_a_few_lines(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(EVENT_TYPES)))
    message = typed(name, data.draw(valid(EVENT_TYPES[name])))
    event = parsed(message)
    if event is None:
        return
    assert event.occurred_at.astimezone(UTC) + timedelta(days=365) > event.occurred_at - timedelta(days=365)
    check_bounds(event.model_dump(mode="json"))
    sent = outgoing(event)
    assert parse_event(Message(sent.data, sent.attributes, "8", START)) == event
    assert sent.data.count(b"\n") == 0
    assert parse_stored(sent.data) == event


@FUZZ
@given(
    name=st.none() | st.sampled_from(sorted(EVENT_TYPES)) | st.text(max_size=8),
    payload=st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=6),
)
def test_any_object_is_an_event_or_refused_in_a_few_lines(name: str | None, payload: dict[str, Any]) -> None:
    event = parsed(typed(name, payload))
    if event is not None:
        check_bounds(event.model_dump(mode="json"))


@FUZZ
@given(data=st.binary(max_size=300), name=st.none() | st.sampled_from(sorted(EVENT_TYPES)))
def test_no_bytes_are_an_event_by_accident(data: bytes, name: str | None) -> None:
    with pytest.raises(InvalidMessage):
        parse_event(Message(data, {} if name is None else {"type": name}, "7", START))


def test_counters_of_the_largest_batch_fit_into_an_objects_metadata() -> None:
    batch = [
        SttTraffic(event_id=f"t{n}", occurred_at=START, model_version=keys.MAX_NUMBER - n, utterances=events.MAX_COUNT, interval_s=1.0)
        for n in range(MAX_EVENTS)
    ]
    store = MemoryStore()
    ledger.append(store, batch, "token")
    (info,) = store.list("ledger/")
    assert sum(len(name) + len(value) for name, value in info.metadata.items()) < METADATA_BYTES
    assert ledger.count(store, 1).utterances_by_version[keys.MAX_NUMBER] == events.MAX_COUNT


@pytest.mark.parametrize("number", [-1, 1_000_000, 10**5_000], ids=["below", "above", "far above"])
def test_a_number_that_has_no_place_in_a_key_makes_none(number: int) -> None:
    with pytest.raises(InvalidMessage, match="expected a number of 0-999999"):
        keys.padded(number)


@pytest.mark.parametrize(
    "key",
    [
        "models/README.md",
        "models/latest/manifest.json",
        "cycles/12/state.json",
        "cycles/-00012/x",
        "cycles/\u0661\u0661\u0661\u0661\u0661\u0661/x",
        "",
    ],
)
def test_a_foreign_object_among_ours_is_named(key: str) -> None:
    with pytest.raises(CorruptObject, match="expected a name such as"):
        keys.cycle_of(key)
