"""A Pub/Sub server that is killed with SIGKILL, in a process of its own, and what the next one on its folder and ports delivers."""

import base64
import itertools
import json
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from google.cloud import pubsub_v1

from infra.local.pubsub_server import PubSubServer, SqliteJournal
from infra.processes import ROOT, environment
from shared.bus import Outgoing
from shared.clock import SystemClock
from shared.errors import Retryable
from shared.pubsub import PubSubBus
from shared.testing.http_sink import HttpSink, Posted
from shared.testing.memory_bus import MemoryBus

PROJECT = "killed"
TOPIC = f"projects/{PROJECT}/topics/errors"
SUBSCRIPTION = f"projects/{PROJECT}/subscriptions/collector"
TIMEOUT_S = 30.0
PATIENCE_S = 0.5
"""How long a client tries a call again: less than a server needs to start, so that some calls are given up."""


class Service:
    """A folder and two ports, with a server that may be killed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
            self.grpc_port, self.rest_port = one.getsockname()[1], other.getsockname()[1]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "tests.contract.test_pubsub_killed", str(self.folder), str(self.grpc_port), str(self.rest_port)]
        self._process = subprocess.Popen(command, cwd=ROOT, env=environment(), stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "serves\n"

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def bus(self, timeout_s: float = TIMEOUT_S) -> PubSubBus:
        return PubSubBus(PROJECT, timeout_s=timeout_s, pull_wait_s=1.0)

    def rest(self, method: str, path: str, body: dict[str, Any]) -> Any:
        """Call the REST interface, once.

        Raises:
            OSError: there was no answer.
        """
        url = f"http://127.0.0.1:{self.rest_port}/v1/{path}"
        request = urllib.request.Request(url, data=json.dumps(body).encode(), method=method)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            return json.loads(response.read())


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    made = Service(tmp_path)
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{made.grpc_port}")
    made.start()
    yield made
    made.kill()


class Publishers:
    """Publish one message after the other over gRPC and REST, each once, for as long as nobody stops them.

    Attributes:
        sent: the payloads.
        acknowledged: id -> payload of what the server has answered for.
    """

    def __init__(self, service: Service) -> None:
        self.sent: set[bytes] = set()
        self.acknowledged: dict[str, bytes] = {}
        self._service = service
        self._changed = threading.Condition()
        self._numbers = itertools.count()
        self._stopped = threading.Event()
        self._buses = [service.bus(PATIENCE_S) for _ in range(2)]
        self._pool = ThreadPoolExecutor(4)
        ways: list[Callable[[bytes], str]] = [*(self._by_grpc(bus) for bus in self._buses), self._by_rest, self._by_rest]
        self._running = [self._pool.submit(self._run, way) for way in ways]

    def wait_for(self, count: int) -> None:
        """Wait until so many more are acknowledged."""
        with self._changed:
            wanted = len(self.acknowledged) + count
            assert self._changed.wait_for(lambda: len(self.acknowledged) >= wanted, TIMEOUT_S)

    def stop(self) -> None:
        self._stopped.set()
        for running in self._running:
            running.result()
        self._pool.shutdown()
        for bus in self._buses:
            bus.close()

    def _by_grpc(self, bus: PubSubBus) -> Callable[[bytes], str]:
        return lambda data: bus.publish(Outgoing("errors", data))

    def _by_rest(self, data: bytes) -> str:
        body = {"messages": [{"data": base64.b64encode(data).decode()}]}
        (message_id,) = self._service.rest("POST", f"{TOPIC}:publish", body)["messageIds"]
        return str(message_id)

    def _run(self, publish: Callable[[bytes], str]) -> None:
        while not self._stopped.is_set():
            data = str(next(self._numbers)).encode()
            self.sent.add(data)
            try:
                message_id = publish(data)
            except (Retryable, OSError):  # nobody knows
                self._stopped.wait(0.01)
                continue
            with self._changed:
                assert message_id not in self.acknowledged
                self.acknowledged[message_id] = data
                self._changed.notify_all()


class Consumers:
    """Pull and acknowledge.

    Attributes:
        received: id -> payload.
        settled: ids of which the server has answered the acknowledgement.
        again: ids that came after that.
    """

    def __init__(self, service: Service) -> None:
        self.received: dict[str, bytes] = {}
        self.settled: set[str] = set()
        self.again: set[str] = set()
        self._bus = service.bus(PATIENCE_S)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        """Stop when nothing has come for a second."""
        self._stopped.set()
        self._thread.join()
        self._bus.close()

    def _run(self) -> None:
        while True:
            try:
                pulled = self._bus.pull("collector", limit=20)
            except Retryable:
                continue
            if not pulled and self._stopped.is_set():
                return
            self.again |= {each.message.message_id for each in pulled} & self.settled
            self.received.update({each.message.message_id: each.message.data for each in pulled})
            try:
                self._bus.ack("collector", [each.ack_id for each in pulled])
            except Retryable:
                continue
            self.settled |= {each.message.message_id for each in pulled}


def test_whatever_was_acknowledged_to_a_publisher_is_delivered_through_any_kills(service: Service) -> None:
    with closing(service.bus()) as bus:
        bus.create_topic("errors")
        bus.create_subscription("errors", "collector", min_backoff_s=0.0, max_backoff_s=0.0, ack_deadline_s=600)
    publishers, consumers = Publishers(service), Consumers(service)
    for _ in range(3):
        publishers.wait_for(100)
        service.kill()
        service.start()
    publishers.wait_for(1)
    publishers.stop()
    consumers.stop()
    assert {message_id: consumers.received.get(message_id) for message_id in publishers.acknowledged} == publishers.acknowledged
    assert set(consumers.received.values()) <= publishers.sent
    assert consumers.again == set()


def test_a_subscription_goes_on_with_its_policies_and_a_held_message_is_delivered_again(service: Service) -> None:
    with closing(service.bus()) as bus:
        service.rest("PUT", TOPIC, {"labels": {"team": "speech"}})
        bus.create_topic("errors-dead")
        bus.create_subscription(
            "errors", "collector", dead_letter_topic="errors-dead", min_backoff_s=0.5, max_backoff_s=7.0, oidc_service_account="push@wire"
        )
        service.rest("PUT", SUBSCRIPTION + "-2", {"topic": TOPIC, "labels": {"a": "b"}, "ackDeadlineSeconds": 77})
        sent = [bus.publish(Outgoing("errors", data)) for data in (b"acknowledged", b"held")]
        first, held = sorted(bus.pull("collector", limit=2), key=lambda each: sent.index(each.message.message_id))
        bus.ack("collector", [first.ack_id])
        with pubsub_v1.SubscriberClient() as client:
            before = list(client.list_subscriptions(project=f"projects/{PROJECT}"))
    service.kill()
    service.start()
    with closing(service.bus()) as bus, pubsub_v1.SubscriberClient() as client:
        assert list(client.list_subscriptions(project=f"projects/{PROJECT}")) == before
        assert (before[0].retry_policy.minimum_backoff.total_seconds(), before[1].ack_deadline_seconds) == (0.5, 77)
        assert before[1].labels == {"a": "b"}
        assert service.rest("GET", TOPIC, {})["labels"] == {"team": "speech"}
        bus.ack("collector", [held.ack_id])  # of the server before: nobody holds the message now
        (again,) = next(pulled for pulled in iter(lambda: bus.pull("collector"), None) if pulled)
        assert (again.message.message_id, again.message.data, again.message.delivery_attempt) == (sent[1], b"held", 2)
        assert len(bus.pull(SUBSCRIPTION.rpartition("/")[2] + "-2")) == 2
        assert int(bus.publish(Outgoing("errors", b"new"))) > max(map(int, sent))


def test_a_push_that_was_under_way_is_made_again(service: Service) -> None:
    release = threading.Event()

    def first_hangs(posted: Posted) -> int:
        return 204 if json.loads(posted.body)["deliveryAttempt"] > 1 else (release.wait(TIMEOUT_S) and 204) or 500

    with HttpSink(first_hangs) as sink, closing(service.bus()) as bus:
        bus.create_topic("errors")
        bus.create_topic("errors-dead")
        settings: dict[str, Any] = {"min_backoff_s": 0.1, "max_backoff_s": 0.1, "ack_deadline_s": 600}
        bus.create_subscription("errors", "collector", push_endpoint=sink.root, dead_letter_topic="errors-dead", **settings)
        bus.publish(Outgoing("errors", b"1"))
        sink.wait_for(lambda requests: len(requests) == 1)
        service.kill()
        service.start()
        bodies = [json.loads(request.body) for request in sink.wait_for(lambda requests: len(requests) == 2)]
        release.set()
    assert [body["deliveryAttempt"] for body in bodies] == [1, 2]
    assert bodies[0]["message"] == bodies[1]["message"]


def serve(folder: Path, grpc_port: int, rest_port: int) -> None:
    """Serve until killed."""
    bus = MemoryBus(SystemClock(), PROJECT, SqliteJournal(folder / "pubsub.sqlite3"))
    with PubSubServer(bus, grpc_port=grpc_port, rest_port=rest_port):
        print("serves", flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
