"""Stands between a Cloud Storage client and its server and breaks what a test says."""

import socket
import socketserver
import threading
from collections.abc import Callable
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import pytest

from shared.gcs_store import GcsStore

BUCKET = "bucket"
UNCLOSED = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
"""For modules whose client reads again: see the fixture `proxy`."""

Plan = Callable[[int, str], str]
"""From the number of the request (from 1) and its request line to what happens: see `Proxy`."""

TRUNCATED = "truncated"
SHORT = "short"
CUT = "cut"
REFUSED = "refused"
TWICE = "twice"
PASS = "pass"


class Proxy(socketserver.ThreadingTCPServer):
    """Stands between client and server and breaks what `plan` says.

    PASS; CUT = the server does it and the reply is lost; REFUSED = the server never sees it; TWICE = the server is asked twice and the
    second reply counts; TRUNCATED = the reply breaks off after half of it; SHORT = half of the body as if it were all of it; a number =
    that status instead.
    """

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        parts = urlsplit(upstream)
        self.upstream = (parts.hostname, parts.port)
        self.plan: Plan = lambda _number, _line: PASS
        self.lines: list[str] = []
        self._counting = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def count(self, line: str) -> str:
        if "/o" not in line.partition("?")[0]:
            return PASS  # the client looks at the bucket by itself, in a thread of its own
        with self._counting:
            self.lines.append(line)
            return self.plan(len(self.lines), line)

    def answered(self, fate: str) -> None:
        """See that the server has answered; the client has not heard it yet."""


class _Connection(socketserver.StreamRequestHandler):
    server: Proxy

    def handle(self) -> None:
        while self._relay():
            pass

    def _relay(self) -> bool:
        """Relay one request; return whether the connection is still good for another."""
        head = b""
        while line := self.rfile.readline().replace(b"keep-alive", b"close"):
            head += line
            if line == b"\r\n":
                break
        length = _length(head)
        body = self.rfile.read(length)
        whole = head.endswith(b"\r\n\r\n") and len(body) == length  # a client that has died has said less
        fate = self.server.count(head.split(b"\r\n")[0].decode()) if whole else REFUSED
        if fate == REFUSED:
            return False
        if fate.isdigit():
            self.wfile.write(b"HTTP/1.1 %s X\r\nContent-Length: 0\r\n\r\n" % fate.encode())
            return True
        if fate == TWICE:
            self._ask(head + body)
        reply = self._ask(head + body)
        self.server.answered(fate)
        if fate in {PASS, TWICE}:
            self.wfile.write(reply)
        elif fate in {TRUNCATED, SHORT}:
            head, _, content = reply.partition(b"\r\n\r\n")
            half = content[: len(content) // 2]
            if fate == SHORT:
                head = head.replace(b"\r\nContent-Length: %d" % len(content), b"\r\nContent-Length: %d" % len(half))
            self.wfile.write(head + b"\r\n\r\n" + half)
        return fate in {PASS, SHORT, TWICE} and _is_whole(reply)

    def _ask(self, request: bytes) -> bytes:
        with socket.create_connection(self.server.upstream) as upstream, upstream.makefile("rb") as file:
            upstream.sendall(request)
            return file.read()


def _is_whole(reply: bytes) -> bool:
    """Tell whether a server that may have died has said all that it was to say: nobody should wait for the rest."""
    head, end, content = reply.partition(b"\r\n\r\n")
    return bool(end) and len(content) >= _length(head)


def _length(head: bytes) -> int:
    """Return how long a body is, by its head."""
    lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return int(lengths[0].split(b":")[1]) if lengths else 0


def first(fate: str, method: str = "") -> Plan:
    """Do it to the first request of a method."""
    done: list[str] = []

    def plan(_number: int, line: str) -> str:
        if done or not line.startswith(method):
            return PASS
        done.append(line)
        return fate

    return plan


def always(fate: str) -> Plan:
    return lambda _number, _line: fate


def quick_store(client: Any, *, deadline_s: float = 1.0) -> GcsStore:
    """Return a store that tries again at once, and gives up soon; with 0 seconds at the first failure."""
    made = GcsStore(BUCKET, client, deadline_s=deadline_s)
    made._retry = made._retry.with_delay(initial=0.01, maximum=0.05)
    return made


def at_write(nth: int, fate: Callable[[], str]) -> Plan:
    """Decide about the nth write when it comes; let all else pass."""
    writes = count(1)
    return lambda _number, line: fate() if line.startswith("POST") and next(writes) == nth else PASS


def meanwhile(nth: int, act: Callable[[], object]) -> Plan:
    """Let somebody else act between the decision to make the nth write and the write; break nothing."""

    def fate() -> str:
        act()
        return PASS

    return at_write(nth, fate)
