"""An HTTP endpoint on loopback that notes what is posted to it and answers as a test says."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shared.testing.loopback import LoopbackHandler, LoopbackServer


@dataclass(frozen=True)
class Posted:
    """A request: `path` with its query, header names in lower case."""

    path: str
    headers: Mapping[str, str]
    body: bytes


class HttpSink(LoopbackServer):
    """Serves until closed; `answer` gives the status for a request, on the request's own thread.

    Attributes:
        requests: what was posted, in order of arrival; taken in before `answer` is asked.
    """

    def __init__(self, answer: Callable[[Posted], int] = lambda _: 204) -> None:
        self.requests: list[Posted] = []
        self._answer = answer
        self._changed = threading.Condition()
        super().__init__(_Handler, "http-sink")

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


class _Handler(LoopbackHandler):
    server: HttpSink

    def do_POST(self) -> None:  # noqa: N802 - the base class looks it up by this name
        status = self.server.take(Posted(self.path, self.named(), self.posted()))
        try:
            self.send_response(status)
            self.end_headers()
        except OSError:
            self.close_connection = True  # the poster gave up waiting
