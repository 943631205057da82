"""Reads the books from a store [io]. It trusts nothing: digests are computed from the bytes, never taken from metadata."""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from pydantic import BaseModel

from shared import keys, ledger
from shared.cas import find
from shared.cycle import CODEC as STATES
from shared.dataset import Row
from shared.errors import CorruptObject, NotFound
from shared.objectstore import ObjectStore, crc32c_base64
from shared.registry import CODEC as PRODUCTION
from shared.registry import Move
from shared.training import Clip, ModelManifest, TrainingResult, TrainingSpec, parse_document, parse_lines, sha256_hex
from shared.verdict import parse_report
from tests.chaos.books import Books, Model, Outside, Quarantined, Seen, Stored

Document = TypeVar("Document")
AModel = TypeVar("AModel", bound=BaseModel)


class _Reader:
    """Reads documents; what cannot be parsed is noted, and counts as missing."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.unreadable: list[str] = []

    @contextmanager
    def noting(self) -> Iterator[None]:
        try:
            yield
        except CorruptObject as error:
            self.unreadable.append(str(error))

    def each(self, cycles: Iterable[int], key: Callable[[int], str], parse: Callable[[bytes], Document]) -> dict[int, Stored[Document]]:
        found: dict[int, Stored[Document]] = {}
        for cycle in cycles:
            stored = find(self.store, key(cycle))
            if stored is not None:
                with self.noting():
                    found[cycle] = Stored(parse(stored.data), sha256_hex(stored.data))
        return found


def read_books(store: ObjectStore, outside: Outside, seen: Iterable[Seen] = ()) -> Books:
    """Read everything that can be checked, while nobody writes."""
    reader = _Reader(store)
    head = ledger.read_head(store)
    cycles = range(ledger.FIRST_CYCLE, head + 1)
    datasets = reader.each(cycles, keys.dataset, lambda data: tuple(parse_lines(Row, data, what="dataset")))
    ledgers = {cycle: ledger.read_events(store, cycle) for cycle in cycles if cycle not in datasets}
    production = find(store, keys.PRODUCTION)
    states = reader.each(cycles, keys.state, STATES.parse)
    models = {}
    for info in store.list(keys.MODELS):
        if info.key.endswith("/manifest.json"):
            with reader.noting():
                models[keys.cycle_of(info.key)] = read_model(store, keys.cycle_of(info.key))
    held = reader.each(cycles, keys.holdout, lambda data: frozenset(clip.utterance_id for clip in parse_lines(Clip, data, what="holdout")))
    return Books(
        head=head,
        ledgers={cycle: frozenset(event.event_id for event in events) for cycle, events in ledgers.items()},
        counted=ledger.count(store, head).errors,
        exact=ledger.count_events(ledgers.get(head, [])).errors,
        datasets=datasets,
        specs=reader.each(cycles, keys.spec, _document(TrainingSpec, "spec")),
        results=reader.each(cycles, keys.result, _document(TrainingResult, "result")),
        reports=reader.each(cycles, keys.report, parse_report),
        states={cycle: stored.document for cycle, stored in states.items()},
        models=models,
        held_out={cycle: stored.document for cycle, stored in held.items()},
        production=PRODUCTION.parse(production.data) if production else None,
        log=tuple(parse_document(Move, store.get(info.key).data, what=info.key) for info in store.list(keys.REGISTRY_LOG)),
        quarantine=tuple(_quarantined(info.key, store.get(info.key).data) for info in store.list("quarantine/")),
        unreadable=tuple(reader.unreadable),
        seen=tuple(seen),
        outside=outside,
    )


def read_model(store: ObjectStore, version: int) -> Model:
    """Return a model that has a manifest.

    Raises:
        NotFound: it has none.
        CorruptObject: the manifest is none.
    """
    stored = store.get(keys.manifest(version))
    manifest = parse_document(ModelManifest, stored.data, what=stored.info.key)
    problems = (_problem(store, file.key(keys.model(version)), file.crc32c, file.sha256) for file in manifest.files)
    return Model(manifest, sha256_hex(stored.data), next((problem for problem in problems if problem), None))


def incomplete(store: ObjectStore, versions: Iterable[int | None]) -> str | None:
    """Return what is wrong with the first of these models that is not complete; None = nothing."""
    for version in versions:
        if version is not None:
            try:
                problem = read_model(store, version).problem
            except (NotFound, CorruptObject) as error:
                problem = str(error)
            if problem:
                return f"v{version}: {problem}"
    return None


def _problem(store: ObjectStore, key: str, crc32c: str, sha256: str) -> str | None:
    found = find(store, key)
    if found is None:
        return f"{key} is missing"
    same = (crc32c_base64(found.data), sha256_hex(found.data)) == (crc32c, sha256)
    return None if same else f"{key} is not what the manifest names"


def _document(cls: type[AModel], what: str) -> Callable[[bytes], AModel]:
    return lambda data: parse_document(cls, data, what=what)


def _quarantined(key: str, data: bytes) -> Quarantined:
    document = json.loads(data)
    try:
        message = json.loads(document["body"])["message"]
        message_id = message["messageId"]
    except (ValueError, KeyError, TypeError):
        return Quarantined(key, document["function"], document["reason"])
    return Quarantined(key, document["function"], document["reason"], message_id, event_id_of(message.get("data", "")))


def event_id_of(data: str) -> str | None:
    """Return the event_id in the base64 data of a message; None = there is none to be read."""
    try:
        event_id = json.loads(base64.b64decode(data, validate=True))["event_id"]
    except (ValueError, KeyError, TypeError, binascii.Error):
        return None
    return event_id if isinstance(event_id, str) else None
