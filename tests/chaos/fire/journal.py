"""Every write of a cycle's state, a spec, the alias or its log, in the order in which they landed, whatever was killed meanwhile.

The store's own process writes it, under the lock of the store and right after the object has changed. What it was killed between is
found when it starts again, before it serves anybody.
"""

import base64
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

from shared import keys
from shared.dir_layout import Record
from shared.dir_store import DirStore, Draft
from shared.registry import CODEC as PRODUCTION
from tests.chaos.books import Seen
from tests.chaos.reading import incomplete


@dataclass(frozen=True, order=True)
class Entry:
    """One write; generations of a store only grow."""

    generation: int
    at: float
    key: str
    data: bytes
    incomplete: str | None


def noteworthy(key: str) -> bool:
    """Tell whether a write is kept."""
    return key.endswith(("/state.json", "/spec.json")) or key.startswith("registry/")


class Journal:
    """The file of one store."""

    def __init__(self, path: Path, store: DirStore) -> None:
        self._path = path
        self._store = store

    def entries(self) -> list[Entry]:
        """Return every write, in order; one that is there twice counts once."""
        found = {entry.generation: entry for entry in self._read()}
        return [found[generation] for generation in sorted(found)]

    def seen(self) -> tuple[Seen, ...]:
        """Return the same for the audit."""
        return tuple(Seen(entry.key, entry.data, entry.incomplete) for entry in self.entries())

    def add(self, key: str, generation: int, data: bytes) -> None:
        """Write one entry, in one piece."""
        problem = None
        if key == keys.PRODUCTION:
            production = PRODUCTION.parse(data)
            problem = incomplete(self._store, (production.stable, production.canary.version if production.canary else None))
        entry = {"generation": generation, "at": time.time(), "key": key, "data": base64.b64encode(data).decode(), "incomplete": problem}
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(descriptor, json.dumps(entry).encode() + b"\n")
        finally:
            os.close(descriptor)

    def catch_up(self) -> None:
        """Write what stands in the store and was not written when it landed."""
        known = {entry.generation for entry in self._read()}
        for info in self._store.list(""):
            if noteworthy(info.key) and info.generation not in known:
                self.add(info.key, info.generation, self._store.get(info.key).data)

    def watch(self) -> None:
        """Write every write of this process from now on."""
        publish = Draft.publish

        def publish_and_note(draft: Draft, record: Record, path: Path) -> None:
            publish(draft, record, path)
            if noteworthy(record.info.key):
                self.add(record.info.key, record.info.generation, path.read_bytes()[: record.info.size_bytes])

        patch.object(Draft, "publish", publish_and_note).start()

    def _read(self) -> Iterator[Entry]:
        if self._path.exists():
            for line in self._path.read_bytes().splitlines():
                found = json.loads(line)
                yield Entry(found["generation"], found["at"], found["key"], base64.b64decode(found["data"]), found["incomplete"])
