"""Pub/Sub in memory: topics, subscriptions, fan-out, leases, back-off, dead letters; what MemoryBus and the local server stand on.

With a journal an engine goes on where the one before it was killed: each change is committed before it is answered, each delivery before
it is made. What was held at the kill counts as refused by then.

Differences from the service, on purpose: an acknowledgement that comes after its deadline, or after such a kill, is always lost (the
service may still take it), messages are kept until acknowledged however long that takes, and there are no filters, ordering, exactly-once
or snapshots.
"""

import itertools
import random
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from shared.clock import Clock
from shared.errors import Conflict, NotFound, Retryable
from shared.testing.pubsub_journal import Held, Journal
from shared.testing.pubsub_limits import check_drafts, check_name, check_settings
from shared.testing.pubsub_queue import ANYBODY, Delivery, Draft, Holder, Leased, StoredMessage, SubscriptionConfig, SubscriptionQueue

DELETED_TOPIC = "_deleted-topic_"
HISTORY = 10_000


@dataclass
class _Topic:
    resource: bytes
    published: "deque[StoredMessage]" = field(default_factory=lambda: deque(maxlen=HISTORY))


class PubSubEngine:
    """The state of one Pub/Sub service; names are full resource names (`projects/p/topics/t`). Safe to share between threads.

    Args:
        clock: says what is due.
        journal: keeps the state, and holds that of the engine before; None = it ends with the engine.

    Attributes:
        changed: notified whenever a message may have become due or a setting has changed; its lock guards the engine, so a caller
            may hold it over several calls.
    """

    def __init__(self, clock: Clock, journal: Journal | None = None) -> None:
        self.changed = threading.Condition()
        self._clock = clock
        self._journal = journal or Journal()
        self._topics: dict[str, _Topic] = {}
        self._queues: dict[str, SubscriptionQueue] = {}
        # ids of two runs never meet: readers remember `pubsub:<messageId>` for longer than this process lives
        self._next_id = self._journal.first_id(int(clock.now().timestamp() * 1e6))
        self._lease_numbers = itertools.count(self._next_id)
        self._publish_failures: deque[bool] = deque()
        self._away_until, self._away_stored = clock.now(), False
        self._rng: random.Random | None = None
        self._settled_at: datetime | None = None
        with self.changed:
            self._resume(self._journal.held())

    # topics

    def create_topic(self, name: str, resource: bytes = b"") -> None:
        """Create a topic; `resource` is kept for `topic`, without effect.

        Raises:
            Conflict: it exists.
            InvalidMessage: the name is none.
        """
        with self.changed:
            if name in self._topics:
                raise Conflict(f"Topic already exists: {name}")
            check_name(name, "topics")
            self._topics[name] = _Topic(resource)
            self._journal.put_topic(name, resource)
            self._journal.commit()

    def delete_topic(self, name: str) -> None:
        """Delete a topic; its subscriptions stay, with what they hold."""
        with self.changed:
            self._topic(name)
            del self._topics[name]
            self._journal.delete_topic(name)
            for queue in self._queues.values():
                if queue.config.topic == name:
                    self._set(queue, replace(queue.config, topic=DELETED_TOPIC))
            self._journal.commit()

    def topics(self) -> list[str]:
        """Return every topic's name, sorted."""
        with self.changed:
            return sorted(self._topics)

    def topic(self, name: str) -> bytes:
        """Return the resource that a topic was created with.

        Raises:
            NotFound: the topic does not exist.
        """
        with self.changed:
            return self._topic(name).resource

    def history(self, topic: str) -> list[StoredMessage]:
        """Return the newest messages that were published to `topic` in this engine's time (at most HISTORY), oldest first.

        Raises:
            NotFound: the topic does not exist.
        """
        with self.changed:
            return list(self._topic(topic).published)

    # subscriptions

    def create_subscription(self, config: SubscriptionConfig) -> None:
        """Create a subscription; it receives what is published from now on.

        Raises:
            Conflict: it exists.
            NotFound: its topic or dead-letter topic does not exist.
            InvalidMessage: a setting is out of Pub/Sub's bounds.
        """
        with self.changed:
            if config.name in self._queues:
                raise Conflict(f"Subscription already exists: {config.name}")
            check_name(config.name, "subscriptions")
            if config.topic not in self._topics:
                raise NotFound(f"Subscription topic does not exist: {config.topic}")
            check_settings(config, self._topics)
            self._set(self._add_queue(config), config)
            self._journal.commit()
            self.changed.notify_all()

    def update_subscription(self, config: SubscriptionConfig) -> None:
        """Change a subscription's settings, all but its topic."""
        with self.changed:
            queue = self._queue(config.name)
            check_settings(config, self._topics)
            self._set(queue, replace(config, topic=queue.config.topic))
            self._journal.commit()
            self.changed.notify_all()

    def delete_subscription(self, name: str) -> None:
        """Delete a subscription and what it holds."""
        with self.changed:
            self._queue(name)
            del self._queues[name]
            self._journal.delete_subscription(name)
            self._journal.commit()
            self.changed.notify_all()

    def subscription(self, name: str) -> SubscriptionConfig:
        """Return a subscription's settings."""
        with self.changed:
            return self._queue(name).config

    def subscriptions(self) -> list[SubscriptionConfig]:
        """Return every subscription's settings, sorted by name."""
        with self.changed:
            return [self._queues[name].config for name in sorted(self._queues)]

    # messages

    def publish(self, topic: str, drafts: Sequence[Draft]) -> list[str]:
        """Store messages and hand a copy to each subscription; return their ids in order.

        Raises:
            NotFound: the topic does not exist.
            InvalidMessage: a message has neither data nor attributes, or is too large; none is stored.
            Retryable: the journal could not be written (the messages may come all the same), or a test asked for it.
        """
        with self.changed:
            self._topic(topic)
            check_drafts(drafts)
            stored_before_failing = self._next_failure()
            if stored_before_failing is False:
                raise Retryable(f"publish to {topic}: refused before anything was stored, as the test asked")
            ids = [self._store(topic, draft) for draft in drafts]
            self._journal.commit()
            self.changed.notify_all()
            if stored_before_failing:
                raise Retryable(f"publish to {topic}: stored, but the reply is lost, as the test asked")
            return ids

    def lease(self, subscription: str, *, limit: int, lease_s: float | None = None, holder: Holder = ANYBODY) -> list[Leased]:
        """Lease up to `limit` messages that are due, for `lease_s` (default: the subscription's ack deadline)."""
        with self.changed:
            now = self._settle()
            queue = self._queue(subscription)
            lease_s = queue.config.ack_deadline_s if lease_s is None else lease_s
            leased = queue.lease(now, limit=limit, lease_s=lease_s, holder=holder, rng=self._rng)
            if leased:
                self._journal.count(subscription, leased)
            self._journal.commit()
            return leased

    def ack(self, subscription: str, ack_ids: Iterable[str]) -> None:
        """Acknowledge leased messages; ids that are unknown or too late do nothing."""
        with self.changed:
            self._settle()
            self._journal.settle(subscription, self._queue(subscription).ack(ack_ids))
            self._journal.commit()
            self.changed.notify_all()  # a holder at its limit may take more

    def modify_ack_deadline(self, subscription: str, ack_ids: Iterable[str], seconds: float) -> None:
        """Have leases end `seconds` from now; 0 gives the messages back, which counts as a failed attempt."""
        with self.changed:
            now = self._settle()
            queue = self._queue(subscription)
            self._forward(queue, queue.modify(now, ack_ids, seconds), now)
            self._journal.commit()
            self.changed.notify_all()

    def release(self, subscription: str, holder: Holder) -> None:
        """Take back at once what a holder that has gone away never received; what it did receive stays leased."""
        with self.changed:
            self._settle()
            if subscription in self._queues:
                released = self._queues[subscription].release(holder.name)
                self._journal.count(subscription, [Leased("", each.message, each.attempts) for each in released])
            self._journal.commit()
            self.changed.notify_all()

    def ready(self, subscription: str) -> int:
        """Return how many messages could be leased now."""
        with self.changed:
            self._settle()
            return self._queue(subscription).ready

    def any_ready(self, subscriptions: Iterable[str]) -> bool:
        """Return whether a message of one of these subscriptions could be leased now."""
        with self.changed:
            self._settle()
            return any(self._queue(name).ready for name in subscriptions)

    def backlog(self, subscription: str) -> int:
        """Return how many messages are not acknowledged: due, leased or backing off."""
        with self.changed:
            self._settle()
            return len(self._queue(subscription))

    def oldest(self, subscription: str) -> datetime | None:
        """Return when the oldest message that is not acknowledged was published; None = there is none."""
        with self.changed:
            self._settle()
            return self._queue(subscription).oldest()

    def now(self) -> datetime:
        """Return the time that the engine goes by."""
        return self._clock.now()

    def next_change(self) -> datetime | None:
        """Return when the next lease or back-off of any subscription ends; None when all are quiet."""
        with self.changed:
            self._settle()
            return min((at for queue in self._queues.values() if (at := queue.next_change())), default=None)

    def seconds_to_next_change(self) -> float | None:
        """Return how long to wait for `next_change`; None when only a call can change anything."""
        at = self.next_change()
        return None if at is None else max(0.0, (at - self._clock.now()).total_seconds())

    # for tests

    def duplicate(self, subscription: str, message_id: str) -> None:
        """Deliver a message once more, whether or not it was acknowledged, as Pub/Sub may.

        Raises:
            NotFound: the subscription's topic has had no such message lately.
        """
        with self.changed:
            queue = self._queue(subscription)
            found = [message for message in self.history(queue.config.topic) if message.message_id == message_id]
            if not found:
                raise NotFound(f"Message not found: {message_id} in {queue.config.topic}")
            queue.add(found[0])
            self.changed.notify_all()

    def shuffle(self, rng: random.Random | None) -> None:
        """From now on deliver what is due in an order drawn from `rng`; None: the oldest first again."""
        with self.changed:
            self._rng = rng

    def fail_publishes(self, times: int, *, stored: bool) -> None:
        """Have the next `times` publishes raise Retryable: before anything is stored, or after it (a lost reply)."""
        with self.changed:
            self._publish_failures.extend([stored] * times)

    def fail_publishes_until(self, at: datetime, *, stored: bool) -> None:
        """Have every publish before `at` raise Retryable: before anything is stored, or after it."""
        with self.changed:
            self._away_until, self._away_stored = at, stored

    def _resume(self, held: Held) -> None:
        now = self._clock.now()
        self._topics.update({name: _Topic(resource) for name, resource in held.topics.items()})
        for config in held.subscriptions:
            self._add_queue(config)
        for each in held.waiting:
            queue = self._queues[each.subscription]
            self._forward(queue, queue.resume(Delivery(each.message, each.attempts), now), now)
        self._journal.commit()

    def _topic(self, name: str) -> _Topic:
        if name not in self._topics:
            raise NotFound(f"Topic not found: {name}")
        return self._topics[name]

    def _add_queue(self, config: SubscriptionConfig) -> SubscriptionQueue:
        queue = self._queues[config.name] = SubscriptionQueue(config, self._lease_numbers)
        return queue

    def _set(self, queue: SubscriptionQueue, config: SubscriptionConfig) -> None:
        queue.config = config
        self._journal.put_subscription(config)

    def _queue(self, name: str) -> SubscriptionQueue:
        if name not in self._queues:
            raise NotFound(f"Subscription does not exist: {name}")
        return self._queues[name]

    def _store(self, topic: str, draft: Draft) -> str:
        now = self._clock.now()
        # milliseconds, as the service: one text in every envelope
        published = now.replace(microsecond=now.microsecond // 1000 * 1000)
        message = StoredMessage(str(self._next_id), draft.data, dict(draft.attributes), published, draft.ordering_key)
        self._next_id += 1
        self._topics[topic].published.append(message)
        readers = [name for name, queue in self._queues.items() if queue.config.topic == topic]
        for name in readers:
            self._queues[name].add(message)
        self._journal.add(message, readers)
        return message.message_id

    def _next_failure(self) -> bool | None:
        """Tell whether a publish fails, as a test asked: None = no; True = after it was stored."""
        if self._clock.now() < self._away_until:
            return self._away_stored
        return self._publish_failures.popleft() if self._publish_failures else None

    def _settle(self) -> datetime:
        # all of them: a lease that ends in one subscription can put a dead letter into another
        now = self._clock.now()
        if now != self._settled_at:  # whatever began since then ends later than now
            self._settled_at = now
            for queue in list(self._queues.values()):
                self._forward(queue, queue.settle(now), now)
        return now

    def _forward(self, queue: SubscriptionQueue, dead: list[Delivery], now: datetime) -> None:
        for delivery in dead:
            policy = queue.config.dead_letter
            if policy is None or policy.topic not in self._topics:
                queue.retry(delivery, now)  # as the service: nothing is dropped because a dead-letter topic was deleted
            else:
                self._store(policy.topic, _dead_letter(queue.config.name, delivery))
                self._journal.settle(queue.config.name, [delivery])
                self.changed.notify_all()


def rfc3339(time: datetime) -> str:
    """Write an aware UTC time the way Pub/Sub does: `2026-01-05T09:00:00.123Z`."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _dead_letter(subscription: str, delivery: Delivery) -> Draft:
    _, project, _, subscription_id = subscription.split("/")
    source = {
        "CloudPubSubDeadLetterSourceDeliveryCount": str(delivery.attempts),
        "CloudPubSubDeadLetterSourceSubscription": subscription_id,
        "CloudPubSubDeadLetterSourceSubscriptionProject": project,
        "CloudPubSubDeadLetterSourceTopicPublishTime": rfc3339(delivery.message.publish_time),
    }
    return Draft(delivery.message.data, {**delivery.message.attributes, **source}, delivery.message.ordering_key)
