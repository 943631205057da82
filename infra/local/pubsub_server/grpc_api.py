"""Pub/Sub over gRPC: generic handlers on raw protobuf classes, so that no generated service code is needed."""

import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import grpc
from google.pubsub_v1 import types

from infra.local.pubsub_server.api import STATUS, PubSubApi
from shared.errors import RetuneError
from shared.testing.pubsub_queue import Holder

PULL_WAIT_S = 30.0
DEADLINE_MARGIN_S = 0.25
STREAM_BATCH = 100
_WORKERS = 128  # an open stream and a waiting pull each hold one for as long as they last
log = logging.getLogger(__name__)

_OPTIONS = (
    ("grpc.max_receive_message_length", -1),
    ("grpc.so_reuseport", 0),  # else a second server takes half of the calls without a word
)


class GrpcApi:
    """A gRPC server with the Publisher and Subscriber services; methods that are not here answer UNIMPLEMENTED."""

    def __init__(self, api: PubSubApi, host: str, port: int) -> None:
        self._api = api
        self._stream_numbers = itertools.count(1)
        self._pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="pubsub-grpc")
        self._server = grpc.server(self._pool, options=_OPTIONS)
        self._server.add_generic_rpc_handlers(self._services())
        self.port = self._server.add_insecure_port(f"{host}:{port}")

    def start(self) -> None:
        """Serve."""
        self._server.start()

    def close(self) -> None:
        """Stop serving. The API has been closed before: waiting calls are on their way out."""
        self._server.stop(grace=2.0).wait()
        self._pool.shutdown()

    def _services(self) -> "tuple[grpc.GenericRpcHandler[Any, Any], ...]":
        api, pb = self._api, _pb
        publisher = {
            "CreateTopic": _unary(api.create_topic, pb("Topic")),
            "GetTopic": _unary(api.get_topic, pb("GetTopicRequest")),
            "ListTopics": _unary(api.list_topics, pb("ListTopicsRequest")),
            "DeleteTopic": _unary(api.delete_topic, pb("DeleteTopicRequest")),
            "ListTopicSubscriptions": _unary(api.list_topic_subscriptions, pb("ListTopicSubscriptionsRequest")),
            "Publish": _unary(api.publish, pb("PublishRequest")),
        }
        subscriber = {
            "CreateSubscription": _unary(api.create_subscription, pb("Subscription")),
            "GetSubscription": _unary(api.get_subscription, pb("GetSubscriptionRequest")),
            "ListSubscriptions": _unary(api.list_subscriptions, pb("ListSubscriptionsRequest")),
            "UpdateSubscription": _unary(api.update_subscription, pb("UpdateSubscriptionRequest")),
            "DeleteSubscription": _unary(api.delete_subscription, pb("DeleteSubscriptionRequest")),
            "ModifyPushConfig": _unary(api.modify_push_config, pb("ModifyPushConfigRequest")),
            "Acknowledge": _unary(api.acknowledge, pb("AcknowledgeRequest")),
            "ModifyAckDeadline": _unary(api.modify_ack_deadline, pb("ModifyAckDeadlineRequest")),
            "Pull": grpc.unary_unary_rpc_method_handler(self._pull, pb("PullRequest").FromString, _serialize),
            "StreamingPull": grpc.stream_stream_rpc_method_handler(self._stream, pb("StreamingPullRequest").FromString, _serialize),
        }
        return (
            grpc.method_handlers_generic_handler("google.pubsub.v1.Publisher", publisher),
            grpc.method_handlers_generic_handler("google.pubsub.v1.Subscriber", subscriber),
        )

    def _pull(self, request: Any, context: grpc.ServicerContext) -> Any:
        # an answer after the client's deadline would be lost, with the messages in it
        remaining_s = context.time_remaining()
        wait_s = PULL_WAIT_S if remaining_s is None else min(PULL_WAIT_S, remaining_s - DEADLINE_MARGIN_S)
        context.add_callback(self._api.wake)
        try:
            return self._api.pull(request, wait_s=wait_s, gone=lambda: not context.is_active())
        except RetuneError as error:
            _abort(context, error)

    def _stream(self, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        first = next(requests, None)
        if first is None:
            return
        name = first.subscription
        holder = Holder(f"stream {next(self._stream_numbers)}", first.max_outstanding_messages, first.max_outstanding_bytes)
        lease_s = first.stream_ack_deadline_seconds or None
        # Clients answer the receipt of a batch with a new deadline. What was on its way to one that has left is due for others at once
        # and not after the stream's 60 s; this wakes the wait below, too.
        context.add_callback(lambda: self._api.engine.release(name, holder))
        threading.Thread(target=self._read, args=(name, requests), name="pubsub-stream-reader", daemon=True).start()
        try:
            while leased := self._api.wait_lease(
                name, limit=STREAM_BATCH, wait_s=None, gone=lambda: not context.is_active(), lease_s=lease_s, holder=holder
            ):
                yield types.StreamingPullResponse.pb()(received_messages=self._api.received(name, leased))
        except RetuneError as error:
            _abort(context, error)
        if context.is_active():
            # never OK: to the client that is the end of the subscription, without an error
            context.abort(grpc.StatusCode.UNAVAILABLE, "the server is closing")

    def _read(self, name: str, requests: Iterator[Any]) -> None:
        # Google's Python client acknowledges by unary calls; others do it on the stream
        try:
            for request in requests:
                self._api.engine.ack(name, request.ack_ids)
                for ack_id, seconds in zip(request.modify_deadline_ack_ids, request.modify_deadline_seconds, strict=False):
                    self._api.engine.modify_ack_deadline(name, [ack_id], seconds)
        except RetuneError as error:
            log.debug("%s: %s", name, error)  # the subscription was deleted: the stream itself tells the client
        except grpc.RpcError:
            log.debug("%s: a client has gone", name)


def _unary(call: Callable[[Any], Any], request_type: Any) -> "grpc.RpcMethodHandler[Any, Any]":
    def behaviour(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return call(request)
        except RetuneError as error:
            _abort(context, error)

    return grpc.unary_unary_rpc_method_handler(behaviour, request_type.FromString, _serialize)


def _abort(context: grpc.ServicerContext, error: RetuneError) -> NoReturn:
    code, _ = STATUS.get(type(error), ("INTERNAL", 500))
    context.abort(grpc.StatusCode[code], str(error))


def _pb(name: str) -> Any:
    return getattr(types, name).pb()


def _serialize(message: Any) -> bytes:
    return bytes(message.SerializeToString())
