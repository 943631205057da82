"""An HTTP endpoint on loopback that notes what is posted to it and answers as a test says."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Posted:
    """A request: `path` with its query, header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class HttpSink:
    """Serves until closed; `answer` gives the status for a request, on the request's own thread.

    Attributes:
        requests: what was posted, in order of arrival; taken in before `answer` is asked.
    """

    def __init__(self, answer: Callable[[Posted], int] = lambda _: 204) -> None:
        self.requests: list[Posted] = []
        self._answer = answer
        self._changed = threading.Condition()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="http-sink")

    @property
    def url(self) -> str:
        """The endpoint, without a slash at its end."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def wait_for(self, fact: Callable[[list[Posted]], bool], timeout_s: float = 30.0) -> list[Posted]:
        """Return the requests once `fact` holds of them.

        Raises:
            TimeoutError: it did not come to hold.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: fact(self.requests), timeout_s):
                raise TimeoutError(f"expected more than {len(self.requests)} requests within {timeout_s} s")
            return list(self.requests)

    def take(self, posted: Posted) -> int:
        """Note a request and return the status to answer with."""
        with self._changed:
            self.requests.append(posted)
            self._changed.notify_all()
        return self._answer(posted)

    def close(self) -> None:
        """Stop serving and wait for answers under way."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, sink: HttpSink) -> None:
        self.sink = sink
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    # HTTP/1.0: a connection a request, none outlives the test
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = self.server.sink.take(Posted(self.path, {key.lower(): value for key, value in self.headers.items()}, body))
        try:
            self.send_response(status)
            self.end_headers()
        except OSError:
            self.close_connection = True  # the poster gave up waiting

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Stay quiet."""
