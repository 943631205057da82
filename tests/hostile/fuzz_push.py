"""Fuzz target: the push adapter answers 204 to whatever is posted, and keeps what is malformed.

Input: a line with the values of three headers, separated by spaces, then the body.
"""

from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from flask import Request
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder

from functions.push import DONE, serve
from shared.bus import Message
from shared.messages import parse_event
from shared.testing.clock import FakeClock
from shared.testing.memory_store import MemoryStore
from tests.adapters import ports_of

HEADERS = ("ce-id", "ce-time", "traceparent")
ENVELOPES = Path("tests/data/push")


def seeds() -> Iterator[bytes]:
    """Yield what is worth starting from."""
    yield b"7 2026-01-05T09:00:00Z 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n{}"
    for path in sorted(ENVELOPES.iterdir()):
        yield b"\n" + path.read_bytes()


def one(data: bytes) -> None:
    """Post one body."""
    first, _, body = data.partition(b"\n")
    values = first.decode("latin-1").replace("\r", "").split(" ")
    headers = Headers([(name, value) for name, value in zip(HEADERS, values, strict=False) if value])
    store, handled = MemoryStore(), []

    def handle(message: Message) -> str:
        parse_event(message)
        handled.append(message)
        return "handled"

    request = Request(EnvironBuilder(method="POST", data=body, headers=headers).get_environ())
    with redirect_stdout(StringIO()):  # a line in the log for each request
        assert serve(request, handle, function="collector", ports=ports_of(store, FakeClock())) == DONE
    assert len(handled) + len(list(store.list("quarantine/"))) == 1
