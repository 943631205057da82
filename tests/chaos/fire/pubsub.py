"""Pub/Sub of a burning stack: what the harness asks of its process, and what of it nobody must forget when that is killed."""

import random
import threading
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from functions.wiring import dead_letter_topic
from infra.local.pubsub_server import PubSubServer
from shared.bus import Message
from shared.testing.memory_bus import MemoryBus
from tests.chaos.acts import deliver_again
from tests.chaos.runner import subscriptions


@dataclass
class Acknowledged:
    """What Pub/Sub has acknowledged to publishers, as the proxies have seen it: its own word would not tell of what it lost."""

    _messages: dict[str, list[Message]] = field(default_factory=lambda: defaultdict(list))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, topic: str, messages: Iterable[Message]) -> None:
        """Note the messages of a publish that was answered."""
        with self._lock:
            self._messages[topic] += messages

    def published(self, topic: str) -> list[Message]:
        """Return what was acknowledged, in order."""
        with self._lock:
            return list(self._messages[topic])


@dataclass(frozen=True)
class Look:
    """What stands in Pub/Sub.

    Attributes:
        waiting: messages that nobody has acknowledged, by subscription.
        dead: dead letters, by subscription.
        at_work: something is being pushed, or will be as soon as it can.
    """

    waiting: Mapping[str, int]
    dead: Mapping[str, int]
    at_work: bool


class Desk:
    """Answers the harness in Pub/Sub's own process; the methods are its questions."""

    def __init__(self, bus: MemoryBus, server: PubSubServer) -> None:
        self._bus = bus
        self._server = server

    def look(self) -> Look:
        """Say what stands there, at one moment."""
        bus = self._bus
        with bus.engine.changed:
            due = any(bus.engine.ready(bus._subscription(name)) for name in subscriptions())
            return Look(
                {name: bus.backlog(name) for name in subscriptions()},
                {name: bus.backlog(dead_letter_topic(name)) for name in subscriptions()},
                due or self._server._push._in_flight.total() > 0,
            )

    def wake(self) -> None:
        """Look at the clock again."""
        with self._bus.engine.changed:
            self._bus.engine.changed.notify_all()

    def deliver_again(self, topic: str, number: int) -> None:
        """Deliver an old message once more, to whoever reads it."""
        deliver_again(self._bus, topic, number)

    def shuffle(self, seed: int | None) -> None:
        """Deliver in an order that is drawn from now on; None = the oldest first."""
        self._bus.shuffle(None if seed is None else random.Random(seed))
