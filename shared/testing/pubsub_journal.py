"""What an engine tells of its state, so that another one can go on with it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from shared.testing.pubsub_queue import Delivery, Leased, StoredMessage, SubscriptionConfig


@dataclass(frozen=True)
class Waiting:
    """A message that a subscription has not acknowledged, and how often it was delivered."""

    subscription: str
    message: StoredMessage
    attempts: int


@dataclass(frozen=True)
class Held:
    """What an engine before this one has left.

    Attributes:
        topics: name -> resource, as `create_topic` was given it.
        waiting: the oldest message first.
    """

    topics: Mapping[str, bytes] = field(default_factory=dict)
    subscriptions: Sequence[SubscriptionConfig] = ()
    waiting: Sequence[Waiting] = ()


class Journal:
    """Takes each change under the engine's lock. This one keeps nothing: the state ends with its engine.

    What a subclass keeps is what was committed. A delivery is known by its subscription and its message: a copy that `duplicate` made is
    not kept beside the message.
    """

    def first_id(self, at_least: int) -> int:
        """Return the engine's first number, above all that engines before it can have used; here the clock is believed not to go back."""
        return at_least

    def held(self) -> Held:
        """Return what there is."""
        return Held()

    def put_topic(self, name: str, resource: bytes) -> None:
        """Keep a topic."""

    def delete_topic(self, name: str) -> None:
        """Forget a topic."""

    def put_subscription(self, config: SubscriptionConfig) -> None:
        """Keep a subscription's settings, in place of those it had."""

    def delete_subscription(self, name: str) -> None:
        """Forget a subscription and what waits in it."""

    def add(self, message: StoredMessage, subscriptions: Iterable[str]) -> None:
        """Keep a message for each of the subscriptions."""

    def count(self, subscription: str, leased: Iterable[Leased]) -> None:
        """Keep how often messages were delivered."""

    def settle(self, subscription: str, deliveries: Iterable[Delivery]) -> None:
        """Forget messages that were acknowledged, or that went to the dead-letter topic."""

    def commit(self) -> None:
        """Keep all changes since the last time, together.

        Raises:
            Retryable: they could not be written; some may be kept.
        """
