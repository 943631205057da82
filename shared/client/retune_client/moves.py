"""News of the production alias: topic `model-events`, through a subscription of this process [io]."""

import json
import logging
import threading
from collections.abc import Callable
from typing import Any, Protocol

log = logging.getLogger(__name__)


class Stream(Protocol):
    """The part of Google's `StreamingPullFuture` that is used."""

    def cancel(self) -> Any:
        """Stop delivery."""
        ...

    def done(self) -> bool:
        """Tell whether delivery has ended."""
        ...

    def exception(self) -> BaseException | None:
        """Return why an ended delivery ended."""
        ...


class Subscriber(Protocol):
    """The part of `google.cloud.pubsub_v1.SubscriberClient` that is used."""

    def subscribe(self, subscription: str, callback: Callable[[Any], Any]) -> Stream:
        """Begin to deliver a full subscription name's messages to `callback`."""
        ...


class ModelMoves:
    """Tells of every move of the alias, sooner than polling would; polling makes up for all that goes wrong here."""

    def __init__(self, subscription: str, on_move: Callable[[int | None], None], subscriber: Subscriber | None) -> None:
        """Set up; nothing is contacted.

        Args:
            subscription: `projects/P/subscriptions/S`. Two processes on one subscription each hear of half the moves.
            on_move: is given the move's `seq`, or None where the message cannot be read.
            subscriber: instead of a client of our own; it stays the caller's to close.
        """
        self._subscription = subscription
        self._on_move = on_move
        self._given = subscriber
        self._own: Any = None
        self._stream: Stream | None = None
        self._lock = threading.Lock()
        self._closed = False

    def ensure(self) -> str | None:
        """Open the stream where there is none or it has ended; return why it had ended."""
        with self._lock:
            if self._closed or (self._stream is not None and not self._stream.done()):
                return None
            error = None if self._stream is None else self._stream.exception()
            if error is not None:
                log.warning("%s: delivery has ended: %s", self._subscription, error)
            self._stream = self._subscriber().subscribe(self._subscription, self._receive)
        return None if error is None else f"{type(error).__name__}: {error}"[:500]

    def close(self) -> None:
        """Stop delivery."""
        with self._lock:
            self._closed = True
            if self._stream is not None:
                self._stream.cancel()
            if self._own is not None:
                self._own.close()

    def _subscriber(self) -> Subscriber:
        if self._given is not None:
            return self._given
        if self._own is None:
            from google.cloud import pubsub_v1

            self._own = pubsub_v1.SubscriberClient()
        own: Subscriber = self._own
        return own

    def _receive(self, message: Any) -> None:
        self._on_move(seq_of(message.data))
        message.ack()


def seq_of(data: bytes) -> int | None:
    """Return the `seq` in the data of a model event; None where there is none."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return None
    seq = document.get("seq") if isinstance(document, dict) else None
    return seq if isinstance(seq, int) and not isinstance(seq, bool) else None
