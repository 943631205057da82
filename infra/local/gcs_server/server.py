"""A Cloud Storage server for one laptop: set `STORAGE_EMULATOR_HOST` to its URL and Google's client talks to it [io]."""

import logging
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

from infra.local.gcs_server import wire
from infra.local.gcs_server.routes import GcsApi
from infra.local.gcs_server.wire import Body, BrokenBody, Request, Response
from shared.clock import Clock

_logger = logging.getLogger(__name__)
LOOPBACK = "127.0.0.1"
_CLOSE_S = 5.0


class GcsServer:
    """Serves the buckets below a folder; what it stored outlives it.

    Several servers, in one process or many, may serve the same folder at once.

    Args:
        root: the folder; a bucket is a folder in it.
        port: 0 = any free one; a server that is started again listens on the same one.
        clock: gives times and generations.
    """

    def __init__(self, root: Path, port: int = 0, *, clock: Clock | None = None) -> None:
        self._root = root
        self._port = port
        self._clock = clock
        self._http: _HttpServer | None = None

    @property
    def url(self) -> str:
        """Address without a trailing slash, as `STORAGE_EMULATOR_HOST` wants it."""
        return f"http://{LOOPBACK}:{self._port}"

    def start(self) -> Self:
        """Listen and serve in the background."""
        self._root.mkdir(parents=True, exist_ok=True)
        self._http = _HttpServer((LOOPBACK, self._port), GcsApi(self._root, self._clock))
        self._port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.05,), name="gcs-server", daemon=True).start()
        return self

    def close(self) -> None:
        """Stop, close every connection and wait until their requests have ended."""
        if self._http:
            self._http.stop()
            self._http = None

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()


class _HttpServer(ThreadingHTTPServer):
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], api: GcsApi) -> None:
        self.api = api
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(address, _Handler)

    def stop(self) -> None:
        self.shutdown()
        with self._changed:
            for connection in self._connections:
                _hang_up(connection)
            self._changed.wait_for(lambda: not self._connections, _CLOSE_S)
        self.server_close()
        self.api.close()

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._changed:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        with self._changed:
            self._connections.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        _logger.info("connection %s of %s broke off: %r", request, client_address, sys.exception())


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        _logger.debug("a connection was closed by its client already")


class _Handler(BaseHTTPRequestHandler):
    server: _HttpServer
    protocol_version = "HTTP/1.1"
    # With the defaults every answer goes out in several small packets and waits 40 ms for a delayed acknowledgement.
    wbufsize = -1
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        chunked = "chunked" in headers.get("transfer-encoding", "")
        body = Body(self.rfile, None if chunked else int(headers.get("content-length", "0")))
        path, query = wire.parse_target(self.path)
        try:
            response = self._handle(Request(self.command, path, query, headers, body))
        except BrokenBody:
            self.close_connection = True
            return
        try:
            body.drain()
            self._send(response)
        finally:
            if response.file:
                response.file.file.close()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 - the names that http.server calls

    def _handle(self, request: Request) -> Response:
        try:
            return self.server.api.handle(request)
        except BrokenBody:
            raise
        except Exception:
            _logger.exception("%s %s", request.method, self.path)
            return wire.HttpError(500, "internalError", "The server met an unexpected error; its log has the details.").response

    def _send(self, response: Response) -> None:
        length = response.file.length if response.file else len(response.body)
        self.send_response(response.status)
        for name, value in response.headers.items():
            self.send_header(name, value)
        if response.status not in {204, 304}:
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(response.body)
        if response.file and length:
            self.wfile.flush()
            self.connection.sendfile(response.file.file, response.file.offset, length)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name in http.server
        _logger.debug(format, *args)
