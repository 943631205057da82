"""Builders of events and documents for tests: what matters is passed, the rest is valid."""

from datetime import datetime
from typing import Any

from shared.audio_source import AudioPin
from shared.bus import Message
from shared.cycle import CycleState, Entry, Status
from shared.events import Event, SttCorrection, SttError, SttSample, SttTraffic
from shared.messages import outgoing
from shared.objectstore import crc32c_base64
from shared.testing.clock import START

CALLS = "gs://calls"


def error(number: int, *, at: datetime = START, reference: str | None = "fall back", **fields: Any) -> SttError:
    """Return the error of utterance `u<number>`, spoken by `s<number>`, with a person's reference."""
    return SttError(**{**_utterance(number, at), "event_id": f"e{number}", "reference": reference, **fields})


def sample(number: int, *, at: datetime = START, **fields: Any) -> SttSample:
    """Return a sample of utterance `u<number>` at rate 1/10."""
    return SttSample(**{**_utterance(number, at), "event_id": f"p{number}", "sample_rate": 0.1, **fields})


def correction(number: int, *, at: datetime = START, reference: str = "fall back", **fields: Any) -> SttCorrection:
    """Return a person's correction of utterance `u<number>`."""
    return SttCorrection(**{"event_id": f"c{number}", "occurred_at": at, "utterance_id": f"u{number}", "reference": reference, **fields})


def traffic(number: int, utterances: int, *, version: int = 0, at: datetime = START) -> SttTraffic:
    """Return the report that `version` served `utterances` in a minute."""
    return SttTraffic(event_id=f"t{number}", occurred_at=at, model_version=version, utterances=utterances, interval_s=60.0)


def _utterance(number: int, at: datetime) -> dict[str, Any]:
    return {
        "occurred_at": at,
        "utterance_id": f"u{number}",
        "audio_uri": f"{CALLS}/u{number}.wav",
        "hypothesis": "call back",
        "model_version": 0,
        "speaker_id": f"s{number}",
    }


def message(event: Event, *, message_id: str = "1", at: datetime = START) -> Message:
    """Return an event as the bus would deliver it."""
    sent = outgoing(event)
    return Message(sent.data, sent.attributes, message_id, at)


def typed(text: str, *, message_id: str = "1") -> Message:
    """Return what a person published with `gcloud pubsub topics publish --message`."""
    return Message(text.encode(), {}, message_id, START)


def pin(number: int) -> AudioPin:
    """Return the pin of the audio of utterance `u<number>`: its bytes are its own name."""
    data = audio_bytes(number)
    return AudioPin(uri=f"{CALLS}/u{number}.wav", generation=1, crc32c=crc32c_base64(data), size_bytes=len(data))


def audio_bytes(number: int) -> bytes:
    """Return what lies at the audio_uri of utterance `u<number>` in tests that decode no audio."""
    return f"audio of u{number}".encode()


def cycle_state(
    status: Status,
    *,
    cycle: int = 1,
    attempt: int = 1,
    at: datetime = START,
    opened: Status = Status.PREPARING,
    reason: str = "because",
) -> CycleState:
    """Return a cycle that opened and came to `status` at the same time, whatever moves the table allows."""
    ways = (opened,) if status == opened else (opened, status)
    entries = tuple(Entry(status=way, at=at, by="somebody", cause=f"{way} {cycle}", reason=reason, attempt=attempt) for way in ways)
    return CycleState(cycle=cycle, status=status, attempt=attempt, history=entries)
