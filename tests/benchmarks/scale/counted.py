"""A store that counts the operations that go through it, as Cloud Storage bills them: a listing is one for each page."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from shared.objectstore import Generation, ObjectInfo, ObjectStore, StoredObject

PAGE = 1000
"""Objects that one page of a listing holds."""


class CountingStore:
    """Implements `shared.objectstore.ObjectStore` by another one.

    Attributes:
        operations: by kind: get, stat, put, list, delete.
        keys: that were read, in order; a listing's prefix ends with `*`.
        read_bytes: of all data that was read.
    """

    def __init__(self, below: ObjectStore) -> None:
        self._below = below
        self.operations: Counter[str] = Counter()
        self.keys: list[str] = []
        self.read_bytes = 0

    def forget(self) -> None:
        """Begin to count anew."""
        self.operations.clear()
        self.keys.clear()
        self.read_bytes = 0

    @property
    def uri(self) -> str:
        """Address of the store below."""
        return self._below.uri

    def get(self, key: str, *, generation: Generation | None = None) -> StoredObject:
        """Read one object."""
        self._count("get", key)
        found = self._below.get(key, generation=generation)
        self.read_bytes += len(found.data)
        return found

    def stat(self, key: str) -> ObjectInfo:
        """Describe one object."""
        self._count("stat", key)
        return self._below.stat(key)

    def put(
        self,
        key: str,
        data: bytes,
        *,
        if_generation_match: Generation | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> ObjectInfo:
        """Write one object."""
        self.operations["put"] += 1
        return self._below.put(key, data, if_generation_match=if_generation_match, metadata=metadata, content_type=content_type)

    def put_file(
        self,
        key: str,
        path: Path,
        *,
        if_generation_match: Generation | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> ObjectInfo:
        """Write one object from a file."""
        self.operations["put"] += 1
        return self._below.put_file(key, path, if_generation_match=if_generation_match, metadata=metadata, content_type=content_type)

    def get_to_file(self, key: str, path: Path, *, generation: Generation | None = None) -> ObjectInfo:
        """Copy one object into a file."""
        self._count("get", key)
        info = self._below.get_to_file(key, path, generation=generation)
        self.read_bytes += info.size_bytes
        return info

    def list(self, prefix: str, *, start_after: str | None = None) -> Iterator[ObjectInfo]:
        """List a prefix; whoever stops early pays for the pages begun."""
        self._count("list", f"{prefix}*")
        for number, info in enumerate(self._below.list(prefix, start_after=start_after)):
            if number and number % PAGE == 0:
                self.operations["list"] += 1
            yield info

    def delete(self, key: str, *, if_generation_match: Generation | None = None) -> None:
        """Delete one object."""
        self.operations["delete"] += 1
        self._below.delete(key, if_generation_match=if_generation_match)

    def _count(self, kind: str, key: str) -> None:
        self.operations[kind] += 1
        self.keys.append(key)
