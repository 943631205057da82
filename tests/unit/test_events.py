"""What gets in through `parse_event`, and what is refused with which words."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared import messages
from shared.bus import Message
from shared.errors import InvalidMessage, Retryable
from shared.events import (
    FinetuneCancelled,
    FinetuneRequested,
    PinRequested,
    PromoteRequested,
    RollbackRequested,
    SttError,
    WithdrawRequested,
)
from shared.messages import ORIGINAL_ID_ATTRIBUTE, parse_event
from shared.testing.clock import START

ERROR = {
    "event_id": "e-1",
    "occurred_at": "2026-01-05T08:59:00Z",
    "utterance_id": "u-1",
    "audio_uri": "gs://calls/u-1.wav",
    "hypothesis": "call back",
    "model_version": 0,
}


def message(payload: Any, *, type_: str | None = None, v: str | None = None, message_id: str = "77", **attributes: str) -> Message:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    named = {"type": type_, "v": v}
    return Message(data, {**{k: x for k, x in named.items() if x is not None}, **attributes}, message_id, START)


def test_an_event_survives_the_wire() -> None:
    event = SttError(**{**ERROR, "reference": "fall back", "reference_provenance": "human"})
    sent = messages.outgoing(event)
    assert sent.topic == "stt-errors"
    assert parse_event(Message(sent.data, sent.attributes, "1", START)) == event


def test_a_message_without_id_and_time_gets_those_of_its_publish() -> None:
    parsed = parse_event(message({"force": True}))
    assert isinstance(parsed, FinetuneRequested)
    assert parsed.event_id == "pubsub:77"
    assert parsed.occurred_at == START


def test_a_replayed_message_keeps_its_first_identity() -> None:
    parsed = parse_event(message({"force": True}, **{ORIGINAL_ID_ATTRIBUTE: "pubsub:12"}))
    assert parsed.event_id == "pubsub:12"


@pytest.mark.parametrize(
    ("payload", "expected", "field", "value"),
    [
        ({"force": True, "by": "ana"}, FinetuneRequested, "by", "ana"),
        ({"cancel": True}, FinetuneCancelled, "cycle", None),
        ({"cancel": 12}, FinetuneCancelled, "cycle", 12),
        ({"rollback": True}, RollbackRequested, "version", None),
        ({"rollback": 0}, RollbackRequested, "version", 0),
        ({"rollback": True, "to": 9}, RollbackRequested, "to", 9),
        ({"rollback": 12, "to": 9}, RollbackRequested, "to", 9),
        ({"promote": 3, "override": True, "reason": "demo"}, PromoteRequested, "version", 3),
        ({"withdraw": 3}, WithdrawRequested, "version", 3),
        ({"withdraw": 3, "collect": True}, WithdrawRequested, "collect", True),
        ({"pin": 3}, PinRequested, "pinned", True),
        ({"unpin": 3}, PinRequested, "pinned", False),
        ({"unpin": 3, "pinned": True}, PinRequested, "pinned", False),
    ],
)
def test_what_a_person_types_is_the_event_that_its_key_names(payload: dict[str, Any], expected: type, field: str, value: object) -> None:
    parsed = parse_event(message(payload))
    assert type(parsed) is expected
    assert getattr(parsed, field) == value


@pytest.mark.parametrize(
    ("payload", "type_", "words"),
    [
        (b"\xff\xfenot json", "SttError", "expected a JSON object"),
        (b"", None, "expected a JSON object"),
        ([1], "SttError", "found list"),
        ({"force": True, "cancel": True}, None, "exactly one key"),
        ({}, None, "exactly one key"),
        ({"force": False}, None, "expected true"),
        ({"force": 7}, None, "expected true"),
        ({"promote": True}, None, "expected a version number"),
        ({"withdraw": True}, None, "expected a version number"),
        ({"pin": "v3"}, None, "expected a version number"),
        ({"unpin": True}, None, "expected a version number"),
        ({"pin": 3, "unpin": 3}, None, "exactly one key"),
        ({"rollback": True, "to": -1}, None, "to: Input should be greater than or equal to 0"),
        ({"rollback": "v3"}, None, "expected true or a number"),
        (ERROR, "SttOops", "found 'SttOops'"),
        ({k: v for k, v in ERROR.items() if k != "audio_uri"}, "SttError", "audio_uri: Field required"),
        ({**ERROR, "hypothesis": "a" * 10_001}, "SttError", "hypothesis: String should have at most"),
        ({**ERROR, "hypothesis": "a" * 1_000_000}, "SttError", "expected at most 262144 bytes"),
        ({**ERROR, "confidence": 1.5}, "SttError", "confidence"),
        ({**ERROR, "occurred_at": "2026-01-05T08:59:00"}, "SttError", "occurred_at"),
        ({**ERROR, "duration_s": float("nan")}, "SttError", "duration_s"),
        (b"[" * 100_000, "SttError", "expected a JSON object"),
    ],
)
def test_a_bad_message_is_refused_with_what_was_found(payload: Any, type_: str | None, words: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        parse_event(message(payload, type_=type_))
    assert words in str(caught.value)


def test_a_reader_refuses_an_event_of_another_topic() -> None:
    with pytest.raises(InvalidMessage, match=r"expected one of \['SttError'\], found FinetuneRequested"):
        parse_event(message({"force": True}), expect=(SttError,))


def test_unknown_fields_of_a_newer_publisher_are_ignored() -> None:
    assert parse_event(message({**ERROR, "new_field": 1}, type_="SttError", v="1")).event_id == "e-1"


@given(st.binary(max_size=200), st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=3))
def test_no_bytes_break_the_parser(data: bytes, attributes: dict[str, str]) -> None:
    refusal = ""
    try:
        parse_event(Message(data, attributes, "1", START))
    except InvalidMessage as error:
        refusal = str(error)
    assert refusal == "" or refusal.startswith("message 1")


@pytest.mark.parametrize(("type_", "payload"), [("SttError", ERROR), ("SttError", {**ERROR, "mood": "cross"}), ("SttOops", {"new": 1})])
@pytest.mark.parametrize("version", ["2", "17"])
def test_a_message_of_a_newer_release_is_delivered_again_and_not_quarantined(type_: str, payload: dict[str, Any], version: str) -> None:
    with pytest.raises(Retryable, match="which a newer release publishes: delivered again"):
        parse_event(message(payload, type_=type_, v=version))


@pytest.mark.parametrize("version", ["0", "100", "1.5", "-1", "two", ""])
def test_what_is_no_version_of_any_release_to_come_is_malformed(version: str) -> None:
    with pytest.raises(InvalidMessage, match="expected schema version 1-1"):
        parse_event(message(ERROR, type_="SttError", v=version))
