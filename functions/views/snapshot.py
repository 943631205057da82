"""A store as one page sees it: what is known to be wanted is read side by side beforehand, and nothing is read twice."""

# ruff: noqa: ARG002 - the port gives what a refusal does not look at

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from shared.cas import find
from shared.errors import InvariantBroken, NotFound
from shared.objectstore import Generation, ObjectInfo, ObjectStore, StoredObject
from shared.whole_file import put_whole

READ_THREADS = 16


@dataclass(frozen=True)
class Snapshot:
    """Reads of a store for as long as one answer takes; it writes nothing.

    Attributes:
        store: that is read.
    """

    store: ObjectStore
    _known: dict[str, StoredObject | None] = field(default_factory=dict)

    @property
    def uri(self) -> str:
        """Address of the store."""
        return self.store.uri

    def prefetch(self, keys: Iterable[str]) -> None:
        """Read objects side by side; that one is not there is known afterwards, too."""
        wanted = [key for key in dict.fromkeys(keys) if key not in self._known]
        if wanted:
            with ThreadPoolExecutor(READ_THREADS) as pool:
                self._known.update(zip(wanted, pool.map(lambda key: find(self.store, key), wanted), strict=True))

    def get(self, key: str, *, generation: Generation | None = None) -> StoredObject:
        """Read one object, the first time from the store. Raises NotFound as `ObjectStore.get`."""
        if generation is not None:
            return self.store.get(key, generation=generation)
        self.prefetch([key])
        known = self._known[key]
        if known is None:
            raise NotFound(f"{self.uri}/{key}: expected an object, found none")
        return known

    def stat(self, key: str) -> ObjectInfo:
        """Read what a listing would tell; see `ObjectStore.stat`."""
        return self.store.stat(key)

    def list(self, prefix: str, *, start_after: str | None = None) -> Iterator[ObjectInfo]:
        """List objects; see `ObjectStore.list`."""
        return self.store.list(prefix, start_after=start_after)

    def get_to_file(self, key: str, path: Path, *, generation: Generation | None = None) -> ObjectInfo:
        """Download one object; see `ObjectStore.get_to_file`. One that was read is not read again."""
        known = self._known.get(key)
        if known is None or generation is not None:
            return self.store.get_to_file(key, path, generation=generation)
        put_whole(path, known.data)
        return known.info

    def put(
        self,
        key: str,
        data: bytes,
        *,
        if_generation_match: Generation | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> ObjectInfo:
        """Refuse.

        Raises:
            InvariantBroken: always.
        """
        raise _read_only(key)

    def put_file(
        self,
        key: str,
        path: Path,
        *,
        if_generation_match: Generation | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> ObjectInfo:
        """Refuse. Raises InvariantBroken."""
        raise _read_only(key)

    def delete(self, key: str, *, if_generation_match: Generation | None = None) -> None:
        """Refuse. Raises InvariantBroken."""
        raise _read_only(key)


def _read_only(key: str) -> InvariantBroken:
    return InvariantBroken(f"object {key}: expected to be looked at, found an attempt to write it")
