"""Whatever is posted to a function: never a crash, never a delivery again, never more memory than stated."""

import base64
import json
import tracemalloc
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import functions_framework
import pytest
from flask import Request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder

from functions.push import MAX_BODY_BYTES, serve
from shared.bus import Message
from shared.dir_store import DirStore
from shared.messages import MAX_MESSAGE_BYTES, parse_event
from shared.testing.clock import FakeClock
from shared.testing.memory_store import MemoryStore
from tests.adapters import ADAPTERS, Send, answer_on_loop, ports_of, send_in_thread

MEMORY_BOUND = 128 << 20
"""What one request may take at most, whatever its body is: of the collector's 1 GiB."""

FUZZ = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


class Endpoint:
    """A function that parses what it gets and notes it."""

    adapter: Send = staticmethod(send_in_thread)

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.messages: list[Message] = []

    def handle(self, message: Message) -> str:
        parse_event(message)
        self.messages.append(message)
        return "handled"

    def send(self, body: bytes, headers: Mapping[str, str] | None = None) -> tuple[str, int]:
        return self.adapter("POST", body, headers or {}, self.handle, self.store, FakeClock())

    def quarantined(self) -> list[dict[str, Any]]:
        return [json.loads(self.store.get(info.key).data) for info in self.store.list("")]


@pytest.fixture(params=ADAPTERS, scope="module")
def either_adapter(request: pytest.FixtureRequest) -> Iterator[None]:
    """Ask one adapter, then the other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Endpoint, "adapter", staticmethod(ADAPTERS[request.param]))
        yield


def push(data: bytes, **message: Any) -> bytes:
    return json.dumps({"message": {"messageId": "7", "data": base64.b64encode(data).decode(), **message}}).encode()


def nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.usefixtures("either_adapter")
@pytest.mark.parametrize("depth", [100, 900, 930, 960, 970, 975, 980, 985, 990, 1_000, 10_000, 100_000, 900_000])
@pytest.mark.parametrize(
    "body",
    [b"%s", b'{"message": %s}', b'{"message": {"messageId": %s}}', b'{"message": {"publishTime": %s}}', b'{"message": {"data": %s}}'],
)
def test_an_envelope_may_be_nested_as_deeply_as_it_likes(body: bytes, depth: int) -> None:
    endpoint = Endpoint()
    assert endpoint.send(body % nested(depth)) == ("", 204)
    assert (len(endpoint.messages), len(endpoint.quarantined())) == (0, 1)


@pytest.mark.parametrize("depth", [100, 900, 960, 980, 1_000, 10_000, 100_000])
@pytest.mark.parametrize("attributes", [{}, {"type": "SttError"}, {"type": "ThresholdCrossed"}])
def test_an_event_may_be_nested_as_deeply_as_it_likes(attributes: dict[str, str], depth: int) -> None:
    endpoint = Endpoint()
    for name in (b"force", b"hypothesis", b"reasons"):
        assert endpoint.send(push(b'{"%s": %s}' % (name, nested(depth)), attributes=attributes)) == ("", 204)
    assert (len(endpoint.messages), len(endpoint.quarantined())) == (0, 3)


@pytest.mark.usefixtures("either_adapter")
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (push(b"{}", attributes={"type": "SttError", "v": "1" * 5_000}), "expected schema version 1-1, found '1111"),
        (push(b"{}", attributes={"type": "SttError", "v": "\u0661"}), "expected schema version 1-1"),
        (push(b"{}", attributes={"type": "SttError", "v": "01"}), "expected schema version 1-1"),
        (push(b"{}", attributes={"type": "\ud800"}), "expected a type of"),
        (push(b"{}", attributes={"\x00": {"a": 1}}), "found dict of 1 under '\\x00'"),
        (push(b'{"promote": %s}' % (b"9" * 4_000)), "less than or equal to 999999"),
        (push(b'{"promote": %s}' % (b"9" * 5_000)), "expected a JSON object"),
        (push(b'{"promote": 1, "promote": 2}'), "a field stands there twice"),
        (push(b'{"force": true, "by": "\\ud800"}'), "by: "),
        (push(b'{"force": true, "event_id": "a\\u0000b"}'), "event_id: "),
        (push(b'{"force": true, "event_id": null}'), "event_id: "),
        (push(b'{"force": true, "occurred_at": 1e308}'), "occurred_at: "),
        (push(b'{"force": true, "occurred_at": "9999-12-31T23:59:59-23:00"}'), "expected a time between"),
        (push(b'{"force": true, "occurred_at": "0001-01-01T00:00:00+23:00"}'), "expected a time between"),
        (push(b'{"\xff": 1}'), "expected a JSON object"),
        (push(b"x" * (MAX_MESSAGE_BYTES + 1)), "expected at most 262144 bytes, found 262145"),
    ],
    ids=lambda value: value[:24] if isinstance(value, str) else "",
)
def test_what_lies_about_itself_is_quarantined_with_the_reason(body: bytes, reason: str) -> None:
    endpoint = Endpoint()
    assert endpoint.send(body) == ("", 204)
    (document,) = endpoint.quarantined()
    assert endpoint.messages == []
    assert reason in document["reason"]
    assert len(document["reason"]) < 3_000


@pytest.mark.usefixtures("either_adapter")
@pytest.mark.parametrize("message_id", ["x" * 1_000_000, "\ud800", "a\nb", ["7"], {"a": 1}, 1.5])
def test_an_id_that_the_bus_cannot_have_given_is_not_believed(message_id: object, capsys: pytest.CaptureFixture[str]) -> None:
    endpoint = Endpoint()
    assert endpoint.send(push(b'{"force": true}', messageId=message_id)) == ("", 204)
    (message,) = endpoint.messages
    assert len(message.message_id) == 32
    assert len(capsys.readouterr().out) < 500


@pytest.mark.usefixtures("either_adapter")
@pytest.mark.usefixtures("either_adapter")
@pytest.mark.parametrize("header", ["traceparent", "X-Cloud-Trace-Context"])
def test_a_trace_header_that_is_none_stays_out_of_the_log(header: str, capsys: pytest.CaptureFixture[str]) -> None:
    Endpoint().send(push(b'{"force": true}'), {header: "00-<script>-b-01"})
    Endpoint().send(push(b'{"force": true}'), {header: "x" * 5_000})
    assert "trace" not in capsys.readouterr().out


def test_a_body_that_is_too_large_is_read_past_and_known_by_its_digest() -> None:
    endpoint = Endpoint()
    body = push(b"{}", attributes={"filler": "x" * MAX_BODY_BYTES})
    assert endpoint.send(body) == ("", 204)
    (document,) = endpoint.quarantined()
    assert (document["body"], document["body_bytes"], len(document["body_sha256"])) == ("", len(body), 64)
    assert document["reason"] == f"request: expected at most {MAX_BODY_BYTES} bytes, found {len(body)}"


def test_the_largest_event_makes_no_body_that_is_too_large() -> None:
    attributes = {f"{number:0256d}": "\u2028" * 341 for number in range(100)}  # Pub/Sub: at most 100 of 256 + 1024 bytes
    assert len(push(b"\xff" * MAX_MESSAGE_BYTES, attributes=attributes)) < MAX_BODY_BYTES


class Endless(BytesIO):
    """A body that is made while it is read."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.left = size

    def read(self, size: int | None = -1) -> bytes:
        size = self.left if size is None or size < 0 else min(size, self.left)
        self.left -= size
        return b"[" * size

    def readinto(self, buffer: Any) -> int:
        block = self.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)


@pytest.mark.parametrize("announced", [True, False])
def test_50_mb_are_answered_without_being_held(announced: bool) -> None:
    endpoint, size = Endpoint(), 50 << 20
    environ = EnvironBuilder(method="POST").get_environ()
    environ["wsgi.input"] = stream = Endless(size)
    environ |= {"CONTENT_LENGTH": str(size)} if announced else {"HTTP_TRANSFER_ENCODING": "chunked", "wsgi.input_terminated": True}
    if not announced:
        environ.pop("CONTENT_LENGTH", None)
    tracemalloc.start()
    try:
        request = Request(environ)
        assert serve(request, endpoint.handle, function="collector", ports=ports_of(endpoint.store, FakeClock())) == ("", 204)
        assert request.get_data() == b""  # what the framework reads afterwards
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert stream.left == 0
    assert peak < 8 << 20
    assert endpoint.quarantined()[0]["body_bytes"] == size


@pytest.mark.parametrize("announced", [True, False])
def test_50_mb_are_answered_without_being_held_on_the_event_loop(announced: bool) -> None:
    endpoint, block, blocks = Endpoint(), b"[" * (64 << 10), 800
    headers = {"content-length": str(len(block) * blocks)} if announced else {"transfer-encoding": "chunked"}
    came: list[int] = []
    body = (came.append(number) or block for number in range(blocks))  # type: ignore[func-returns-value]
    tracemalloc.start()
    try:
        assert answer_on_loop("POST", body, headers, endpoint.handle, endpoint.store, FakeClock()) == ("", 204)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(came) == blocks
    assert peak < 8 << 20
    assert endpoint.quarantined()[0]["body_bytes"] == len(block) * blocks


@pytest.mark.parametrize(
    "unit", [b"[],", b"{},", b'{"a":0},', b'"",', b"1,", b'"\\u0000",'], ids=["lists", "objects", "fields", "texts", "numbers", "escapes"]
)
def test_no_body_takes_more_memory_than_stated(unit: bytes) -> None:
    endpoint = Endpoint()
    body = b"[" + unit * ((MAX_BODY_BYTES - 4) // len(unit)) + b"0]"
    tracemalloc.start()
    try:
        assert endpoint.send(body) == ("", 204)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEMORY_BOUND


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
ENVELOPES = st.fixed_dictionaries(
    {},
    optional={
        "message": st.fixed_dictionaries(
            {},
            optional={
                "data": JSON | st.binary(max_size=60).map(lambda data: base64.b64encode(data).decode()),
                "attributes": JSON | st.dictionaries(st.sampled_from(["type", "v", "retune_original_id"]), st.text(max_size=12) | JSON),
                "messageId": JSON,
                "publishTime": JSON | st.datetimes().map(str),
            },
        )
        | JSON,
        "specversion": JSON,
        "id": JSON,
        "time": JSON,
        "data": JSON,
        "deliveryAttempt": JSON,
        "subscription": JSON,
    },
)


@pytest.mark.usefixtures("either_adapter")
@FUZZ
@given(
    body=st.binary(max_size=200)
    | JSON.map(lambda value: json.dumps(value).encode())
    | ENVELOPES.map(lambda value: json.dumps(value).encode())
)
def test_any_body_is_handled_or_quarantined(body: bytes) -> None:
    endpoint = Endpoint()
    assert endpoint.send(body) == ("", 204)
    assert len(endpoint.messages) + len(endpoint.quarantined()) == 1


SOURCE = """
from pathlib import Path

import functions_framework

from functions.push import serve
from shared.dir_store import DirStore
from shared.testing.clock import FakeClock
from tests.adapters import ports_of


@functions_framework.http
def entry(request):
    return serve(request, lambda message: "handled", function="collector", ports=ports_of(DirStore(Path({folder!r})), FakeClock()))
"""


def test_the_framework_answers_204_for_a_body_that_is_too_large(tmp_path: Path) -> None:
    source, folder = tmp_path / "main.py", tmp_path / "store"
    source.write_text(SOURCE.format(folder=str(folder)))
    client = functions_framework.create_app("entry", str(source), "http").test_client()  # type: ignore[no-untyped-call]
    assert client.post("/", data=b"{" * (12 << 20), content_type="application/json").status_code == 204
    assert len(list(DirStore(folder).list("quarantine/"))) == 1
