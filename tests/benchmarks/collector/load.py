"""A load generator that costs little: keep-alive connections on one epoll loop, each sends its next request when it is answered.

An HTTP client that can do everything costs half a millisecond of processor a request, as much as the function under test; this one costs
about 50 microseconds. It runs in a process of its own: `python -m tests.benchmarks.collector.load JSON`, one `LoadResult` in JSON out.
"""

import json
import resource
import select
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from random import Random
from uuid import UUID

from shared.events import Event
from shared.testing import builders
from tests.benchmarks.collector.envelope import Envelopes

HOST = "127.0.0.1"
CONNECT_S = 30.0


@dataclass(frozen=True)
class Load:
    """What to send.

    Attributes:
        port: of the function.
        concurrent: connections, each with one request under way.
        warm_s, window_s, drain_s: not counted; counted; how long requests under way may take after the window.
        first_id: message ids count from here, so that no two loads share one.
    """

    port: int
    concurrent: int
    warm_s: float
    window_s: float
    drain_s: float
    first_id: int


@dataclass(frozen=True)
class LoadResult:
    """What came back.

    Attributes:
        events: acknowledged within the window.
        window_s: how long it really was.
        latencies_s: of requests sent in the window, sorted; those that the drain did not see are missing.
        refused: answers other than 204, and connections that broke.
        unanswered: under way when the drain ended.
        answered: every 204 from first to last.
        cpu_s: what the generator itself cost within the window.
    """

    events: int
    window_s: float
    latencies_s: list[float]
    refused: int
    unanswered: int
    answered: int
    cpu_s: float


class _Connection:
    def __init__(self, port: int) -> None:
        self._port = port
        self.buffer = b""
        self.sent_at = 0.0
        self.socket = self._connect()

    def _connect(self) -> socket.socket:
        connected = socket.create_connection((HOST, self._port), CONNECT_S)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connected

    def reconnect(self) -> None:
        self.socket.close()
        self.buffer = b""
        self.socket = self._connect()

    def send(self, request: bytes) -> None:
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> bytes | None:
        """Return a whole answer, b"" where the connection ended before one, None where more is to come."""
        try:
            received = self.socket.recv(65536)
        except ConnectionError:
            received = b""
        if not received:
            return b""
        self.buffer += received
        head, found, body = self.buffer.partition(b"\r\n\r\n")
        if not found or len(body) < _length(head):
            return None
        self.buffer = b""
        return head


def _length(head: bytes) -> int:
    if b" 204 " in head[:16]:
        return 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    return 0


class Generator:
    """One load on one function."""

    def __init__(self, load: Load, requests: Iterator[bytes]) -> None:
        self._load = load
        self._requests = requests
        self._poll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._latencies: list[float] = []
        self._answered = self._events = self._refused = 0

    def run(self) -> LoadResult:
        """Send until the window is over, wait for what is under way, and tell."""
        for _ in range(self._load.concurrent):
            self._open(_Connection(self._load.port))
        begin = time.perf_counter() + self._load.warm_s
        end = begin + self._load.window_s
        for connection in self._connections.values():
            connection.send(next(self._requests))
        self._turn(until=begin, begin=begin, end=end)
        cpu_s = _cpu_s()
        self._turn(until=end, begin=begin, end=end)
        window_s, cpu_s = time.perf_counter() - begin, _cpu_s() - cpu_s
        under_way = self._drain(begin, end)
        return LoadResult(self._events, window_s, sorted(self._latencies), self._refused, under_way, self._answered, cpu_s)

    def _open(self, connection: _Connection) -> None:
        descriptor = connection.socket.fileno()
        self._connections[descriptor] = connection
        self._poll.register(descriptor, select.EPOLLIN)

    def _turn(self, *, until: float, begin: float, end: float) -> None:
        """Answer every answer with the next request, until a moment."""
        while (left := until - time.perf_counter()) > 0:
            for descriptor, _ in self._poll.poll(left):
                connection = self._connections[descriptor]
                if self._take(connection, begin, end):
                    connection.send(next(self._requests))

    def _drain(self, begin: float, end: float) -> int:
        """Wait for what is under way; return how many requests never were answered."""
        waiting = set(self._connections)
        until = time.perf_counter() + self._load.drain_s
        while waiting and (left := until - time.perf_counter()) > 0:
            for descriptor, _ in self._poll.poll(left):
                # A connection that is idle for two seconds is closed by the server: that is no refusal.
                if descriptor not in waiting:
                    self._poll.unregister(descriptor)
                elif self._take(self._connections[descriptor], begin, end, again=False):
                    waiting.discard(descriptor)
        for connection in self._connections.values():
            connection.socket.close()
        return len(waiting)

    def _take(self, connection: _Connection, begin: float, end: float, *, again: bool = True) -> bool:
        """Take an answer if it is whole; return whether the connection is free."""
        answer = connection.receive()
        if answer is None:
            return False
        now = time.perf_counter()
        if b" 204 " in answer[:16]:
            self._answered += 1
            self._events += begin <= now < end
            if begin <= connection.sent_at < end:
                self._latencies.append(now - connection.sent_at)
        else:
            self._refused += 1
        if not answer or b"connection: close" in answer.lower():
            descriptor = connection.socket.fileno()
            self._poll.unregister(descriptor)
            del self._connections[descriptor]
            if not again:
                connection.socket.close()
                return True
            connection.reconnect()
            self._open(connection)
        return True


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def reported(number: int, at: datetime) -> list[Event]:
    """Return errors as a service reports them: uuids, a sentence, a person's correction of every other one."""
    chance = Random(6)
    words = ("please", "put", "me", "through", "to", "the", "billing", "department", "because", "my", "last", "invoice", "was", "wrong")
    events: list[Event] = []
    for index in range(number):
        said = " ".join(chance.choices(words, k=12))
        fields = {name: str(UUID(int=chance.getrandbits(128))) for name in ("event_id", "utterance_id", "session_id", "speaker_id")}
        fields["audio_uri"] = f"gs://calls/2026/11/{fields['utterance_id']}.wav"
        events.append(
            builders.error(
                index,
                at=at,
                hypothesis=said,
                reference=said.replace("put", "get") if index % 2 else None,
                duration_s=4.2,
                confidence=0.71,
                language="en-US",
                device="telephone",
                model_version=12,
                error_type="user_corrected",
                **fields,
            )
        )
    return events


def requests_of(load: Load) -> Iterator[bytes]:
    """Yield POSTs of one error each, as Pub/Sub pushes them; a message id comes once."""
    envelopes = Envelopes(reported(256, datetime.now(UTC)))
    for number, body in enumerate(envelopes.bodies(load.first_id)):
        if number == 0:
            head = (
                f"POST / HTTP/1.1\r\nHost: {HOST}:{load.port}\r\nUser-Agent: CloudPubSub-Google\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            ).encode()
        yield head + body


def main() -> int:
    """Run the load that the first argument describes."""
    load = Load(**json.loads(sys.argv[1]))
    print(json.dumps(asdict(Generator(load, requests_of(load)).run())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
