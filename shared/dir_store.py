"""An object store in a folder of one machine, safe across processes and threads [io].

    writer A                     the store's lock                  reader
      | data -> tmp/             (nothing is locked)                 |
      | lock ------------------->| read the present record           |
      |                          | precondition, next generation     |
      |                          | trailer -> tmp/, rename  <- here the object changes, in one step
      | unlock ----------------->|                                   | opens the old file or the new one, each whole

A process killed anywhere leaves the old object or the new one, and at worst a file in `tmp/` that a later process removes.
Nothing is flushed to the platter: it outlives a crash of every process, not a power cut (that is what Cloud Storage is for).
"""

import fcntl
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, Self

from shared.clock import Clock, SystemClock
from shared.dir_layout import Record, dump_record, find_keys, read_record, relative_path
from shared.errors import Conflict, CorruptObject, NotFound
from shared.objectstore import ABSENT, Generation, ObjectInfo, StoredObject, check_key, crc32c_base64
from shared.whole_file import BLOCK_BYTES, ChecksumWriter, read_blocks, write_whole

Check = Callable[[Record | None], None]
"""Looks at the present record under the lock and raises if the write must not happen."""

_STALE = timedelta(days=1)


class Draft:
    """Data on their way into a store: write to it, then hand it to `DirStore.commit`. Closing it throws away what was not committed."""

    def __init__(self, path: Path, *, with_md5: bool) -> None:
        self._path = path
        self._file = path.open("xb")
        self.data = ChecksumWriter(self._file, with_md5=with_md5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def publish(self, record: Record, path: Path) -> None:
        """Finish the file and move it to where readers look."""
        self._file.write(dump_record(record))
        self._file.close()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path.replace(path)

    def close(self) -> None:
        """Remove the temporary file, if it still is one."""
        self._file.close()
        self._path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Description:
    """What a writer says of its data."""

    metadata: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/octet-stream"
    attributes: Mapping[str, str] = field(default_factory=dict)


class DirStore:
    """`ObjectStore` below a folder of one machine (not over NFS: it relies on `flock` and atomic renames).

    Besides the port it offers what a Cloud Storage server needs: records with metagenerations, preconditions of any kind
    checked under the lock, streamed writes and changes of metadata.

    Args:
        root: made at the first write.
        clock: gives the times and, in microseconds, the generations.
    """

    def __init__(self, root: Path, clock: Clock | None = None) -> None:
        self._root = root.absolute()
        self._objects = self._root / "objects"
        self._drafts = self._root / "tmp"
        self._lock = self._root / "lock"
        self._clock = clock or SystemClock()
        self._remove_stale_drafts()

    @property
    def uri(self) -> str:
        """Address of the store: `file:///abs/root`."""
        return self._root.as_uri()

    def get(self, key: str, *, generation: Generation | None = None) -> StoredObject:
        """Read one object; see `ObjectStore.get`. Raises CorruptObject if somebody changed its file."""
        record, file = self.open(key)
        with file:
            _check_present(self.uri, key, record, generation)
            data = file.read(record.info.size_bytes)
        _check_crc32c(self.uri, record.info, crc32c_base64(data))
        return StoredObject(record.info, data)

    def stat(self, key: str) -> ObjectInfo:
        """Read an object's listing; see `ObjectStore.stat`."""
        return self.record(key).info

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
        with self.draft() as draft:
            draft.data.write(data)
            description = Description(dict(metadata or {}), content_type)
            return self.commit(draft, key, description, self._expect(key, if_generation_match)).info

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
        check_key(key)
        with path.open("rb") as source, self.draft() as draft:
            while block := source.read(BLOCK_BYTES):
                draft.data.write(block)
            return self.commit(draft, key, Description(dict(metadata or {}), content_type), self._expect(key, if_generation_match)).info

    def get_to_file(self, key: str, path: Path, *, generation: Generation | None = None) -> ObjectInfo:
        """Copy one object into a file; see `ObjectStore.get_to_file`. Raises CorruptObject if somebody changed its file."""
        record, file = self.open(key)
        with file:
            _check_present(self.uri, key, record, generation)
            with write_whole(path) as target:
                for block in read_blocks(file, record.info.size_bytes):
                    target.write(block)
                _check_crc32c(self.uri, record.info, target.crc32c)
        return record.info

    def list(self, prefix: str, *, start_after: str | None = None) -> Iterator[ObjectInfo]:
        """List a prefix; see `ObjectStore.list`. The names are those at the call, each object is described as it is when reached."""
        keys = self.keys(prefix, b"" if start_after is None else start_after.encode() + b"\0")
        return (record.info for record in map(self.find, keys) if record is not None)

    def delete(self, key: str, *, if_generation_match: Generation | None = None) -> None:
        """Delete one object; see `ObjectStore.delete`."""
        expect = self._expect(key, if_generation_match)
        self.remove(key, lambda record: expect(record) if record else None)

    def keys(self, prefix: str, start: bytes = b"") -> Sequence[str]:
        """Return the keys under `prefix` from the UTF-8 key `start` on, in order, all as they were at one moment."""
        try:
            with self._locked(fcntl.LOCK_SH):
                return [key.decode() for key in find_keys(self._objects, prefix.encode(), start)]
        except NotFound:
            return []

    def find(self, key: str) -> Record | None:
        """Return the record of one object, or None."""
        try:
            return self.record(key)
        except NotFound:
            return None

    def record(self, key: str) -> Record:
        """Return the record of one object; raises NotFound."""
        record, file = self.open(key)
        file.close()
        return record

    def open(self, key: str) -> tuple[Record, BinaryIO]:
        """Open one object: its record, and its file at the first byte of data (the trailer follows the last); raises NotFound."""
        path = self._path(key)
        try:
            file = path.open("rb")
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound(f"{self.uri}/{key}: expected an object, found none") from error
        try:
            return read_record(file.fileno(), path), file
        except BaseException:
            file.close()
            raise

    def draft(self, *, with_md5: bool = False) -> Draft:
        """Begin a write."""
        self._drafts.mkdir(parents=True, exist_ok=True)
        return Draft(self._drafts / uuid.uuid4().hex, with_md5=with_md5)

    def commit(self, draft: Draft, key: str, description: Description, check: Check) -> Record:
        """Make a draft the object `key`, if `check` lets it pass."""
        check_key(key)
        with self._locked(fcntl.LOCK_EX) as lock:
            current = self.find(key)
            check(current)
            now = self._clock.now()
            info = ObjectInfo(
                key=key,
                generation=_next_generation(lock, int(now.timestamp() * 1_000_000), current),
                size_bytes=draft.data.size_bytes,
                crc32c=draft.data.crc32c,
                updated=now,
                metadata=dict(description.metadata),
                content_type=description.content_type,
            )
            record = Record(info, 1, now, draft.data.md5, dict(description.attributes))
            draft.publish(record, self._path(key))
        return record

    def describe(self, key: str, change: Callable[[Record], Description]) -> Record:
        """Replace the description of an object; `change` runs under the lock and may raise. The generation stays."""
        self.record(key)
        with self._locked(fcntl.LOCK_EX), self.draft() as draft:
            record, file = self.open(key)
            with file:
                description = change(record)
                for block in read_blocks(file, record.info.size_bytes):
                    draft.data.write(block)
            info = replace(record.info, metadata=dict(description.metadata), content_type=description.content_type)
            changed = Record(info, record.metageneration + 1, self._clock.now(), record.md5, dict(description.attributes))
            draft.publish(changed, self._path(key))
        return changed

    def remove(self, key: str, check: Check) -> None:
        """Delete an object, if there is one and `check` lets it pass."""
        if not self._lock.exists():
            check(None)
            return
        path = self._path(key)
        with self._locked(fcntl.LOCK_EX):
            check(self.find(key))
            path.unlink(missing_ok=True)
            with suppress(OSError):  # until a folder that still holds something
                for folder in path.parents[: len(relative_path(key).parts) - 1]:
                    folder.rmdir()

    def remove_if_empty(self) -> bool:
        """Delete the store itself if it holds nothing; return whether it did."""
        with self._locked(fcntl.LOCK_EX):
            if find_keys(self._objects, b""):
                return False
            shutil.rmtree(self._root.rename(self._root.with_name(f".{uuid.uuid4().hex}.deleted")))
        return True

    def _path(self, key: str) -> Path:
        return self._objects / relative_path(key)

    def _expect(self, key: str, expected: Generation | None) -> Check:
        def check(record: Record | None) -> None:
            found = record.info.generation if record else ABSENT
            if expected is not None and expected != found:
                raise Conflict(f"{self.uri}/{key}: expected generation {expected}, found {found}")

        return check

    @contextmanager
    def _locked(self, operation: int) -> Iterator[int]:
        """Hold the lock of the whole store: `flock` on a descriptor of one's own keeps threads apart as well as processes."""
        try:
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT if operation == fcntl.LOCK_EX else os.O_RDONLY, 0o644)
        except FileNotFoundError as error:
            raise NotFound(f"{self.uri}: expected a store, found none") from error
        try:
            fcntl.flock(descriptor, operation)
            if not self._lock.exists():
                raise NotFound(f"{self.uri}: expected a store, found it deleted")
            yield descriptor
        finally:
            os.close(descriptor)

    def _remove_stale_drafts(self) -> None:
        oldest = (self._clock.now() - _STALE).timestamp()
        for path in self._drafts.glob("*"):
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < oldest:
                    path.unlink()


def _next_generation(lock: int, now_us: int, current: Record | None) -> Generation:
    """Return a generation greater than any that the store gave out, and note it in the lock file, which outlives every object."""
    noted = os.pread(lock, 32, 0).strip()
    last = max(int(noted) if noted.isdigit() else 0, current.info.generation if current else 0)
    generation = max(last + 1, now_us)
    os.pwrite(lock, b"%020d\n" % generation, 0)
    return Generation(generation)


def _check_present(uri: str, key: str, record: Record, generation: Generation | None) -> None:
    if generation is not None and record.info.generation != generation:
        raise NotFound(f"{uri}/{key}: expected generation {generation}, found {record.info.generation}")


def _check_crc32c(uri: str, info: ObjectInfo, found: str) -> None:
    if found != info.crc32c:
        raise CorruptObject(f"{uri}/{info.key}: expected crc32c {info.crc32c}, found {found}")
