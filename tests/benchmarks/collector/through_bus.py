"""The same reports through Pub/Sub: Google's client publishes to the local server, which pushes to the function.

    python -m tests.benchmarks.collector.through_bus JSON

The clock runs from the first publish to the last acknowledgement.
"""

import json
import os
import sys
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from infra.local.pubsub_server import PubSubServer
from shared.bus import Outgoing
from shared.clock import SystemClock
from shared.events import STT_ERRORS
from shared.messages import outgoing
from shared.testing.memory_bus import MemoryBus
from tests.benchmarks.collector.load import HOST, reported

PROJECT = "retune-bench"
SUBSCRIPTION = "collector-stt-errors"
PARALLEL = 64
DEADLINE_S = 120.0


@dataclass(frozen=True)
class Published:
    """What to publish, and to which function its port belongs."""

    port: int
    events: int


@dataclass(frozen=True)
class Delivered:
    """How long it took until every event was acknowledged, and how many deliveries that took."""

    seconds: float
    acknowledged: int


class Acknowledgements:
    """Counts what the server acknowledges, and tells when it was all."""

    def __init__(self, bus: MemoryBus, expected: int) -> None:
        self.count = 0
        self.all = threading.Event()
        self._expected = expected
        self._ack = bus.engine.ack
        bus.engine.ack = self._counted  # type: ignore[method-assign]

    def _counted(self, subscription: str, ack_ids: Iterable[str]) -> None:
        found = list(ack_ids)
        self._ack(subscription, found)
        self.count += len(found)
        if self.count >= self._expected:
            self.all.set()


def publish(target: str, messages: Iterable[Outgoing]) -> None:
    """Publish with Google's client and its own batching, and wait until the server has everything."""
    from google.cloud import pubsub_v1

    os.environ["PUBSUB_EMULATOR_HOST"] = target
    client: Any = pubsub_v1.PublisherClient()
    topic = client.topic_path(PROJECT, STT_ERRORS)
    futures = [client.publish(topic, message.data, **message.attributes) for message in messages]
    for future in futures:
        future.result(DEADLINE_S)


def run(published: Published) -> Delivered:
    """Publish everything and wait for every acknowledgement.

    Raises:
        TimeoutError: not all came.
    """
    bus = MemoryBus(SystemClock(), PROJECT)
    bus.create_topic(STT_ERRORS)
    bus.create_subscription(STT_ERRORS, SUBSCRIPTION, push_endpoint=f"http://{HOST}:{published.port}", ack_deadline_s=600)
    events = reported(256, datetime.now(UTC))
    messages = [outgoing(events[number % len(events)]) for number in range(published.events)]
    with PubSubServer(bus, push_parallel=PARALLEL) as server:
        acknowledged = Acknowledgements(bus, published.events)
        began = time.perf_counter()
        publish(server.grpc_target, messages)
        if not acknowledged.all.wait(DEADLINE_S):
            raise TimeoutError(f"expected {published.events} acknowledgements in {DEADLINE_S} s, found {acknowledged.count}")
        return Delivered(time.perf_counter() - began, acknowledged.count)


def main() -> int:
    """Run what the first argument describes."""
    print(json.dumps(asdict(run(Published(**json.loads(sys.argv[1]))))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
