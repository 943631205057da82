"""What is said wrong, and what was refused: read from datasets, evaluations and the quarantine, each bounded [io]."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import TypeVar

from pydantic import AwareDatetime

from functions.dashboard.figures import Confused, ErrorTypes, confused_words, count_error_types, error_types
from functions.views.scan import find_info
from functions.views.snapshot import Snapshot
from shared import keys
from shared.cas import find
from shared.frozen import Frozen
from shared.objectstore import ObjectInfo, ObjectStore
from shared.training import EvaluationRow, TrainingResult, parse_document, parse_lines

MOST_BYTES = 8 << 20
"""Datasets and evaluations that are larger are left out of the first page, which says so."""
QUARANTINE = "quarantine/"
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


class Kept(dict[tuple[str, int], Made]):
    """What was made of the newest immutable objects: a page that is left open asks for the same ones all day.

    By generation: what was rewritten because somebody was forgotten is made anew.
    """

    def of(self, store: ObjectStore, info: ObjectInfo, make: Callable[[bytes], Made]) -> Made:
        """Return what `make` makes of an object, made once."""
        name = (info.key, int(info.generation))
        if name not in self:
            self[name] = make(store.get(info.key).data)
            while len(self) > MOST_KEPT:
                self.pop(next(iter(self)), None)
        return self[name]


_types: Kept[Counter[str]] = Kept()
_confused: Kept[tuple[Confused, ...]] = Kept()


def read_error_types(store: Snapshot, cycles: Iterable[int]) -> ErrorTypes:
    """Return the types of the errors that cycles were opened with."""
    found: dict[int, Counter[str]] = {}
    left_out = []
    for cycle in cycles:
        info = find_info(store, keys.dataset(cycle))
        if info is not None and info.size_bytes > MOST_BYTES:
            left_out.append(cycle)
        elif info is not None:
            found[cycle] = _types.of(store, info, count_error_types)
    return error_types(found, left_out)


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
    listed = sorted(store.list(QUARANTINE, start_after=QUARANTINE + since), key=lambda info: info.updated, reverse=True)
    store.prefetch(info.key for info in listed[:QUARANTINE_SHOWN])
    shown = [each for info in listed[:QUARANTINE_SHOWN] if (each := find(store, info.key)) is not None]
    return tuple(_refusal(each.info.key, each.data) for each in shown), len(listed)


def _refusal(key: str, data: bytes) -> Refusal:
    document = json.loads(data)
    return Refusal.model_validate({"key": key, **{name: document[name] for name in ("function", "reason", "at")}})
