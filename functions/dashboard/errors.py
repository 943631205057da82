"""What is said wrong, and what was refused: read from datasets, evaluations and the quarantine, each bounded [io]."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from pydantic import AwareDatetime

from functions.dashboard.figures import Confused, ErrorTypes, confused_words, count_error_types, error_types
from functions.views.snapshot import READ_THREADS, Snapshot
from shared import keys
from shared.cas import find, find_info
from shared.documents import Frozen, parse_document, parse_lines
from shared.objectstore import ObjectInfo, ObjectStore
from shared.training import EvaluationRow, TrainingResult

MOST_BYTES = 8 << 20
"""Datasets and evaluations that are larger are left out of the first page, which says so."""
QUARANTINE_DAYS = 7
QUARANTINE_SHOWN = 5
MOST_KEPT = 64
Made = TypeVar("Made")


class Refusal(Frozen):
    """A message in quarantine."""

    key: str
    function: str
    reason: str
    at: AwareDatetime


class Kept(Generic[Made]):
    """What was made of the newest immutable objects: a page that is left open asks for the same ones all day.

    By generation: what was rewritten because somebody was forgotten is made anew.
    """

    def __init__(self) -> None:
        self._made: dict[tuple[str, int], Made] = {}
        self._lock = threading.Lock()

    def of(self, store: ObjectStore, info: ObjectInfo, make: Callable[[bytes], Made]) -> Made:
        """Return what `make` makes of an object, made once, or twice at the same moment."""
        name = (info.key, int(info.generation))
        with self._lock:
            known = self._made.get(name)
        if known is not None:
            return known
        made = make(store.get(info.key).data)
        with self._lock:
            self._made[name] = made
            while len(self._made) > MOST_KEPT:
                self._made.pop(next(iter(self._made)))
        return made


_types: Kept[Counter[str]] = Kept()
_confused: Kept[tuple[Confused, ...]] = Kept()


def read_error_types(store: Snapshot, cycles: Iterable[int], most: int) -> ErrorTypes:
    """Return the types of the errors that cycles were opened with.

    Args:
        store: is read side by side.
        cycles: whose datasets are looked for, the newest first.
        most: so many datasets are counted.
    """
    numbers = list(cycles)
    with ThreadPoolExecutor(READ_THREADS) as pool:
        infos = zip(numbers, pool.map(lambda cycle: find_info(store, keys.dataset(cycle)), numbers), strict=True)
        there = {cycle: info for cycle, info in infos if info is not None}
        wanted = {cycle: info for cycle, info in list(there.items())[:most] if info.size_bytes <= MOST_BYTES}
        counts = pool.map(lambda info: _types.of(store, info, count_error_types), wanted.values())
        return error_types(dict(zip(wanted, counts, strict=True)), set(list(there)[:most]) - set(wanted))


def read_confused(store: Snapshot, cycle: int) -> tuple[Confused, ...]:
    """Return the words that the models of a cycle confused on its holdout."""
    info = next((info for name, info in _evaluations(store, cycle) if name == keys.HOLDOUT_SET), None)
    if info is None or info.size_bytes > MOST_BYTES:
        return ()
    return _confused.of(store, info, lambda data: confused_words(parse_lines(EvaluationRow, data, what=info.key)))


def _evaluations(store: Snapshot, cycle: int) -> Iterable[tuple[str, ObjectInfo]]:
    found = find(store, keys.result(cycle))
    if found is None:
        return
    for each in parse_document(TrainingResult, found.data, what=found.info.key).evaluations:
        if (info := find_info(store, each.ref.key)) is not None:
            yield each.name, info


def read_refusals(store: Snapshot, now: datetime) -> tuple[tuple[Refusal, ...], int]:
    """Return the newest messages in quarantine, newest first, and how many came within the last days."""
    since = (now - timedelta(days=QUARANTINE_DAYS)).date().isoformat()
    listed = sorted(store.list(keys.QUARANTINE, start_after=keys.QUARANTINE + since), key=lambda info: info.updated, reverse=True)
    store.prefetch(info.key for info in listed[:QUARANTINE_SHOWN])
    shown = [each for info in listed[:QUARANTINE_SHOWN] if (each := find(store, info.key)) is not None]
    return tuple(_refusal(each.info.key, each.data) for each in shown), len(listed)


def _refusal(key: str, data: bytes) -> Refusal:
    document = json.loads(data)
    return Refusal.model_validate({"key": key, **{name: document[name] for name in ("function", "reason", "at")}})
