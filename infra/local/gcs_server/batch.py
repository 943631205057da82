"""Many requests in one: `multipart/mixed` with an HTTP request in each part."""

import io
import re
import uuid
from collections.abc import Callable, Iterator

from infra.local.gcs_server import wire
from infra.local.gcs_server.wire import Body, Request, Response


def serve_batch(request: Request, handle: Callable[[Request], Response]) -> Response:
    """Serve the requests inside a batch, in order; each has its own answer. Raises HttpError."""
    boundary = wire.parse_boundary(request.headers.get("content-type", ""))
    answers = [_part(handle(inner)) for inner in _requests(request.body.read(), boundary)]
    mark = uuid.uuid4().hex
    body = b"".join(b"--%s\r\n%s\r\n" % (mark.encode(), answer) for answer in answers) + f"--{mark}--\r\n".encode()
    return Response(200, {"Content-Type": f'multipart/mixed; boundary="{mark}"'}, body)


def _requests(body: bytes, boundary: bytes) -> Iterator[Request]:
    """Read the requests inside a `multipart/mixed` body; each names an absolute URL."""
    parts = body.replace(b"\r\n", b"\n").split(b"--" + boundary)
    for part in parts[1:-1]:
        _, _, inner = part.lstrip(b"\n").partition(b"\n\n")
        head, _, content = inner.partition(b"\n\n")
        line, _, headers = head.partition(b"\n")
        method, _, target = line.decode("latin-1").partition(" ")
        url = target.partition(" ")[0]
        path, query = wire.parse_target(re.sub(r"^https?://[^/]*", "", url))
        content = content.rstrip(b"\n")
        yield Request(method, path, query, wire.parse_headers(headers), Body(io.BytesIO(content), len(content)))


def _part(response: Response) -> bytes:
    if response.file:
        response.file.file.close()
        response = wire.invalid("Downloads cannot be part of a batch.").response
    headers = {**response.headers, "Content-Length": str(len(response.body))}
    lines = [f"HTTP/1.1 {response.status} X", *(f"{name}: {value}" for name, value in headers.items())]
    return b"Content-Type: application/http\r\n\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\n" + response.body
