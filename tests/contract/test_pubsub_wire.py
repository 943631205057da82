"""Our Pub/Sub server as Google's own client sees it, and what it POSTs, byte for byte."""

import json
import queue
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import grpc
import pytest
from google.api_core import exceptions as google_errors
from google.cloud import pubsub_v1
from google.cloud.pubsub_v1.subscriber.scheduler import ThreadScheduler
from google.pubsub_v1 import types

from infra.local.pubsub_server import PubSubServer
from infra.local.pubsub_server.resources import push_envelope
from shared.bus import Outgoing
from shared.clock import SystemClock
from shared.errors import InvalidMessage, NotFound, Retryable
from shared.pubsub import PubSubBus
from shared.testing.http_sink import HttpSink, Posted
from shared.testing.memory_bus import MemoryBus
from shared.testing.pubsub_queue import DeadLetter, Leased, StoredMessage, SubscriptionConfig

TOPIC = "projects/wire/topics/errors"
SUBSCRIPTION = "projects/wire/subscriptions/collector"
TIMEOUT_S = 20.0


@pytest.fixture
def bus() -> MemoryBus:
    bus = MemoryBus(SystemClock(), "wire")
    bus.create_topic("errors")
    return bus


@pytest.fixture
def server(bus: MemoryBus, monkeypatch: pytest.MonkeyPatch) -> Iterator[PubSubServer]:
    before = set(threading.enumerate())
    with PubSubServer(bus) as server:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.grpc_target)
        yield server
    left = [thread for thread in threading.enumerate() if thread not in before and thread.name.startswith("pubsub-")]
    for thread in left:
        thread.join(timeout=5)
    assert [thread for thread in left if thread.is_alive()] == []


@pytest.fixture
def subscriber(server: PubSubServer) -> Iterator[Any]:
    with pubsub_v1.SubscriberClient() as client:
        yield client


@pytest.fixture
def publisher(server: PubSubServer) -> Iterator[Any]:
    client = pubsub_v1.PublisherClient()
    yield client
    client.stop()
    client.transport.close()


def wait_until_backlog_is(bus: MemoryBus, count: int) -> None:
    with bus.engine.changed:
        assert bus.engine.changed.wait_for(lambda: bus.backlog("collector") == count, TIMEOUT_S)


def test_streaming_pull_holds_no_more_than_the_clients_flow_control_allows(bus: MemoryBus, subscriber: Any) -> None:
    bus.create_subscription("errors", "collector")
    for number in range(12):
        bus.publish(Outgoing("errors", bytes([number])))
    held: queue.Queue[Any] = queue.Queue()
    future = subscriber.subscribe(SUBSCRIPTION, held.put, flow_control=pubsub_v1.types.FlowControl(max_messages=5))
    first = [held.get(timeout=TIMEOUT_S) for _ in range(5)]
    assert bus.engine.ready(SUBSCRIPTION) == 7  # not one more has left the server
    for message in first:
        message.ack()
    rest = [held.get(timeout=TIMEOUT_S) for _ in range(5)]
    for message in rest:
        message.ack()
    last = [held.get(timeout=TIMEOUT_S) for _ in range(2)]
    for message in last:
        message.ack()
    wait_until_backlog_is(bus, 0)
    future.cancel()
    future.result()
    assert sorted(message.data[0] for message in first + rest + last) == list(range(12))


def open_stream(channel: Any, requests: "queue.Queue[Any]") -> Any:
    """Open a StreamingPull without Google's client; it sends what is put into `requests`, until None."""
    request_type = types.StreamingPullRequest.pb()
    requests.put(request_type(subscription=SUBSCRIPTION, stream_ack_deadline_seconds=60))
    rpc = channel.stream_stream(
        "/google.pubsub.v1.Subscriber/StreamingPull",
        request_serializer=request_type.SerializeToString,
        response_deserializer=types.StreamingPullResponse.pb().FromString,
    )
    return rpc(iter(requests.get, None), timeout=TIMEOUT_S)


class FourAtATime(ThreadScheduler):  # type: ignore[misc]
    """Runs four callbacks at a time; at shutdown drops what waits, and only then lets `release` go."""

    def __init__(self, release: threading.Event) -> None:
        self.pool = ThreadPoolExecutor(4)
        self.release = release
        super().__init__(self.pool)

    def shutdown(self, await_msg_callbacks: bool = False) -> Any:
        dropped = super().shutdown(await_msg_callbacks=False)
        self.release.set()
        self.pool.shutdown()
        return dropped


def test_a_cancelled_stream_loses_nothing(bus: MemoryBus, subscriber: Any) -> None:
    bus.create_subscription("errors", "collector", min_backoff_s=0, max_backoff_s=0)
    sent = {bus.publish(Outgoing("errors", b"1")) for _ in range(200)}
    begun: queue.Queue[Any] = queue.Queue()
    release = threading.Event()
    taken: list[str] = []

    def slowly(message: Any) -> None:
        begun.put(message)
        release.wait(TIMEOUT_S)
        taken.append(message.message_id)
        message.ack()

    future = subscriber.subscribe(SUBSCRIPTION, slowly, scheduler=FourAtATime(release))
    for _ in range(4):
        begun.get(timeout=TIMEOUT_S)
    future.cancel()
    future.result()
    assert len(taken) == 4
    wait_until_backlog_is(bus, 196)  # what the client had fetched and not begun it has given back
    again: queue.Queue[str] = queue.Queue()

    def handle(message: Any) -> None:
        message.ack()
        again.put(message.message_id)

    future = subscriber.subscribe(SUBSCRIPTION, handle)
    rest = {again.get(timeout=TIMEOUT_S) for _ in range(196)}
    wait_until_backlog_is(bus, 0)
    future.cancel()
    future.result()
    assert rest | set(taken) == sent


def test_what_a_client_left_without_receiving_is_due_at_once_and_what_it_received_is_not(bus: MemoryBus, server: PubSubServer) -> None:
    bus.create_subscription("errors", "collector", dead_letter_topic="errors")
    requests: queue.Queue[Any] = queue.Queue()
    with grpc.insecure_channel(server.grpc_target) as channel:
        stream = open_stream(channel, requests)
        bus.publish(Outgoing("errors", b"received"))
        received = next(stream).received_messages[0]
        deadline = {"modify_deadline_ack_ids": [received.ack_id], "modify_deadline_seconds": [600]}
        requests.put(types.StreamingPullRequest.pb()(**deadline))
        with bus.engine.changed:
            assert bus.engine.changed.wait_for(lambda: (bus.engine.seconds_to_next_change() or 0) > 100, TIMEOUT_S)
        bus.publish(Outgoing("errors", b"left"))
        next(stream)
        stream.cancel()
        requests.put(None)
        with bus.engine.changed:
            assert bus.engine.changed.wait_for(lambda: bus.engine.ready(SUBSCRIPTION) == 1, TIMEOUT_S)
    left = bus.pull("collector")
    assert [(each.message.data, each.message.delivery_attempt) for each in left] == [(b"left", 1)]


def test_a_stream_without_a_client_is_given_no_message(bus: MemoryBus, subscriber: Any) -> None:
    bus.create_subscription("errors", "collector")
    got: queue.Queue[Any] = queue.Queue()
    future = subscriber.subscribe(SUBSCRIPTION, got.put, await_callbacks_on_shutdown=True)
    bus.publish(Outgoing("errors", b"opened"))
    got.get(timeout=TIMEOUT_S).ack()
    wait_until_backlog_is(bus, 0)
    future.cancel()
    future.result()
    bus.publish(Outgoing("errors", b"late"))
    response = subscriber.pull(subscription=SUBSCRIPTION, max_messages=1, timeout=TIMEOUT_S)
    assert [received.message.data for received in response.received_messages] == [b"late"]


def test_a_subscription_that_is_deleted_ends_its_streams_with_not_found(bus: MemoryBus, server: PubSubServer) -> None:
    bus.create_subscription("errors", "collector")
    with closing(PubSubBus("wire")) as client_bus:
        delivered = threading.Event()
        running = client_bus.subscribe("collector", lambda _: delivered.set())
        bus.publish(Outgoing("errors", b"1"))
        assert delivered.wait(TIMEOUT_S)
        bus.engine.delete_subscription(SUBSCRIPTION)
        assert running._future.exception(timeout=TIMEOUT_S)
        with pytest.raises(NotFound, match=SUBSCRIPTION):
            running.close()


def test_a_server_that_closes_ends_its_streams_with_unavailable(bus: MemoryBus, server: PubSubServer) -> None:
    # on that code Google's client opens the stream again; on OK it would stop without a word, on CANCELLED for good
    bus.create_subscription("errors", "collector")
    bus.publish(Outgoing("errors", b"1"))
    requests: queue.Queue[Any] = queue.Queue()
    with grpc.insecure_channel(server.grpc_target) as channel:
        stream = open_stream(channel, requests)
        assert len(next(stream).received_messages) == 1
        server.close()
        with pytest.raises(grpc.RpcError) as ended:
            next(stream)
    requests.put(None)
    assert ended.value.code() == grpc.StatusCode.UNAVAILABLE


def test_an_empty_pull_is_answered_before_the_clients_deadline(bus: MemoryBus, subscriber: Any) -> None:
    bus.create_subscription("errors", "collector")
    began = time.monotonic()
    response = subscriber.pull(subscription=SUBSCRIPTION, max_messages=1, timeout=2.0, retry=None)
    assert list(response.received_messages) == []
    assert time.monotonic() - began < 2.0


def test_a_waiting_pull_is_answered_as_soon_as_a_message_comes(bus: MemoryBus, subscriber: Any) -> None:
    bus.create_subscription("errors", "collector")
    answer: Future[Any] = Future()
    request = {"subscription": SUBSCRIPTION, "max_messages": 5}
    pull = threading.Thread(target=lambda: answer.set_result(subscriber.pull(request=request, timeout=TIMEOUT_S)))
    pull.start()
    bus.publish(Outgoing("errors", b"1"))
    assert [received.message.data for received in answer.result(timeout=TIMEOUT_S).received_messages] == [b"1"]
    pull.join()


def test_a_client_that_gave_up_waiting_is_given_no_message(bus: MemoryBus, server: PubSubServer) -> None:
    bus.create_subscription("errors", "collector")
    pull = types.PullRequest.pb()(subscription=SUBSCRIPTION, max_messages=1)
    with grpc.insecure_channel(server.grpc_target) as channel:
        rpc = channel.unary_unary(
            "/google.pubsub.v1.Subscriber/Pull",
            request_serializer=types.PullRequest.pb().SerializeToString,
            response_deserializer=types.PullResponse.pb().FromString,
        )
        waiting: Any = rpc.future(pull, timeout=TIMEOUT_S, wait_for_ready=True)
        waiting.cancel()
        bus.publish(Outgoing("errors", b"1"))
        assert [received.message.data for received in rpc(pull, timeout=TIMEOUT_S).received_messages] == [b"1"]


def test_acknowledgements_on_the_stream_count_too(bus: MemoryBus, server: PubSubServer) -> None:
    bus.create_subscription("errors", "collector", min_backoff_s=0, max_backoff_s=0)
    requests: queue.Queue[Any] = queue.Queue()
    request_type = types.StreamingPullRequest.pb()
    with grpc.insecure_channel(server.grpc_target) as channel:
        stream = open_stream(channel, requests)
        bus.publish(Outgoing("errors", b"1"))
        refused = next(stream).received_messages[0]
        requests.put(request_type(modify_deadline_ack_ids=[refused.ack_id], modify_deadline_seconds=[0]))
        again = next(stream).received_messages[0]
        assert again.message.message_id == refused.message.message_id
        requests.put(request_type(ack_ids=[again.ack_id]))
        wait_until_backlog_is(bus, 0)
        requests.put(None)
        stream.cancel()


def test_resources_are_listed_changed_and_deleted(subscriber: Any, publisher: Any) -> None:
    publisher.create_topic(request={"name": "projects/wire/topics/second", "labels": {"a": "b"}})
    assert [topic.name for topic in publisher.list_topics(project="projects/wire")] == [TOPIC, "projects/wire/topics/second"]
    assert publisher.get_topic(topic="projects/wire/topics/second").labels == {"a": "b"}
    for number in range(3):
        subscriber.create_subscription(name=f"{SUBSCRIPTION}-{number}", topic=TOPIC)
    pages = publisher.list_topic_subscriptions(request={"topic": TOPIC, "page_size": 2}).pages
    assert [list(page.subscriptions) for page in pages] == [[f"{SUBSCRIPTION}-0", f"{SUBSCRIPTION}-1"], [f"{SUBSCRIPTION}-2"]]
    changed = {"name": f"{SUBSCRIPTION}-0", "ack_deadline_seconds": 77, "topic": TOPIC, "labels": {"not": "in the mask"}}
    subscriber.update_subscription(request={"subscription": changed, "update_mask": {"paths": ["ack_deadline_seconds"]}})
    push = {"push_endpoint": "http://127.0.0.1:9/x", "oidc_token": {"service_account_email": "push@wire"}}
    subscriber.modify_push_config(subscription=f"{SUBSCRIPTION}-0", push_config=push)
    found = subscriber.get_subscription(subscription=f"{SUBSCRIPTION}-0")
    assert (found.ack_deadline_seconds, dict(found.labels), found.push_config.push_endpoint) == (77, {}, "http://127.0.0.1:9/x")
    assert found.push_config.oidc_token.service_account_email == "push@wire"
    subscriber.delete_subscription(subscription=f"{SUBSCRIPTION}-1")
    publisher.delete_topic(topic=TOPIC)
    left = {each.name: each.topic for each in subscriber.list_subscriptions(project="projects/wire")}
    assert left == {f"{SUBSCRIPTION}-0": "_deleted-topic_", f"{SUBSCRIPTION}-2": "_deleted-topic_"}


def test_a_subscription_keeps_its_policies(server: PubSubServer, subscriber: Any) -> None:
    with closing(PubSubBus("wire")) as client_bus:
        client_bus.create_topic("errors-dead")
        client_bus.create_subscription(
            "errors",
            "collector",
            dead_letter_topic="errors-dead",
            max_delivery_attempts=100,
            push_endpoint="http://127.0.0.1:9/",
            min_backoff_s=0.5,
            max_backoff_s=600,
            ack_deadline_s=120,
            oidc_service_account="push@wire",
        )
    found = subscriber.get_subscription(subscription=SUBSCRIPTION)
    assert found.dead_letter_policy.dead_letter_topic == "projects/wire/topics/errors-dead"
    assert found.dead_letter_policy.max_delivery_attempts == 100
    assert found.retry_policy.minimum_backoff.total_seconds() == 0.5
    assert found.retry_policy.maximum_backoff.total_seconds() == 600
    assert (found.ack_deadline_seconds, found.push_config.oidc_token.service_account_email) == (120, "push@wire")


@pytest.mark.parametrize("setting", [{"filter": "attributes:x"}, {"enable_message_ordering": True}, {"enable_exactly_once_delivery": True}])
def test_what_would_change_delivery_and_is_not_built_is_refused(subscriber: Any, setting: dict[str, object]) -> None:
    with pytest.raises(google_errors.MethodNotImplemented, match=next(iter(setting))):
        subscriber.create_subscription(request={"name": SUBSCRIPTION, "topic": TOPIC, **setting})


def test_a_method_that_is_not_built_is_unimplemented(subscriber: Any) -> None:
    with pytest.raises(google_errors.MethodNotImplemented):
        subscriber.create_snapshot(name="projects/wire/snapshots/s", subscription=SUBSCRIPTION)


def test_a_publish_is_retried_until_the_bus_takes_it(bus: MemoryBus, server: PubSubServer) -> None:
    bus.fail_publishes(2, stored=False)
    with closing(PubSubBus("wire")) as client_bus:
        client_bus.publish(Outgoing("errors", b"1"))
    assert len(bus.published("errors")) == 1


def test_a_publish_whose_reply_is_lost_is_published_twice(bus: MemoryBus, server: PubSubServer) -> None:
    bus.fail_publishes(1, stored=True)
    with closing(PubSubBus("wire")) as client_bus:
        client_bus.publish(Outgoing("errors", b"1"))
    assert [message.data for message in bus.published("errors")] == [b"1", b"1"]


def test_a_bus_that_cannot_be_reached_is_retryable_and_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    with PubSubServer(MemoryBus(SystemClock())) as gone:
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", gone.grpc_target)
    began = time.monotonic()
    with closing(PubSubBus("wire", timeout_s=1.0)) as client_bus, pytest.raises(Retryable, match="publish to projects/wire/topics/errors"):
        client_bus.publish(Outgoing("errors", b"1"))
    assert time.monotonic() - began < 5


def test_a_message_that_is_too_large_is_invalid(server: PubSubServer) -> None:
    with closing(PubSubBus("wire")) as client_bus, pytest.raises(InvalidMessage, match="too large"):
        client_bus.publish(Outgoing("errors", bytes(10_000_001)))


# push

GOLDEN = {
    "deliveryAttempt": 3,
    "message": {
        "attributes": {"type": "SttError", "v": "1"},
        "data": "eyJhIjogMX0=",
        "messageId": "1767603600000001",
        "message_id": "1767603600000001",
        "publishTime": "2026-01-05T09:00:00.123Z",
        "publish_time": "2026-01-05T09:00:00.123Z",
    },
    "subscription": SUBSCRIPTION,
}


def test_the_golden_push_envelope() -> None:
    published = datetime(2026, 1, 5, 9, 0, 0, 123_000, tzinfo=UTC)
    message = StoredMessage("1767603600000001", b'{"a": 1}', {"type": "SttError", "v": "1"}, published)
    leased = Leased("ack", message, 3)
    plain = SubscriptionConfig(SUBSCRIPTION, TOPIC)
    with_policy = SubscriptionConfig(SUBSCRIPTION, TOPIC, dead_letter=DeadLetter(TOPIC))
    assert push_envelope(leased, with_policy, "eyJhIjogMX0=") == GOLDEN
    assert push_envelope(leased, plain, "eyJhIjogMX0=") == {key: value for key, value in GOLDEN.items() if key != "deliveryAttempt"}


@pytest.mark.parametrize(
    ("status", "acknowledged"), [(200, True), (201, True), (202, True), (204, True), (301, False), (404, False), (429, False)]
)
def test_a_push_is_acknowledged_by_its_status(bus: MemoryBus, server: PubSubServer, status: int, acknowledged: bool) -> None:
    with HttpSink(lambda _: status) as sink:
        bus.create_subscription("errors", "collector", push_endpoint=sink.root)
        bus.publish(Outgoing("errors", b"1"))
        sink.wait_for(lambda requests: len(requests) == 1)
        with bus.engine.changed:
            settled = bus.engine.changed.wait_for(lambda: bus.backlog("collector") == 0 or _backing_off(bus), TIMEOUT_S)
        assert settled
    assert (bus.backlog("collector") == 0) is acknowledged


def _backing_off(bus: MemoryBus) -> bool:
    return not bus.engine._queues[SUBSCRIPTION]._leases


def test_an_endpoint_that_is_away_gets_the_message_when_it_is_back(bus: MemoryBus, server: PubSubServer) -> None:
    with HttpSink() as sink:
        away = sink.root
    bus.create_subscription("errors", "collector", push_endpoint=away, min_backoff_s=0.05, max_backoff_s=0.05)
    bus.publish(Outgoing("errors", b"1"))
    with bus.engine.changed:
        assert bus.engine.changed.wait_for(lambda: _backing_off(bus), TIMEOUT_S)
    with HttpSink() as sink:
        config = bus.engine.subscription(SUBSCRIPTION)
        bus.engine.update_subscription(SubscriptionConfig(config.name, config.topic, backoff=config.backoff, push_endpoint=sink.root))
        sink.wait_for(lambda requests: len(requests) == 1)
        wait_until_backlog_is(bus, 0)


def test_a_push_that_is_not_answered_by_the_ack_deadline_comes_again(bus: MemoryBus, server: PubSubServer) -> None:
    release = threading.Event()

    def first_hangs(posted: Posted) -> int:
        return 204 if json.loads(posted.body)["deliveryAttempt"] > 1 else (release.wait(TIMEOUT_S) and 204) or 500

    with HttpSink(first_hangs) as sink:
        bus.create_topic("errors-dead")
        settings: dict[str, Any] = {"dead_letter_topic": "errors-dead", "ack_deadline_s": 1, "min_backoff_s": 0.05, "max_backoff_s": 0.05}
        bus.create_subscription("errors", "collector", push_endpoint=sink.root, **settings)
        bus.publish(Outgoing("errors", b"1"))
        requests = sink.wait_for(lambda requests: len(requests) == 2)
        wait_until_backlog_is(bus, 0)
        release.set()
    assert [json.loads(request.body)["deliveryAttempt"] for request in requests] == [1, 2]


def test_no_more_pushes_are_under_way_than_allowed(bus: MemoryBus, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way = threading.Semaphore(3)
    overlapping = threading.Barrier(3)

    def together(posted: Posted) -> int:
        if not under_way.acquire(blocking=False):
            return 500
        overlapping.wait(TIMEOUT_S)  # three at a time, or nobody passes
        under_way.release()
        return 204

    with HttpSink(together) as sink, PubSubServer(bus, push_parallel=3):
        bus.create_subscription("errors", "collector", push_endpoint=sink.root, ack_deadline_s=60)
        for _ in range(9):
            bus.publish(Outgoing("errors", b"1"))
        wait_until_backlog_is(bus, 0)
        assert len(sink.requests) == 9


def test_a_server_that_closes_cuts_off_a_push_that_hangs(bus: MemoryBus) -> None:
    release = threading.Event()
    with HttpSink(lambda _: 204 if release.wait(TIMEOUT_S) else 500) as sink:
        with PubSubServer(bus):
            bus.create_subscription("errors", "collector", push_endpoint=sink.root, ack_deadline_s=600)
            bus.publish(Outgoing("errors", b"1"))
            sink.wait_for(lambda requests: len(requests) == 1)
            began = time.monotonic()
        assert time.monotonic() - began < 5
        release.set()
    assert bus.backlog("collector") == 1


# REST beyond what gcloud asks


def rest(server: PubSubServer, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
    request = urllib.request.Request(server.rest_url + path, data=body, method=method)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            return response.status, json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


def test_rest_errors_have_googles_form(server: PubSubServer) -> None:
    status, answer = rest(server, "GET", "v1/projects/wire/topics/nowhere")
    assert (status, answer["error"]["code"], answer["error"]["status"]) == (404, 404, "NOT_FOUND")
    status, answer = rest(server, "PUT", "v1/projects/wire/topics/errors", b"{}")
    assert (status, answer["error"]["status"]) == (409, "ALREADY_EXISTS")
    status, answer = rest(server, "POST", "v1/projects/wire/topics/errors:publish", b'{"messages": [{}]}')
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
    status, answer = rest(server, "POST", "v1/projects/wire/topics/errors:publish", b"{")
    assert (status, answer["error"]["status"]) == (400, "INVALID_ARGUMENT")
    status, answer = rest(server, "POST", "v1/projects/wire/subscriptions/collector:seek", b"{}")
    assert (status, answer["error"]["status"]) == (501, "UNIMPLEMENTED")


def test_a_rest_pull_may_ask_not_to_wait(bus: MemoryBus, server: PubSubServer) -> None:
    bus.create_subscription("errors", "collector")
    began = time.monotonic()
    body = b'{"maxMessages": 1, "returnImmediately": true}'
    assert rest(server, "POST", "v1/projects/wire/subscriptions/collector:pull", body) == (200, {})
    assert time.monotonic() - began < 2
