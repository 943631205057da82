"""The sound of clips that a cycle names, and of no others: exactly the bytes that were pinned, with ranges so that a player can seek."""

import json
import re
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import PurePosixPath
from urllib.parse import quote

from pydantic import ValidationError

from functions.runtime import Ports
from functions.views.scan import lines_naming, naming
from shared import keys
from shared.audio_source import AudioPin, AudioSource
from shared.cas import find
from shared.errors import CorruptObject, InvalidMessage, NotFound
from shared.gold import ReviewItem

MOST_BYTES = 16 << 20
"""Longer recordings are not played here."""
TYPES = {
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".m4a": "audio/mp4",
    ".webm": "audio/webm",
}
BEGINNINGS = (
    (b"RIFF", ".wav"),
    (b"fLaC", ".flac"),
    (b"OggS", ".ogg"),
    (b"ID3", ".mp3"),
    (b"\xff\xfb", ".mp3"),
    (b"\x1a\x45\xdf\xa3", ".webm"),
)
"""How recordings begin: audio that is kept for good has its digest for a name."""
DATASET = "dataset"
"""Stands for the cycle's whole dataset among the names of its sets."""
_SET = re.compile(r"[a-z0-9_-]{1,60}")
_RANGE = re.compile(r"bytes=(\d{0,12})-(\d{0,12})")


@dataclass(frozen=True)
class Sound:
    """An answer: a whole recording, or a part of it.

    Attributes:
        content_range: of a part; None = all of it, or nothing of it that is there.
    """

    status: HTTPStatus
    data: bytes
    content_type: str
    content_range: str | None = None


def audio_address(cycle: int, set_name: str, utterance_id: str) -> str:
    """Return where a clip can be heard, from the console's first page."""
    return f"cycles/{cycle}/audio?set={quote(set_name, safe='')}&utterance={quote(utterance_id, safe='')}"


def gold_address(cycle: int, item: ReviewItem) -> str:
    """Return where a clip can be heard whose gold a person decides; empty = nowhere here."""
    return audio_address(cycle, keys.UNLABELLED_SET, item.utterance_id) if item.audio else ""


def get_pin(ports: Ports, cycle: int, set_name: str, utterance_id: str) -> AudioPin:
    """Return the pin of an utterance in one of the sets that the cycle's spec names, or in its `DATASET`.

    Raises:
        NotFound: there is no such set, or no such utterance in it, or none whose recording is pinned.
        CorruptObject: what is stored there is no clip.
    """
    key = keys.dataset(cycle) if set_name == DATASET else keys.clips(cycle, set_name)
    found = find(ports.store, key) if _SET.fullmatch(set_name) else None
    for line in lines_naming(found.data, naming("utterance_id", utterance_id)) if found is not None else ():
        row = json.loads(line)
        if row.get("utterance_id") == utterance_id and row.get("audio") is not None:
            try:
                return AudioPin.model_validate(row.get("audio"))
            except ValidationError as error:
                raise CorruptObject(f"clip {utterance_id} of cycle {cycle}: expected its audio, found {error}") from error
    raise NotFound(f"cycle {cycle}: expected that utterance in one of its sets, found none")


def read_sound(audio: AudioSource, pin: AudioPin, wanted: str | None) -> Sound:
    """Return what a request asks for.

    Args:
        audio: fetches under the allowed prefixes.
        pin: of the recording.
        wanted: the request's Range header; one that is not understood is answered with all of it, as HTTP allows.

    Raises:
        NotFound: the recording is gone, was replaced, is not allowed or too large.
    """
    if pin.size_bytes > MOST_BYTES:
        raise NotFound(f"this recording has {pin.size_bytes} bytes: expected at most {MOST_BYTES} to be played here")
    try:
        data = audio.fetch(pin)
    except (InvalidMessage, CorruptObject) as error:
        raise NotFound("the recording is not what the dataset names any more, or its address is not allowed") from error
    return part_of(data, content_type(pin.uri, data), wanted)


def content_type(uri: str, data: bytes) -> str:
    """Return the media type of a recording, by its name, else by how it begins."""
    begins = next((suffix for start, suffix in BEGINNINGS if data.startswith(start)), "")
    return TYPES.get(PurePosixPath(uri).suffix.lower()) or TYPES.get(begins, "application/octet-stream")


def part_of(data: bytes, content_type: str, wanted: str | None) -> Sound:
    """Return the one range that is asked for. Source: RFC 9110, section 14."""
    match = _RANGE.fullmatch(wanted or "")
    if match is None or match[0] == "bytes=-":
        return Sound(HTTPStatus.OK, data, content_type)
    first, last, size = match[1], match[2], len(data)
    if not first:
        start, end = max(size - int(last), 0), size - 1
    else:
        start, end = int(first), min(int(last), size - 1) if last else size - 1
        if last and int(last) < start:
            return Sound(HTTPStatus.OK, data, content_type)
    if start >= size or start > end:
        return Sound(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b"", content_type, f"bytes */{size}")
    return Sound(HTTPStatus.PARTIAL_CONTENT, data[start : end + 1], content_type, f"bytes {start}-{end}/{size}")
