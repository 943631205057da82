"""The Pub/Sub API over an engine: one method a call, used by gRPC and REST alike."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.pubsub_v1 import types

from infra.local.pubsub_server.resources import Unsupported, config_of, received, resource_of
from shared.errors import Conflict, InvalidMessage, NotFound, Retryable, RetuneError
from shared.testing.pubsub_engine import PubSubEngine
from shared.testing.pubsub_queue import ANYBODY, Draft, Holder, Leased

MAX_PULL = 1000
# exception -> canonical code, HTTP status
STATUS: dict[type[RetuneError], tuple[str, int]] = {
    NotFound: ("NOT_FOUND", 404),
    Conflict: ("ALREADY_EXISTS", 409),
    InvalidMessage: ("INVALID_ARGUMENT", 400),
    Retryable: ("UNAVAILABLE", 503),
    Unsupported: ("UNIMPLEMENTED", 501),
}

Topic = types.Topic.pb()


def never() -> bool:
    """Tell that a caller never goes away."""
    return False


class PubSubApi:
    """Requests and answers are raw protobuf messages; errors are ours, `STATUS` says what they are on the wire."""

    def __init__(self, engine: PubSubEngine) -> None:
        self.engine = engine
        self.closing = False

    def close(self) -> None:
        """Have every waiting call return."""
        self.closing = True
        self.wake()

    def wake(self) -> None:
        """Have every waiting call look again."""
        with self.engine.changed:
            self.engine.changed.notify_all()

    # publisher

    def create_topic(self, request: Any) -> Any:
        """CreateTopic."""
        self.engine.create_topic(request.name, request.SerializeToString())
        return request

    def get_topic(self, request: Any) -> Any:
        """GetTopic."""
        return self._topic(request.topic)

    def list_topics(self, request: Any) -> Any:
        """ListTopics."""
        names, token = _page([name for name in self.engine.topics() if name.startswith(f"{request.project}/")], request)
        return types.ListTopicsResponse.pb()(topics=map(self._topic, names), next_page_token=token)

    def delete_topic(self, request: Any) -> Any:
        """DeleteTopic."""
        self.engine.delete_topic(request.topic)
        return Empty()

    def list_topic_subscriptions(self, request: Any) -> Any:
        """ListTopicSubscriptions: names, no resources."""
        self.engine.topic(request.topic)
        names, token = _page([config.name for config in self.engine.subscriptions() if config.topic == request.topic], request)
        return types.ListTopicSubscriptionsResponse.pb()(subscriptions=names, next_page_token=token)

    def publish(self, request: Any) -> Any:
        """Publish."""
        drafts = [Draft(message.data, dict(message.attributes), message.ordering_key) for message in request.messages]
        return types.PublishResponse.pb()(message_ids=self.engine.publish(request.topic, drafts))

    # subscriber

    def create_subscription(self, request: Any) -> Any:
        """CreateSubscription."""
        self.engine.create_subscription(config_of(request))
        return self._resource(request.name)

    def get_subscription(self, request: Any) -> Any:
        """GetSubscription."""
        return self._resource(request.subscription)

    def list_subscriptions(self, request: Any) -> Any:
        """ListSubscriptions."""
        mine = [config.name for config in self.engine.subscriptions() if config.name.startswith(f"{request.project}/")]
        names, token = _page(mine, request)
        return types.ListSubscriptionsResponse.pb()(subscriptions=[self._resource(name) for name in names], next_page_token=token)

    def update_subscription(self, request: Any) -> Any:
        """UpdateSubscription: the fields of the mask, whole."""
        name = request.subscription.name
        changed = self._resource(name)
        try:
            request.update_mask.MergeMessage(request.subscription, changed, True, True)
        except ValueError as error:
            raise InvalidMessage(f"{name}: {error}") from error
        self.engine.update_subscription(config_of(changed))
        return self._resource(name)

    def modify_push_config(self, request: Any) -> Any:
        """ModifyPushConfig; an empty one makes it a pull subscription."""
        changed = self._resource(request.subscription)
        changed.push_config.CopyFrom(request.push_config)
        self.engine.update_subscription(config_of(changed))
        return Empty()

    def delete_subscription(self, request: Any) -> Any:
        """DeleteSubscription."""
        self.engine.delete_subscription(request.subscription)
        return Empty()

    def pull(self, request: Any, *, wait_s: float, gone: Callable[[], bool] = never) -> Any:
        """Pull: answers with the first messages that are due, or with none after `wait_s`."""
        if request.max_messages <= 0:
            raise InvalidMessage("No max_messages specified")
        limit = min(request.max_messages, MAX_PULL)
        wait_s = 0.0 if request.return_immediately else wait_s
        leased = self.wait_lease(request.subscription, limit=limit, wait_s=wait_s, gone=gone)
        return types.PullResponse.pb()(received_messages=self.received(request.subscription, leased))

    def acknowledge(self, request: Any) -> Any:
        """Acknowledge."""
        self.engine.ack(request.subscription, request.ack_ids)
        return Empty()

    def modify_ack_deadline(self, request: Any) -> Any:
        """ModifyAckDeadline."""
        seconds = request.ack_deadline_seconds
        if not 0 <= seconds <= 600:
            raise InvalidMessage(f"{request.subscription}: expected an ack deadline of 0-600 s, found {seconds}")
        self.engine.modify_ack_deadline(request.subscription, request.ack_ids, seconds)
        return Empty()

    # for the calls that wait

    def wait_lease(
        self,
        subscription: str,
        *,
        limit: int,
        wait_s: float | None,
        gone: Callable[[], bool] = never,
        lease_s: float | None = None,
        holder: Holder = ANYBODY,
    ) -> list[Leased]:
        """Lease what is due, waiting up to `wait_s` (None: for ever) for a first message; nothing once the caller is `gone`.

        Who is gone is asked under the lock, before anything is leased: a message handed to a dead caller would be away until its
        lease ends.
        """
        until = None if wait_s is None else time.monotonic() + wait_s
        lease = partial(self.engine.lease, subscription, limit=limit, lease_s=lease_s, holder=holder)
        with self.engine.changed:
            while not self.closing and not gone():
                leased = lease()
                left_s = None if until is None else until - time.monotonic()
                if leased or (left_s is not None and left_s <= 0):
                    return leased
                waits = [seconds for seconds in (left_s, self.engine.seconds_to_next_change()) if seconds is not None]
                self.engine.changed.wait(min(waits, default=None))
        return []

    def received(self, subscription: str, leased: Sequence[Leased]) -> list[Any]:
        """Write leased messages as ReceivedMessage."""
        if not leased:
            return []
        config = self.engine.subscription(subscription)
        return [received(each, config) for each in leased]

    def _topic(self, name: str) -> Any:
        return Topic.FromString(self.engine.topic(name) or Topic(name=name).SerializeToString())

    def _resource(self, name: str) -> Any:
        return resource_of(self.engine.subscription(name))


def _page(names: list[str], request: Any) -> tuple[list[str], str]:
    # the token is the last name of the page before
    rest = [name for name in names if name > request.page_token]
    size = request.page_size or 100
    return rest[:size], rest[size - 1] if len(rest) > size else ""
