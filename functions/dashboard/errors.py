"""What is said wrong: the types of errors and the words that are confused, read from datasets and evaluations, each bounded [io]."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from functions.dashboard.figures import Confused, ErrorTypes, confused_words, count_error_types, error_types
from functions.views.snapshot import READ_THREADS, Snapshot
from shared import keys
from shared.cas import find_document, find_info
from shared.documents import parse_lines
from shared.objectstore import ObjectInfo, ObjectStore
from shared.training import EvaluationRow, TrainingResult

MOST_BYTES = 8 << 20
"""Datasets and evaluations that are larger are left out of the first page, which says so."""
MOST_KEPT = 64
Made = TypeVar("Made")


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
    result = find_document(store, keys.result(cycle), TrainingResult)
    for each in result.evaluations if result is not None else ():
        if (info := find_info(store, each.ref.key)) is not None:
            yield each.name, info
