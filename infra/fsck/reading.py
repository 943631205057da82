"""Reads the books from a store [io]. It trusts nothing: digests are computed from the bytes, never taken from metadata.

Only the bytes of models are not read unless they are asked for: what the store itself says of their size and CRC32C is held against
the manifest then.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from pydantic import BaseModel

from infra.fsck.books import Books, Model, Problem, Quarantined, Stored
from infra.fsck.ledgers import read_ledger
from shared import keys
from shared.cas import find
from shared.cycle import CODEC as STATES
from shared.cycle import CycleState, Status
from shared.dataset import Row
from shared.documents import parse_document, parse_lines, sha256_hex
from shared.errors import CorruptObject, InvalidMessage, InvariantBroken, NotFound
from shared.forgotten import Redaction
from shared.head import FIRST_CYCLE, HEAD_LOST, read_head
from shared.manifest import FileDigest, ModelManifest, digest_bytes, digest_file, unsafe_files
from shared.objectstore import ObjectInfo, ObjectStore
from shared.registry import CODEC as PRODUCTION
from shared.registry import Move
from shared.training import Clip, ObjectRef, TrainingResult, TrainingSpec
from shared.verdict import parse_report

REDACTIONS = f"{keys.FORGOTTEN}digests/"
IN_MEMORY_BYTES = 8 << 20
"""Files of models up to this size are read at once, larger ones through a file."""

Document = TypeVar("Document")
AModel = TypeVar("AModel", bound=BaseModel)


class _Reader:
    """Reads documents; what cannot be parsed is noted, and counts as missing."""

    def __init__(self, store: ObjectStore, names: frozenset[str]) -> None:
        self.store = store
        self.names = names
        self.unreadable: list[Problem] = []

    @contextmanager
    def noting(self, key: str) -> Iterator[None]:
        try:
            yield
        except (CorruptObject, InvalidMessage, ValueError, RecursionError) as error:
            self.unreadable.append(Problem(key, "a document that its reader accepts", f"{error}"))

    def one(self, key: str, parse: Callable[[bytes], Document]) -> Stored[Document] | None:
        if key in self.names and (stored := find(self.store, key)) is not None:
            with self.noting(key):
                return Stored(parse(stored.data), sha256_hex(stored.data))
        return None

    def each(self, cycles: Iterable[int], key: Callable[[int], str], parse: Callable[[bytes], Document]) -> dict[int, Stored[Document]]:
        found = ((cycle, self.one(key(cycle), parse)) for cycle in cycles)
        return {cycle: stored for cycle, stored in found if stored is not None}

    def under(self, prefix: str, parse: Callable[[bytes], Document]) -> dict[str, Document]:
        found = ((key, self.one(key, parse)) for key in sorted(self.names) if key.startswith(prefix))
        return {key: stored.document for key, stored in found if stored is not None}


def read_books(store: ObjectStore, *, full: bool = False, now: datetime | None = None) -> Books:
    """Read everything that can be checked, while nobody writes.

    Args:
        store: the bucket.
        full: also every byte of every model.
        now: the present time, for what the bucket's lifecycle deletes; None = nothing has expired.

    Raises:
        Retryable: the store could not be reached.
    """
    names = frozenset(info.key for info in store.list(""))
    reader = _Reader(store, names)
    found_head = _head(reader)
    numbered = {keys.cycle_of(key) for key in names if key.startswith((keys.CYCLES, keys.LEDGERS)) and key.split("/")[1].isdigit()}
    cycles = range(FIRST_CYCLE, max(found_head or 0, *numbered, FIRST_CYCLE) + 1)
    datasets = reader.each(cycles, keys.dataset, lambda data: tuple(parse_lines(Row, data, what="dataset")))
    ledgers = {cycle: read_ledger(store, cycle, sealed=cycle in datasets) for cycle in cycles}
    states = reader.each(cycles, keys.state, STATES.parse)
    head = found_head or head_of({cycle: stored.document for cycle, stored in states.items()})
    specs = reader.each(cycles, keys.spec, _document(TrainingSpec, "spec"))
    results = reader.each(cycles, keys.result, _document(TrainingResult, "result"))
    held = reader.each(cycles, keys.holdout, lambda data: frozenset(clip.utterance_id for clip in parse_lines(Clip, data, what="holdout")))
    production = reader.one(keys.PRODUCTION, PRODUCTION.parse)
    log = reader.under(keys.REGISTRY_LOG, _document(Move, "registry log"))
    redactions = reader.under(REDACTIONS, _document(Redaction, "redaction"))
    models = {}
    for key in sorted(names):
        if key.startswith(keys.MODELS) and key.endswith("/manifest.json"):
            with reader.noting(key):
                models[keys.cycle_of(key)] = read_model(store, keys.cycle_of(key), full=full)
    for key, move in log.items():
        if key != keys.registry_log(move.seq):
            reader.unreadable.append(Problem(key, f"move {int(Path(key).stem)}", f"move {move.seq}"))
    reports = reader.each(cycles, keys.report, parse_report)
    quarantine = tuple(replace(item, key=key) for key, item in reader.under(keys.QUARANTINE, _quarantined).items())
    return Books(
        head=head,
        ledgers={cycle: found.event_ids for cycle, found in ledgers.items() if cycle not in datasets},
        sealed={cycle: found.event_ids for cycle, found in ledgers.items() if cycle in datasets},
        counted=ledgers[head].counted if head in ledgers else 0,
        exact=ledgers[head].exact if head in ledgers else 0,
        datasets=datasets,
        specs=specs,
        results=results,
        reports=reports,
        states={cycle: stored.document for cycle, stored in states.items()},
        models=models,
        held_out={cycle: stored.document for cycle, stored in held.items()},
        production=production.document if production else None,
        log=tuple(log[key] for key in sorted(log)),
        quarantine=quarantine,
        digests=dict(_digests(store, names, _references(specs, results))),
        redactions={(one.key, one.old_sha256): one.new_sha256 for one in redactions.values()},
        keys=names,
        now=now,
        unreadable=(*reader.unreadable, *(problem for found in ledgers.values() for problem in found.problems)),
    )


def head_of(states: Mapping[int, CycleState]) -> int:
    """Return where the head stands by the states alone: a cycle is opened at the head, which moves on when it needs no approval any more.

    A launcher that died before it moved the head is followed by one that moves it there first.
    """
    newest = max(states, default=0)
    if newest not in states:
        return FIRST_CYCLE
    return newest if states[newest].status == Status.AWAITING_APPROVAL else newest + 1


def _head(reader: _Reader) -> int | None:
    try:
        with reader.noting(keys.HEAD):
            return read_head(reader.store)
    except InvariantBroken:
        reader.unreadable.append(Problem(keys.HEAD, "the cycle that is collecting, since there are cycles", "none", HEAD_LOST))
    return None


def _references(specs: dict[int, Stored[TrainingSpec]], results: dict[int, Stored[TrainingResult]]) -> Iterator[ObjectRef]:
    for spec in specs.values():
        yield from (each.ref for each in spec.document.sets)
        yield from [spec.document.policy] if spec.document.policy else []
    for result in results.values():
        yield from (evaluation.ref for evaluation in result.document.evaluations)


def _digests(store: ObjectStore, names: frozenset[str], references: Iterable[ObjectRef]) -> Iterator[tuple[str, str]]:
    for key in sorted({reference.key for reference in references} & names):
        if (stored := find(store, key)) is not None:
            yield key, sha256_hex(stored.data)


def read_model(store: ObjectStore, version: int, *, full: bool = False) -> Model:
    """Return a model that has a manifest; with `full` every byte of its files is read.

    Raises:
        NotFound: it has none.
        CorruptObject: the manifest is none.
    """
    stored = store.get(keys.manifest(version))
    manifest = parse_document(ModelManifest, stored.data, what=stored.info.key)
    problems = (_problem(store, file.key(keys.model(version)), file, full=full) for file in manifest.files)
    unsafe = unsafe_files(manifest)
    return Model(manifest, sha256_hex(stored.data), unsafe or next((problem for problem in problems if problem), None))


def _problem(store: ObjectStore, key: str, file: FileDigest, *, full: bool) -> str | None:
    try:
        info = store.stat(key)
        if (info.size_bytes, info.crc32c) != (file.size_bytes, file.crc32c):
            return f"{key} is not what the manifest names ({info.size_bytes} bytes, CRC32C {info.crc32c})"
        if not full:
            return None
        found = _digest(store, info, file.name)
    except NotFound:
        return f"{key} is missing"
    same = (found.size_bytes, found.crc32c, found.sha256) == (file.size_bytes, file.crc32c, file.sha256)
    return None if same else f"{key} is not what the manifest names (SHA-256 {found.sha256[:12]}...)"


def _digest(store: ObjectStore, info: ObjectInfo, name: str) -> FileDigest:
    if info.size_bytes <= IN_MEMORY_BYTES:
        return digest_bytes(name, store.get(info.key).data)
    with TemporaryDirectory(prefix="retune-fsck-") as scratch:
        path = Path(scratch) / name
        store.get_to_file(info.key, path)
        return digest_file(path)


def _document(cls: type[AModel], what: str) -> Callable[[bytes], AModel]:
    return lambda data: parse_document(cls, data, what=what)


def _quarantined(data: bytes) -> Quarantined:
    document = json.loads(data)
    if not isinstance(document, dict) or not {"function", "reason", "body"} <= document.keys():
        raise CorruptObject("refused message: expected function, reason and body, found none of that form")
    function, reason = str(document["function"]), str(document["reason"])
    try:
        message = json.loads(document["body"])["message"]
        message_id = message["messageId"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return Quarantined("", function, reason)
    return Quarantined("", function, reason, message_id, event_id_of(message.get("data", "")))


def event_id_of(data: str) -> str | None:
    """Return the event_id in the base64 data of a message; None = there is none to be read."""
    try:
        event_id = json.loads(base64.b64decode(data, validate=True))["event_id"]
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error):
        return None
    return event_id if isinstance(event_id, str) else None
