"""Fuzz target: the local Cloud Storage server answers every request, and nothing leaves its folder.

Input: an HTTP request as text: its line, headers, an empty line, the body.
"""

import io
import shutil
from collections.abc import Iterator
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import mkdtemp

from infra.local.gcs_server import wire
from infra.local.gcs_server.routes import GcsApi
from infra.local.gcs_server.wire import Body, BrokenBody, Request

RENEW_AFTER = 2_000
_RELATED = b'--b\r\nContent-Type: application/json\r\n\r\n{"name": "k"}\r\n--b\r\nContent-Type: text/plain\r\n\r\ndata\r\n--b--\r\n'
_MIXED = b"--b\r\nContent-Type: application/http\r\n\r\nDELETE /storage/v1/b/bucket/o/k HTTP/1.1\r\nAccept: */*\r\n\r\n\r\n--b--\r\n"


def seeds() -> Iterator[bytes]:
    """Yield what is worth starting from."""
    yield b"GET /storage/v1/b/bucket/o?prefix=a&delimiter=/&maxResults=2&pageToken=x HTTP/1.1\r\n\r\n"
    yield b"POST /upload/storage/v1/b/bucket/o?uploadType=media&name=k&ifGenerationMatch=0 HTTP/1.1\r\nx-goog-hash: crc32c=AAAAAA==\r\n\r\ndata"
    yield (
        b"POST /upload/storage/v1/b/bucket/o?uploadType=multipart HTTP/1.1\r\nContent-Type: multipart/related; boundary=b\r\n\r\n"
        + _RELATED
    )
    yield b'POST /upload/storage/v1/b/bucket/o?uploadType=resumable&name=k HTTP/1.1\r\n\r\n{"metadata": {"a": "b"}}'
    yield b"PUT /upload/storage/v1/b/bucket/o?upload_id=x HTTP/1.1\r\nContent-Range: bytes 0-3/4\r\n\r\ndata"
    yield b"POST /batch/storage/v1 HTTP/1.1\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" + _MIXED
    yield b"GET /download/storage/v1/b/bucket/o/k?alt=media&generation=1 HTTP/1.1\r\nRange: bytes=1-2\r\n\r\n"
    yield b'POST /storage/v1/b/bucket/o/k/compose HTTP/1.1\r\n\r\n{"sourceObjects": [{"name": "k"}]}'
    yield b'PATCH /storage/v1/b/bucket/o/k?ifMetagenerationMatch=1 HTTP/1.1\r\n\r\n{"metadata": {"a": null}}'
    yield b"POST /storage/v1/b/bucket/o/k/rewriteTo/b/bucket/o/l HTTP/1.1\r\n\r\n{}"


class _Server:
    """The API over a folder of its own, with one bucket in it and something beside it that must stay as it is."""

    def __init__(self) -> None:
        self.folder = Path(mkdtemp(prefix="retune-fuzz-"))
        (self.folder / "root" / "bucket").mkdir(parents=True)
        self.api = GcsApi(self.folder / "root")

    def close(self) -> None:
        self.api.close()
        shutil.rmtree(self.folder)


_calls = count(1)


@cache
def _server() -> _Server:
    return _Server()


def close() -> None:
    """Stop the server, with the uploads that have not ended, and remove its folder; the next request has another."""
    _server().close()
    _server.cache_clear()


def one(data: bytes) -> None:
    """Serve one request."""
    if next(_calls) % RENEW_AFTER == 0:
        close()
    head, _, content = data.partition(b"\r\n\r\n")
    line, _, headers = head.partition(b"\r\n")
    method, _, target = line.decode("latin-1").partition(" ")
    path, query = wire.parse_target(target.removesuffix(" HTTP/1.1"))
    server = _server()
    try:
        response = server.api.handle(Request(method, path, query, wire.parse_headers(headers), Body(io.BytesIO(content), len(content))))
    except BrokenBody:
        return
    assert 200 <= response.status < 500, response
    if response.file is not None:
        response.file.file.close()
    assert [path.name for path in server.folder.iterdir()] == ["root"]
