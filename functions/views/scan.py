"""Lines of stored objects that name something, found without parsing the others: side by side, and within a bound [io]."""

import json
import re
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from functions.views.snapshot import READ_THREADS
from shared.objectstore import ObjectInfo, ObjectStore


@dataclass(frozen=True)
class Bound:
    """So much is read at most for one answer.

    Attributes:
        size_bytes: of all objects together.
        objects: how many of them.
    """

    size_bytes: int
    objects: int


def within(found: Mapping[int, Collection[ObjectInfo]], bound: Bound | None) -> tuple[int, ...]:
    """Return the cycles whose objects are read, the newest first: one that does not fit any more is left out whole.

    Args:
        found: the objects of each cycle.
        bound: None = everything is read.
    """
    if bound is None:
        return tuple(sorted(found, reverse=True))
    fits, size_bytes, objects = [], 0, 0
    for cycle in sorted(found, reverse=True):
        more_bytes, more_objects = sum(info.size_bytes for info in found[cycle]), len(found[cycle])
        if size_bytes + more_bytes <= bound.size_bytes and objects + more_objects <= bound.objects:
            fits.append(cycle)
            size_bytes, objects = size_bytes + more_bytes, objects + more_objects
    return tuple(fits)


def naming(field: str, text: str) -> re.Pattern[bytes]:
    """Return what finds a field of JSON that holds exactly this text, written as it is or in ASCII."""
    spelled = {json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass"), json.dumps(text).encode()}
    return re.compile(rb"%s\s*:\s*(?:%s)" % (json.dumps(field).encode(), b"|".join(map(re.escape, sorted(spelled)))))


def lines_naming(data: bytes, pattern: re.Pattern[bytes]) -> list[bytes]:
    """Return the JSON lines in which a pattern is found, without their ends."""
    starts = {data.rfind(b"\n", 0, match.start()) + 1: match.end() for match in pattern.finditer(data)}
    return [data[start : end if (end := data.find(b"\n", inside)) >= 0 else None] for start, inside in starts.items()]


def scan(store: ObjectStore, wanted: Iterable[str], pattern: re.Pattern[bytes]) -> dict[str, list[bytes]]:
    """Return the lines of each object in which a pattern is found; holds no more data than of the objects that are read at once.

    Raises:
        NotFound: an object has gone since it was listed.
    """
    keys = list(wanted)
    with ThreadPoolExecutor(READ_THREADS) as pool:
        return dict(zip(keys, pool.map(lambda key: lines_naming(store.get(key).data, pattern), keys), strict=True))
