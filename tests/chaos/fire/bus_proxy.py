"""Stands between one process and Pub/Sub's gRPC, lets the weather in, and sees what is published before it is true."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.pubsub_v1 import types

from shared.bus import Message, Outgoing
from shared.clock import SystemClock
from tests.chaos.fire.pubsub import Acknowledged
from tests.chaos.fire.weather import KILL_AFTER, Weather
from tests.chaos.witness import Witness
from tests.gcs_proxy import CUT, PASS

_PUBLISH = "/google.pubsub.v1.Publisher/Publish"
_WORKERS = 16
_AT_ONCE = (("grpc.initial_reconnect_backoff_ms", 100), ("grpc.min_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 100))
"""A server that is started again is found at once."""
_ANSWERS = {"429": grpc.StatusCode.RESOURCE_EXHAUSTED}
"""Anything else that goes wrong looks as if nobody were there."""


class BusProxy(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic for mypy alone
    """Passes unary calls on as they are.

    Args:
        actor: whose calls.
        weather: what becomes of them.
        target: host and port of Pub/Sub.
        acknowledged: where to note what Pub/Sub has acknowledged, whether or not the actor hears of it.
        witness: looks at what is published, before it is; None = nobody does.

    Attributes:
        target: where the actor finds it.
    """

    def __init__(self, actor: str, weather: Weather, target: str, acknowledged: Acknowledged, witness: Witness | None = None) -> None:
        self._actor = actor
        self._weather = weather
        self._acknowledged = acknowledged
        self._witness = witness
        self._channel: Any = grpc.insecure_channel(target, options=_AT_ONCE)
        self._server = grpc.server(ThreadPoolExecutor(_WORKERS, thread_name_prefix=f"proxy-{actor}-bus"))
        self._server.add_generic_rpc_handlers((self,))
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def service(self, handler_call_details: Any) -> "grpc.RpcMethodHandler[Any, Any]":
        """Return what answers a call."""
        method: str = handler_call_details.method
        ask: Callable[[bytes], bytes] = self._channel.unary_unary(method)

        def relay(request: bytes, context: grpc.ServicerContext) -> bytes:
            fate = self._weather.fate(self._actor, "bus", writes=method == _PUBLISH)
            if fate not in {PASS, CUT, KILL_AFTER}:
                context.abort(_ANSWERS.get(fate, grpc.StatusCode.UNAVAILABLE), f"{fate}, as the schedule asked")
            publish = types.PublishRequest.pb().FromString(request) if method == _PUBLISH else None
            if self._witness is not None and publish is not None:
                for message in publish.messages:
                    self._witness.publish(Outgoing("", message.data, dict(message.attributes)))
            try:
                answer = ask(request)
            except grpc.RpcError as error:
                context.abort(error.code(), error.details() or "")
            if publish is not None:
                self._note(publish, answer)
            self._weather.answered(self._actor, fate)
            if fate in {CUT, KILL_AFTER}:
                context.abort(grpc.StatusCode.UNAVAILABLE, "the reply is lost, as the schedule asked")
            return answer

        return grpc.unary_unary_rpc_method_handler(relay)

    def _note(self, publish: Any, answer: bytes) -> None:
        now, ids = SystemClock().now(), types.PublishResponse.pb().FromString(answer).message_ids
        messages = zip(publish.messages, ids, strict=True)
        sent = [Message(message.data, dict(message.attributes), message_id, now) for message, message_id in messages]
        self._acknowledged.add(publish.topic.rpartition("/")[2], sent)

    def close(self) -> None:
        """Stop."""
        self._server.stop(grace=0).wait()
        self._channel.close()
