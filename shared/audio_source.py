"""Audio by address: only from where the operator allowed it, and only the bytes that were pinned [io]."""

import errno
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from pydantic import Field

from shared import keys
from shared.documents import Frozen
from shared.errors import CorruptObject, InvalidMessage, InvariantBroken, NotFound, Retryable
from shared.objectstore import Generation, ObjectStore, crc32c_base64
from shared.stores import open_store, split_uri
from shared.whole_file import ChecksumWriter, read_blocks

MAX_AUDIO_BYTES = 64 << 20
_NEVER = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.ENXIO})
"""No file will ever be found under such a name: it is too long, leads in circles, or is of a socket."""
_FILE = "file://"
_BUCKET = "gs://"


class AudioPin(Frozen):
    """Audio as it was when somebody looked: whoever fetches it gets these bytes or an error.

    Attributes:
        uri: `gs://bucket/key` (literal) or `file:///absolute/path` (percent-encoded).
        generation: of the object; None for a file, which has none.
        crc32c: CRC32C of the bytes, base64 of 4 big-endian bytes.
        size_bytes: their number.
    """

    uri: str = Field(min_length=1)
    generation: int | None = Field(default=None, ge=1)
    crc32c: str = Field(pattern=r"^[A-Za-z0-9+/]{6}==$")
    size_bytes: int = Field(ge=0)


class AudioSource:
    """Pins and fetches audio under the prefixes that the operator allowed; safe across threads.

    Args:
        open_store: makes the store of `gs://bucket`; called once a bucket.
        allowed_prefixes: whole segments: `gs://calls` allows `gs://calls/a.wav`, not `gs://calls-evil/a.wav`.
        max_bytes: the most that one clip may have.

    Raises:
        InvalidMessage: a prefix allows everything or is neither `gs://` nor `file://`.
    """

    def __init__(
        self,
        open_store: Callable[[str], ObjectStore] = open_store,
        allowed_prefixes: tuple[str, ...] = (),
        *,
        max_bytes: int = MAX_AUDIO_BYTES,
    ) -> None:
        self._open_store = open_store
        self._prefixes = tuple(_segments(prefix.rstrip("/")) for prefix in allowed_prefixes)
        self._max_bytes = max_bytes
        self._stores: dict[str, ObjectStore] = {}
        self._lock = threading.Lock()

    def check(self, uri: str) -> None:
        """Raise InvalidMessage unless `uri` lies under an allowed prefix; nothing is contacted."""
        segments = _segments(uri)
        if uri.startswith(_BUCKET):
            split_uri(uri)
        if not any(len(segments) > len(prefix) and segments[: len(prefix)] == prefix for prefix in self._prefixes):
            raise InvalidMessage(f"audio {uri!r}: expected an address under an allowed prefix, found none of them")

    def pin(self, uri: str) -> AudioPin:
        """Return what `uri` holds now.

        Raises:
            InvalidMessage: it is not allowed, no plain file, or too long.
            NotFound: it is gone.
            Retryable: the store could not be reached.
        """
        self.check(uri)
        if uri.startswith(_FILE):
            return self._pin_file(uri)
        store, key = self._locate(uri)
        with _of_this_address(uri):
            info = store.stat(key)
        self._check_size(uri, info.size_bytes)
        return AudioPin(uri=uri, generation=info.generation, crc32c=info.crc32c, size_bytes=info.size_bytes)

    def fetch(self, pin: AudioPin) -> bytes:
        """Return the pinned bytes, also of an object that was restored since, which has another generation.

        Raises:
            InvalidMessage: the address is not allowed, no plain file, or too long.
            NotFound: they are gone or were replaced.
            CorruptObject: they are not those that were pinned.
            Retryable: the store could not be reached.
        """
        self.check(pin.uri)
        self._check_size(pin.uri, pin.size_bytes)
        if pin.uri.startswith(_FILE):
            with self._open_file(pin.uri) as file:
                data = file.read(pin.size_bytes + 1)
        elif pin.generation is None:
            raise InvalidMessage(f"audio {pin.uri!r}: expected a generation, found none")
        else:
            store, key = self._locate(pin.uri)
            with _of_this_address(pin.uri):
                try:
                    data = store.get(key, generation=Generation(pin.generation)).data
                except NotFound:
                    data = _restored(store, key, pin)
        if len(data) != pin.size_bytes or crc32c_base64(data) != pin.crc32c:
            raise CorruptObject(f"audio {pin.uri!r}: expected {pin.size_bytes} bytes with crc32c {pin.crc32c}, found others")
        return data

    def _locate(self, uri: str) -> tuple[ObjectStore, str]:
        store_uri, key = split_uri(uri)
        with self._lock:
            if store_uri not in self._stores:
                self._stores[store_uri] = self._open_store(store_uri)
            return self._stores[store_uri], key

    def _pin_file(self, uri: str) -> AudioPin:
        with self._open_file(uri) as file:
            checksum = ChecksumWriter(None)
            for block in read_blocks(file, self._max_bytes + 1):
                checksum.write(block)
        self._check_size(uri, checksum.size_bytes)
        return AudioPin(uri=uri, generation=None, crc32c=checksum.crc32c, size_bytes=checksum.size_bytes)

    @contextmanager
    def _open_file(self, uri: str) -> Iterator[BinaryIO]:
        """Open a plain file whose real path, symbolic links followed, is still under an allowed prefix."""
        roots = [Path("/", *prefix[1:]).resolve() for prefix in self._prefixes if prefix[0] == _FILE]
        try:
            path = Path(unquote(uri.removeprefix(_FILE))).resolve(strict=True)
            if not any(path.is_relative_to(root) for root in roots):
                raise InvalidMessage(f"audio {uri!r}: expected a file under an allowed prefix, found a link to elsewhere")
            # A pipe would block the open, and a link that came after the check must not be followed.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound(f"audio {uri!r}: expected a file, found none") from error
        except (OSError, RuntimeError, ValueError) as error:
            if not isinstance(error, OSError) or error.errno in _NEVER:
                raise InvalidMessage(f"audio {uri!r}: expected the address of a file, found {error}") from error
            raise Retryable(f"audio {uri!r}: {error}") from error  # not ours to read: an operator can mend that
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise InvalidMessage(f"audio {uri!r}: expected a plain file, found something else")
        with os.fdopen(descriptor, "rb") as file:
            yield file

    def _check_size(self, uri: str, size_bytes: int) -> None:
        if size_bytes > self._max_bytes:
            raise InvalidMessage(f"audio {uri!r}: expected at most {self._max_bytes} bytes, found {size_bytes} or more")


@contextmanager
def _of_this_address(uri: str) -> Iterator[None]:
    """What the store will never give is the fault of the address, which a message brought, and no outage."""
    try:
        yield
    except InvariantBroken as error:
        raise InvalidMessage(f"audio {uri!r}: expected an object that can be read, found {error}") from error


def _restored(store: ObjectStore, key: str, pin: AudioPin) -> bytes:
    """Return what lies there under another generation, if it has the size and CRC32C of the pin, and the SHA-256 that a copy's name says.

    Raises:
        NotFound: it is gone, or is not what was pinned.
        CorruptObject: it is not what its name says.
    """
    info = store.stat(key)
    if (info.size_bytes, info.crc32c) != (pin.size_bytes, pin.crc32c):
        raise NotFound(f"audio {pin.uri!r}: expected generation {pin.generation}, or its bytes again, found others")
    data = store.get(key, generation=info.generation).data
    if key.startswith(keys.AUDIO) and sha256(data).hexdigest() != key.removeprefix(keys.AUDIO):
        raise CorruptObject(f"audio {pin.uri!r}: expected bytes with the SHA-256 of its name, found others")
    return data


def _segments(uri: str) -> tuple[str, ...]:
    """Split an address into its scheme and path segments. Raises InvalidMessage."""
    if uri.startswith("file:///"):
        scheme, path = _FILE, unquote(uri.removeprefix("file:///"))
    elif uri.startswith(_BUCKET):
        scheme, path = _BUCKET, uri.removeprefix(_BUCKET)
    else:
        raise InvalidMessage(f"audio {uri!r}: expected gs://bucket/key or file:///path")
    segments = path.split("/")
    if not segments[0] or ".." in segments or "." in segments or "\0" in path:
        raise InvalidMessage(f"audio {uri!r}: expected plain path segments, found {path!r}")
    return scheme, *segments
