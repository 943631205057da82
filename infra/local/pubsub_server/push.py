"""Delivery of push subscriptions: one POST a message, an acknowledgement by its status, a bounded number at a time."""

import base64
import http.client
import json
import logging
import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

from infra.local.pubsub_server.resources import push_envelope
from shared.errors import NotFound, Retryable
from shared.testing.pubsub_engine import PubSubEngine
from shared.testing.pubsub_queue import Leased, SubscriptionConfig

ACKNOWLEDGED = frozenset({102, 200, 201, 202, 204})
_WORKERS = 64
_BROKEN_S = 1.0

log = logging.getLogger(__name__)


class PushWorker:
    """Posts the messages of every push subscription; at most `parallel` at a time for each."""

    def __init__(self, engine: PubSubEngine, *, parallel: int = 8) -> None:
        self._engine = engine
        self._parallel = parallel
        self._closing = False
        self._in_flight: Counter[str] = Counter()
        self._connections: set[http.client.HTTPConnection] = set()
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="pubsub-push")
        self._thread = threading.Thread(target=self._run, name="pubsub-push-dispatcher")

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def close(self) -> None:
        """Stop; requests under way are cut off, their messages stay leased."""
        with self._engine.changed:
            self._closing = True
            self._engine.changed.notify_all()
            for connection in self._connections:
                _hang_up(connection)
        if self._thread.is_alive():
            self._thread.join()
        self._pool.shutdown()

    def _run(self) -> None:
        with self._engine.changed:
            while not self._closing:
                try:
                    if not self._dispatch():
                        self._engine.changed.wait(self._engine.seconds_to_next_change())
                except Retryable as error:
                    log.warning("nothing is pushed for a moment: %s", error)
                    self._engine.changed.wait(_BROKEN_S)

    def _dispatch(self) -> int:
        started = 0
        for config in self._engine.subscriptions():
            free = min(self._parallel - self._in_flight[config.name], _WORKERS - self._in_flight.total())
            if not config.push_endpoint or free <= 0:
                continue
            for leased in self._engine.lease(config.name, limit=free):
                self._in_flight[config.name] += 1
                self._pool.submit(self._deliver, config, leased)
                started += 1
        return started

    def _deliver(self, config: SubscriptionConfig, leased: Leased) -> None:
        answer = self._post(config, leased)
        with self._engine.changed:
            self._in_flight[config.name] -= 1
            self._engine.changed.notify_all()
            try:
                if answer in ACKNOWLEDGED:
                    self._engine.ack(config.name, [leased.ack_id])
                elif not self._closing:
                    log.info("push %s to %s: expected 2xx, found %s", leased.message.message_id, config.push_endpoint, answer)
                    self._engine.modify_ack_deadline(config.name, [leased.ack_id], 0)
            except NotFound:
                log.debug("%s was deleted during a delivery", config.name)
            except Retryable as error:
                log.warning("%s may come again: %s", leased.message.message_id, error)

    def _post(self, config: SubscriptionConfig, leased: Leased) -> int | str:
        """Return the HTTP status, or the reason why there is none."""
        url = urlsplit(config.push_endpoint)
        scheme = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
        # No answer within the ack deadline is a refusal. The lease has ended by then, and the message may be on its way again.
        connection = scheme(url.netloc, timeout=config.ack_deadline_s)
        body = json.dumps(push_envelope(leased, config, base64.b64encode(leased.message.data).decode()))
        path = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
        try:
            connection.connect()
            if not self._register(connection):
                return "closing"
            connection.request("POST", path, body, {"Content-Type": "application/json", "User-Agent": "CloudPubSub-Google"})
            return connection.getresponse().status
        except (OSError, ValueError, http.client.HTTPException) as error:
            return repr(error)
        finally:
            self._unregister(connection)
            connection.close()

    def _register(self, connection: http.client.HTTPConnection) -> bool:
        with self._engine.changed:
            if not self._closing:
                self._connections.add(connection)
            return not self._closing

    def _unregister(self, connection: http.client.HTTPConnection) -> None:
        with self._engine.changed:
            self._connections.discard(connection)


def _hang_up(connection: http.client.HTTPConnection) -> None:
    try:
        if connection.sock:
            connection.sock.shutdown(socket.SHUT_RDWR)
    except OSError as error:
        log.debug("closed already: %s", error)
