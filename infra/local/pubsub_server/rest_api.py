"""Pub/Sub over REST, as `gcloud pubsub` speaks it: the same calls as gRPC, in protobuf's JSON form; and Cloud Monitoring's numbers."""

import json
import logging
import re
import socket
import socketserver
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.pubsub_v1 import types

from infra.local.pubsub_server import monitoring
from infra.local.pubsub_server.api import STATUS, PubSubApi
from infra.local.pubsub_server.resources import Unsupported
from shared.errors import InvalidMessage, RetuneError

PULL_WAIT_S = 5.0
_TOPIC = r"(?P<name>projects/[^/]+/topics/[^/:]+)"
_SUBSCRIPTION = r"(?P<name>projects/[^/]+/subscriptions/[^/:]+)"
_PROJECT = r"(?P<name>projects/[^/]+)"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Route:
    """One row of the API: `name` in the path goes into `field` of the request."""

    method: str
    path: str
    request: str
    field: str
    call: Callable[..., Any]


def routes(api: PubSubApi) -> list[Route]:
    """Return the table of calls."""
    return [
        Route("PUT", _TOPIC, "Topic", "name", api.create_topic),
        Route("GET", _TOPIC, "GetTopicRequest", "topic", api.get_topic),
        Route("GET", _PROJECT + "/topics", "ListTopicsRequest", "project", api.list_topics),
        Route("DELETE", _TOPIC, "DeleteTopicRequest", "topic", api.delete_topic),
        Route("GET", _TOPIC + "/subscriptions", "ListTopicSubscriptionsRequest", "topic", api.list_topic_subscriptions),
        Route("POST", _TOPIC + ":publish", "PublishRequest", "topic", api.publish),
        Route("PUT", _SUBSCRIPTION, "Subscription", "name", api.create_subscription),
        Route("GET", _SUBSCRIPTION, "GetSubscriptionRequest", "subscription", api.get_subscription),
        Route("GET", _PROJECT + "/subscriptions", "ListSubscriptionsRequest", "project", api.list_subscriptions),
        Route("PATCH", _SUBSCRIPTION, "UpdateSubscriptionRequest", "subscription.name", api.update_subscription),
        Route("DELETE", _SUBSCRIPTION, "DeleteSubscriptionRequest", "subscription", api.delete_subscription),
        Route("POST", _SUBSCRIPTION + ":modifyPushConfig", "ModifyPushConfigRequest", "subscription", api.modify_push_config),
        Route("POST", _SUBSCRIPTION + ":pull", "PullRequest", "subscription", api.pull),
        Route("POST", _SUBSCRIPTION + ":acknowledge", "AcknowledgeRequest", "subscription", api.acknowledge),
        Route("POST", _SUBSCRIPTION + ":modifyAckDeadline", "ModifyAckDeadlineRequest", "subscription", api.modify_ack_deadline),
    ]


class RestApi(ThreadingHTTPServer):
    """An HTTP server for the REST interface; `close` ends kept-alive connections too."""

    daemon_threads = False
    block_on_close = True

    def __init__(self, api: PubSubApi, host: str, port: int) -> None:
        self.routes = routes(api)
        self._engine = api.engine
        self._open: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, name="pubsub-rest")
        super().__init__((host, port), _Handler)

    def server_bind(self) -> None:
        """Bind; the base class also looks the host's name up, which can take seconds and is not used."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def start(self) -> None:
        """Serve."""
        self._thread.start()

    def close(self) -> None:
        """Stop serving and wait for the connections' threads."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        for connection in list(self._open):
            _hang_up(connection)
        self.server_close()

    def process_request(self, request: Any, client_address: Any) -> None:
        """Note the connection, then serve it on a thread of its own."""
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection."""
        self._open.discard(request)
        super().shutdown_request(request)

    def answer(self, method: str, target: str, body: bytes, wait_s: float) -> tuple[int, dict[str, Any]]:
        """Return the HTTP status and JSON body for a request."""
        try:
            return 200, self._call(method, target, body, wait_s)
        except RetuneError as error:
            code, status = STATUS.get(type(error), ("INTERNAL", 500))
            return status, {"error": {"code": status, "message": str(error), "status": code}}

    def _call(self, method: str, target: str, body: bytes, wait_s: float) -> dict[str, Any]:
        url = urlsplit(target)
        if method == "GET" and (measured := monitoring.PATH.fullmatch(url.path)):
            return monitoring.time_series(self._engine, unquote(measured["project"]), url.query)
        for route in self.routes:
            match = re.fullmatch("/v1/" + route.path, url.path)
            if match and route.method == method:
                request = _request(route, unquote(match["name"]), body, url.query)
                waits = {"wait_s": wait_s} if route.request == "PullRequest" else {}
                answer: dict[str, Any] = MessageToDict(route.call(request, **waits))
                return answer
        raise Unsupported(f"not supported by the local server: {method} {url.path}")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # one packet an answer, and at once: with the defaults every answer waits 40 ms for a delayed ACK
    wbufsize = -1
    disable_nagle_algorithm = True
    server: RestApi

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if urlsplit(self.path).path == "/":
            self._send(200, b"Ok", "text/plain")
            return
        status, answer = self.server.answer(self.command, self.path, body, self._wait_s())
        self._send(status, json.dumps(answer).encode(), "application/json; charset=UTF-8")

    do_PUT = do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def _wait_s(self) -> float:
        # gcloud's client gives up after X-Server-Timeout
        try:
            return max(0.0, min(PULL_WAIT_S, float(self.headers.get("X-Server-Timeout", "inf")) - 1))
        except ValueError:
            return PULL_WAIT_S

    def _send(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        log.debug(format, *args)


def _request(route: Route, name: str, body: bytes, query: str) -> Any:
    request = getattr(types, route.request).pb()()
    try:
        ParseDict(json.loads(body) if body else {}, request, ignore_unknown_fields=True)
    except (ParseError, ValueError) as error:
        raise InvalidMessage(f"Invalid JSON payload: {error}") from error
    owner, _, field = route.field.rpartition(".")
    setattr(getattr(request, owner) if owner else request, field, name)
    options = parse_qs(query)
    if "pageSize" in options:
        request.page_size = int(options["pageSize"][0])
    if "pageToken" in options:
        request.page_token = options["pageToken"][0]
    return request


def _hang_up(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError as error:
        log.debug("closed already: %s", error)
