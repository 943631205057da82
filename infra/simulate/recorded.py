"""A recorded history played again: the events of a file, or of the ledgers and datasets of a bucket, which is only read."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from infra.errors import Refused
from infra.simulate.assumptions import Assumptions
from infra.simulate.calls import CALLS, Serving, traffic_event
from infra.simulate.speech import MOST_WORDS, Speech, Utterances, key_of, uniform
from shared import keys, ledger
from shared.cas import find
from shared.dataset import Row
from shared.documents import parse_lines, sha256_hex
from shared.errors import CorruptObject, InvalidMessage
from shared.events import Event, SttCorrection, SttError, SttSample, SttTraffic, Utterance
from shared.head import FIRST_CYCLE, read_head
from shared.messages import parse_stored
from shared.normalisation import normalise
from shared.objectstore import ObjectStore
from shared.stores import open_store
from shared.wer import count_word_errors

UNKNOWN_WRONG = 0.2
"""Share of the words that are taken for wrong where nobody said what was said."""


def read_history(where: str) -> tuple[list[Event], str]:
    """Return recorded events in the order of their time, and where they are from, in words.

    Args:
        where: a file of JSON lines, as a ledger's segments have them; else the address of a bucket or a store's folder.

    Raises:
        Refused: there is no event.
    """
    path = Path(where)
    if path.is_file():
        events = list(_read_file(path))
    else:
        try:
            store = open_store(path.resolve().as_uri() if path.is_dir() else where)
        except InvalidMessage as error:
            raise Refused(f"--history {where}: expected a file of events, a store's folder or gs://bucket, found none of them") from error
        events = read_bucket(store)
    reports = [event for event in events if isinstance(event, SttError | SttSample | SttCorrection | SttTraffic)]
    if not any(isinstance(event, SttError) for event in reports):
        raise Refused(f"--history {where}: expected recorded errors, found none")
    return sorted(reports, key=lambda event: (event.occurred_at, sha256_hex(event.event_id.encode())[:32])), where


def _read_file(path: Path) -> Iterator[Event]:
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        if line.strip():
            try:
                yield parse_stored(line)
            except CorruptObject as error:
                raise Refused(f"--history {path} line {number}: {error}") from error


def read_bucket(store: ObjectStore) -> list[Event]:
    """Return every event that a bucket's datasets and ledgers hold, each once."""
    events: dict[str, Event] = {}
    for cycle in range(FIRST_CYCLE, read_head(store) + 1):
        found = find(store, keys.dataset(cycle))
        rows = parse_lines(Row, found.data, what=found.info.key) if found else []
        for event in chain(ledger.read_events(store, cycle), _events_of(rows)):
            events.setdefault(event.event_id, event)
    return list(events.values())


def _events_of(rows: Sequence[Row]) -> Iterator[Event]:
    """Yield the events that fresh rows were made of; a reference that a correction brought comes with the correction again."""
    corrected = {row.utterance_id for row in rows if row.kind == "correction"}
    for row in rows:
        if row.origin != "fresh":
            continue
        base: dict[str, Any] = {"event_id": row.event_id, "occurred_at": row.occurred_at}
        if row.kind == "traffic":
            if row.utterances is not None and row.model_version is not None:
                yield SttTraffic(**base, model_version=row.model_version, utterances=row.utterances, interval_s=60.0)
        elif row.kind == "correction":
            if row.utterance_id and row.reference is not None:
                provenance = row.reference_provenance or "human"
                yield SttCorrection(**base, utterance_id=row.utterance_id, reference=row.reference, reference_provenance=provenance)
        elif row.utterance_id and row.audio_uri and row.hypothesis is not None:
            own = row.kind == "sample" or row.utterance_id not in corrected
            heard = base | {
                "utterance_id": row.utterance_id,
                "audio_uri": row.audio_uri,
                "hypothesis": row.hypothesis,
                "model_version": row.model_version or 0,
                "reference": row.reference if own else None,
                "reference_provenance": row.reference_provenance if own else None,
                "session_id": row.session.removeprefix("session:") if row.session else None,
                "speaker_id": row.speaker.removeprefix("speaker:") if row.speaker and row.speaker.startswith("speaker:") else None,
                "duration_s": row.duration_s,
            }
            yield SttSample(**heard, sample_rate=_rate(row.weight)) if row.kind == "sample" else SttError(**heard)


def _rate(weight: float | None) -> float | None:
    return min(1.0, 1.0 / weight) if weight else None


class RecordedCalls:
    """Recorded events that come again, with their spacing, from `start` on.

    Args:
        events: in the order of their time; see `read_history`.
        start: when the first comes.
        assumptions: of the model of training.
        seed: of all draws.
    """

    def __init__(self, events: Sequence[Event], start: datetime, assumptions: Assumptions, seed: int) -> None:
        self._events = list(events)
        self._shift = start - events[0].occurred_at
        self._seed = seed
        self._made = assumptions
        self._next = 0
        self._avoided: set[str] = set()
        heard = [event for event in self._events if isinstance(event, SttError | SttSample)]
        self._rows = {name: row for row, name in enumerate(dict.fromkeys(event.utterance_id for event in heard))}
        self._audio = {uri: number for number, uri in enumerate(dict.fromkeys(event.audio_uri for event in heard))}
        self.speech = Speech(self._utterances(heard), assumptions.redrawn, seed)

    @property
    def days(self) -> float:
        """How long the record is."""
        return (self._events[-1].occurred_at - self._events[0].occurred_at).total_seconds() / 86_400.0

    def reports(self, since: datetime, until: datetime, serving: Serving) -> Iterator[Event]:
        """Yield what comes again in an interval; see `Calls.reports`. Intervals are asked for in order."""
        del since
        while self._next < len(self._events) and self._events[self._next].occurred_at + self._shift < until:
            event = self._events[self._next]
            self._next += 1
            yield from self._again(event, event.occurred_at + self._shift, serving)

    def rows(self, utterance_ids: Sequence[str]) -> list[int]:
        """Return the rows of utterances; see `Calls.rows`."""
        return [self._rows[name] for name in utterance_ids]

    def audio_name(self, event: Event) -> str | None:
        """Return where an event's audio lies; see `Calls.audio_name`."""
        return event.audio_uri.removeprefix(f"{CALLS}/") if isinstance(event, SttError | SttSample) else None

    def _again(self, event: Event, at: datetime, serving: Serving) -> Iterator[Event]:
        if isinstance(event, SttTraffic):
            for version, share in serving.shares():
                utterances = round(event.utterances * share)
                since, name = at - timedelta(seconds=event.interval_s), sha256_hex(event.event_id.encode())[:32]
                yield traffic_event(version, utterances, since, at, name)
        elif isinstance(event, SttCorrection):
            if event.utterance_id not in self._avoided:
                yield event.model_copy(update={"occurred_at": at})
        elif isinstance(event, SttError | SttSample):
            row = self._rows[event.utterance_id]
            version = self._version(event, row, serving)
            if isinstance(event, SttError) and not self.speech.errors(version, np.asarray([row]))[0]:
                self._avoided.add(event.utterance_id)
                return
            hypothesis = event.hypothesis if version == 0 else self.speech.heard(version, [row])[0]
            uri = f"{CALLS}/r{self._audio[event.audio_uri]}.wav"
            again = {"occurred_at": at, "model_version": version, "hypothesis": hypothesis, "audio_uri": uri}
            # what a version of then transcribed beside says nothing of those that are simulated
            beside = {"shadow_hypothesis": None, "shadow_version": None} if isinstance(event, SttSample) else {}
            yield event.model_copy(update={**again, **beside})

    def _version(self, event: Utterance, row: int, serving: Serving) -> int:
        if serving.canary is None or not serving.share:
            return serving.stable
        who = event.speaker_id or event.session_id or str(row)
        drawn = uniform(key_of(self._seed, f"canary {serving.canary} {who}"), np.zeros(1, dtype=np.uint64))[0]
        return serving.canary if drawn < serving.share else serving.stable

    def _utterances(self, heard: Sequence[SttError | SttSample]) -> Utterances:
        references = {
            event.utterance_id: event.reference
            for event in self._events
            if isinstance(event, SttCorrection | SttError | SttSample) and event.reference
        }
        texts: dict[int, tuple[str, ...]] = {}
        wrong: dict[int, int] = {}
        for event in heard:
            row = self._rows[event.utterance_id]
            reference = references.get(event.utterance_id)
            words = tuple(normalise(reference if reference is not None else event.hypothesis).split())[:MOST_WORDS] or ("",)
            texts[row] = words
            counted = count_word_errors(reference, event.hypothesis).errors if reference is not None else 0
            if isinstance(event, SttError):
                counted = max(1, counted if reference is not None else round(UNKNOWN_WRONG * len(words)))
            wrong[row] = min(len(words), max(counted, wrong.get(row, 0)))
        lengths = np.asarray([len(texts[row]) for row in range(len(texts))], dtype=np.int64)
        return Utterances(words=lengths, chance=np.full(len(texts), self._made.wer), texts=texts, wrong=wrong)
