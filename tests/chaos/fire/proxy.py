"""Stands between one process and what it talks to over HTTP, or between Pub/Sub and a function, and lets the weather in."""

import threading
from typing import Any

from tests.chaos.fire.weather import KILL_AFTER, Weather
from tests.gcs_proxy import Proxy

_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class HttpProxy(Proxy):
    """One link of one actor. `upstream` may be changed while it runs: a process that was started again has another port."""

    request_queue_size = 128

    def __init__(self, actor: str, link: str, weather: Weather, upstream: str) -> None:
        super().__init__(upstream)
        self.actor = actor
        self.link = link
        self.weather = weather
        self._thread = threading.Thread(target=self.serve_forever, args=(0.05,), name=f"proxy-{actor}-{link}", daemon=True)
        self._thread.start()

    def count(self, line: str) -> str:
        """Return what happens to a request."""
        return self.weather.fate(self.actor, self.link, writes=line.partition(" ")[0] in _WRITES)

    def answered(self, fate: str) -> None:
        """Let a process die that has just written."""
        if fate == KILL_AFTER:
            self.weather.answered(self.actor, fate)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Leave a connection that broke off: one side of it was killed, and the other one sees it."""

    def close(self) -> None:
        """Stop."""
        self.shutdown()
        self._thread.join()
        self.server_close()
