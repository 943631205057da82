"""The messages of topic `stt-errors`: a JSON object, and attributes `type` and `v` (schema version). No I/O.

A message that this module builds is one that Retune accepts; what it would refuse is refused here, where somebody can
still see why.
"""

import json
import math
import operator
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from retune_client.errors import InvalidEventError

SCHEMA_VERSION = "1"
MAX_TEXT_CHARS = 10_000
MAX_VERSION = 999_999
MAX_SECONDS = 366 * 86_400.0
MAX_LABEL_CHARS = 100
MAX_NAME_CHARS = 200
MAX_REASON_CHARS = 2_000
MAX_MESSAGE_BYTES = 256 * 1024

Provenance = Literal["human", "llm"]
_ID = re.compile(r"[^\x00-\x1f]{1,200}")


@dataclass(frozen=True, kw_only=True)
class Utterance:
    """One transcribed utterance of the service. Nothing is checked here, so that building one never raises.

    Attributes:
        utterance_id: the service's name of the utterance; the same in its error, sample and correction.
        audio_uri: `gs://` or `file://` address of mono 16 kHz audio; never audio itself.
        hypothesis: what the service transcribed, at most 10,000 characters.
        model_version: the version that transcribed it, as `ModelRouter.choose` named it (0 for the imported first model).
        occurred_at: aware time of the utterance; None = when it is reported.
        confidence: the service's own, in [0, 1].
        speaker_id, session_id: pseudonyms; utterances of one speaker never stand in both training and test data.
        duration_s: length of the audio in seconds.
        language: BCP 47 tag.
        shadow_hypothesis: what another version transcribed beside; published with a sample, never served.
        shadow_version: that version, as `ModelRouter.choose_shadow` named it.
        device: what the audio came through, in your own words (`telephone`, `headset`), at most 100 characters.
        noise: the name of what is heard behind the speech, or the signal-to-noise ratio in dB.
    """

    utterance_id: str
    audio_uri: str
    hypothesis: str
    model_version: int
    occurred_at: datetime | None = None
    confidence: float | None = None
    speaker_id: str | None = None
    session_id: str | None = None
    duration_s: float | None = None
    language: str | None = None
    shadow_hypothesis: str | None = None
    shadow_version: int | None = None
    device: str | None = None
    noise: str | float | None = None


@dataclass(frozen=True)
class EventMessage:
    """A message that is ready to publish.

    Attributes:
        type: attribute `type`.
        data: UTF-8 JSON object, `event_id` and `occurred_at` included.
        traceparent: attribute `traceparent`: the span that it was reported in; None = none.
    """

    type: str
    data: bytes
    traceparent: str | None = None

    @property
    def attributes(self) -> dict[str, str]:
        """What is published beside the data."""
        told = {} if self.traceparent is None else {"traceparent": self.traceparent}
        return {"type": self.type, "v": SCHEMA_VERSION, **told}


@dataclass(frozen=True)
class Stamp:
    """What makes an event this one: its id (the same however often it is sent) and the time it is reported at."""

    event_id: str
    now: datetime


def error_event(
    utterance: Utterance, stamp: Stamp, *, error_type: str | None = None, reference: str | None = None, provenance: Provenance | None = None
) -> EventMessage:
    """Return an `SttError`: the service transcribed `utterance` wrongly.

    Raises:
        InvalidEventError: a field is out of bounds.
    """
    fields = _utterance_fields(utterance, stamp)
    fields["error_type"] = _text("error_type", error_type, MAX_LABEL_CHARS)
    fields["reference"] = _text("reference", reference, MAX_TEXT_CHARS)
    if reference is not None:
        fields["reference_provenance"] = _provenance(provenance or "human")
    return _message("SttError", fields)


def sample_event(utterance: Utterance, stamp: Stamp, *, sample_rate: float) -> EventMessage:
    """Return an `SttSample`: `utterance` was drawn from all traffic with probability `sample_rate` in (0, 1].

    Raises:
        InvalidEventError: a field is out of bounds.
    """
    fields = {**_utterance_fields(utterance, stamp), "sample_rate": sample_rate}
    if utterance.shadow_hypothesis is not None:
        fields["shadow_hypothesis"] = _text("shadow_hypothesis", utterance.shadow_hypothesis, MAX_TEXT_CHARS)
        fields["shadow_version"] = version_number(utterance.shadow_version)
    return _message("SttSample", fields)


def correction_event(
    utterance_id: str,
    reference: str,
    stamp: Stamp,
    *,
    provenance: Provenance = "human",
    by: str | None = None,
    reason: str | None = None,
) -> EventMessage:
    """Return an `SttCorrection`: what was really said in an utterance that is reported before or after.

    Raises:
        InvalidEventError: a field is out of bounds.
    """
    if reference is None:
        raise InvalidEventError("reference: expected text, found NoneType")
    fields = {
        **_stamp_fields(stamp, None),
        "utterance_id": _identifier("utterance_id", utterance_id),
        "reference": _text("reference", reference, MAX_TEXT_CHARS),
        "reference_provenance": _provenance(provenance),
        "by": _text("by", by, MAX_NAME_CHARS),
        "reason": _text("reason", reason, MAX_REASON_CHARS),
    }
    return _message("SttCorrection", fields)


def traffic_event(model_version: int, utterances: int, interval_s: float, stamp: Stamp) -> EventMessage:
    """Return an `SttTraffic`: how many utterances a version served in the `interval_s` seconds before the stamp."""
    fields = {**_stamp_fields(stamp, None), "model_version": model_version, "utterances": utterances, "interval_s": interval_s}
    return _message("SttTraffic", fields)


def version_number(value: object) -> int:
    """Return a model version as an int (numpy's integers are welcome).

    Raises:
        InvalidEventError: not an integer of 0-999,999.
    """
    try:
        number = -1 if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type]  # callers may be untyped
    except TypeError:
        number = -1
    if not 0 <= number <= MAX_VERSION:
        raise InvalidEventError(f"model_version: expected an integer of 0-{MAX_VERSION}, found another {type(value).__name__}")
    return number


def _utterance_fields(utterance: Utterance, stamp: Stamp) -> dict[str, Any]:
    hypothesis = _text("hypothesis", utterance.hypothesis, MAX_TEXT_CHARS)
    audio_uri = _text("audio_uri", utterance.audio_uri, 2048)
    if hypothesis is None or not audio_uri:
        raise InvalidEventError("hypothesis and audio_uri: expected both, found one missing")
    return {
        **_stamp_fields(stamp, utterance.occurred_at),
        "utterance_id": _identifier("utterance_id", utterance.utterance_id),
        "audio_uri": audio_uri,
        "hypothesis": hypothesis,
        "model_version": version_number(utterance.model_version),
        "confidence": _number("confidence", utterance.confidence, maximum=1.0),
        "speaker_id": None if utterance.speaker_id is None else _identifier("speaker_id", utterance.speaker_id),
        "session_id": None if utterance.session_id is None else _identifier("session_id", utterance.session_id),
        "duration_s": _number("duration_s", utterance.duration_s, maximum=MAX_SECONDS),
        "language": _text("language", utterance.language, 35),
        "device": _text("device", utterance.device, MAX_LABEL_CHARS),
        "noise": _noise(utterance.noise),
    }


def _stamp_fields(stamp: Stamp, occurred_at: object) -> dict[str, Any]:
    at = stamp.now if occurred_at is None else occurred_at
    if not isinstance(at, datetime) or at.utcoffset() is None:
        raise InvalidEventError(f"occurred_at: expected an aware datetime, found {type(at).__name__} without a time zone")
    try:
        return {"event_id": stamp.event_id, "occurred_at": at.astimezone(UTC).isoformat()}
    except OverflowError as error:
        raise InvalidEventError("occurred_at: expected a time of this era, found the end of the calendar") from error


# Values are never quoted in a message: they may be what a person said.


def _identifier(name: str, value: object) -> str:
    if not isinstance(value, str) or not _ID.fullmatch(value):
        raise InvalidEventError(f"{name}: expected 1-200 characters and no control characters, found {_shape(value)}")
    return value


def _text(name: str, value: object, limit: int) -> str | None:
    if value is not None and (not isinstance(value, str) or len(value) > limit):
        raise InvalidEventError(f"{name}: expected text of at most {limit} characters, found {_shape(value)}")
    return value


def _noise(value: object) -> str | float | None:
    if isinstance(value, str):
        return _text("noise", value, MAX_LABEL_CHARS)
    return _number("noise", value, minimum=-100.0, maximum=100.0)


def _number(name: str, value: Any, *, minimum: float = 0.0, maximum: float = math.inf) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not (math.isfinite(number) and minimum <= number <= maximum):
        raise InvalidEventError(f"{name}: expected a number from {minimum:g} to {maximum}, found {_shape(value)}")
    return number


def _provenance(value: object) -> str:
    if value == "human" or value == "llm":  # noqa: PLR1714  # a set would raise on what cannot be hashed
        return str(value)
    raise InvalidEventError(f"reference_provenance: expected human or llm, found {_shape(value)}")


def _shape(value: object) -> str:
    return f"{len(value)} characters" if isinstance(value, str) else type(value).__name__


def _message(event_type: str, fields: Mapping[str, Any]) -> EventMessage:
    present = {name: value for name, value in fields.items() if value is not None}
    try:
        data = json.dumps(present, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except ValueError as error:  # half of a surrogate pair cannot be encoded
        raise InvalidEventError(f"{event_type}: expected text in valid Unicode, found {type(error).__name__}") from error
    if len(data) > MAX_MESSAGE_BYTES:
        raise InvalidEventError(f"{event_type}: expected at most {MAX_MESSAGE_BYTES} bytes, found {len(data)}")
    return EventMessage(event_type, data)
