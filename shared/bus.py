"""The message port: topics, push subscriptions, at-least-once delivery in any order."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class Outgoing:
    """A message to publish.

    Attributes:
        topic: short topic id (`stt-errors`), never a full resource name.
        data: payload, UTF-8 JSON in all our events.
        attributes: string attributes; `type` and `v` name the event and its schema version.
    """

    topic: str
    data: bytes
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Message:
    """A message as it was delivered.

    Attributes:
        data: payload; may be empty.
        attributes: string attributes.
        message_id: made by the bus, another one at each publish.
        publish_time: made by the bus, aware UTC.
        delivery_attempt: 1 for the first delivery where the subscription has a dead-letter policy, else None.
        subscription: full resource name of the subscription that delivered it, where known.
    """

    data: bytes
    attributes: Mapping[str, str]
    message_id: str
    publish_time: datetime
    delivery_attempt: int | None = None
    subscription: str | None = None


class Publisher(Protocol):
    """What a handler needs of a bus."""

    def publish(self, message: Outgoing) -> str:
        """Publish and wait until the bus has it; return the message id.

        Raises:
            Retryable: the bus could not be reached in time; the message may have been published.
            NotFound: the topic does not exist.
        """
        ...


class Subscription(Protocol):
    """A running subscription."""

    def close(self) -> None:
        """Stop delivery and wait for running handlers."""
        ...


@dataclass(frozen=True)
class Received:
    """A pulled message that waits for its acknowledgement."""

    message: Message
    ack_id: str


class Bus(Publisher, Protocol):
    """The whole port: publish, push to a handler, and pull for people's tools."""

    def create_topic(self, topic: str) -> None:
        """Create a topic; one that exists is no error."""
        ...

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
    ) -> None:
        """Create a subscription; one that exists is no error.

        Args:
            topic: short id of the topic that it reads.
            subscription: its short id.
            dead_letter_topic: short id of where a message goes that was refused too often; None = it is delivered for ever.
            max_delivery_attempts: what is too often, 5-100 (Pub/Sub's bounds).
            push_endpoint: address that messages are posted to; None = they are pulled.
            min_backoff_s: pause after the first refusal of a message.
            max_backoff_s: the longest pause, 600 at most.

        Raises:
            NotFound: the topic or dead-letter topic does not exist.
            InvalidMessage: a setting is out of Pub/Sub's bounds.
        """
        ...

    def subscribe(self, subscription: str, handler: Callable[[Message], None]) -> Subscription:
        """Deliver to `handler` until closed: a return acknowledges, an exception has the message redelivered."""
        ...

    def pull(self, subscription: str, *, limit: int = 100) -> list[Received]:
        """Return up to `limit` messages that are due, maybe none; each must be settled with `ack` or `nack`."""
        ...

    def ack(self, subscription: str, ack_ids: Iterable[str]) -> None:
        """Acknowledge pulled messages."""
        ...

    def nack(self, subscription: str, ack_ids: Iterable[str]) -> None:
        """Give pulled messages back: they are due again after their back-off."""
        ...
