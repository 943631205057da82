"""The client's own Google clients against small servers on this machine: names, attributes and errors on the wire."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import grpc
import pytest
from google.protobuf import empty_pb2
from google.pubsub_v1 import types
from retune_client import ErrorReporter, GcsModelStore, ModelRouter, ObjectMissingError, Utterance
from retune_client.testing import MemoryModelStore

from shared.bus import Message
from shared.events import SttError, SttSample, SttTraffic
from shared.messages import parse_event
from shared.testing.clock import START

SUBSCRIPTION = "projects/shop/subscriptions/service-1"
UTTERANCE = Utterance(utterance_id="u-1", audio_uri="gs://audio/u-1.wav", hypothesis="hello", model_version=2)


class PubSub:
    """Takes every publish; delivers what `announce` is given to the one streaming pull; may be away."""

    def __init__(self) -> None:
        self.published: list[tuple[str, Any]] = []
        self.acked = threading.Event()
        self.streaming = threading.Event()
        self.announced = threading.Event()
        self.data = b""
        self._server = grpc.server(ThreadPoolExecutor(8), options=[("grpc.so_reuseport", 0)])
        publisher = {"Publish": self._unary(self._publish, types.PublishRequest, types.PublishResponse.pb().SerializeToString)}
        empty = empty_pb2.Empty.SerializeToString
        subscriber = {
            "StreamingPull": grpc.stream_stream_rpc_method_handler(
                self._pull, types.StreamingPullRequest.pb().FromString, types.StreamingPullResponse.pb().SerializeToString
            ),
            "Acknowledge": self._unary(self._ack, types.AcknowledgeRequest, empty),
            "ModifyAckDeadline": self._unary(lambda _request, _context: empty_pb2.Empty(), types.ModifyAckDeadlineRequest, empty),
        }
        for service, methods in (("Publisher", publisher), ("Subscriber", subscriber)):
            handler = grpc.method_handlers_generic_handler(f"google.pubsub.v1.{service}", methods)
            self._server.add_generic_rpc_handlers((handler,))
        self.port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def announce(self, data: bytes) -> None:
        self.data = data
        self.announced.set()

    def stop(self) -> None:
        self.announced.set()
        self._server.stop(None).wait()

    def _unary(self, handle: Any, request: Any, serialise: Any) -> Any:
        return grpc.unary_unary_rpc_method_handler(handle, request.pb().FromString, serialise)

    def _publish(self, request: Any, _context: Any) -> Any:
        self.published += [(request.topic, message) for message in request.messages]
        return types.PublishResponse.pb()(message_ids=[str(number) for number, _ in enumerate(request.messages)])

    def _pull(self, _requests: Any, context: Any) -> Iterator[Any]:
        self.streaming.set()
        context.add_callback(self.announced.set)
        self.announced.wait()
        if self.data and context.is_active():
            row = {"ack_id": "1", "message": {"data": self.data, "message_id": "1", "attributes": {"type": "ModelDeployed", "v": "1"}}}
            yield types.StreamingPullResponse.pb()(received_messages=[row])
        ended = threading.Event()
        if context.add_callback(ended.set):
            ended.wait()

    def _ack(self, _request: Any, _context: Any) -> Any:
        self.acked.set()
        return empty_pb2.Empty()


@pytest.fixture
def pubsub(monkeypatch: pytest.MonkeyPatch) -> Iterator[PubSub]:
    server = PubSub()
    monkeypatch.setenv("PUBSUB_EMULATOR_HOST", f"127.0.0.1:{server.port}")
    yield server
    server.stop()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryModelStore]:
    store = MemoryModelStore()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = unquote(urlsplit(self.path).path.rpartition("/")[2])
            found = store.objects.get(name) if "/b/registry/o/" in self.path else None
            self.send_response(200 if found is not None else 404)
            self.send_header("Content-Length", str(len(found or b"")))
            self.end_headers()
            self.wfile.write(found or b"")

        def log_message(self, *_args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{server.server_address[1]}")
    yield store
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_reporters_own_publisher_sends_valid_events_to_the_topic(pubsub: PubSub) -> None:
    with ErrorReporter("shop", sample_rate=1.0) as reporter:
        reporter.observe(UTTERANCE)
        reporter.report_error(UTTERANCE)
        assert reporter.flush(30.0)
    assert {topic for topic, _ in pubsub.published} == {"projects/shop/topics/stt-errors"}
    events = [parse_event(Message(message.data, dict(message.attributes), "1", START)) for _, message in pubsub.published]
    assert {type(event) for event in events} == {SttError, SttSample, SttTraffic}
    assert all(message.attributes["v"] == "1" for _, message in pubsub.published)


def test_a_bucket_of_cloud_storage_is_a_model_store(bucket: MemoryModelStore, tmp_path: Path) -> None:
    bucket.objects["models/000002/weights"] = b"bytes"
    store = GcsModelStore("registry")
    assert store.read("models/000002/weights") == b"bytes"
    store.download("models/000002/weights", tmp_path / "weights")
    assert (tmp_path / "weights").read_bytes() == b"bytes"
    for ask in (lambda: store.read("nothing"), lambda: store.download("nothing", tmp_path / "nothing")):
        with pytest.raises(ObjectMissingError, match="gs://registry/nothing"):
            ask()
    assert not (tmp_path / "nothing").exists()


def test_a_router_follows_a_real_bucket_and_a_real_subscription(bucket: MemoryModelStore, pubsub: PubSub, tmp_path: Path) -> None:
    bucket.put_model(1, {"weights.txt": b"one"})
    bucket.put_model(2, {"weights.txt": b"two"})
    bucket.put_production(1, 1)
    with ModelRouter(
        "registry", tmp_path, lambda folder, _: (folder / "weights.txt").read_bytes(), poll_s=3600, subscription=SUBSCRIPTION
    ) as router:
        assert router.wait_for(1, 30.0)
        assert pubsub.streaming.wait(30.0)
        bucket.put_production(2, 2)
        pubsub.announce(json.dumps({"seq": 2, "version": 2, "stable": 2}).encode())
        with router._cond:
            assert router._cond.wait_for(lambda: router.status().stable == 2, timeout=30.0)
        assert router.choose("anyone").model == b"two"
        assert pubsub.acked.wait(30.0)
        assert router.status().problems == {}
