"""An object store in a Cloud Storage bucket [io]."""

import http.client
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import requests
import urllib3
from google.api_core import exceptions
from google.auth.exceptions import GoogleAuthError
from google.cloud import storage
from google.cloud.storage.exceptions import DataCorruption, InvalidResponse
from google.cloud.storage.retry import DEFAULT_RETRY

from shared.errors import CommitUnknown, Conflict, InvalidMessage, InvariantBroken, NotFound, Retryable, RetuneError
from shared.objectstore import Generation, ObjectInfo, StoredObject, check_key, crc32c_base64
from shared.whole_file import write_whole

DEADLINE_S = 20.0
"""How long a request is tried again; the last attempt may take one more `ATTEMPT_S`."""

ATTEMPT_S = (5.0, 10.0)
"""How long one attempt may take to connect, and to send the next byte."""

FILE_ATTEMPT_S = (5.0, 60.0)
"""The same for files of any size, whose last chunk Cloud Storage answers only when it has put them together."""

CONNECTIONS = 64
"""Kept for later requests: as many as threads read at once for two of the console's pages. Of ten, the client's own number, most would be
opened anew each time, and the log would say so."""

CHUNK_BYTES = 32 << 20
READ_TRIES = 20
_FIELDS = "items(name,generation,size,crc32c,timeCreated,metadata,contentType),nextPageToken"
_CHECKSUM = "crc32c"

_AWAY = (
    exceptions.GoogleAPIError,
    GoogleAuthError,
    InvalidResponse,
    DataCorruption,
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
)

_NEVER = frozenset({400, 405, 411, 413, 414})
"""Whatever is asked so was not carried out, and never will be. Of a 416 a download that goes on may be the cause."""

Got = TypeVar("Got")


class GcsStore:
    """`ObjectStore` in one bucket; a client made here honours `STORAGE_EMULATOR_HOST`.

    The client sends a request again when its reply was lost. So a Conflict may be this very write, landed at the first
    attempt: `shared.cas.commit` reads back.

    Args:
        bucket_name: without `gs://`.
        client: shared with other stores, or None: made at the first call.
        deadline_s: how long a request that fails is tried again.
    """

    def __init__(self, bucket_name: str, client: storage.Client | None = None, *, deadline_s: float = DEADLINE_S) -> None:
        self._name = bucket_name
        self._client = client
        self._lock = threading.Lock()
        # Every request here may be repeated: it is a read, carries a precondition, or writes the same bytes again.
        self._retry = DEFAULT_RETRY.with_delay(initial=0.25, maximum=4.0).with_timeout(deadline_s)

    @property
    def uri(self) -> str:
        """Address of the store: `gs://bucket`."""
        return f"gs://{self._name}"

    def get(self, key: str, *, generation: Generation | None = None) -> StoredObject:
        """Read one object; see `ObjectStore.get`."""

        def download(blob: Any, info: ObjectInfo) -> StoredObject:
            data: bytes = blob.download_as_bytes(raw_download=True, checksum=_CHECKSUM, timeout=ATTEMPT_S, retry=self._retry)
            self._check_whole(info, len(data), crc32c_base64(data))
            return StoredObject(info, data)

        return self._read(key, generation, download)

    def get_to_file(self, key: str, path: Path, *, generation: Generation | None = None) -> ObjectInfo:
        """Download one object; see `ObjectStore.get_to_file`."""

        def download(blob: Any, info: ObjectInfo) -> ObjectInfo:
            with write_whole(path) as target:
                blob.download_to_file(target, raw_download=True, checksum=_CHECKSUM, timeout=FILE_ATTEMPT_S, retry=self._retry)
                self._check_whole(info, target.size_bytes, target.crc32c)
            return info

        return self._read(key, generation, download)

    def stat(self, key: str) -> ObjectInfo:
        """Read an object's listing; see `ObjectStore.stat`."""
        with self._translated(f"{self.uri}/{key}"):
            blob = self._blob(key)
            blob.reload(timeout=ATTEMPT_S, retry=self._retry)
            return self._info(blob)

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
        with self._writing(key, if_generation_match):
            blob = self._blob(key, metadata=metadata)
            blob.upload_from_string(
                data,
                content_type=content_type,
                if_generation_match=if_generation_match,
                checksum=_CHECKSUM,
                timeout=ATTEMPT_S,
                retry=self._retry,
            )
            return self._info(blob)

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
        with path.open("rb") as file, self._writing(key, if_generation_match):
            blob = self._blob(key, metadata=metadata)
            blob.chunk_size = CHUNK_BYTES
            blob.upload_from_file(
                file,
                size=os.fstat(file.fileno()).st_size,
                content_type=content_type,
                if_generation_match=if_generation_match,
                checksum=_CHECKSUM,
                timeout=FILE_ATTEMPT_S,
                retry=self._retry,
            )
            return self._info(blob)

    def list(self, prefix: str, *, start_after: str | None = None) -> Iterator[ObjectInfo]:
        """List a prefix; see `ObjectStore.list`. The first page is read at the call, each later one when it is reached."""
        with self._translated(f"{self.uri}/{prefix}*"):
            pages = iter(
                self._bucket()
                .list_blobs(prefix=prefix or None, start_offset=start_after, fields=_FIELDS, timeout=ATTEMPT_S, retry=self._retry)
                .pages
            )
        first = self._next_page(pages, prefix)
        return self._walk(first, pages, prefix, start_after)

    def delete(self, key: str, *, if_generation_match: Generation | None = None) -> None:
        """Delete one object; see `ObjectStore.delete`."""
        try:
            with self._translated(f"{self.uri}/{key}"):
                self._blob(key).delete(if_generation_match=if_generation_match, timeout=ATTEMPT_S, retry=self._retry)
        except NotFound:
            return
        except Conflict:
            if self._exists(key):
                raise

    def _exists(self, key: str) -> bool:
        try:
            self.stat(key)
        except NotFound:
            return False
        return True

    def _read(self, key: str, generation: Generation | None, download: Callable[[Any, ObjectInfo], Got]) -> Got:
        """Ask for the description first and then for the data of just that generation: a download replaces what the client knows."""
        for _ in range(READ_TRIES):
            info = self.stat(key)
            if generation is not None and info.generation != generation:
                raise NotFound(f"{self.uri}/{key}: expected generation {generation}, found {info.generation}")
            try:
                with self._translated(f"{self.uri}/{key}"):
                    return download(self._blob(key, generation=info.generation), info)
            except NotFound:
                if generation is not None:
                    raise
        raise Retryable(f"{self.uri}/{key}: expected one generation to stay while it is read, found it overwritten {READ_TRIES} times")

    def _next_page(self, pages: Iterator[Any], prefix: str) -> Sequence[ObjectInfo] | None:
        with self._translated(f"{self.uri}/{prefix}*"):
            page = next(pages, None)
            return None if page is None else [self._info(blob) for blob in page]

    def _walk(self, page: Sequence[ObjectInfo] | None, pages: Iterator[Any], prefix: str, start_after: str | None) -> Iterator[ObjectInfo]:
        while page is not None:  # an empty page need not be the last
            yield from (info for info in page if info.key != start_after)
            page = self._next_page(pages, prefix)

    def _bucket(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = _connected()
            return self._client.bucket(self._name)

    def _blob(self, key: str, *, generation: Generation | None = None, metadata: Mapping[str, str] | None = None) -> Any:
        blob = self._bucket().blob(check_key(key), generation=generation)
        if metadata:
            blob.metadata = dict(metadata)
        return blob

    def _info(self, blob: Any) -> ObjectInfo:
        if blob.generation is None or blob.crc32c is None:
            # Without it the next conditional write would silently be an unconditional one.
            raise InvariantBroken(f"{self.uri}/{blob.name}: expected the server to tell generation and crc32c, found none")
        return ObjectInfo(
            key=blob.name,
            generation=Generation(int(blob.generation)),
            size_bytes=int(blob.size),
            crc32c=blob.crc32c,
            updated=blob.time_created,
            metadata=dict(blob.metadata or {}),
            content_type=blob.content_type or "application/octet-stream",
        )

    def _check_whole(self, info: ObjectInfo, size_bytes: int, crc32c: str) -> None:
        """The client takes a download that broke off twice for a whole one."""
        if (size_bytes, crc32c) != (info.size_bytes, info.crc32c):
            raise Retryable(f"{self.uri}/{info.key}: expected {info.size_bytes} bytes {info.crc32c}, received {size_bytes} bytes {crc32c}")

    @contextmanager
    def _writing(self, key: str, expected: Generation | None) -> Iterator[None]:
        if expected is not None and expected < 0:
            raise InvalidMessage(f"{self.uri}/{key}: expected a generation, found {expected}")
        unknown: type[RetuneError] = Retryable if expected is None else CommitUnknown
        # "Not found" is said of the bucket, or of a resumable upload whose end nobody remembers.
        with self._translated(f"{self.uri}/{key}", unknown=unknown, missing=unknown):
            yield

    @contextmanager
    def _translated(self, what: str, *, unknown: type[RetuneError] = Retryable, missing: type[RetuneError] = NotFound) -> Iterator[None]:
        """Turn the client's exceptions into ours; `unknown` is for a request that the server may have carried out."""
        try:
            yield
        except exceptions.PreconditionFailed as error:
            raise Conflict(f"{what}: expected another generation: {error.message}") from error
        except exceptions.NotFound as error:
            raise missing(f"{what}: expected it to exist, found nothing: {error.message}") from error
        except (exceptions.Unauthorized, exceptions.Forbidden) as error:
            raise Retryable(f"{what}: refused: {error}") from error  # until an operator has granted it
        except _AWAY as error:
            if getattr(error, "code", None) in _NEVER:
                raise InvariantBroken(f"{what}: expected a request that Cloud Storage can take, found {error}") from error
            raise unknown(f"{what}: {type(error).__name__}: {error}") from error


def _connected() -> storage.Client:
    client = storage.Client()
    # The adapters that are there, since one may bring a certificate of this machine; no option of the client's leads to them.
    for adapter in client._http.adapters.values():  # noqa: SLF001
        adapter.init_poolmanager(requests.adapters.DEFAULT_POOLSIZE, CONNECTIONS)
    return client
