"""MemoryBus under a clock that the test moves; every time below is worked out by hand."""

import random
import threading
from datetime import timedelta

import pytest

from shared.bus import Message, Outgoing
from shared.errors import InvalidMessage, InvariantBroken, NotFound, Retryable
from shared.testing.clock import START, FakeClock
from shared.testing.memory_bus import MemoryBus
from shared.testing.pubsub_engine import DELETED_TOPIC, PubSubEngine
from shared.testing.pubsub_queue import Backoff, Draft, Holder, SubscriptionConfig


class Refusing:
    """A handler that refuses the first `times` deliveries and notes when each came."""

    def __init__(self, clock: FakeClock, times: int) -> None:
        self.clock = clock
        self.left = times
        self.at_s: list[float] = []
        self.messages: list[Message] = []

    def __call__(self, message: Message) -> None:
        self.at_s.append((self.clock.now() - START).total_seconds())
        self.messages.append(message)
        self.left -= 1
        if self.left >= 0:
            raise RuntimeError("refused")


def bus_with(clock: FakeClock, **settings: object) -> MemoryBus:
    bus = MemoryBus(clock)
    bus.create_topic("errors")
    bus.create_topic("errors-dead")
    bus.create_subscription("errors", "collector", **settings)  # type: ignore[arg-type]
    bus.create_subscription("errors-dead", "dead-reader")
    return bus


def run_until_settled(bus: MemoryBus, clock: FakeClock) -> None:
    bus.drain()
    while at := bus.next_due():
        clock.advance((at - clock.now()).total_seconds())
        bus.drain()


def test_a_message_is_delivered_as_published_and_gone_once_handled() -> None:
    clock = FakeClock()
    bus = bus_with(clock)
    got = Refusing(clock, 0)
    bus.subscribe("collector", got)
    message_id = bus.publish(Outgoing("errors", b"{}", {"type": "SttError"}))
    assert bus.drain() == 1
    assert got.messages == [Message(b"{}", {"type": "SttError"}, message_id, START, None, "projects/local/subscriptions/collector")]
    assert bus.backlog("collector") == 0
    assert bus.drain() == 0


def test_a_lease_that_is_not_acknowledged_ends_at_the_ack_deadline_and_the_backoff_runs_from_there() -> None:
    clock = FakeClock()
    bus = bus_with(clock, ack_deadline_s=30, min_backoff_s=10, max_backoff_s=600)
    bus.publish(Outgoing("errors", b"1"))
    first = bus.pull("collector")
    assert bus.next_due() == START + timedelta(seconds=30)
    clock.advance(39.9)
    assert bus.pull("collector") == []
    assert bus.next_due() == START + timedelta(seconds=40)
    clock.advance(0.1)
    second = bus.pull("collector")
    assert [each.message for each in second] == [each.message for each in first]
    assert second[0].ack_id != first[0].ack_id


def test_an_acknowledgement_after_the_deadline_is_lost() -> None:
    clock = FakeClock()
    bus = bus_with(clock)
    bus.publish(Outgoing("errors", b"1"))
    received = bus.pull("collector")[0]
    clock.advance(10)
    bus.ack("collector", [received.ack_id])
    assert bus.backlog("collector") == 1


def test_an_extended_lease_ends_when_the_extension_says() -> None:
    clock = FakeClock()
    bus = bus_with(clock, min_backoff_s=0, max_backoff_s=0)
    bus.publish(Outgoing("errors", b"1"))
    received = bus.pull("collector")[0]
    clock.advance(9)
    bus.modify_ack_deadline("collector", [received.ack_id], 20)
    clock.advance(19)
    assert bus.pull("collector") == []
    clock.advance(1)
    assert len(bus.pull("collector")) == 1


def test_backoff_doubles_from_the_minimum_to_the_maximum() -> None:
    clock = FakeClock()
    bus = bus_with(clock, min_backoff_s=10, max_backoff_s=60)
    handler = Refusing(clock, 6)
    bus.subscribe("collector", handler)
    bus.publish(Outgoing("errors", b"1"))
    run_until_settled(bus, clock)
    assert handler.at_s == [0, 10, 30, 70, 130, 190, 250]  # gaps 10, 20, 40, then 60
    assert [str(failure.error) for failure in bus.failures] == ["refused"] * 6


def test_the_clock_and_not_the_number_of_looks_decides_when_a_refused_message_is_due() -> None:
    clock = FakeClock()
    bus = bus_with(clock, min_backoff_s=10)
    handler = Refusing(clock, 1)
    bus.subscribe("collector", handler)
    bus.publish(Outgoing("errors", b"1"))
    assert [bus.drain(), bus.drain(), bus.drain()] == [1, 0, 0]
    clock.advance(10)
    assert bus.drain() == 1


def test_backoff_of_very_many_failures_is_the_maximum() -> None:
    assert Backoff(10, 600).delay_s(5000) == 600


def test_a_subscription_without_retry_policy_redelivers_at_once_when_pulled_and_from_100_ms_when_pushed() -> None:
    pulled = SubscriptionConfig("projects/p/subscriptions/sub", "projects/p/topics/top")
    pushed = SubscriptionConfig("projects/p/subscriptions/sub", "projects/p/topics/top", push_endpoint="http://127.0.0.1/")
    assert [pulled.redelivery_delay_s(failures) for failures in (1, 9)] == [0, 0]
    assert [pushed.redelivery_delay_s(failures) for failures in (1, 2, 3, 20)] == [0.1, 0.2, 0.4, 60]


def test_delivery_attempt_counts_from_one_and_only_with_a_dead_letter_policy() -> None:
    clock = FakeClock()
    bus = bus_with(clock, dead_letter_topic="errors-dead", min_backoff_s=1)
    bus.publish(Outgoing("errors", b"1"))
    attempts = []
    for _ in range(3):
        received = bus.pull("collector")[0]
        attempts.append(received.message.delivery_attempt)
        bus.nack("collector", [received.ack_id])
        clock.advance(4)
    assert attempts == [1, 2, 3]
    bus.publish(Outgoing("errors-dead", b"1"))
    assert bus.pull("dead-reader")[0].message.delivery_attempt is None


def test_after_the_last_attempt_a_message_goes_to_the_dead_letter_topic_and_says_where_it_came_from() -> None:
    clock = FakeClock(START + timedelta(microseconds=123_456))
    bus = bus_with(clock, dead_letter_topic="errors-dead", max_delivery_attempts=5, min_backoff_s=10, max_backoff_s=40)
    handler = Refusing(clock, 99)
    bus.subscribe("collector", handler)
    original = bus.publish(Outgoing("errors", b"bad", {"type": "SttError"}))
    run_until_settled(bus, clock)
    assert [round(at, 3) for at in handler.at_s] == [0.123, 10.123, 30.123, 70.123, 110.123]
    assert bus.backlog("collector") == 0
    dead = bus.pull("dead-reader")[0].message
    assert dead.data == b"bad"
    assert dead.message_id != original
    assert dead.publish_time == START + timedelta(seconds=110, milliseconds=123)
    assert dead.attributes == {
        "type": "SttError",
        "CloudPubSubDeadLetterSourceDeliveryCount": "5",
        "CloudPubSubDeadLetterSourceSubscription": "collector",
        "CloudPubSubDeadLetterSourceSubscriptionProject": "local",
        "CloudPubSubDeadLetterSourceTopicPublishTime": "2026-01-05T09:00:00.123Z",
    }


def test_a_lease_that_nobody_looked_after_reaches_the_dead_letter_topic_too() -> None:
    clock = FakeClock()
    bus = bus_with(clock, dead_letter_topic="errors-dead", min_backoff_s=0, max_backoff_s=0)
    bus.publish(Outgoing("errors", b"1"))
    for _ in range(5):
        assert len(bus.pull("collector")) == 1
        clock.advance(10)
    assert len(bus.pull("dead-reader")) == 1


def test_a_deleted_dead_letter_topic_loses_nothing() -> None:
    clock = FakeClock()
    bus = bus_with(clock, dead_letter_topic="errors-dead", min_backoff_s=10, max_backoff_s=10)
    bus.engine.delete_topic("projects/local/topics/errors-dead")
    handler = Refusing(clock, 6)
    bus.subscribe("collector", handler)
    bus.publish(Outgoing("errors", b"1"))
    run_until_settled(bus, clock)
    assert len(handler.at_s) == 7


def test_every_subscription_has_its_own_copy() -> None:
    clock = FakeClock()
    bus = bus_with(clock)
    bus.create_subscription("errors", "archive")
    bus.publish(Outgoing("errors", b"1"))
    bus.ack("collector", [received.ack_id for received in bus.pull("collector")])
    assert (bus.backlog("collector"), bus.backlog("archive")) == (0, 1)


def test_every_subscription_keeps_its_own_time() -> None:
    clock = FakeClock()
    bus = bus_with(clock, ack_deadline_s=10, min_backoff_s=1)
    bus.create_subscription("errors", "archive", ack_deadline_s=30, min_backoff_s=2)
    bus.publish(Outgoing("errors", b"1"))
    assert (len(bus.pull("collector")), len(bus.pull("archive"))) == (1, 1)
    clock.advance(11)
    assert (len(bus.pull("collector")), len(bus.pull("archive"))) == (1, 0)
    clock.advance(21)
    assert len(bus.pull("archive")) == 1


def test_a_subscription_receives_what_is_published_after_it_was_created() -> None:
    bus = bus_with(FakeClock())
    bus.publish(Outgoing("errors", b"before"))
    bus.create_subscription("errors", "late")
    bus.publish(Outgoing("errors", b"after"))
    assert [received.message.data for received in bus.pull("late")] == [b"after"]


def test_a_refused_publish_stores_nothing_and_a_lost_reply_has_stored_the_message() -> None:
    bus = bus_with(FakeClock())
    bus.fail_publishes(stored=False)
    with pytest.raises(Retryable):
        bus.publish(Outgoing("errors", b"refused"))
    assert bus.published("errors") == []
    bus.fail_publishes(stored=True)
    with pytest.raises(Retryable):
        bus.publish(Outgoing("errors", b"reply lost"))
    bus.publish(Outgoing("errors", b"sent again"))
    assert [message.data for message in bus.published("errors")] == [b"reply lost", b"sent again"]
    assert bus.backlog("collector") == 2


@pytest.mark.parametrize("stored", [False, True])
def test_while_the_bus_is_away_every_publish_fails_and_not_a_moment_longer(stored: bool) -> None:
    clock = FakeClock()
    bus = bus_with(clock)
    bus.fail_publishes_until(START + timedelta(seconds=60), stored=stored)
    for seconds in (59.9, 0.1):
        with pytest.raises(Retryable):
            bus.publish(Outgoing("errors", b"away"))
        clock.advance(seconds)
    bus.publish(Outgoing("errors", b"back"))
    assert [message.data for message in bus.published("errors")] == [b"away"] * (2 if stored else 0) + [b"back"]


def test_a_duplicate_has_the_same_message_id_even_after_the_acknowledgement() -> None:
    clock = FakeClock()
    bus = bus_with(clock)
    handler = Refusing(clock, 0)
    bus.subscribe("collector", handler)
    message_id = bus.publish(Outgoing("errors", b"1"))
    bus.drain()
    bus.duplicate("collector", message_id)
    bus.drain()
    assert [message.message_id for message in handler.messages] == [message_id] * 2
    with pytest.raises(NotFound):
        bus.duplicate("collector", "no-such-message")


def test_shuffle_changes_the_order_as_the_seed_says_and_loses_nothing() -> None:
    orders = []
    for _ in range(2):
        clock = FakeClock()
        bus = bus_with(clock)
        handler = Refusing(clock, 0)
        bus.subscribe("collector", handler)
        bus.subscribe("dead-reader", handler)
        bus.shuffle(random.Random(7))
        for number in range(10):
            bus.publish(Outgoing("errors", bytes([number])))
            bus.publish(Outgoing("errors-dead", bytes([number + 10])))
        bus.drain()
        orders.append([message.data[0] for message in handler.messages])
    assert orders[0] == orders[1]
    assert orders[0] != sorted(orders[0])
    assert sorted(orders[0]) == list(range(20))


def test_deliver_due_leaves_what_handlers_publish_for_the_next_call() -> None:
    clock = FakeClock()
    bus = bus_with(clock)
    seen = []

    def echo(message: Message) -> None:
        seen.append(message.data)
        if len(seen) < 3:
            bus.publish(Outgoing("errors", message.data + b"!"))

    bus.subscribe("collector", echo)
    bus.publish(Outgoing("errors", b"a"))
    assert [bus.deliver_due(), bus.deliver_due(), bus.deliver_due(), bus.deliver_due()] == [1, 1, 1, 0]
    assert seen == [b"a", b"a!", b"a!!"]


def test_deliver_due_stops_at_its_limit() -> None:
    clock = FakeClock()
    bus = bus_with(clock)
    bus.subscribe("collector", Refusing(clock, 0))
    for _ in range(3):
        bus.publish(Outgoing("errors", b"1"))
    assert [bus.deliver_due(limit=2), bus.deliver_due(limit=2)] == [2, 1]


def test_drain_names_a_loop_that_never_ends() -> None:
    bus = bus_with(FakeClock())

    def echo(message: Message) -> None:
        bus.publish(Outgoing("errors", message.data))

    bus.subscribe("collector", echo)
    bus.publish(Outgoing("errors", b"1"))
    with pytest.raises(InvariantBroken, match="silence after 50"):
        bus.drain(max_deliveries=50)


def test_a_crash_leaves_the_message_leased_until_its_deadline() -> None:
    class Crash(BaseException):
        pass

    def crash(message: Message) -> None:
        raise Crash

    clock = FakeClock()
    bus = bus_with(clock, min_backoff_s=5)
    consumer = bus.subscribe("collector", crash)
    bus.publish(Outgoing("errors", b"1"))
    with pytest.raises(Crash):
        bus.drain()
    consumer.close()
    survivor = Refusing(clock, 0)
    bus.subscribe("collector", survivor)
    run_until_settled(bus, clock)
    assert survivor.at_s == [15]  # 10 s of lease, 5 s of back-off


def test_two_handlers_on_one_subscription_share_its_messages() -> None:
    clock = FakeClock()
    bus = bus_with(clock)
    handlers = [Refusing(clock, 0), Refusing(clock, 0)]
    for handler in handlers:
        bus.subscribe("collector", handler)
    for _ in range(4):
        bus.publish(Outgoing("errors", b"1"))
    assert bus.drain() == 4
    assert [len(handler.messages) for handler in handlers] == [2, 2]


def test_a_closed_subscription_delivers_no_more() -> None:
    bus = bus_with(FakeClock())
    consumer = bus.subscribe("collector", lambda message: pytest.fail("delivered"))
    consumer.close()
    consumer.close()
    bus.publish(Outgoing("errors", b"1"))
    assert bus.drain() == 0


@pytest.mark.parametrize("topic", ["ab", "1abc", "googly", "a" * 256, "a/b", "a b"])
def test_a_topic_id_outside_pubsubs_rules_is_refused(topic: str) -> None:
    with pytest.raises(InvalidMessage):
        MemoryBus(FakeClock()).create_topic(topic)


def test_what_does_not_exist_is_not_found() -> None:
    bus = bus_with(FakeClock())
    with pytest.raises(NotFound, match="nowhere"):
        bus.publish(Outgoing("nowhere", b"1"))
    with pytest.raises(NotFound, match="nobody"):
        bus.pull("nobody")
    with pytest.raises(NotFound, match="nobody"):
        bus.subscribe("nobody", lambda message: None)
    with pytest.raises(NotFound, match="nowhere"):
        bus.create_subscription("nowhere", "new-one")
    with pytest.raises(NotFound, match="nowhere"):
        bus.create_subscription("errors", "new-one", dead_letter_topic="nowhere")


def test_an_empty_message_is_refused_and_attributes_alone_are_enough() -> None:
    bus = bus_with(FakeClock())
    with pytest.raises(InvalidMessage, match="empty"):
        bus.publish(Outgoing("errors", b""))
    with pytest.raises(InvalidMessage, match="too large"):
        bus.publish(Outgoing("errors", bytes(10_000_001)))
    bus.publish(Outgoing("errors", b"", {"force": "true"}))
    assert bus.pull("collector")[0].message.attributes == {"force": "true"}


@pytest.mark.parametrize(
    "settings",
    [
        {"dead_letter_topic": "errors-dead", "max_delivery_attempts": 4},
        {"dead_letter_topic": "errors-dead", "max_delivery_attempts": 101},
        {"min_backoff_s": 20, "max_backoff_s": 10},
        {"max_backoff_s": 601},
        {"ack_deadline_s": 601},
    ],
)
def test_settings_out_of_bounds_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(InvalidMessage):
        bus_with(FakeClock(), **settings)


def test_creating_again_changes_nothing() -> None:
    bus = bus_with(FakeClock(), ack_deadline_s=30)
    bus.publish(Outgoing("errors", b"1"))
    bus.create_topic("errors")
    bus.create_subscription("errors", "collector")
    assert bus.engine.subscription("projects/local/subscriptions/collector").ack_deadline_s == 30
    assert bus.backlog("collector") == 1


def test_ids_of_a_later_run_never_meet_those_of_an_earlier_one() -> None:
    clock = FakeClock()
    first = bus_with(clock).publish(Outgoing("errors", b"1"))
    clock.advance(1)
    assert int(bus_with(clock).publish(Outgoing("errors", b"1"))) > int(first)


def engine_with_messages(sizes: list[int]) -> PubSubEngine:
    engine = PubSubEngine(FakeClock())
    engine.create_topic("projects/p/topics/top")
    engine.create_subscription(SubscriptionConfig("projects/p/subscriptions/sub", "projects/p/topics/top"))
    engine.publish("projects/p/topics/top", [Draft(bytes(size)) for size in sizes])
    return engine


def test_a_holder_has_at_most_its_number_of_messages() -> None:
    engine = engine_with_messages([1] * 5)
    holder = Holder("stream", max_messages=3)
    leased = engine.lease("projects/p/subscriptions/sub", limit=100, holder=holder)
    assert len(leased) == 3
    assert engine.lease("projects/p/subscriptions/sub", limit=100, holder=holder) == []
    assert len(engine.lease("projects/p/subscriptions/sub", limit=1, holder=Holder("other", max_messages=3))) == 1
    engine.ack("projects/p/subscriptions/sub", [leased[0].ack_id])
    assert len(engine.lease("projects/p/subscriptions/sub", limit=100, holder=holder)) == 1


def test_a_holder_has_at_most_its_number_of_bytes_but_one_message_of_any_size() -> None:
    engine = engine_with_messages([50, 40, 30, 500])
    holder = Holder("stream", max_bytes=100)
    leased = engine.lease("projects/p/subscriptions/sub", limit=100, holder=holder)
    assert [len(each.message.data) for each in leased] == [50, 40]
    engine.ack("projects/p/subscriptions/sub", [each.ack_id for each in leased])
    leased = engine.lease("projects/p/subscriptions/sub", limit=100, holder=holder)
    assert [len(each.message.data) for each in leased] == [30]
    engine.ack("projects/p/subscriptions/sub", [each.ack_id for each in leased])
    assert [len(each.message.data) for each in engine.lease("projects/p/subscriptions/sub", limit=100, holder=holder)] == [500]


def test_a_subscription_outlives_its_topic_and_an_updated_one_keeps_its_messages() -> None:
    engine = engine_with_messages([1])
    engine.delete_topic("projects/p/topics/top")
    assert engine.subscription("projects/p/subscriptions/sub").topic == DELETED_TOPIC
    engine.update_subscription(SubscriptionConfig("projects/p/subscriptions/sub", "ignored", ack_deadline_s=60))
    assert engine.subscription("projects/p/subscriptions/sub").ack_deadline_s == 60
    assert engine.backlog("projects/p/subscriptions/sub") == 1


def test_many_threads_share_a_bus_and_nothing_is_lost_or_delivered_twice() -> None:
    bus = bus_with(FakeClock())
    got: list[str] = []

    def publish_and_pull() -> None:
        for _ in range(100):
            bus.publish(Outgoing("errors", b"1"))
            for received in bus.pull("collector", limit=2):
                got.append(received.message.message_id)
                bus.ack("collector", [received.ack_id])

    threads = [threading.Thread(target=publish_and_pull) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == len(set(got)) == 800
    assert bus.backlog("collector") == 0
