"""One person taken out of stored bytes. Pure: bytes in, bytes without them out.

What must still be counted (events, dataset rows) keeps its event_id and loses everything else; what only describes clips loses its lines.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from shared.dataset import Row
from shared.documents import lines_bytes, parse_lines
from shared.events import Event, SttCorrection, Utterance
from shared.forgotten import Kind
from shared.former import Former
from shared.messages import parse_stored
from shared.splits import cluster_of
from shared.told import Told
from shared.verdict import dump_report, parse_report

Document: TypeAlias = Mapping[str, Any]
NOWHERE = "forgotten:"
"""Stands for an audio_uri: no such address is ever fetched."""


@dataclass(frozen=True)
class Target:
    """Whom to forget, by every name under which they can be met.

    Attributes:
        kind: what the id names.
        token: keyed hash of kind and id; of a speaker it is the cluster.
        split_key: key of the hash.
        utterances: theirs, as far as they are known.
        name: `speaker:<id>` or `session:<id>`; None for an utterance.
    """

    kind: Kind
    token: str
    split_key: bytes = field(repr=False)
    utterances: frozenset[str]
    name: str | None

    @classmethod
    def of(cls, kind: Kind, identity: str, split_key: bytes) -> "Target":
        """Return a target of which no utterance is known yet."""
        name = None if kind == "utterance" else f"{kind}:{identity}"
        own = frozenset({identity}) if kind == "utterance" else frozenset()
        return cls(kind, cluster_of(split_key, speaker=f"{kind}:{identity}"), split_key, own, name)

    def with_utterances(self, found: frozenset[str]) -> "Target":
        """Return it with more utterances."""
        return replace(self, utterances=self.utterances | found)

    def holds(self, document: Document) -> bool:
        """Tell whether an event, a row, a clip or a change is theirs."""
        return document.get("utterance_id") in self.utterances or (self.name is not None and self.named_in(document))

    def named_in(self, document: Document) -> bool:
        """Tell whether the document names them, or the keyed hash of their name."""
        told = (("speaker", document.get("speaker_id")), ("session", document.get("session_id")))
        names = {document.get("speaker"), document.get("session"), *(f"{kind}:{value}" for kind, value in told if value)}
        return self.name in names or document.get("cluster") == self.token


Redactor: TypeAlias = Callable[[bytes, Target], tuple[bytes | None, list[dict[str, Any]]]]
"""Returns the bytes without the target (None = the object goes), and the documents that were theirs: none = nothing changes."""


def prune_lines(data: bytes, target: Target) -> tuple[bytes, list[dict[str, Any]]]:
    """Drop the target's lines of JSON; the others stay to the byte."""
    return _rewrite_lines(data, target, lambda _document: b"")


def prune_told(data: bytes, target: Target) -> tuple[bytes, list[dict[str, Any]]]:
    """Drop the lines that tell of the target; these know everybody by keyed hash."""
    kept: list[Told] = []
    theirs: list[Told] = []
    for line in parse_lines(Told, data, what="what was told"):
        (theirs if target.token in {*line.recording, *line.company} else kept).append(line)
    return (lines_bytes(kept), [line.model_dump() for line in theirs]) if theirs else (data, [])


def drop_former(data: bytes, target: Target) -> tuple[None, list[dict[str, Any]]]:
    """Drop the whole object if a line tells of the target: the next seal makes it anew of what is left."""
    theirs = {target.token, *(cluster_of(target.split_key, speaker=f"utterance:{name}") for name in target.utterances)}
    lines = parse_lines(Former, data, what="what former cycles say")
    return None, [line.model_dump() for line in lines if not theirs.isdisjoint((*line.recording, *line.company))]


def redact_rows(data: bytes, target: Target) -> tuple[bytes, list[dict[str, Any]]]:
    """Empty the target's rows of a dataset: the event stays consumed and counted, in the split that it had."""

    def empty(document: dict[str, Any]) -> Row:
        row = Row.model_validate(document)
        kept = row.model_dump(include={"event_id", "kind", "origin", "occurred_at", "model_version", "split", "weight"})
        return Row.model_validate({**kept, "set_aside": row.set_aside or "forgotten"})

    return _rewrite_lines(data, target, lambda document: lines_bytes([empty(document)]))


def redact_events(data: bytes, target: Target) -> tuple[bytes, list[dict[str, Any]]]:
    """Empty the target's events of a ledger: they stay counted, and a seal sets them aside."""

    def empty(document: dict[str, Any]) -> bytes:
        event = emptied(parse_stored(json.dumps(document)))
        return event.model_dump_json(exclude_none=True).encode() + b"\n"

    return _rewrite_lines(data, target, empty)


def emptied(event: Event) -> Event:
    """Return an event of which only that it happened is left."""
    utterance = f"forgotten-{hashlib.sha256(event.event_id.encode()).hexdigest()[:32]}"
    if isinstance(event, SttCorrection):
        return event.model_copy(update={"utterance_id": utterance, "reference": "", "reason": None})
    if not isinstance(event, Utterance):
        return event
    gone = dict.fromkeys(set(type(event).model_fields) & {*_PERSONAL})
    return event.model_copy(update={**gone, "utterance_id": utterance, "audio_uri": NOWHERE, "hypothesis": ""})


_PERSONAL = (
    "reference",
    "reference_provenance",
    "confidence",
    "speaker_id",
    "session_id",
    "duration_s",
    "language",
    "error_type",
    "device",
    "noise",
    "shadow_hypothesis",
    "shadow_version",
)


def _rewrite_lines(data: bytes, target: Target, rewrite: Callable[[dict[str, Any]], bytes]) -> tuple[bytes, list[dict[str, Any]]]:
    lines, theirs = [], []
    for line in data.splitlines(keepends=True):
        document = _json(line)
        if isinstance(document, dict) and target.holds(document):
            theirs.append(document)
            lines.append(rewrite(document))
        else:
            lines.append(line)
    return b"".join(lines), theirs


def prune_report(data: bytes, target: Target) -> tuple[bytes, list[dict[str, Any]]]:
    """Drop the target's utterances from a verdict's lists; its numbers stay, they tell of nobody."""
    pruned, theirs = prune_json(data, target)
    return (dump_report(parse_report(pruned)), theirs) if theirs else (data, [])


def prune_json(data: bytes, target: Target) -> tuple[bytes, list[dict[str, Any]]]:
    """Drop from every list of a JSON document what is the target's."""
    theirs: list[dict[str, Any]] = []
    pruned = _prune(json.loads(data), target, theirs)
    return (json.dumps(pruned, indent=1).encode(), theirs) if theirs else (data, [])


def _prune(value: Any, target: Target, theirs: list[dict[str, Any]]) -> Any:
    if isinstance(value, dict):
        return {name: _prune(inner, target, theirs) for name, inner in value.items()}
    if not isinstance(value, list):
        return value
    found = [item for item in value if isinstance(item, dict) and target.holds(item)]
    theirs.extend(found)
    return [_prune(item, target, theirs) for item in value if item not in found]


def quarantined(data: bytes, target: Target) -> bool:
    """Tell whether a message that was refused is the target's, as far as it can be read; where it cannot, whether it quotes the id."""
    document = _json(data)
    body = document.get("body") if isinstance(document, dict) else None
    if not isinstance(body, str):
        body = data.decode(errors="replace")  # somebody else wrote it, or it is torn
    payload = _payload(body)
    event = _json(payload)
    if isinstance(event, dict):
        return target.holds(event)
    wanted = {*target.utterances, *([target.name.partition(":")[2]] if target.name else [])}
    return any(json.dumps(name) in text for name in wanted for text in (body, payload.decode(errors="replace")))


def _payload(body: str) -> bytes:
    envelope = _json(body.encode())
    message = envelope.get("message") if isinstance(envelope, dict) else None
    encoded = message.get("data") if isinstance(message, dict) else None
    try:
        return base64.b64decode(encoded or "", validate=True)
    except (binascii.Error, ValueError, TypeError):
        return b""


def utterances_of(documents: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the utterances that documents are about."""
    for document in documents:
        if isinstance(document.get("utterance_id"), str):
            yield document["utterance_id"]


def addresses_of(documents: list[dict[str, Any]]) -> Iterator[str]:
    """Yield where the audio of documents lies."""
    for document in documents:
        pin = document.get("audio")
        address = pin.get("uri") if isinstance(pin, dict) else document.get("audio_uri")
        if isinstance(address, str) and address != NOWHERE:
            yield address


def _json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
