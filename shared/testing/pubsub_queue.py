"""One subscription's messages: ready, leased, or waiting out a back-off. Pure: the time is an argument.

add -> ready -> lease -> ack                        gone
         ^        |----> nack, lease expired -> fewer attempts than allowed -> back-off -> ready
         |                                      last attempt                -> dead
         +--- retry (no dead-letter topic any more)
"""

import heapq
import random
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Draft:
    """A message before it is published."""

    data: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)
    ordering_key: str = ""


@dataclass(frozen=True)
class StoredMessage:
    """A published message; every subscription has its own copy of the delivery state, all share this."""

    message_id: str
    data: bytes
    attributes: Mapping[str, str]
    publish_time: datetime
    ordering_key: str = ""

    @property
    def size_bytes(self) -> int:
        """Payload and attributes, as flow control counts them."""
        return len(self.data) + sum(len(key) + len(value) for key, value in self.attributes.items())


@dataclass(frozen=True)
class Backoff:
    """Exponential back-off between two bounds, in seconds."""

    min_s: float
    max_s: float

    def delay_s(self, failures: int) -> float:
        """Return the wait after the `failures`-th failure (1 = the first): `min(max_s, min_s * 2 ** (failures - 1))`."""
        doublings = min(failures - 1, 40)  # 2**40 minimums are more than any maximum; a float overflows at 2**1024
        return min(self.max_s, self.min_s * 2.0**doublings)


PUSH_BACKOFF = Backoff(0.1, 60.0)  # Pub/Sub's own for push subscriptions without a retry policy


@dataclass(frozen=True)
class DeadLetter:
    """Where a message goes after its last attempt; `topic` is a full resource name."""

    topic: str
    max_attempts: int = 5


@dataclass(frozen=True)
class SubscriptionConfig:
    """A subscription's settings; `name` and `topic` are full resource names.

    Attributes:
        resource: as an API was given it, kept without effect.
    """

    name: str
    topic: str
    ack_deadline_s: int = 10
    backoff: Backoff | None = None
    dead_letter: DeadLetter | None = None
    push_endpoint: str = ""
    resource: bytes = b""

    def redelivery_delay_s(self, failures: int) -> float:
        """Return the wait before the next delivery; without a retry policy a pulled message is due at once."""
        backoff = self.backoff or (PUSH_BACKOFF if self.push_endpoint else None)
        return backoff.delay_s(failures) if backoff else 0.0


@dataclass(frozen=True)
class Holder:
    """Who holds leases, with what it may hold at a time (0 = no limit)."""

    name: str
    max_messages: int = 0
    max_bytes: int = 0


ANYBODY = Holder("")


@dataclass(frozen=True)
class Leased:
    """A delivery: `attempt` counts from 1."""

    ack_id: str
    message: StoredMessage
    attempt: int


@dataclass(eq=False)
class Delivery:
    """The delivery state of one message in one subscription; `until` ends its lease or back-off, None while it is ready.

    `received` says that the holder has sent something about it since it was leased.
    """

    message: StoredMessage
    attempts: int = 0
    ack_id: str = ""
    holder: str = ""
    received: bool = False
    until: datetime | None = None


class SubscriptionQueue:
    """The messages of one subscription. Callers hold the engine's lock and call `settle` before they look.

    Args:
        config: its settings, which may be replaced.
        numbers: makes acknowledgement ids; two deliveries never have the same, or one client would acknowledge what another holds.
    """

    def __init__(self, config: SubscriptionConfig, numbers: Iterator[int]) -> None:
        self.config = config
        self._ready: deque[Delivery] = deque()
        self._leases: dict[str, Delivery] = {}
        self._timers: list[tuple[datetime, int, Delivery]] = []
        self._numbers = numbers
        self._backing_off = 0

    def __len__(self) -> int:
        return len(self._ready) + len(self._leases) + self._backing_off

    @property
    def ready(self) -> int:
        """How many messages could be leased now."""
        return len(self._ready)

    def oldest(self) -> datetime | None:
        """Return when the oldest message that is due, leased or backing off was published."""
        backing_off = (delivery for at, _, delivery in self._timers if not delivery.ack_id and delivery.until == at)
        everything = (*self._ready, *self._leases.values(), *backing_off)
        return min((delivery.message.publish_time for delivery in everything), default=None)

    def add(self, message: StoredMessage) -> None:
        """Take in a message; it is due at once."""
        self._ready.append(Delivery(message))

    def resume(self, delivery: Delivery, now: datetime) -> list[Delivery]:
        """Take in what another queue has left: one that was delivered has failed now; return it if that was its last time."""
        if delivery.attempts:
            return self._failed(delivery, now)
        self._make_ready(delivery)
        return []

    def settle(self, now: datetime) -> list[Delivery]:
        """End leases and back-offs that are over at `now`; return the deliveries that have failed for the last time."""
        dead = []
        while self._timers and self._timers[0][0] <= now:
            at, _, delivery = heapq.heappop(self._timers)
            if delivery.until != at:
                continue  # acknowledged, or given another deadline since
            if delivery.ack_id:
                # from the deadline, not from now: nobody may have looked for hours
                dead += self._fail(delivery, at)
            else:
                self._backing_off -= 1
                self._make_ready(delivery)
        return dead

    def lease(
        self, now: datetime, *, limit: int, lease_s: float, holder: Holder = ANYBODY, rng: random.Random | None = None
    ) -> list[Leased]:
        """Lease up to `limit` ready messages within what `holder` may hold: the oldest first, or any with `rng`."""
        if not self._ready:
            return []
        held = [delivery for delivery in self._leases.values() if delivery.holder == holder.name] if holder is not ANYBODY else []
        held_bytes = sum(delivery.message.size_bytes for delivery in held)
        if holder.max_messages:
            limit = min(limit, holder.max_messages - len(held))
        leased: list[Leased] = []
        while self._ready and len(leased) < limit:
            index = rng.randrange(len(self._ready)) if rng else 0
            delivery = self._ready[index]
            held_bytes += delivery.message.size_bytes
            if holder.max_bytes and held_bytes > holder.max_bytes and (held or leased):
                break  # one that is larger than the limit is delivered alone, else it would never be
            del self._ready[index]
            leased.append(self._lease(delivery, now, lease_s, holder.name))
        return leased

    def ack(self, ack_ids: Iterable[str]) -> list[Delivery]:
        """Forget and return the messages leased under `ack_ids`; an id whose lease is over does nothing."""
        acknowledged = []
        for ack_id in ack_ids:
            delivery = self._leases.pop(ack_id, None)
            if delivery:
                delivery.ack_id, delivery.until = "", None
                acknowledged.append(delivery)
        return acknowledged

    def modify(self, now: datetime, ack_ids: Iterable[str], lease_s: float) -> list[Delivery]:
        """Have the leases end `lease_s` from now, 0 = failed at once; return the deliveries that failed for the last time."""
        dead = []
        for delivery in [self._leases[ack_id] for ack_id in ack_ids if ack_id in self._leases]:
            delivery.received = True
            if lease_s:
                self._set_timer(delivery, now + timedelta(seconds=lease_s))
            else:
                dead += self._fail(delivery, now)
        return dead

    def release(self, holder: str) -> list[Delivery]:
        """Take back and return what was leased to `holder` and never received, as if it had not been sent."""
        released = [each for each in self._leases.values() if each.holder == holder and not each.received]
        for delivery in released:
            del self._leases[delivery.ack_id]
            delivery.ack_id, delivery.until = "", None
            delivery.attempts -= 1
            self._ready.appendleft(delivery)
        return released

    def retry(self, delivery: Delivery, now: datetime) -> None:
        """Deliver again after the back-off that the number of attempts calls for."""
        delay_s = self.config.redelivery_delay_s(delivery.attempts)
        if delay_s:
            self._backing_off += 1
            self._set_timer(delivery, now + timedelta(seconds=delay_s))
        else:
            self._make_ready(delivery)

    def next_change(self) -> datetime | None:
        """Return when the next lease or back-off ends."""
        while self._timers and self._timers[0][2].until != self._timers[0][0]:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def _lease(self, delivery: Delivery, now: datetime, lease_s: float, holder: str) -> Leased:
        delivery.attempts += 1
        delivery.ack_id = f"{self.config.name}:{next(self._numbers)}"
        delivery.holder, delivery.received = holder, False
        self._leases[delivery.ack_id] = delivery
        self._set_timer(delivery, now + timedelta(seconds=lease_s))
        return Leased(delivery.ack_id, delivery.message, delivery.attempts)

    def _fail(self, delivery: Delivery, at: datetime) -> list[Delivery]:
        del self._leases[delivery.ack_id]
        delivery.ack_id, delivery.until = "", None
        return self._failed(delivery, at)

    def _failed(self, delivery: Delivery, at: datetime) -> list[Delivery]:
        if self.config.dead_letter and delivery.attempts >= self.config.dead_letter.max_attempts:
            return [delivery]
        self.retry(delivery, at)
        return []

    def _make_ready(self, delivery: Delivery) -> None:
        delivery.until = None
        self._ready.append(delivery)

    def _set_timer(self, delivery: Delivery, until: datetime) -> None:
        delivery.until = until
        heapq.heappush(self._timers, (until, next(self._numbers), delivery))
