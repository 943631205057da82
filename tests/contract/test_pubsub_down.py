"""Google's Pub/Sub client while the server is down: what could not be told is told by the redelivery, or from the spool."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from retune_client import ErrorReporter, Utterance
from retune_client import pubsub as client_pubsub

from infra.local.pubsub_server import PubSubServer
from shared.bus import Message
from shared.clock import SystemClock
from shared.cycle import Status
from shared.errors import Retryable
from shared.events import MODEL_EVENTS, STT_ERRORS, TOPICS, VALIDATION_EVENTS, SttError
from shared.messages import parse_event
from shared.pubsub import PubSubBus
from shared.testing.memory_bus import MemoryBus
from tests.property import test_deployer_faults as deployer
from tests.property import test_validator_faults as validator

PROJECT = "down"
GIVEN_UP_S = 60.0
MOST_TRIES = 200
"""Each takes as long as the publisher's time-out: so many are made only when the test has failed."""


class Service:
    """Pub/Sub, down at first; what it holds outlives its servers."""

    def __init__(self) -> None:
        self.bus = MemoryBus(SystemClock(), PROJECT)
        for topic in TOPICS:
            self.bus.create_topic(topic)
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._grpc_port: int = free.getsockname()[1]
        self.target = f"127.0.0.1:{self._grpc_port}"
        self._server: PubSubServer | None = None

    def start(self) -> None:
        self._server = PubSubServer(self.bus, grpc_port=self._grpc_port).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def told(self, topic: str) -> list[bytes]:
        """Return what was published; what was published again, once."""
        return list(dict.fromkeys(message.data for message in self.bus.published(topic)))


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    made = Service()
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", made.target)
    yield made
    made.stop()


@pytest.fixture
def publisher(service: Service) -> Iterator[PubSubBus]:
    with closing(PubSubBus(PROJECT, timeout_s=0.5)) as bus:
        yield bus


def redelivered(handle: Callable[[], str]) -> str:
    """Deliver until the handler takes the message: a client needs a moment to see that the server is back."""
    for _ in range(MOST_TRIES):
        try:
            return handle()
        except Retryable:
            continue
    raise AssertionError("the client never came back")


def test_a_verdict_that_could_not_be_told_stands_and_the_redelivery_tells_it(service: Service, publisher: PubSubBus) -> None:
    made = validator.bench()
    made.ports = replace(made.ports, publisher=publisher)
    for _ in range(2):
        with pytest.raises(Retryable):
            made.handle(validator.completed())
    assert made.state().status == Status.ACCEPTED
    service.start()
    redelivered(lambda: made.handle(validator.completed()))
    assert service.told(VALIDATION_EVENTS) == [message.data for message in validator.undisturbed().sink.sent]


def test_production_stands_still_while_nobody_could_be_told_and_each_move_is_told_in_order(service: Service, publisher: PubSubBus) -> None:
    made = deployer.desk()
    made.ports = replace(made.ports, publisher=publisher)
    for seq, message in ((1, deployer.PROMOTE), (2, deployer.ROLLBACK)):
        with pytest.raises(Retryable):
            made.handle(message)  # the last move is told once more before a new one
        assert made.production().seq == seq
        service.start()
        redelivered(lambda message=message: made.handle(message))  # type: ignore[misc]
        service.stop()
    assert (made.production().stable, made.production().withdrawn, made.cycle().status) == (0, (1,), Status.ROLLED_BACK)
    assert [json.loads(data)["seq"] for data in service.told(MODEL_EVENTS)] == [1, 2, 3]


def test_a_reporter_spools_while_the_server_is_down_and_sends_everything_later_in_order(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_pubsub, "PUBLISH_TIMEOUT_S", 1.0)
    with ErrorReporter(PROJECT, sample_rate=0.0, spool_dir=tmp_path, traffic_interval_s=3600.0) as reporter:
        for number in range(20):
            reporter.report_error(Utterance(utterance_id=f"u-{number}", audio_uri="gs://a/b.wav", hypothesis="hello", model_version=1))
        condition = reporter._outbox._cond
        with condition:
            assert condition.wait_for(lambda: reporter.stats().spooled == 20, timeout=GIVEN_UP_S)
        assert (reporter.stats().published, reporter.stats().dropped) == (0, {})
        service.start()
        assert any(reporter.flush(GIVEN_UP_S / 4) for _ in range(4))
        assert reporter.stats().dropped == {}
    events = [parse_event(Message(data, {"type": "SttError", "v": "1"}, "1", SystemClock().now())) for data in service.told(STT_ERRORS)]
    assert [event.utterance_id for event in events if isinstance(event, SttError)] == [f"u-{number}" for number in range(20)]
    assert list(tmp_path.iterdir()) == []
