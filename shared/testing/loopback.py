"""What every HTTP server of a test needs: a free port on loopback, and an end that leaves nothing running."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class LoopbackServer(ThreadingHTTPServer):
    """Serves in its `with` block; its end waits for answers under way."""

    daemon_threads = False
    request_queue_size = 64  # of five, a sixth who connects at the same moment is heard after a second

    def __init__(self, handler: type[BaseHTTPRequestHandler], name: str) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.005}, name=name)

    @property
    def root(self) -> str:
        """The address, without a slash at its end."""
        return f"http://127.0.0.1:{self.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


class LoopbackHandler(BaseHTTPRequestHandler):
    """Reads requests; HTTP/1.0: a connection a request, none outlives the test."""

    def named(self) -> dict[str, str]:
        """Return the headers, their names in lower case."""
        return {name.lower(): value for name, value in self.headers.items()}

    def posted(self) -> bytes:
        """Return the body."""
        return self.rfile.read(int(self.headers["Content-Length"]))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Stay quiet."""
