"""The adapter between HTTP and handlers: every envelope that Google sends, and everything else that may arrive."""

import asyncio
import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import functions_framework
import pytest
from flask import Flask
from functions_framework import _function_registry
from werkzeug.datastructures import Headers

from functions.push import decode
from functions.runtime import Ports
from shared.bus import Message, Outgoing
from shared.config import Settings
from shared.dir_store import DirStore
from shared.errors import InvalidMessage, InvariantBroken, Retryable
from shared.testing import builders
from shared.testing.clock import START, FakeClock
from shared.testing.memory_store import MemoryStore
from tests.adapters import ADAPTERS, Send, send_in_thread

GOLDENS = sorted((Path(__file__).parents[1] / "data" / "push").glob("*.json"))
TODAY = START.date().isoformat()


class Endpoint:
    """A function on in-memory ports whose handler notes the messages and does what the test says."""

    adapter: Send = staticmethod(send_in_thread)

    def __init__(self, failure: Exception | None = None) -> None:
        self.store = MemoryStore()
        self.clock = FakeClock()
        self.messages: list[Message] = []
        self.failure = failure

    def handle(self, message: Message) -> str:
        self.messages.append(message)
        if self.failure is not None:
            raise self.failure
        return "handled"

    def send(self, body: bytes, *, method: str = "POST", headers: Mapping[str, str] | None = None) -> tuple[str, int]:
        named = {"Content-Type": "application/json", **(headers or {})}
        return self.adapter(method, body, named, self.handle, self.store, self.clock)

    def quarantined(self) -> list[dict[str, Any]]:
        return [json.loads(self.store.get(info.key).data) for info in self.store.list("quarantine/")]


@pytest.fixture(params=ADAPTERS, autouse=True)
def adapter_name(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each test asks one adapter, then the other."""
    monkeypatch.setattr(Endpoint, "adapter", staticmethod(ADAPTERS[request.param]))
    return str(request.param)


def envelope(**message: Any) -> bytes:
    return json.dumps({"message": {"messageId": "7", **message}}).encode()


@pytest.mark.parametrize("path", GOLDENS, ids=[path.stem for path in GOLDENS])
def test_each_envelope_becomes_the_message_that_was_published(path: Path) -> None:
    golden = json.loads(path.read_text())
    expected = golden["message"]
    message = decode(Headers(golden["headers"]), json.dumps(golden["body"]).encode(), now=START)
    published = datetime.fromisoformat(expected["publish_time"])
    assert message == Message(**{**expected, "data": expected["data"].encode(), "publish_time": published})


def test_a_message_is_handled_and_answered_with_204() -> None:
    endpoint = Endpoint()
    assert endpoint.send(envelope(data="aGk=")) == ("", 204)
    assert [message.data for message in endpoint.messages] == [b"hi"]
    assert endpoint.quarantined() == []


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (envelope(data="a"), "expected base64 in message.data, found 'a'"),
        (envelope(data="aGk=!"), "expected base64 in message.data"),
        (envelope(data="aGk\u00e9"), "expected base64 in message.data"),
        (envelope(data={"a": 1}), "expected base64 in message.data"),
        (b"not JSON", "expected a Pub/Sub push envelope in JSON, found b'not JSON'"),
        (b"\xff\xfe\x00", "expected a Pub/Sub push envelope in JSON"),
        (b"", "expected a Pub/Sub push envelope in JSON, found b''"),
        (b"[" * 100_000, "expected a Pub/Sub push envelope in JSON"),
        (b"[1, 2]", "expected a Pub/Sub push envelope with a message, found b'[1, 2]'"),
        (b"null", "expected a Pub/Sub push envelope with a message"),
        (b"{}", "expected a Pub/Sub push envelope with a message"),
        (b'{"message": "hi"}', "expected a Pub/Sub push envelope with a message"),
        (b'{"specversion": "1.0", "id": "1", "data": "hi"}', "expected a Pub/Sub push envelope with a message"),
        (envelope(attributes=["type"]), "expected strings by name in message.attributes, found"),
        (envelope(attributes="type"), "expected strings by name in message.attributes"),
        (envelope(attributes={"v": 1}), "expected strings by name in message.attributes"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else None,
)
def test_what_is_malformed_for_good_is_quarantined_and_never_delivered_again(body: bytes, reason: str) -> None:
    endpoint = Endpoint()
    assert endpoint.send(body) == ("", 204)
    assert endpoint.messages == []
    (document,) = endpoint.quarantined()
    assert reason in document["reason"]
    assert document["body_bytes"] == len(body)


def test_the_quarantined_object_tells_who_refused_what_when_and_why() -> None:
    endpoint = Endpoint(InvalidMessage("message 7: expected a type, found none"))
    body = envelope(data="aGk=")
    endpoint.send(body)
    (info,) = endpoint.store.list("")
    assert info.key.startswith(f"quarantine/{TODAY}/collector-")
    assert endpoint.quarantined() == [
        {
            "function": "collector",
            "reason": "message 7: expected a type, found none",
            "at": START.isoformat(),
            "body_bytes": len(body),
            "body": body.decode(),
        }
    ]


def test_bytes_that_are_no_text_stay_readable_in_quarantine() -> None:
    endpoint = Endpoint()
    endpoint.send(b"caf\xe9 \xf0\x9f\x99\x82")
    assert endpoint.quarantined()[0]["body"] == "caf\\xe9 \U0001f642"


def test_the_same_malformed_request_is_kept_once_and_another_beside_it() -> None:
    endpoint = Endpoint()
    for body in (b"[]", b"[]", b"{}"):
        endpoint.send(body)
        endpoint.clock.advance(1)
    assert sorted(document["body"] for document in endpoint.quarantined()) == ["[]", "{}"]


def test_a_refusal_does_not_quote_the_message_in_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    endpoint = Endpoint(InvalidMessage("hypothesis: too long, found 'my card number is'"))
    endpoint.send(envelope(data="aGk="))
    line = json.loads(capsys.readouterr().out)
    assert (line["severity"], line["message"], line["message_id"]) == ("WARNING", "quarantined: malformed", "7")
    assert line["key"] == next(endpoint.store.list("quarantine/")).key


def test_a_store_that_is_away_has_a_malformed_request_delivered_again() -> None:
    def away(operation: str, _key: str) -> None:
        raise Retryable(f"{operation}: the store is away")

    endpoint = Endpoint()
    endpoint.store.before = away
    with pytest.raises(Exception, match="the store is away"):
        endpoint.send(b"[]")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_probe_is_answered_and_touches_nothing(method: str) -> None:
    endpoint = Endpoint()
    assert endpoint.send(b"", method=method) == ("ok", 200)
    assert (endpoint.messages, endpoint.quarantined()) == ([], [])


def test_the_log_line_carries_trace_message_and_attempt(capsys: pytest.CaptureFixture[str]) -> None:
    endpoint = Endpoint()
    body = json.dumps({"message": {"messageId": "7"}, "deliveryAttempt": 3}).encode()
    endpoint.send(body, headers={"traceparent": "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"})
    endpoint.send(body, headers={"X-Cloud-Trace-Context": "fedcba9876543210fedcba9876543210/1;o=1"})
    endpoint.send(body)
    first, second, third = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert first == {
        "severity": "INFO",
        "message": "handled",
        "function": "collector",
        "logging.googleapis.com/trace": "projects/test/traces/0123456789abcdef0123456789abcdef",
        "message_id": "7",
        "delivery_attempt": 3,
    }
    assert second["logging.googleapis.com/trace"] == "projects/test/traces/fedcba9876543210fedcba9876543210"
    assert "logging.googleapis.com/trace" not in third


def test_a_message_without_id_and_time_gets_those_that_follow_from_it() -> None:
    body = b'{"message": {"data": "aGk=", "publishTime": "yesterday"}, "deliveryAttempt": "3", "subscription": 4}'
    first, second = (decode(Headers(), body, now=START) for _ in range(2))
    assert first == second
    assert (len(first.message_id), first.publish_time, first.delivery_attempt, first.subscription) == (32, START, None, None)


SOURCES = {
    "in a thread": """
@functions_framework.http
def entry(request):
    return serve(request, handle, **PORTS)
""",
    "on the event loop": """
@functions_framework.aio.http
async def entry(request):
    async def handle_async(message):
        return handle(message)

    return await serve_async(request, handle_async, **PORTS)
""",
}
SOURCE = """
from pathlib import Path

import functions_framework
import functions_framework.aio

from functions.push import serve
from functions.push_async import serve_async
from shared.dir_store import DirStore
from shared.testing.clock import FakeClock
from tests.adapters import ports_of

PORTS = dict(function="collector", ports=ports_of(DirStore(Path({folder!r})), FakeClock()))


def handle(message):
    if message.data == b"crash":
        raise RuntimeError("nobody answers")
    return "handled"
"""


@dataclass(frozen=True)
class Answer:
    """What a client sees."""

    status: int
    headers: Headers
    data: bytes


Ask = Callable[..., Answer]


@pytest.fixture
def ask(tmp_path: Path, adapter_name: str) -> Ask:
    """A client of the function as functions-framework serves it."""
    (tmp_path / "store").mkdir()
    source = tmp_path / "main.py"
    source.write_text(SOURCE.format(folder=str(tmp_path / "store")) + SOURCES[adapter_name])
    app = functions_framework.create_app("entry", str(source), "http")  # type: ignore[no-untyped-call]
    _function_registry.ASGI_FUNCTIONS.discard("entry")
    return partial(ask_flask, app) if isinstance(app, Flask) else partial(ask_asgi, app)


def ask_flask(app: Flask, method: str, path: str, data: bytes = b"", content_type: str = "application/json") -> Answer:
    found = app.test_client().open(path, method=method, data=data, content_type=content_type)
    return Answer(found.status_code, found.headers, found.data)


def ask_asgi(app: Any, method: str, path: str, data: bytes = b"", content_type: str = "application/json") -> Answer:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": data, "more_body": False}

    async def send(part: Any) -> None:
        sent.append(part)

    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(data)).encode())]
    scope = {"type": "http", "method": method, "path": path.partition("?")[0], "query_string": b"", "headers": headers}
    asyncio.run(app(scope, receive, send))
    start, *bodies = sent
    named = Headers([(name.decode(), value.decode()) for name, value in start["headers"]])
    return Answer(start["status"], named, b"".join(part.get("body", b"") for part in bodies))


def test_the_framework_answers_500_where_a_handler_raises_and_says_so_in_a_header(ask: Ask) -> None:
    answer = ask("POST", "/", envelope(data=base64.b64encode(b"crash").decode()))
    assert (answer.status, answer.headers["X-Google-Status"]) == (500, "crash")
    assert b"nobody answers" not in answer.data


@pytest.mark.parametrize("path", ["/", "/projects/p/topics/t?x=1"])
def test_the_framework_answers_204_on_any_path_with_any_content_type(ask: Ask, path: str) -> None:
    answer = ask("POST", path, envelope(data="aGk="), "application/x-www-form-urlencoded")
    assert (answer.status, answer.data) == (204, b"")


def test_the_framework_answers_204_for_what_was_quarantined(ask: Ask, tmp_path: Path) -> None:
    assert ask("POST", "/").status == 204
    assert len(list(DirStore(tmp_path / "store").list("quarantine/"))) == 1


def test_the_framework_answers_a_probe(ask: Ask) -> None:
    answer = ask("GET", "/")
    assert (answer.status, answer.data) == (200, b"ok")


class Refusing:
    """A bus that will never take what is published."""

    def publish(self, message: Outgoing) -> str:
        raise InvalidMessage(f"publish to {message.topic}: the project's name is none")


def test_a_message_is_not_quarantined_because_the_answer_to_it_cannot_be_published(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = Endpoint()
    settings = Settings(bucket="gs://bucket", project="p", audio_prefixes=("gs://calls",))
    ports = Ports(endpoint.store, Refusing(), endpoint.clock, settings)

    def answer(_: Message) -> str:
        ports.publish_all([builders.error(1)])
        return "answered"

    monkeypatch.setattr(endpoint, "handle", answer)
    with pytest.raises(InvariantBroken, match="event e1: expected one that the bus can take"):
        endpoint.send(envelope(data="aGk="))
    assert endpoint.quarantined() == []
