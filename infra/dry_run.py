"""What would happen now, without a trace: a store over another reads both and writes only itself."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from functions.runtime import Ports
from functions.states import find_state
from shared.clock import Clock
from shared.errors import Conflict, NotFound
from shared.head import read_head
from shared.objectstore import ABSENT, Generation, ObjectInfo, ObjectStore, StoredObject
from shared.testing.memory_store import MemoryStore


class Overlay:
    """Implements `shared.objectstore.ObjectStore`; what is written is forgotten with it."""

    def __init__(self, below: ObjectStore, clock: Clock) -> None:
        self._below = below
        self._mine = MemoryStore(below.uri, clock=clock)

    @property
    def uri(self) -> str:
        """Address of the store below."""
        return self._below.uri

    def get(self, key: str, *, generation: Generation | None = None) -> StoredObject:
        """Read one object, its own before that below."""
        try:
            return self._mine.get(key, generation=generation)
        except NotFound:
            return self._below.get(key, generation=generation)

    def stat(self, key: str) -> ObjectInfo:
        """Describe one object, its own before that below."""
        try:
            return self._mine.stat(key)
        except NotFound:
            return self._below.stat(key)

    def list(self, prefix: str, *, start_after: str | None = None) -> Iterator[ObjectInfo]:
        """List both, in the order of the keys."""
        found = {info.key: info for store in (self._below, self._mine) for info in store.list(prefix, start_after=start_after)}
        return iter(sorted(found.values(), key=lambda info: info.key.encode()))

    def get_to_file(self, key: str, path: Path, *, generation: Generation | None = None) -> ObjectInfo:
        """Copy one object into a file."""
        found = self.get(key, generation=generation)
        path.write_bytes(found.data)
        return found.info

    def put(
        self,
        key: str,
        data: bytes,
        *,
        if_generation_match: Generation | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> ObjectInfo:
        """Remember an object, under the same condition as below; the store below stays as it is.

        Raises:
            Conflict: the condition does not hold.
        """
        if if_generation_match is not None and all(info.key != key for info in self._mine.list(key)):
            found = next((info.generation for info in self._below.list(key) if info.key == key), ABSENT)
            if found != if_generation_match:
                raise Conflict(f"{self.uri}/{key}: expected generation {if_generation_match}, found {found}")
            if_generation_match = None
        return self._mine.put(key, data, if_generation_match=if_generation_match, metadata=metadata, content_type=content_type)

    def put_file(
        self,
        key: str,
        path: Path,
        *,
        if_generation_match: Generation | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> ObjectInfo:
        """Remember an object; the store below stays as it is."""
        return self.put(key, path.read_bytes(), if_generation_match=if_generation_match, metadata=metadata, content_type=content_type)

    def delete(self, key: str, *, if_generation_match: Generation | None = None) -> None:
        """Forget an object of its own; one below stays."""
        self._mine.delete(key, if_generation_match=if_generation_match)


def dry(ports: Ports) -> Ports:
    """Return ports over the same store that remember what is written, and forget it with them."""
    return replace(ports, store=Overlay(ports.store, ports.clock))


def next_to_open(ports: Ports) -> int:
    """Return the cycle that a launcher would open now: the head is about to move past those that have ended."""
    cycle = read_head(ports.store)
    while (state := find_state(ports, cycle)) is not None and state.ended:
        cycle += 1
    return cycle
