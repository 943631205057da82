"""What every message port promises: in memory, over our server, over Google's emulator."""

import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from infra.local.emulator import PubSubEmulator, find_emulator
from infra.local.pubsub_server import PubSubServer
from shared.bus import Bus, Message, Outgoing, Received
from shared.clock import SystemClock
from shared.errors import InvalidMessage, NotFound
from shared.pubsub import PubSubBus
from shared.testing.clock import FakeClock
from shared.testing.http_sink import HttpSink, Posted
from shared.testing.memory_bus import MemoryBus

PROJECT = "contract"
TIMEOUT_S = 30.0


class Handler:
    """Refuses the first `times` messages and keeps all of them."""

    def __init__(self, times: int = 0) -> None:
        self.messages: list[Message] = []
        self.changed = threading.Condition()
        self._left = times

    def __call__(self, message: Message) -> None:
        with self.changed:
            self.messages.append(message)
            self.changed.notify_all()
            self._left -= 1
            if self._left >= 0:
                raise RuntimeError("refused, as the test wants it")


class World:
    """A bus whose messages arrive by themselves."""

    def __init__(self, bus: Bus, *, counts_always: bool = False) -> None:
        self.bus = bus
        self.counts_always = counts_always  # the emulator tells the delivery attempt without a dead-letter policy too

    def topic(self) -> str:
        """Return a fresh topic: the emulator and the server are shared between tests."""
        name = f"topic-{uuid.uuid4().hex}"
        self.bus.create_topic(name)
        return name

    def subscription(self, topic: str, **settings: object) -> str:
        name = f"sub-{uuid.uuid4().hex}"
        quick = {"min_backoff_s": 0.1, "max_backoff_s": 0.2, **settings}
        self.bus.create_subscription(topic, name, **quick)  # type: ignore[arg-type]
        return name

    def wait_for(self, handler: Handler, count: int) -> list[Message]:
        with handler.changed:
            assert handler.changed.wait_for(lambda: len(handler.messages) >= count, TIMEOUT_S)
            return list(handler.messages)

    def pull(self, subscription: str, count: int) -> list[Received]:
        got: list[Received] = []
        deadline = time.monotonic() + TIMEOUT_S
        while len(got) < count:
            assert time.monotonic() < deadline, f"expected {count} messages, found {len(got)}"
            got += self.bus.pull(subscription, limit=count - len(got))  # waits for a first one
        return got


class MemoryWorld(World):
    """A bus that the test drives: to wait is to drain and to move the clock."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.memory_bus = MemoryBus(self.clock, PROJECT)
        super().__init__(self.memory_bus)

    def pass_time(self) -> None:
        self.memory_bus.drain()
        if due := self.memory_bus.next_due():
            self.clock.advance((due - self.clock.now()).total_seconds())

    def wait_for(self, handler: Handler, count: int) -> list[Message]:
        for _ in range(100):
            if len(handler.messages) < count:
                self.pass_time()
        return handler.messages

    def pull(self, subscription: str, count: int) -> list[Received]:
        got: list[Received] = []
        for _ in range(100):
            got += self.bus.pull(subscription, limit=count - len(got))
            if len(got) == count:
                return got
            self.pass_time()
        pytest.fail(f"expected {count} messages, found {len(got)}")


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with PubSubServer(MemoryBus(SystemClock(), PROJECT)) as server:
        yield server.grpc_target


@pytest.fixture(scope="session")
def emulator() -> Iterator[str]:
    if find_emulator() is None and os.environ.get("RETUNE_REQUIRE_EMULATOR") != "1":
        pytest.skip("the Pub/Sub emulator is not installed")
    with PubSubEmulator() as emulator:
        yield emulator.target


@contextmanager
def connected(where: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", request.getfixturevalue(where))
    with closing(PubSubBus(PROJECT, pull_wait_s=1.0)) as bus:
        yield World(bus, counts_always=where == "emulator")


@pytest.fixture(params=["memory", "server", pytest.param("emulator", marks=pytest.mark.emulator)])
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    if request.param == "memory":
        yield MemoryWorld()
        return
    with connected(request.param, request, monkeypatch) as world:
        yield world


def test_a_message_arrives_as_it_was_published(world: World) -> None:
    topic = world.topic()
    subscription = world.subscription(topic)
    message_id = world.bus.publish(Outgoing(topic, b'{"a": 1}', {"type": "SttError", "v": "1"}))
    message = world.pull(subscription, 1)[0].message
    assert (message.data, message.attributes, message.message_id) == (b'{"a": 1}', {"type": "SttError", "v": "1"}, message_id)
    assert message.delivery_attempt is None or world.counts_always
    assert message.subscription == f"projects/{PROJECT}/subscriptions/{subscription}"
    assert message.publish_time.utcoffset() == timedelta(0)
    now = world.clock.now() if isinstance(world, MemoryWorld) else datetime.now(UTC)
    assert abs(now - message.publish_time) < timedelta(minutes=1)


def test_attributes_may_be_called_anything_and_are_enough_alone(world: World) -> None:
    topic = world.topic()
    subscription = world.subscription(topic)
    attributes = {"topic": "t", "data": "d", "timeout": "1", "retry": "r", "ordering_key": "o", "snowman": "\N{SNOWMAN}"}
    world.bus.publish(Outgoing(topic, b"", attributes))
    message = world.pull(subscription, 1)[0].message
    assert (message.data, message.attributes) == (b"", attributes)


def test_a_pulled_message_is_away_until_acknowledged_and_then_gone(world: World) -> None:
    topic = world.topic()
    subscription = world.subscription(topic)
    for number in range(3):
        world.bus.publish(Outgoing(topic, bytes([number])))
    received = world.pull(subscription, 3)
    assert {each.message.data for each in received} == {b"\0", b"\1", b"\2"}
    world.bus.ack(subscription, [each.ack_id for each in received])
    assert world.bus.pull(subscription) == []


def test_a_pulled_message_that_is_given_back_is_pulled_again_as_another_attempt(world: World) -> None:
    topic, dead_topic = world.topic(), world.topic()
    subscription = world.subscription(topic, dead_letter_topic=dead_topic)
    sent = {world.bus.publish(Outgoing(topic, b"1", {"k": "v"})) for _ in range(2)}
    first = world.pull(subscription, 2)
    world.bus.nack(subscription, [each.ack_id for each in first])
    again = world.pull(subscription, 2)
    assert {each.message.message_id for each in again} == sent
    assert {each.message.delivery_attempt for each in again} == {2}
    assert {(each.message.data, each.message.attributes["k"]) for each in again} == {(b"1", "v")}
    assert not {each.ack_id for each in first} & {each.ack_id for each in again}
    world.bus.ack(subscription, [each.ack_id for each in again])
    assert world.bus.pull(subscription) == []


def test_nothing_to_settle_is_no_error(world: World) -> None:
    topic = world.topic()
    subscription = world.subscription(topic)
    world.bus.ack(subscription, [])
    world.bus.nack(subscription, [])
    world.bus.publish(Outgoing(topic, b"1"))
    assert [each.message.data for each in world.bus.pull(subscription)] == [b"1"]


def test_pull_returns_at_most_its_limit(world: World) -> None:
    topic = world.topic()
    subscription = world.subscription(topic)
    for _ in range(3):
        world.bus.publish(Outgoing(topic, b"1"))
    assert len(world.bus.pull(subscription, limit=2)) in {1, 2}


def test_every_subscription_gets_every_message(world: World) -> None:
    topic = world.topic()
    subscriptions = [world.subscription(topic) for _ in range(3)]
    sent = {world.bus.publish(Outgoing(topic, b"1")) for _ in range(4)}
    for subscription in subscriptions:
        assert {received.message.message_id for received in world.pull(subscription, 4)} == sent


def test_a_handler_that_returns_acknowledges(world: World) -> None:
    topic = world.topic()
    subscription = world.subscription(topic)
    handler = Handler()
    running = world.bus.subscribe(subscription, handler)
    sent = [world.bus.publish(Outgoing(topic, b"1")) for _ in range(20)]
    got = world.wait_for(handler, 20)
    running.close()
    assert sorted(message.message_id for message in got) == sorted(sent)
    assert world.bus.pull(subscription) == []


def test_a_handler_that_raises_gets_the_same_message_again(world: World) -> None:
    topic = world.topic()
    handler = Handler(times=2)
    running = world.bus.subscribe(world.subscription(topic), handler)
    message_id = world.bus.publish(Outgoing(topic, b"1", {"k": "v"}))
    got = world.wait_for(handler, 3)
    running.close()
    assert [(message.message_id, message.data, message.attributes) for message in got] == [(message_id, b"1", {"k": "v"})] * 3


def test_a_closed_subscription_leaves_new_messages_to_others(world: World) -> None:
    topic = world.topic()
    subscription = world.subscription(topic)
    handler = Handler()
    running = world.bus.subscribe(subscription, handler)
    world.bus.publish(Outgoing(topic, b"1"))
    world.wait_for(handler, 1)
    running.close()
    second = world.bus.publish(Outgoing(topic, b"2"))
    assert [received.message.message_id for received in world.pull(subscription, 1)] == [second]
    assert len(handler.messages) == 1


def test_after_five_attempts_a_message_is_in_the_dead_letter_topic(world: World) -> None:
    topic, dead_topic = world.topic(), world.topic()
    subscription = world.subscription(topic, dead_letter_topic=dead_topic, max_delivery_attempts=5)
    dead_subscription = world.subscription(dead_topic)
    handler = Handler(times=99)
    running = world.bus.subscribe(subscription, handler)
    message_id = world.bus.publish(Outgoing(topic, b"bad", {"type": "SttError"}))
    dead = world.pull(dead_subscription, 1)[0].message
    running.close()
    assert [message.delivery_attempt for message in handler.messages] == [1, 2, 3, 4, 5]
    assert dead.data == b"bad"
    assert dead.message_id != message_id
    published = dead.attributes["CloudPubSubDeadLetterSourceTopicPublishTime"]
    assert datetime.fromisoformat(published) <= dead.publish_time
    assert dead.attributes == {
        "type": "SttError",
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "CloudPubSubDeadLetterSourceSubscription": subscription,
        "CloudPubSubDeadLetterSourceSubscriptionProject": PROJECT,
        "CloudPubSubDeadLetterSourceTopicPublishTime": published,
    }


def test_creating_again_is_no_error_and_keeps_the_messages(world: World) -> None:
    topic = world.topic()
    subscription = world.subscription(topic)
    message_id = world.bus.publish(Outgoing(topic, b"1"))
    world.bus.create_topic(topic)
    world.bus.create_subscription(topic, subscription)
    assert world.pull(subscription, 1)[0].message.message_id == message_id


def test_what_does_not_exist_is_not_found(world: World) -> None:
    nowhere = f"nowhere-{uuid.uuid4().hex}"
    with pytest.raises(NotFound, match=nowhere):
        world.bus.publish(Outgoing(nowhere, b"1"))
    with pytest.raises(NotFound, match=nowhere):
        world.bus.pull(nowhere)
    with pytest.raises(NotFound, match=nowhere):
        world.bus.ack(nowhere, ["ack"])
    with pytest.raises(NotFound, match=nowhere):
        world.bus.nack(nowhere, ["ack"])
    with pytest.raises(NotFound):
        world.bus.create_subscription(nowhere, nowhere)
    with pytest.raises(NotFound):
        world.bus.create_subscription(world.topic(), nowhere, dead_letter_topic=nowhere)


def test_what_pubsub_can_never_take_is_invalid(world: World) -> None:
    topic = world.topic()
    with pytest.raises(InvalidMessage):
        world.bus.publish(Outgoing(topic, b""))
    with pytest.raises(InvalidMessage):
        world.bus.create_topic("ab")
    with pytest.raises(InvalidMessage):
        world.subscription(topic, dead_letter_topic=topic, max_delivery_attempts=4)


# Push is the business of a server: MemoryBus alone opens no connections.


@pytest.fixture(params=["server", pytest.param("emulator", marks=pytest.mark.emulator)])
def pushing(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with connected(request.param, request, monkeypatch) as world:
        yield world


def test_a_push_is_a_post_of_the_envelope(pushing: World) -> None:
    topic = pushing.topic()
    with HttpSink() as sink:
        subscription = pushing.subscription(topic, push_endpoint=f"{sink.root}/collector?token=1")
        message_id = pushing.bus.publish(Outgoing(topic, b'{"a": 1}', {"type": "SttError"}))
        request = sink.wait_for(lambda requests: len(requests) == 1)[0]
    assert request.path == "/collector?token=1"
    assert request.headers["content-type"] == "application/json"
    envelope = json.loads(request.body)
    published = envelope["message"]["publishTime"]
    assert published.endswith("Z")
    assert abs(datetime.now(UTC) - datetime.fromisoformat(published)) < timedelta(minutes=1)
    assert envelope == {
        "subscription": f"projects/{PROJECT}/subscriptions/{subscription}",
        "message": {
            "data": "eyJhIjogMX0=",
            "attributes": {"type": "SttError"},
            "messageId": message_id,
            "message_id": message_id,
            "publishTime": published,
            "publish_time": published,
        },
    }


def test_a_push_that_is_answered_with_500_comes_again_and_with_204_no_more(pushing: World) -> None:
    topic = pushing.topic()
    answers = {1: 500, 2: 503, 3: 204}
    seen: list[Posted] = []

    def answer(posted: Posted) -> int:
        seen.append(posted)
        return answers.get(len(seen), 204)

    with HttpSink(answer) as sink:
        subscription = pushing.subscription(topic, push_endpoint=sink.root)
        message_id = pushing.bus.publish(Outgoing(topic, b"1"))
        requests = sink.wait_for(lambda requests: len(requests) == 3)
        assert pushing.bus.pull(subscription) == []
        assert len(sink.requests) == 3
    assert {json.loads(request.body)["message"]["messageId"] for request in requests} == {message_id}


def test_a_push_that_is_refused_five_times_is_in_the_dead_letter_topic(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    # on the server alone: the emulator takes 13 s over it, and does the same
    with connected("server", request, monkeypatch) as world, HttpSink(lambda _: 500) as sink:
        topic, dead_topic = world.topic(), world.topic()
        dead_subscription = world.subscription(dead_topic)
        world.subscription(topic, push_endpoint=sink.root, dead_letter_topic=dead_topic, max_delivery_attempts=5)
        world.bus.publish(Outgoing(topic, b"bad"))
        dead = world.pull(dead_subscription, 1)[0].message
        attempts = [json.loads(posted.body)["deliveryAttempt"] for posted in sink.requests]
    assert attempts == [1, 2, 3, 4, 5]
    assert dead.data == b"bad"
    assert dead.attributes["CloudPubSubDeadLetterSourceDeliveryCount"] == "5"
