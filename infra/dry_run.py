"""A store to look at: it reads the real one, and what is written to it is lost."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from shared.clock import Clock
from shared.errors import InvariantBroken
from shared.objectstore import Generation, ObjectInfo, ObjectStore, StoredObject, crc32c_base64


class DryRun:
    """Implements `shared.objectstore.ObjectStore`: to run a decision that may make what it needs, without leaving a trace."""

    def __init__(self, store: ObjectStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @property
    def uri(self) -> str:
        """Address of the real store."""
        return self._store.uri

    def get(self, key: str, *, generation: Generation | None = None) -> StoredObject:
        """Read one object of the real store."""
        return self._store.get(key, generation=generation)

    def stat(self, key: str) -> ObjectInfo:
        """Describe one object of the real store."""
        return self._store.stat(key)

    def list(self, prefix: str, *, start_after: str | None = None) -> Iterator[ObjectInfo]:
        """List the real store."""
        return self._store.list(prefix, start_after=start_after)

    def get_to_file(self, key: str, path: Path, *, generation: Generation | None = None) -> ObjectInfo:
        """Copy one object of the real store into a file."""
        return self._store.get_to_file(key, path, generation=generation)

    def put(
        self,
        key: str,
        data: bytes,
        *,
        if_generation_match: Generation | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> ObjectInfo:
        """Say that the object was written, and write nothing."""
        generation = Generation((if_generation_match or 0) + 1)
        return ObjectInfo(key, generation, len(data), crc32c_base64(data), self._clock.now(), dict(metadata or {}), content_type)

    def put_file(
        self, key: str, path: Path, *, if_generation_match: Generation | None = None, metadata: Mapping[str, str] | None = None
    ) -> ObjectInfo:
        """Say that the object was written, and write nothing."""
        return self.put(key, path.read_bytes(), if_generation_match=if_generation_match, metadata=metadata)

    def delete(self, key: str, *, if_generation_match: Generation | None = None) -> None:
        """Refuse: who looks has nothing to delete.

        Raises:
            InvariantBroken: always.
        """
        raise InvariantBroken(f"{self.uri}/{key}: expected nothing to be deleted in a dry run, found generation {if_generation_match}")
