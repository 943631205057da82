"""What the client and Retune say to each other, both ways.

Whatever the reporter publishes, Retune's only way in accepts; what Retune would refuse never leaves the client. The alias
and the manifests that Retune writes are understood by the router.
"""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from retune_client import ErrorReporter, Utterance
from retune_client.errors import InvalidEventError
from retune_client.events import EventMessage, Stamp, correction_event, error_event, sample_event, traffic_event
from retune_client.moves import seq_of
from retune_client.registry import MODEL_SUFFIXES, Alias, Canary, Manifest, ModelFile, parse_alias, parse_manifest
from retune_client.sampling import MAX_VERSIONS
from retune_client.testing import START, ManualClock, MemoryPublisher, Published

from shared import manifest as manifests
from shared.bus import Message
from shared.documents import document_bytes
from shared.errors import InvalidMessage
from shared.events import Event, SttCorrection, SttError, SttSample, SttTraffic
from shared.manifest import FileDigest, ModelManifest
from shared.messages import outgoing, parse_event
from shared.registry import CODEC, Command, Production, decide_canary, decide_promote

FULL = Utterance(
    utterance_id="call-7/12",
    audio_uri="gs://audio/call-7/12.wav",
    hypothesis="die Überweisung \u2028 nach Łódź 🎙",
    model_version=11,
    occurred_at=datetime(2026, 1, 4, 23, 30, tzinfo=timezone(timedelta(hours=5, minutes=53, seconds=28))),
    confidence=0.75,
    speaker_id="s-1",
    session_id="call-7",
    duration_s=2.5,
    language="de-DE",
    device="Freisprechanlage",
    noise=-3.5,
)
BARE = Utterance(utterance_id="u", audio_uri="file:///a.wav", hypothesis="", model_version=0)
STAMP = Stamp("0" * 32, START)


def parsed(message: Published | EventMessage) -> Event:
    attributes = dict(message.attributes) if isinstance(message, Published) else {"type": message.type, "v": "1"}
    return parse_event(Message(message.data, attributes, "1", START), expect=(SttError, SttSample, SttCorrection, SttTraffic))


def published(use: Callable[[ErrorReporter], None]) -> list[Published]:
    publisher, clock = MemoryPublisher(), ManualClock()
    with ErrorReporter("shop", sample_rate=1.0, publisher=publisher, clock=clock, rng=random.Random(1)) as reporter:
        use(reporter)
        clock.advance(12.5)
    assert reporter.stats().published == len(publisher.messages) == reporter.stats().accepted
    return publisher.messages


def test_an_error_with_every_field_arrives_as_it_was_reported() -> None:
    (message,) = published(lambda reporter: reporter.report_error(FULL, error_type="homophone", reference="die Überweisung"))
    assert message.topic == "projects/shop/topics/stt-errors"
    event = parsed(message)
    assert event == SttError(
        event_id=event.event_id,
        occurred_at=FULL.occurred_at or START,
        utterance_id="call-7/12",
        audio_uri="gs://audio/call-7/12.wav",
        hypothesis=FULL.hypothesis,
        model_version=11,
        reference="die Überweisung",
        reference_provenance="human",
        confidence=0.75,
        speaker_id="s-1",
        session_id="call-7",
        duration_s=2.5,
        language="de-DE",
        device="Freisprechanlage",
        noise=-3.5,
        error_type="homophone",
    )
    assert len(event.event_id) == 32


def test_an_error_with_the_required_fields_alone_arrives_at_the_reporters_time() -> None:
    (message,) = published(lambda reporter: reporter.report_error(BARE))
    event = parsed(message)
    assert isinstance(event, SttError)
    assert (event.occurred_at, event.hypothesis, event.reference, event.reference_provenance) == (START, "", None, None)


def test_samples_carry_their_rate_and_traffic_its_interval() -> None:
    sample, traffic = map(parsed, published(lambda reporter: reporter.observe(FULL)))
    assert isinstance(sample, SttSample)
    assert (sample.sample_rate, sample.utterance_id, sample.confidence) == (1.0, "call-7/12", 0.75)
    assert isinstance(traffic, SttTraffic)
    # nothing else moves the clock: 12.5 s from the start to the end
    assert (traffic.model_version, traffic.utterances, traffic.interval_s) == (11, 1, 12.5)
    assert traffic.occurred_at == START + timedelta(seconds=12.5)


def test_what_a_shadow_heard_arrives_with_the_sample_and_never_with_an_error() -> None:
    utterance = replace(FULL, shadow_hypothesis="die Überweisung nach Łódź", shadow_version=12)

    def use(reporter: ErrorReporter) -> None:
        assert reporter.draws(utterance.utterance_id)
        reporter.observe(utterance)
        reporter.report_error(utterance)

    sample, error, _ = map(parsed, published(use))
    assert isinstance(sample, SttSample)
    assert (sample.model_version, sample.shadow_version, sample.shadow_hypothesis) == (11, 12, "die Überweisung nach Łódź")
    assert isinstance(error, SttError)
    with pytest.raises(InvalidEventError, match="model_version: expected an integer of 0-999999, found another NoneType"):
        sample_event(replace(utterance, shadow_version=None), STAMP, sample_rate=0.5)


def test_a_correction_arrives_with_its_provenance_and_with_who_says_so_and_why() -> None:
    def correct(reporter: ErrorReporter) -> None:
        reporter.report_correction("call-7/12", "nach Lodz")
        reporter.report_correction("call-7/12", "nach Łódź", reference_provenance="llm", by="ann", reason="the caller spelt it")

    plain, full = map(parsed, published(correct))
    assert isinstance(plain, SttCorrection)
    assert isinstance(full, SttCorrection)
    assert (plain.utterance_id, plain.reference, plain.reference_provenance) == ("call-7/12", "nach Lodz", "human")
    assert (plain.by, plain.reason) == (None, None)
    assert (full.reference, full.reference_provenance, full.by, full.reason) == ("nach Łódź", "llm", "ann", "the caller spelt it")


@pytest.mark.parametrize("told", [{"by": "x" * 201}, {"reason": "x" * 2_001}, {"by": 7}], ids=lambda told: next(iter(told)))
def test_a_correction_that_retune_would_refuse_is_not_published(told: dict[str, Any]) -> None:
    with pytest.raises(InvalidEventError, match=f"{next(iter(told))}: expected text of at most"):
        correction_event("u", "nach Łódź", STAMP, **told)
    fields = {**json.loads(correction_event("u", "nach Łódź", STAMP).data), **told}
    with pytest.raises(InvalidMessage):
        parsed(EventMessage("SttCorrection", json.dumps(fields).encode()))


@pytest.mark.parametrize(
    "fields",
    [
        {"utterance_id": ""},
        {"utterance_id": "a\nb"},
        {"utterance_id": "x" * 201},
        {"utterance_id": None},
        {"audio_uri": ""},
        {"audio_uri": "gs://" + "x" * 2044},
        {"hypothesis": "x" * 10_001},
        {"hypothesis": "\ud800"},
        {"hypothesis": None},
        {"model_version": -1},
        {"model_version": "latest"},
        {"confidence": 1.01},
        {"confidence": float("nan")},
        {"duration_s": float("inf")},
        {"speaker_id": ""},
        {"language": "x" * 36},
        {"device": "x" * 101},
        {"noise": "x" * 101},
        {"noise": 100.5},
        {"noise": float("nan")},
        {"occurred_at": datetime(2026, 1, 1)},  # noqa: DTZ001  # that is the point
    ],
    ids="-".join,
)
def test_what_retune_would_refuse_is_counted_and_not_published(fields: dict[str, Any]) -> None:
    values = {**{name: getattr(FULL, name) for name in FULL.__dataclass_fields__}, **fields}
    publisher = MemoryPublisher()
    with ErrorReporter("shop", publisher=publisher, clock=ManualClock()) as reporter:
        reporter.report_error(Utterance(**values))
        stats = reporter.stats()
    assert (stats.invalid, stats.accepted, publisher.messages) == (1, 0, [])
    assert stats.last_invalid
    fresh = {**json.loads(error_event(FULL, STAMP).data), **{name: value for name, value in fields.items() if name != "occurred_at"}}
    if "occurred_at" in fields:
        fresh["occurred_at"] = "2026-01-01T00:00:00"
    with pytest.raises(InvalidMessage):
        parsed(EventMessage("SttError", json.dumps(fresh).encode()))


identifiers = st.text(max_size=220)
texts = st.one_of(st.text(max_size=200), st.text(alphabet="\x00é🎙\ud800", max_size=60), st.just("🎙" * 10_000))
utterances = st.builds(
    Utterance,
    utterance_id=identifiers,
    audio_uri=st.text(max_size=60),
    hypothesis=texts,
    model_version=st.integers(-1, 2**64),
    occurred_at=st.none() | st.datetimes(timezones=st.none() | st.timezones()),
    confidence=st.none() | st.floats(-0.1, 1.1) | st.just(float("nan")),
    speaker_id=st.none() | identifiers,
    session_id=st.none() | identifiers,
    duration_s=st.none() | st.floats(allow_nan=True),
    language=st.none() | st.text(max_size=40),
    device=st.none() | st.text(max_size=110),
    noise=st.none() | st.text(max_size=110) | st.floats(),
)


@given(utterance=utterances, reference=st.none() | texts, rate=st.floats(0, 1, exclude_min=True))
def test_every_message_that_can_be_built_parses(utterance: Utterance, reference: str | None, rate: float) -> None:
    builders: list[Callable[[], EventMessage]] = [
        lambda: error_event(utterance, STAMP, error_type=utterance.language, reference=reference),
        lambda: sample_event(utterance, STAMP, sample_rate=rate),
        lambda: correction_event(utterance.utterance_id, reference or "", STAMP, by=utterance.speaker_id, reason=reference),
    ]
    for build in builders:
        try:
            message = build()
        except InvalidEventError:
            continue
        event = parsed(message)
        assert event.event_id == STAMP.event_id
        assert event.occurred_at.tzinfo == UTC or event.occurred_at.utcoffset() == timedelta(0)


def test_traffic_of_the_most_versions_in_an_interval_parses() -> None:
    events = [parsed(traffic_event(version, 1, 0.001, STAMP)) for version in range(MAX_VERSIONS)]
    assert {event.model_version for event in events if isinstance(event, SttTraffic)} == set(range(MAX_VERSIONS))


def test_the_alias_that_retune_writes_is_what_the_router_follows() -> None:
    assert parse_alias(CODEC.dump(Production())) == Alias(seq=0)

    def command(cause: str) -> Command:
        return Command(cause=cause, at=START, by="ann", reason="better")

    production: Production | None = None
    seqs = []
    for version in (1, 2, 3):
        promoted = decide_promote(production, version, command(f"e{version}"), champion=version - 1 or None)
        production = promoted.state
        seqs += [seq_of(outgoing(event).data) for event in promoted.events]
    production = decide_canary(production, 4, 25, command("e4"), champion=3).state
    assert production is not None
    assert parse_alias(CODEC.dump(production)) == Alias(4, 3, Canary(4, 25), (2, 1))
    assert seqs == [1, 2, 3]


def test_the_manifest_that_the_trainer_writes_is_what_the_cache_verifies_and_both_know_the_same_suffixes() -> None:
    plain = FileDigest(name="config.json", sha256="a" * 64, crc32c="AAAAAA==", size_bytes=2)
    moved = FileDigest(name="model.safetensors", sha256="b" * 64, crc32c="AAAAAA==", size_bytes=3, stored_name="model.safetensors-2f")
    manifest = ModelManifest(version=12, origin="trained", created_at=START, files=(plain, moved), base_version=11, learned=(12,))
    files = (
        ModelFile("config.json", "config.json", "a" * 64, 2, "AAAAAA=="),
        ModelFile("model.safetensors", "model.safetensors-2f", "b" * 64, 3, "AAAAAA=="),
    )
    assert MODEL_SUFFIXES == manifests.MODEL_SUFFIXES
    assert parse_manifest(document_bytes(manifest), 12) == Manifest(12, files)
