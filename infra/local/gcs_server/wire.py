"""HTTP as the Cloud Storage JSON API uses it, as values: requests, responses, errors, ranges, multipart bodies. No sockets, no disks."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BufferedIOBase
from typing import Any, BinaryIO
from urllib.parse import parse_qsl, unquote

from shared.whole_file import BLOCK_BYTES

_RANGE = re.compile(r"bytes=(?:([0-9]{1,20})-([0-9]{0,20})|-([0-9]{1,20}))")
_CONTENT_RANGE = re.compile(r"bytes (?:\*|([0-9]{1,20})-([0-9]{1,20}))/(?:\*|([0-9]{1,20}))")
_INTEGER = re.compile(r"[0-9]{1,20}")
_BOUNDARY = re.compile(r'boundary=(?:"([^"]+)"|([^\s;]+))')


class BrokenBody(ConnectionError):  # noqa: N818 - said as in shared.errors
    """The client went away before it had sent all that it announced."""


class Body:
    """A request body that is read once, in blocks.

    Args:
        source: the connection.
        length: the announced length; None = chunked transfer encoding.
    """

    def __init__(self, source: BufferedIOBase, length: int | None) -> None:
        self._source = source
        self._blocks = self._chunked() if length is None else self._plain(length, BLOCK_BYTES)
        self._length = length

    def blocks(self) -> Iterator[bytes]:
        """Yield what has not been read yet."""
        return self._blocks

    def read(self) -> bytes:
        """Return the whole body."""
        if self._length:
            self._blocks = self._plain(self._length, self._length)
            return next(self._blocks)
        return b"".join(self._blocks)

    def drain(self) -> None:
        """Read the rest and drop it, so that the connection stands at the next request."""
        for _ in self._blocks:
            pass

    def _plain(self, length: int, block_bytes: int) -> Iterator[bytes]:
        left = length
        while left:
            block = self._source.read(min(left, block_bytes))
            if not block:
                raise BrokenBody(f"request body: expected {length} bytes, found {length - left}")
            left -= len(block)
            yield block

    def _chunked(self) -> Iterator[bytes]:
        while size := int(self._line().split(b";")[0], 16):
            yield from self._plain(size, BLOCK_BYTES)
            self._line()
        while self._line().strip():
            pass

    def _line(self) -> bytes:
        line = self._source.readline(BLOCK_BYTES)
        if not line.endswith(b"\n"):
            raise BrokenBody("chunked request body: expected another line, found the end")
        return line


@dataclass(frozen=True)
class Request:
    """One request.

    Attributes:
        path: segments of the raw path, unquoted after the split (an object's name is one segment, slashes and all).
        query: the last value of each parameter.
        headers: by lower-case name.
    """

    method: str
    path: tuple[str, ...]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Body

    def json(self) -> dict[str, Any]:
        """Return the body as a JSON object; an empty one is `{}`."""
        return parse_json(self.body.read())


@dataclass(frozen=True)
class FileSlice:
    """A part of an open file; whoever sends it closes it."""

    file: BinaryIO
    offset: int
    length: int


@dataclass(frozen=True)
class Response:
    """One response: a body of bytes or a slice of a file."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    file: FileSlice | None = None


class HttpError(Exception):
    """A refusal in the API's own words."""

    def __init__(self, status: int, reason: str, message: str, **extra: str) -> None:
        super().__init__(message)
        error = {"message": message, "domain": "global", "reason": reason, **extra}
        body = {"error": {"code": status, "message": message, "errors": [error]}}
        self.response = Response(304) if status == 304 else json_response(body, status)


def json_response(body: Mapping[str, Any], status: int = 200) -> Response:
    """Return a JSON response."""
    return Response(status, {"Content-Type": "application/json; charset=UTF-8"}, json.dumps(body).encode())


def not_found(what: str) -> HttpError:
    """Return the error for something that does not exist."""
    return HttpError(404, "notFound", f"No such object: {what}")


def invalid(message: str) -> HttpError:
    """Return the error for a request that makes no sense."""
    return HttpError(400, "invalid", message)


def parse_target(target: str) -> tuple[tuple[str, ...], dict[str, str]]:
    """Split a raw request target into path segments and query; slashes before the path are tolerated."""
    path, _, query = target.partition("?")
    segments = path.lstrip("/").split("/")
    return tuple(unquote(segment) for segment in segments), dict(parse_qsl(query, keep_blank_values=True))


def parse_json(data: bytes) -> dict[str, Any]:
    """Parse a JSON object; nothing at all is `{}`. Raises HttpError."""
    try:
        parsed = json.loads(data or b"{}")
        json.dumps(parsed, ensure_ascii=False).encode()  # half of a surrogate pair is no text that can be kept
    except (ValueError, RecursionError) as error:
        raise invalid(f"Parse Error: {error}") from error
    return as_object(parsed)


def as_object(value: object) -> dict[str, Any]:
    """Return a JSON value that must be an object; null is `{}`. Raises HttpError."""
    if not isinstance(value, dict | None):
        raise invalid("Parse Error: expected an object")
    return value or {}


def parse_int(query: Mapping[str, str], name: str) -> int | None:
    """Return an integer parameter, or None if it is absent. Raises HttpError."""
    text = query.get(name, "")
    if text and not _INTEGER.fullmatch(text):
        raise invalid(f"Invalid value for {name}: {text!r}")
    return int(text) if text else None


def parse_range(header: str | None, size_bytes: int) -> tuple[int, int] | None:
    """Return offset and length of a `Range` header, or None for the whole object. Raises HttpError 416."""
    found = _RANGE.fullmatch(header or "")
    if found is None:
        return None
    if found[3]:
        start, end = max(0, size_bytes - int(found[3])), size_bytes
    else:
        start, end = int(found[1]), min(size_bytes, int(found[2]) + 1 if found[2] else size_bytes)
    if start >= end:
        raise HttpError(416, "requestedRangeNotSatisfiable", "Request range not satisfiable")
    return start, end - start


@dataclass(frozen=True)
class ContentRange:
    """Where the bytes of a resumable upload's request belong; no start = a question, no total = more will come."""

    start: int | None
    total: int | None


def parse_content_range(header: str) -> ContentRange:
    """Parse the `Content-Range` of a resumable upload. Raises HttpError."""
    found = _CONTENT_RANGE.fullmatch(header)
    if found is None:
        raise invalid(f"Invalid Content-Range: {header!r}")
    return ContentRange(*(int(number) if number else None for number in (found[1], found[3])))


def parse_boundary(content_type: str) -> bytes:
    """Return the boundary of a multipart content type (quoted by some clients, and with `=` inside). Raises HttpError."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise invalid(f"Invalid multipart request: no boundary in {content_type!r}")
    return (found[1] or found[2]).encode()


def parse_related(body: bytes, boundary: bytes) -> tuple[dict[str, Any], str, memoryview]:
    """Split a `multipart/related` upload into resource, content type and data (a view, not a copy). Raises HttpError.

    The data may hold line breaks and dashes, so their end is sought from the end.
    """
    delimiter = b"\r\n--" + boundary
    resource_start = body.find(b"\r\n\r\n") + 4
    resource_end = body.find(delimiter, resource_start)
    data_start = body.find(b"\r\n\r\n", resource_end) + 4
    data_end = body.rfind(delimiter + b"--")
    if min(resource_start, data_start) < 4 or not 0 < resource_end < data_start <= data_end:
        raise invalid("Invalid multipart request: expected two parts")
    headers = parse_headers(body[resource_end + len(delimiter) : data_start])
    return parse_json(body[resource_start:resource_end]), headers.get("content-type", ""), memoryview(body)[data_start:data_end]


def parse_headers(block: bytes) -> dict[str, str]:
    """Parse header lines, whatever their line ends."""
    pairs = (line.partition(":") for line in block.decode("latin-1").splitlines() if ":" in line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


def parse_digests(header: str | None) -> dict[str, str]:
    """Parse `x-goog-hash: crc32c=...,md5=...` into the names that a resource uses."""
    pairs = (item.strip().partition("=") for item in (header or "").split(",") if item.strip())
    return {{"md5": "md5Hash"}.get(name, name): value for name, _, value in pairs}
