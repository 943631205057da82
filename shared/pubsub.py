"""The message port on Google Cloud Pub/Sub [io].

`PUBSUB_EMULATOR_HOST` is honoured by Google's clients when they are made, which is at the first call.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from typing import Any

from google.api_core import exceptions as google_errors
from google.api_core.retry import Retry, if_exception_type
from google.cloud import pubsub_v1
from google.pubsub_v1 import PublisherClient as PublisherApi

from shared.bus import Message, Outgoing, Received
from shared.errors import InvalidMessage, NotFound, Retryable

log = logging.getLogger(__name__)

_TRANSIENT = (
    google_errors.Aborted,
    google_errors.BadGateway,
    google_errors.Cancelled,
    google_errors.GatewayTimeout,  # deadline exceeded
    google_errors.InternalServerError,
    google_errors.RetryError,
    google_errors.ServiceUnavailable,
    google_errors.TooManyRequests,
    google_errors.Unknown,
)
_MALFORMED = (google_errors.InvalidArgument, google_errors.OutOfRange)
MAX_OUTSTANDING = 100
"""How many messages `subscribe` fetches ahead of the handlers' answers."""
_ACK_BATCH = 1000  # a request holds 512 KiB, an ack id about 200 bytes


class PubSubSubscription:
    """A running streaming pull."""

    def __init__(self, name: str, future: Any, on_close: Callable[["PubSubSubscription"], None]) -> None:
        self._name = name
        self._future = future
        self._on_close = on_close
        future.add_done_callback(self._log_end)

    def close(self) -> None:
        """Stop delivery and wait for running handlers; what was fetched and not begun is given back.

        Raises:
            NotFound: delivery had ended before, since the subscription does not exist (any more).
            Retryable: it had ended before for a reason outside.
        """
        self._on_close(self)
        self._future.cancel()
        with _translated(self._name):
            self._future.result()

    def _log_end(self, future: Any) -> None:
        if error := future.exception():
            log.error("%s: delivery has ended for good: %s", self._name, error)


class PubSubBus:
    """Implements `shared.bus.Bus` on google-cloud-pubsub; clients are made at the first call and shared between threads.

    Third-party errors become NotFound, InvalidMessage or Retryable; those that a person must settle (permission, credentials,
    quota set to nothing) pass as they are.
    """

    def __init__(self, project: str, *, timeout_s: float = 30.0, pull_wait_s: float = 5.0) -> None:
        """Name the project; nothing is contacted.

        Args:
            project: the project that holds topics and subscriptions.
            timeout_s: the longest that any call takes, retries included.
            pull_wait_s: how long `pull` waits for a first message.
        """
        self._project = project
        self._timeout_s = timeout_s
        self._pull_wait_s = pull_wait_s
        self._lock = threading.Lock()
        self._publisher_client: Any = None
        self._subscriber_client: Any = None
        self._running: set[PubSubSubscription] = set()

    def publish(self, message: Outgoing) -> str:
        """Publish and wait until Pub/Sub has the message; return its id.

        Raises:
            Retryable: no answer within the timeout; the message may have been published.
            NotFound: the topic does not exist.
            InvalidMessage: it has neither data nor attributes, or is too large.
        """
        topic = self._topic(message.topic)
        request = {"topic": topic, "messages": [{"data": message.data, "attributes": dict(message.attributes)}]}
        # The RPC itself and not the batching `publish` of the client: a batch of one waits for a timer, and its signature has no room
        # for attributes that are called topic, data or timeout.
        with _translated(f"publish to {topic}"):
            response = PublisherApi.publish(self._publisher(), request=request, **self._bounded())
        return str(response.message_ids[0])

    def create_topic(self, topic: str) -> None:
        """Create a topic; one that exists is no error.

        Raises:
            InvalidMessage: the id is outside Pub/Sub's rules.
            Retryable: Pub/Sub could not be reached in time.
        """
        name = self._topic(topic)
        with _translated(name), _existing_is_fine():
            self._publisher().create_topic(request={"name": name}, **self._bounded())

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
        oidc_service_account: str | None = None,
    ) -> None:
        """Create a subscription; one that exists is no error and stays as it is.

        Raises:
            NotFound: the topic or dead-letter topic does not exist.
            InvalidMessage: a setting is out of Pub/Sub's bounds.
            Retryable: Pub/Sub could not be reached in time.
        """
        name = self._subscription(subscription)
        request: dict[str, object] = {
            "name": name,
            "topic": self._topic(topic),
            "ack_deadline_seconds": ack_deadline_s,
            "retry_policy": {"minimum_backoff": timedelta(seconds=min_backoff_s), "maximum_backoff": timedelta(seconds=max_backoff_s)},
        }
        if dead_letter_topic:
            policy = {"dead_letter_topic": self._topic(dead_letter_topic), "max_delivery_attempts": max_delivery_attempts}
            request["dead_letter_policy"] = policy
        if push_endpoint:
            token = {"oidc_token": {"service_account_email": oidc_service_account}} if oidc_service_account else {}
            request["push_config"] = {"push_endpoint": push_endpoint, **token}
        with _translated(name), _existing_is_fine():
            self._subscriber().create_subscription(request=request, **self._bounded())

    def subscribe(self, subscription: str, handler: Callable[[Message], None]) -> PubSubSubscription:
        """Deliver to `handler` on threads of the client until closed: a return acknowledges, an exception has the message redelivered.

        A subscription that does not exist shows when the stream opens: as an error in the log and from `close`.
        """
        name = self._subscription(subscription)
        flow = pubsub_v1.types.FlowControl(max_messages=MAX_OUTSTANDING)
        callback = partial(_handle, name, handler)
        future = self._subscriber().subscribe(name, callback, flow_control=flow, await_callbacks_on_shutdown=True)
        running = PubSubSubscription(name, future, self._forget)
        with self._lock:
            self._running.add(running)
        return running

    def pull(self, subscription: str, *, limit: int = 100) -> list[Received]:
        """Return up to `limit` messages, waiting a little for the first; each must be acknowledged within the ack deadline.

        Raises:
            NotFound: the subscription does not exist.
            Retryable: Pub/Sub could not be reached.
        """
        name = self._subscription(subscription)
        request = {"subscription": name, "max_messages": limit}
        with _translated(name):
            try:
                response = self._subscriber().pull(request=request, retry=None, timeout=self._pull_wait_s)
            except google_errors.DeadlineExceeded:
                return []
        return [Received(_message(name, each.message, each.delivery_attempt), each.ack_id) for each in response.received_messages]

    def ack(self, subscription: str, ack_ids: Iterable[str]) -> None:
        """Acknowledge pulled messages; one whose deadline has passed may be delivered again."""
        name = self._subscription(subscription)
        ids = list(ack_ids)
        for start in range(0, len(ids), _ACK_BATCH):
            request = {"subscription": name, "ack_ids": ids[start : start + _ACK_BATCH]}
            with _translated(name):
                self._subscriber().acknowledge(request=request, **self._bounded())

    def nack(self, subscription: str, ack_ids: Iterable[str]) -> None:
        """Give pulled messages back: they are due again after their back-off."""
        name = self._subscription(subscription)
        ids = list(ack_ids)
        for start in range(0, len(ids), _ACK_BATCH):
            request = {"subscription": name, "ack_ids": ids[start : start + _ACK_BATCH], "ack_deadline_seconds": 0}
            with _translated(name):
                self._subscriber().modify_ack_deadline(request=request, **self._bounded())

    def close(self) -> None:
        """End the running subscriptions and release the connections; the bus may not be used afterwards."""
        with self._lock:
            running = list(self._running)
            publisher, subscriber = self._publisher_client, self._subscriber_client
        with ExitStack() as last_first:  # each is closed even where another one raises
            if publisher:
                last_first.callback(publisher.transport.close)
            if subscriber:
                last_first.callback(subscriber.close)
            for subscription in running:
                last_first.callback(subscription.close)

    def _publisher(self) -> Any:
        with self._lock:
            if self._publisher_client is None:
                self._publisher_client = pubsub_v1.PublisherClient()
            return self._publisher_client

    def _subscriber(self) -> Any:
        with self._lock:
            if self._subscriber_client is None:
                self._subscriber_client = pubsub_v1.SubscriberClient()
            return self._subscriber_client

    def _forget(self, subscription: PubSubSubscription) -> None:
        with self._lock:
            self._running.discard(subscription)

    def _bounded(self) -> dict[str, Any]:
        # retries end early enough for the last attempt to end within the timeout
        retry = Retry(if_exception_type(*_TRANSIENT), initial=0.1, maximum=5.0, multiplier=2.0, timeout=self._timeout_s * 0.8)
        return {"retry": retry, "timeout": self._timeout_s}

    def _topic(self, topic: str) -> str:
        return f"projects/{self._project}/topics/{topic}"

    def _subscription(self, subscription: str) -> str:
        return f"projects/{self._project}/subscriptions/{subscription}"


def _handle(name: str, handler: Callable[[Message], None], received: Any) -> None:
    # The client's own treatment of an exception ends the whole subscription after the nack.
    try:
        handler(_message(name, received, received.delivery_attempt))
    except Exception:
        log.exception("%s: message %s was refused and will be redelivered", name, received.message_id)
        received.nack()
    else:
        received.ack()


def _message(subscription: str, received: Any, attempt: int | None) -> Message:
    # 0 = the subscription has no dead-letter policy
    return Message(received.data, dict(received.attributes), received.message_id, received.publish_time, attempt or None, subscription)


@contextmanager
def _existing_is_fine() -> Iterator[None]:
    try:
        yield
    except google_errors.AlreadyExists as error:
        log.debug("%s", error)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except google_errors.NotFound as error:
        raise NotFound(f"{what}: {error.message}") from error
    except _MALFORMED as error:
        raise InvalidMessage(f"{what}: {error.message}") from error
    except _TRANSIENT as error:
        raise Retryable(f"{what}: {error}") from error
