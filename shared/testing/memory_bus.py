"""The message port in memory: at-least-once delivery that a test drives by hand.

Nothing happens by itself. `drain` delivers what is due to the subscribed handlers; what a handler refused is due again once the clock
has passed its back-off:

    bus.publish(Outgoing("stt-errors", b"{}"))
    bus.drain()                                  # the handler raises
    clock.advance(10)                            # the back-off is over
    bus.drain()                                  # delivered again
"""

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from shared.bus import Message, Outgoing, Received
from shared.clock import Clock
from shared.errors import Conflict, InvariantBroken
from shared.testing.pubsub_engine import PubSubEngine
from shared.testing.pubsub_journal import Journal
from shared.testing.pubsub_queue import Backoff, DeadLetter, Draft, Leased, StoredMessage, SubscriptionConfig


@dataclass(frozen=True)
class HandlerFailure:
    """An exception that made a handler refuse a message; the message will be delivered again."""

    subscription: str
    message: Message
    error: Exception


class MemorySubscription:
    """A handler on a subscription of a MemoryBus."""

    def __init__(self, bus: "MemoryBus", subscription: str, handler: Callable[[Message], None]) -> None:
        self.subscription = subscription
        self.handler = handler
        self._bus = bus

    def close(self) -> None:
        """Stop delivery."""
        self._bus.unsubscribe(self)


class MemoryBus:
    """Implements `shared.bus.Bus`; time passes only as the clock says. Safe to share between threads.

    Args:
        clock: says what is due.
        project: the project of its topics and subscriptions.
        journal: keeps them, and holds those of the bus before; None = they end with the bus.

    Attributes:
        engine: the topics and subscriptions behind the port, which the local Pub/Sub server serves.
        failures: every exception that a handler raised, in order.
    """

    def __init__(self, clock: Clock, project: str = "local", journal: Journal | None = None) -> None:
        self.engine = PubSubEngine(clock, journal)
        self.failures: list[HandlerFailure] = []
        self._project = project
        self._consumers: list[MemorySubscription] = []
        self._turn = 0
        self._rng: random.Random | None = None

    # the port

    def publish(self, message: Outgoing) -> str:
        """Store a message and return its id.

        Raises:
            NotFound: the topic does not exist.
            InvalidMessage: it has neither data nor attributes, or is too large.
            Retryable: `fail_publishes` or `fail_publishes_until` asked for it.
        """
        return self.engine.publish(self._topic(message.topic), [Draft(message.data, message.attributes)])[0]

    def create_topic(self, topic: str) -> None:
        """Create a topic; one that exists is no error."""
        try:
            self.engine.create_topic(self._topic(topic))
        except Conflict:
            return

    def create_subscription(
        self,
        topic: str,
        subscription: str,
        *,
        dead_letter_topic: str | None = None,
        max_delivery_attempts: int = 5,
        push_endpoint: str | None = None,
        min_backoff_s: float = 10.0,
        max_backoff_s: float = 600.0,
        ack_deadline_s: int = 10,
        renew: bool = False,
    ) -> None:
        """Create a subscription; one that exists is no error, and has these settings from now on with `renew`.

        `push_endpoint` is for a server: `drain` never opens a connection.

        Raises:
            NotFound: the topic or dead-letter topic does not exist.
            InvalidMessage: a setting is out of Pub/Sub's bounds.
        """
        dead_letter = DeadLetter(self._topic(dead_letter_topic), max_delivery_attempts) if dead_letter_topic else None
        config = SubscriptionConfig(
            self._subscription(subscription),
            self._topic(topic),
            ack_deadline_s=ack_deadline_s,
            backoff=Backoff(min_backoff_s, max_backoff_s),
            dead_letter=dead_letter,
            push_endpoint=push_endpoint or "",
        )
        try:
            self.engine.create_subscription(config)
        except Conflict:
            if renew:
                self.engine.update_subscription(config)

    def subscribe(self, subscription: str, handler: Callable[[Message], None]) -> MemorySubscription:
        """Have `drain` and `deliver_due` deliver to `handler`: a return acknowledges, an exception has the message redelivered."""
        self.engine.subscription(self._subscription(subscription))
        consumer = MemorySubscription(self, subscription, handler)
        self._consumers.append(consumer)
        return consumer

    def pull(self, subscription: str, *, limit: int = 100) -> list[Received]:
        """Return up to `limit` messages that are due, leased for the subscription's ack deadline."""
        name = self._subscription(subscription)
        return [Received(self._message(name, leased), leased.ack_id) for leased in self.engine.lease(name, limit=limit)]

    def ack(self, subscription: str, ack_ids: Iterable[str]) -> None:
        """Acknowledge pulled messages; one whose lease is over stays."""
        self.engine.ack(self._subscription(subscription), ack_ids)

    def nack(self, subscription: str, ack_ids: Iterable[str]) -> None:
        """Give pulled messages back: they are due again after their back-off."""
        self.modify_ack_deadline(subscription, ack_ids, 0)

    # beyond the port, as Pub/Sub has it

    def modify_ack_deadline(self, subscription: str, ack_ids: Iterable[str], seconds: float) -> None:
        """Have the leases of pulled messages end `seconds` from now."""
        self.engine.modify_ack_deadline(self._subscription(subscription), ack_ids, seconds)

    # delivery

    def deliver_due(self, limit: int | None = None) -> int:
        """Deliver what is due now, at most `limit` messages, each at most once; return how many were delivered.

        What a handler publishes meanwhile waits for the next call.
        """
        due = sum(self.engine.ready(name) for name in self._subscribed())
        return self._deliver(due if limit is None else min(due, limit))

    def drain(self, max_deliveries: int = 1000) -> int:
        """Deliver until nothing is due at the present time; return how many messages were delivered.

        An exception that is no `Exception` (a test's simulated crash) leaves the message leased and passes through.

        Raises:
            InvariantBroken: still messages due after `max_deliveries`: handlers that publish to each other for ever.
        """
        delivered = self._deliver(max_deliveries)
        if delivered == max_deliveries and self.any_due():
            raise InvariantBroken(f"drain: expected silence after {max_deliveries} deliveries, found more messages due")
        return delivered

    def any_due(self) -> bool:
        """Return whether `deliver_due` would deliver something."""
        return self.engine.any_ready(self._subscribed())

    def next_due(self) -> datetime | None:
        """Return when the next back-off or lease ends: to where a test moves the clock; None when everything is settled."""
        return self.engine.next_change()

    def unsubscribe(self, consumer: MemorySubscription) -> None:
        """Stop delivery to a handler; one that is not subscribed is no error."""
        if consumer in self._consumers:
            self._consumers.remove(consumer)

    # what a test looks at and asks for

    def published(self, topic: str) -> list[Message]:
        """Return what was published to `topic`, oldest first."""
        return [_as_message(stored) for stored in self.engine.history(self._topic(topic))]

    def backlog(self, subscription: str) -> int:
        """Return how many messages are not acknowledged: due, leased or backing off."""
        return self.engine.backlog(self._subscription(subscription))

    def duplicate(self, subscription: str, message_id: str) -> None:
        """Deliver a message once more, whether or not it was acknowledged."""
        self.engine.duplicate(self._subscription(subscription), message_id)

    def shuffle(self, rng: random.Random | None) -> None:
        """From now on deliver what is due in an order drawn from `rng`, across subscriptions too; None: in turn, the oldest first."""
        self._rng = rng
        self.engine.shuffle(rng)

    def fail_publishes(self, times: int = 1, *, stored: bool = False) -> None:
        """Have the next `times` publishes raise Retryable; with `stored` the message is on the bus all the same (a lost reply)."""
        self.engine.fail_publishes(times, stored=stored)

    def fail_publishes_until(self, at: datetime, *, stored: bool = False) -> None:
        """Have every publish before `at` raise Retryable; with `stored` the messages are on the bus all the same."""
        self.engine.fail_publishes_until(at, stored=stored)

    def _subscribed(self) -> set[str]:
        return {self._subscription(consumer.subscription) for consumer in self._consumers}

    def _deliver(self, limit: int) -> int:
        delivered = 0
        while delivered < limit and self._deliver_one():
            delivered += 1
        return delivered

    def _deliver_one(self) -> bool:
        for consumer in self._order():
            received = self.pull(consumer.subscription, limit=1)
            if received:
                self._handle(consumer, received[0])
                return True
        return False

    def _order(self) -> list[MemorySubscription]:
        if self._rng:
            return self._rng.sample(self._consumers, len(self._consumers))
        self._turn = (self._turn + 1) % max(1, len(self._consumers))
        return self._consumers[self._turn :] + self._consumers[: self._turn]

    def _handle(self, consumer: MemorySubscription, received: Received) -> None:
        try:
            consumer.handler(received.message)
        except Exception as error:  # noqa: BLE001 - a handler's exception is its refusal, kept for the test in `failures`
            self.failures.append(HandlerFailure(consumer.subscription, received.message, error))
            self.nack(consumer.subscription, [received.ack_id])
        else:
            self.ack(consumer.subscription, [received.ack_id])

    def _message(self, subscription: str, leased: Leased) -> Message:
        attempt = leased.attempt if self.engine.subscription(subscription).dead_letter else None
        return _as_message(leased.message, attempt, subscription)

    def _topic(self, topic: str) -> str:
        return f"projects/{self._project}/topics/{topic}"

    def _subscription(self, subscription: str) -> str:
        return f"projects/{self._project}/subscriptions/{subscription}"


def _as_message(stored: StoredMessage, attempt: int | None = None, subscription: str | None = None) -> Message:
    return Message(stored.data, stored.attributes, stored.message_id, stored.publish_time, attempt, subscription)
