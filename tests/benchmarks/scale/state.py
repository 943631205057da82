"""A bucket as it is after years of work: written object by object, without running a single cycle.

What a past cycle leaves are the goldens of a release (`tests.stored`) under another number and with recordings of its own; a cycle began
every day. The events of the open ledger lie in segments and parts as the collector and the sweeper write them.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

from shared import keys, ledger
from shared.audio_source import AudioPin
from shared.cas import WRITE_ID
from shared.corpora import CorpusClip
from shared.dataset import Row, clip
from shared.documents import document_bytes, lines_bytes
from shared.events import Event, SttCorrection, SttError, SttSample, SttTraffic
from shared.head import Head
from shared.ids import derived_event_id
from shared.manifest import ModelManifest
from shared.objectstore import ObjectStore, crc32c_base64
from shared.policy import Policy
from shared.registry import Move, Production
from shared.splits import cluster_of, split_of
from shared.testing.builders import CALLS
from shared.testing.clock import FakeClock
from shared.totals import TOTALS, Totals, count_events
from tests import stored

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SPLIT_KEY = b"a key that tests share"
POLICY = Policy(min_error_cases=50, auto_approve_finetuning=True)
PAST_ROWS = 24
"""Rows of each earlier dataset, as many as the golden has."""
REGULARS = 50
"""Speakers who call again and again."""
DEPLOYED_EVERY = 5
SEGMENT_EVENTS = 100
PART_EVENTS = 10_000
_GOLDEN = "000001"
T = TypeVar("T")


@dataclass(frozen=True)
class Size:
    """How much a bucket holds.

    Attributes:
        events: in the open ledger.
        cycles: that have ended.
        compacted: the open ledger lies in parts, but for one segment.
    """

    events: int
    cycles: int
    compacted: bool

    @property
    def open_cycle(self) -> int:
        """The cycle that collects."""
        return self.cycles + 1


def write_bucket(store: ObjectStore, clock: FakeClock, size: Size) -> None:
    """Write everything; afterwards the clock stands at NOW.

    Args:
        store: empty; it takes its times from `clock`.
        clock: stands before the first cycle, see `first_moment`.
        size: how much.
    """
    store.put(keys.SPLIT_KEY, SPLIT_KEY)
    _write_corpora(store)
    templates = list(_templates())
    for cycle in range(1, size.cycles + 1):
        clock.advance((opened_at(size, cycle) - clock.now()).total_seconds())
        _write_cycle(store, templates, size, cycle, clock.now())
    clock.advance((NOW - clock.now()).total_seconds())
    _write_registry(store, size)
    store.put(keys.HEAD, document_bytes(Head(cycle=size.open_cycle)))
    write_ledger(store, size)


def first_moment(size: Size) -> datetime:
    """Return a time before the first cycle."""
    return opened_at(size, 1) - timedelta(days=1)


def opened_at(size: Size, cycle: int) -> datetime:
    """Return when a past cycle opened: one began every day, the last one yesterday."""
    return NOW - timedelta(days=size.cycles + 1 - cycle)


def _templates() -> Iterator[tuple[str, bytes]]:
    golden = stored.read("0.1.0")
    written = (f"cycles/{_GOLDEN}/", f"runs/{_GOLDEN}/", f"verdicts/{_GOLDEN}/")
    for info in golden.list(""):
        if info.key.startswith(written) and not info.key.endswith(("dataset.jsonl", "watch.json")):
            yield info.key, golden.get(info.key).data


def deployed(size: Size) -> list[int]:
    """Return the versions that were stable, oldest first: the imported one, then each of so many cycles, the last cycle's always."""
    return [0, *(cycle for cycle in range(1, size.cycles + 1) if (size.cycles - cycle) % DEPLOYED_EVERY == 0)]


def _write_cycle(store: ObjectStore, templates: Sequence[tuple[str, bytes]], size: Size, cycle: int, opened: datetime) -> None:
    for key, data in templates:
        numbered = data.replace(_GOLDEN.encode(), keys.padded(cycle).encode())
        if key.endswith(".json"):
            numbered = _renumbered(numbered, cycle, opened, promoted=(size.cycles - cycle) % DEPLOYED_EVERY == 0)
        store.put(key.replace(_GOLDEN, keys.padded(cycle)), numbered, content_type="application/json")
    rows = past_rows(cycle, opened)
    store.put(keys.dataset(cycle), lines_bytes(rows), content_type="application/x-ndjson")
    held_out = [clip(row, stratum="errors" if row.kind == "error" else "traffic") for row in rows if row.split == "holdout" and row.usable]
    store.put(keys.holdout(cycle), lines_bytes(held_out), content_type="application/x-ndjson")


def _renumbered(data: bytes, cycle: int, opened: datetime, *, promoted: bool) -> bytes:
    document = json.loads(data)
    for name in {"cycle", "version"} & document.keys():
        document[name] = cycle
    for number, entry in enumerate(document.get("history", ())):
        entry["at"] = (opened + timedelta(minutes=20 * number)).isoformat()
        entry["cause"] = derived_event_id(entry["status"], str(number), str(cycle))
    if document.get("status") == "deployed" and not promoted:
        document["status"] = "rejected"
        document["history"] = [*document["history"][:3], {**document["history"][3], "status": "rejected"}]
    for name in {"finished_at", "at"} & document.keys():
        document[name] = (opened + timedelta(minutes=30)).isoformat()
    return json.dumps(document, indent=1).encode()


def past_rows(cycle: int, opened: datetime) -> list[Row]:
    """Return the dataset of a past cycle: errors, samples and a report of traffic; every speaker where the hash says."""
    return [_past_row(cycle, number, opened) for number in range(PAST_ROWS)]


def _past_row(cycle: int, number: int, opened: datetime) -> Row:
    name = f"{cycle}-{number}"
    common: dict[str, Any] = {"event_id": f"past-{name}", "origin": "fresh", "occurred_at": opened - timedelta(minutes=number)}
    if number == 0:
        return Row(**common, kind="traffic", model_version=0, utterances=1000)
    speaker = f"speaker:regular-{cycle % REGULARS}" if number == 1 else f"speaker:{cycle}-{number // 2}"
    cluster = cluster_of(SPLIT_KEY, speaker=speaker)
    return Row(
        **common,
        kind="sample" if number % 3 == 0 else "error",
        utterance_id=f"call-{name}",
        model_version=0,
        hypothesis="i want to call back about the invoice of last month",
        reference="i want to fall back about the invoice of last month",
        reference_provenance="human",
        audio_uri=audio_uri(name),
        audio=pin(name),
        cluster=cluster,
        split=split_of(cluster, POLICY),
        weight=10.0 if number % 3 == 0 else 1.0,
        duration_s=3.2,
        language="en",
        speaker=speaker,
        session=f"session:{cycle}-{number // 2}",
    )


def audio_uri(name: str) -> str:
    """Return where a call's audio lies."""
    return f"{CALLS}/2026/{name}.wav"


def pin(name: str) -> AudioPin:
    """Return the pin of a call's audio, which is its own address."""
    data = audio_uri(name).encode()
    return AudioPin(uri=audio_uri(name), generation=1, crc32c=crc32c_base64(data), size_bytes=len(data))


def _write_corpora(store: ObjectStore) -> None:
    for key in (keys.REPLAY, keys.suite("clean")):
        names = [f"{key.split('/')[1]}-{number}" for number in range(20)]
        clips = [CorpusClip(utterance_id=name, audio=pin(name), reference="fall back", speaker=f"speaker:{name}") for name in names]
        store.put(key, lines_bytes(clips))


def _write_registry(store: ObjectStore, size: Size) -> None:
    versions = deployed(size)
    stable = versions[-1]
    golden = stored.read("0.1.0")
    manifest = ModelManifest.model_validate_json(golden.get(keys.manifest(1)).data)
    base = versions[-2] if stable else None
    lineage = {"version": stable, "base_version": base, "learned": tuple(versions[1:])}
    store.put(keys.manifest(stable), document_bytes(manifest.model_copy(update=lineage)))
    for version in versions[1:]:
        store.put(keys.resolved(version), golden.get(keys.resolved(1)).data)
    recent = [version for version in versions if not version or opened_at(size, version) > NOW - timedelta(days=31)]
    before = dict(zip(versions[1:], versions, strict=False))
    moves = tuple(_promotion(seq, version, before.get(version), size) for seq, version in enumerate(recent, 1))
    previous = tuple(reversed(versions[-21:-1]))
    store.put(keys.PRODUCTION, document_bytes(Production(seq=len(moves), stable=stable, previous=previous, moves=moves)))


def _promotion(seq: int, version: int, before: int | None, size: Size) -> Move:
    at = opened_at(size, version) + timedelta(hours=2)
    return Move(
        seq=seq,
        cause=f"promote-{version}",
        kind="promote",
        version=version,
        stable_before=before,
        stable_after=version,
        at=at,
        by="deployer",
        reason="accepted by the validator",
    )


def write_ledger(store: ObjectStore, size: Size) -> None:
    """Write the open ledger: parts with their index and one segment, or segments alone."""
    cycle = size.open_cycle
    pieces = _pieces(events(size), PART_EVENTS if size.compacted else SEGMENT_EVENTS)
    parts: list[str] = []
    totals = Totals()
    for number, piece in enumerate(pieces):
        folded, rest = (piece[:-1], piece[-1:]) if size.compacted else ([], piece)
        if folded:
            parts.append(keys.part(cycle, f"{number:06d}"))
            store.put(parts[-1], _lines(folded), content_type="application/x-ndjson")
            totals += count_events(folded)
        if size.compacted and (number + 1) * PART_EVENTS < size.events:
            totals += count_events(rest)
            store.put(parts[-1], _lines(piece), content_type="application/x-ndjson")
            continue
        metadata = {TOTALS: count_events(rest).model_dump_json(), WRITE_ID: f"{number:032d}"}
        store.put(keys.segment(cycle, f"{number:032d}"), _lines(rest), metadata=metadata, content_type="application/x-ndjson")
    if parts:
        store.put(keys.ledger_index(cycle), document_bytes(ledger.Index(parts=tuple(parts), totals=totals)))


def _lines(found: Sequence[Event]) -> bytes:
    return b"".join(event.model_dump_json(exclude_none=True).encode() + b"\n" for event in found)


def _pieces(found: Iterator[T], length: int) -> Iterator[list[T]]:
    while piece := list(islice(found, length)):
        yield piece


def events(size: Size) -> Iterator[Event]:
    """Yield the events of the open ledger: of ten, six errors (five with a reference), two samples, a correction and a report of traffic."""
    for number in range(size.events):
        yield _event(number, NOW - timedelta(seconds=3600 - 3600 * number / size.events))


def _event(number: int, at: datetime) -> Event:
    kind = number % 10
    event_id = f"evt-{number:07d}-of-a-service-somewhere"
    if kind == 9:
        return SttTraffic(event_id=event_id, occurred_at=at, model_version=0, utterances=100, interval_s=60.0)
    if kind == 8:
        return SttCorrection(event_id=event_id, occurred_at=at, utterance_id=f"call-{number - 8:07d}", reference="fall back please")
    utterance: dict[str, Any] = {
        "event_id": event_id,
        "occurred_at": at,
        "utterance_id": f"call-{number:07d}",
        "audio_uri": audio_uri(f"{number:07d}"),
        "hypothesis": "i want to call back about the invoice of last month",
        "model_version": 0,
        "confidence": 0.73,
        "speaker_id": f"regular-{number % REGULARS}" if number % 100 == 1 else f"new-{number // 20}",
        "session_id": f"call-of-{number // 5}",
        "duration_s": 3.2,
        "language": "en",
    }
    if kind in {6, 7}:
        return SttSample(**utterance, sample_rate=0.02)
    return SttError(**utterance, reference=None if kind == 0 else "i want to fall back about the invoice of last month")
