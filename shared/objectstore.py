"""The object-store port: strongly consistent, generation-conditional, flat keys.

Implementations: `GcsStore` (google-cloud-storage), `DirStore` (one laptop, safe across processes) and
`MemoryStore` (tests). All pass the contract suite in `tests/contract/test_object_store.py`.
"""

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NewType, Protocol

import google_crc32c

from shared.errors import InvalidMessage

Generation = NewType("Generation", int)

ABSENT = Generation(0)
"""The precondition "must not exist yet" (Cloud Storage: ifGenerationMatch=0)."""

MAX_KEY_BYTES = 1024


@dataclass(frozen=True)
class ObjectInfo:
    """What a listing tells of one object.

    Attributes:
        key: name inside the store.
        generation: changes with every write of the key; strictly increasing per key, also over a delete.
        size_bytes: length of the data.
        crc32c: big-endian CRC32C of the data, base64 (as Cloud Storage reports it).
        updated: when this generation was written, aware UTC.
        metadata: custom metadata of this generation.
        content_type: the media type that it was written with.
    """

    key: str
    generation: Generation
    size_bytes: int
    crc32c: str
    updated: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/octet-stream"


@dataclass(frozen=True)
class StoredObject:
    """One object with its data; `info` is of the very generation that `data` was read from."""

    info: ObjectInfo
    data: bytes


class ObjectStore(Protocol):
    """Strongly consistent key-value store with conditional writes.

    Any call may raise InvariantBroken: the store will never take such a request, and did not carry it out.
    """

    @property
    def uri(self) -> str:
        """Address of the store without a trailing slash: `gs://bucket` or `file:///dir`."""
        ...

    def get(self, key: str, *, generation: Generation | None = None) -> StoredObject:
        """Read one object.

        Raises:
            NotFound: there is no such key, or its present generation is another one than asked for.
            Retryable: the store could not be reached.
        """
        ...

    def stat(self, key: str) -> ObjectInfo:
        """Read what a listing would tell of one object.

        Raises:
            NotFound: there is no such key.
            Retryable: the store could not be reached.
        """
        ...

    def put(
        self,
        key: str,
        data: bytes,
        *,
        if_generation_match: Generation | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> ObjectInfo:
        """Write one object.

        Args:
            key: see `check_key`.
            data: all of it.
            if_generation_match: `ABSENT` creates, another generation replaces just that one; None = whatever stands there.
            metadata: kept with this generation, and told by listings.
            content_type: the media type.

        Raises:
            Conflict: the precondition did not hold (it may have been this very write whose reply was lost:
                `shared.cas.commit` reads back).
            CommitUnknown: the write may or may not have landed.
            InvalidMessage: the key is not a legal object name.
        """
        ...

    def put_file(
        self,
        key: str,
        path: Path,
        *,
        if_generation_match: Generation | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> ObjectInfo:
        """Write one object from a file without holding it in memory. Raises as `put`."""
        ...

    def get_to_file(self, key: str, path: Path, *, generation: Generation | None = None) -> ObjectInfo:
        """Download one object into `path` (written whole or not at all). Raises as `get`."""
        ...

    def list(self, prefix: str, *, start_after: str | None = None) -> Iterator[ObjectInfo]:
        """List the objects under `prefix` in order of their UTF-8 keys, from the first key greater than `start_after`."""
        ...

    def delete(self, key: str, *, if_generation_match: Generation | None = None) -> None:
        """Delete one object; a key that does not exist is no error.

        Raises:
            Conflict: the key exists at another generation than `if_generation_match`.
            Retryable: the store could not be reached (the object may be gone all the same).
        """
        ...


def crc32c_base64(data: bytes) -> str:
    """Return the CRC32C of `data` in the form Cloud Storage uses (base64 of 4 big-endian bytes)."""
    checksum: int = google_crc32c.value(data)
    return base64.b64encode(checksum.to_bytes(4, "big")).decode("ascii")


def check_key(key: str) -> str:
    """Return `key` if it is a legal object name.

    Raises:
        InvalidMessage: it is empty, not UTF-8, longer than 1024 bytes, `.`/`..`, or holds a line break or NUL
            (Cloud Storage, "Object name requirements").
    """
    try:
        encoded = key.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidMessage(f"object name {key[:80]!r}: expected UTF-8, found {error.reason}") from error
    if not key or len(encoded) > MAX_KEY_BYTES or key in {".", ".."} or any(c in key for c in "\r\n\0"):
        raise InvalidMessage(f"object name {key[:80]!r}: expected 1-{MAX_KEY_BYTES} bytes without line breaks, found {len(encoded)} bytes")
    return key
