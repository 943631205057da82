"""What the reporter needs of Google's publisher, and how one batch is published [io]."""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Protocol

from retune_client.events import EventMessage

log = logging.getLogger(__name__)

PUBLISH_TIMEOUT_S = 30.0


class Publisher(Protocol):
    """The part of `google.cloud.pubsub_v1.PublisherClient` that is used."""

    def publish(self, topic: str, data: bytes, **attributes: str) -> Future[str]:
        """Begin to publish to the full topic name, with attributes `type`, `v` and maybe `traceparent`; the future tells how it went."""
        ...


def google_publisher() -> Any:
    """Return a publisher client that gives up a little before the reporter does, so that what is spooled is not sent twice."""
    from google.api_core import exceptions
    from google.api_core.retry import Retry, if_exception_type
    from google.cloud import pubsub_v1

    transient = if_exception_type(
        exceptions.Aborted,
        exceptions.Cancelled,
        exceptions.DeadlineExceeded,
        exceptions.InternalServerError,
        exceptions.ResourceExhausted,
        exceptions.ServiceUnavailable,
        exceptions.Unknown,
    )
    retry = Retry(predicate=transient, initial=0.1, maximum=5.0, multiplier=2.0, timeout=PUBLISH_TIMEOUT_S * 0.5)
    options = pubsub_v1.types.PublisherOptions(retry=retry, timeout=PUBLISH_TIMEOUT_S * 0.4)
    return pubsub_v1.PublisherClient(publisher_options=options)


class Flight:
    """One batch on its way to Pub/Sub.

    Attributes:
        refused: messages that the publisher itself refuses for good (too large, of a wrong type).
    """

    def __init__(self, on_landed: Callable[[], None]) -> None:
        self.refused = 0
        self._on_landed = on_landed
        self._lock = threading.Lock()
        self._outcomes: list[tuple[EventMessage, Future[str]]] = []
        self._open = 1  # the launch itself; the last one to end tells

    @property
    def landed(self) -> bool:
        """Whether every publish has ended."""
        with self._lock:
            return self._open == 0

    def launch(self, publisher: Callable[[], Publisher], topic: str, messages: Sequence[EventMessage]) -> None:
        """Begin to publish all of `messages`, in order; after a publish that fails at once the others are not tried."""
        client, broken = _opened(publisher)
        for message in messages:
            if client is not None and broken is None:
                try:
                    future = _publish(client, topic, message)
                except (TypeError, ValueError) as error:
                    log.warning("the publisher refused an event for good: %s", type(error).__name__)
                    self.refused += 1
                    continue
                except Exception as error:  # noqa: BLE001  # whatever it raises, Pub/Sub is away
                    broken = error
            if broken is not None:
                future = Future()
                future.set_exception(broken)
            with self._lock:
                self._outcomes.append((message, future))
                self._open += 1
            future.add_done_callback(self._one_ended)
        self._one_ended()

    def failed(self) -> tuple[list[EventMessage], str | None]:
        """Return the messages that are not (yet) published, in order, and why the first is not."""
        failed: list[EventMessage] = []
        problem: str | None = None
        for message, future in self._outcomes:
            reason = _failure(future)
            if reason is not None:
                failed.append(message)
                problem = problem or reason
        return failed, problem

    def _one_ended(self, _future: object = None) -> None:
        with self._lock:
            self._open -= 1
            landed = self._open == 0
        if landed:
            self._on_landed()


def _publish(client: Publisher, topic: str, message: EventMessage) -> Future[str]:
    try:
        return client.publish(topic, message.data, **message.attributes)
    except TypeError:
        if message.traceparent is None:
            raise
    # A publisher of the service's own may know no other attributes than the first two: an event matters more than its trace.
    return client.publish(topic, message.data, **replace(message, traceparent=None).attributes)


def _opened(publisher: Callable[[], Publisher]) -> tuple[Publisher | None, Exception | None]:
    try:
        return publisher(), None
    except Exception as error:  # noqa: BLE001  # no credentials is as good as no Pub/Sub: it may be mended meanwhile
        return None, error


def _failure(future: Future[str]) -> str | None:
    if not future.done():
        return f"no answer within {PUBLISH_TIMEOUT_S:g} s"
    if future.cancelled():
        return "cancelled"
    error = future.exception()
    return None if error is None else f"{type(error).__name__}: {error}"[:500]
