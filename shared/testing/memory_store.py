"""An object store in memory, with a hook around every call for crashes, interleavings and lost replies."""

import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Mapping
from itertools import islice, takewhile
from pathlib import Path

from shared.clock import Clock
from shared.errors import Conflict, NotFound
from shared.objectstore import ABSENT, Generation, ObjectInfo, StoredObject, check_key, crc32c_base64
from shared.testing.clock import FakeClock
from shared.whole_file import put_whole

Hook = Callable[[str, str], None]
"""Called with the operation and the key (or prefix)."""


def _nothing(_operation: str, _key: str) -> None:
    return None


class MemoryStore:
    """`ObjectStore` in a dictionary; safe across threads.

    Args:
        uri: the address it pretends to have.
        clock: gives `ObjectInfo.updated`.
        before: called before a call has any effect; an exception from it stops the call (a crash, a store that is away).
        after: called after the effect, before the reply; an exception from it is a lost reply.
    """

    def __init__(self, uri: str = "gs://memory", *, clock: Clock | None = None, before: Hook = _nothing, after: Hook = _nothing) -> None:
        self._uri = uri
        self._clock = clock or FakeClock()
        self.before = before
        self.after = after
        self._objects: dict[str, StoredObject] = {}
        self._keys: list[str] = []  # sorted: by code points, which is the order of the UTF-8 bytes
        self._generation = 0
        self._lock = threading.RLock()

    @property
    def uri(self) -> str:
        """Address of the store."""
        return self._uri

    def get(self, key: str, *, generation: Generation | None = None) -> StoredObject:
        """Read one object; see `ObjectStore.get`."""
        self.before("get", key)
        with self._lock:
            found = self._objects.get(key)
        if found is None or (generation is not None and found.info.generation != generation):
            raise NotFound(f"{self._uri}/{key}: expected an object{f' at generation {generation}' if generation else ''}, found none")
        self.after("get", key)
        return found

    def stat(self, key: str) -> ObjectInfo:
        """Read an object's listing; see `ObjectStore.stat`."""
        self.before("stat", key)
        with self._lock:
            found = self._objects.get(key)
        if found is None:
            raise NotFound(f"{self._uri}/{key}: expected an object, found none")
        self.after("stat", key)
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
        """Write one object; see `ObjectStore.put`."""
        check_key(key)
        self.before("put", key)
        with self._lock:
            self._check(key, if_generation_match)
            self._generation += 1
            info = ObjectInfo(
                key=key,
                generation=Generation(self._generation),
                size_bytes=len(data),
                crc32c=crc32c_base64(data),
                updated=self._clock.now(),
                metadata=dict(metadata or {}),
                content_type=content_type,
            )
            if key not in self._objects:
                insort(self._keys, key)
            self._objects[key] = StoredObject(info, bytes(data))
        self.after("put", key)
        return info

    def put_file(
        self,
        key: str,
        path: Path,
        *,
        if_generation_match: Generation | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> ObjectInfo:
        """Write one object from a file; see `ObjectStore.put_file`."""
        return self.put(key, path.read_bytes(), if_generation_match=if_generation_match, metadata=metadata, content_type=content_type)

    def get_to_file(self, key: str, path: Path, *, generation: Generation | None = None) -> ObjectInfo:
        """Download one object; see `ObjectStore.get_to_file`."""
        found = self.get(key, generation=generation)
        put_whole(path, found.data)
        return found.info

    def list(self, prefix: str, *, start_after: str | None = None) -> Iterator[ObjectInfo]:
        """List a prefix as it stands at the call; see `ObjectStore.list`."""
        self.before("list", prefix)
        with self._lock:
            first = bisect_left(self._keys, prefix)
            if start_after is not None:
                first = max(first, bisect_right(self._keys, start_after))
            names = takewhile(lambda key: key.startswith(prefix), islice(self._keys, first, None))
            return iter([self._objects[key].info for key in names])

    def delete(self, key: str, *, if_generation_match: Generation | None = None) -> None:
        """Delete one object; see `ObjectStore.delete`."""
        self.before("delete", key)
        with self._lock:
            if key in self._objects:
                self._check(key, if_generation_match)
                del self._objects[key]
                del self._keys[bisect_left(self._keys, key)]
        self.after("delete", key)

    def _check(self, key: str, expected: Generation | None) -> None:
        found = self._objects[key].info.generation if key in self._objects else ABSENT
        if expected is not None and expected != found:
            raise Conflict(f"{self._uri}/{key}: expected generation {expected}, found {found}")
