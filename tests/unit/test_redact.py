"""One person taken out of bytes: what goes, what stays to the byte, and what still counts."""

import base64
import json

import pytest

from infra.forget.redact import NOWHERE, Target, prune_json, prune_lines, quarantined, redact_events
from shared.arrivals import Arrival, with_arrival
from shared.events import Event
from shared.forgotten import Kind
from shared.messages import parse_stored
from shared.splits import cluster_of
from shared.testing import builders
from shared.testing.clock import START
from shared.totals import count_events

KEY = b"a key that tests share"


def target(kind: Kind = "speaker", identity: str = "s7", *utterances: str) -> Target:
    return Target.of(kind, identity, KEY).with_utterances(frozenset(utterances))


def stored(*events: Event) -> bytes:
    return b"".join(event.model_dump_json(exclude_none=True).encode() + b"\n" for event in events)


def test_how_a_report_came_goes_with_it_and_stays_with_others() -> None:
    arrival = Arrival(published_at=START, collected_at=START, traceparent=f"00-{'a' * 32}-{'b' * 16}-01")
    theirs, other = (with_arrival(stored(builders.error(number)).strip(), arrival) + b"\n" for number in (7, 8))
    data, found = redact_events(theirs + other, target("speaker", "s7"))
    assert len(found) == 1
    first, second = data.splitlines(keepends=True)
    assert b"arrived" not in first
    assert second == other


def test_only_what_must_be_counted_is_left_of_events() -> None:
    theirs = [builders.error(7, confidence=0.5, session_id="call"), builders.sample(7), builders.correction(7)]
    data, found = redact_events(stored(*theirs, builders.traffic(1, 100)), target("speaker", "s7", "u7"))
    events = [parse_stored(line) for line in data.splitlines()]
    assert len(found) == 3
    assert [event.event_id for event in events] == ["e7", "p7", "c7", "t1"]
    before, after = count_events([*theirs, builders.traffic(1, 100)]), count_events(events)
    assert after.model_copy(update={"corrected": before.corrected}) == before
    error = json.loads(data.splitlines()[0])
    assert {name: error.get(name) for name in ("audio_uri", "hypothesis", "reference", "speaker_id", "session_id", "confidence")} == {
        "audio_uri": NOWHERE,
        "hypothesis": "",
        "reference": None,
        "speaker_id": None,
        "session_id": None,
        "confidence": None,
    }
    assert len({json.loads(line).get("utterance_id") for line in data.splitlines()}) == 4


def test_a_sample_loses_what_another_version_heard_and_what_it_came_through() -> None:
    sample = builders.sample(7, shadow_hypothesis="fall back", shadow_version=3, device="telephone", noise="street")
    data, _ = redact_events(stored(sample), target("speaker", "s7"))
    assert not {"shadow_hypothesis", "shadow_version", "device", "noise"} & json.loads(data).keys()


def test_events_of_others_stay_to_the_byte() -> None:
    data = stored(builders.error(8), builders.correction(9))
    assert redact_events(data, target()) == (data, [])


@pytest.mark.parametrize(
    "document",
    [
        {"speaker": "speaker:s7"},
        {"speaker_id": "s7"},
        {"cluster": cluster_of(KEY, speaker="speaker:s7")},
        {"utterance_id": "u7", "speaker": "speaker:somebody else"},
    ],
)
def test_a_speaker_is_met_under_every_name(document: dict[str, str]) -> None:
    line = json.dumps(document).encode() + b"\n"
    other = b'{"speaker":   "speaker:s77"}\n'
    assert prune_lines(line + other, target("speaker", "s7", "u7")) == (other, [document])


def test_a_session_is_no_speaker_of_the_same_name() -> None:
    lines = [
        {"session": "session:7", "speaker": "speaker:a"},
        {"session_id": "7"},
        {"speaker": "session:7"},
        {"speaker_id": "7"},
        {"speaker": "speaker:7"},
    ]
    data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    assert prune_lines(data, target("session", "7"))[1] == lines[:3]


def test_lists_of_a_document_lose_what_is_theirs_and_its_numbers_stay() -> None:
    document = {
        "clips": 2,
        "set_aside": [{"utterance_id": "u7", "detail": "said"}, {"utterance_id": "u8"}],
        "in": {"deep": [{"speaker_id": "s7"}]},
    }
    pruned, theirs = prune_json(json.dumps(document).encode(), target("speaker", "s7", "u7"))
    assert json.loads(pruned) == {"clips": 2, "set_aside": [{"utterance_id": "u8"}], "in": {"deep": []}}
    assert len(theirs) == 2


@pytest.mark.parametrize(
    ("body", "theirs"),
    [
        (json.dumps({"message": {"data": base64.b64encode(b'{"speaker_id": "s7"}').decode()}}), True),
        (json.dumps({"message": {"data": base64.b64encode(b'{"speaker_id": "s8", "hypothesis": "s7"}').decode()}}), False),
        (json.dumps({"message": {"data": base64.b64encode(b'{"speaker_id": "s7", cut').decode()}}), True),
        ('{"speaker_id": "s7", "hypoth', True),
        ('{"speaker_id": "s77", "hypoth', False),
        ("no message at all", False),
    ],
)
def test_a_refused_message_is_theirs_as_far_as_it_can_be_read(body: str, theirs: bool) -> None:
    assert quarantined(json.dumps({"reason": "unreadable", "body": body}).encode(), target()) is theirs


def test_what_is_torn_in_quarantine_is_theirs_where_it_quotes_the_id() -> None:
    assert quarantined(b'{"function": "collector", "body": "{\\"utterance_id\\": "u7"', target("utterance", "u7", "u7"))
    assert not quarantined(b'{"function": "collector", "body": "u70', target("utterance", "u7", "u7"))
