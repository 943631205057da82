"""The one adapter between HTTP and handlers: a push envelope or a CloudEvent in, a status out.

Handled, declined or already done -> 204. Malformed for good -> written to `quarantine/` with the reason, 204. Anything
else raises -> 500 -> Pub/Sub delivers the message again.
"""

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from flask import Request

from functions.runtime import Ports
from shared import keys
from shared.bus import Message
from shared.cas import create
from shared.errors import InvalidMessage, brief
from shared.log import TRACE, bind, fresh, log, trace_name
from shared.objectstore import ObjectStore

Handler = Callable[[Message], str]
"""Handles one message and says in a few words what came of it."""

DONE = ("", 204)
MAX_BODY_BYTES = 2 << 20
"""More than any event that `parse_event` takes has as a push: 256 KiB in base64, and 100 attributes of 1.3 KB, each character escaped."""
BLOCK_BYTES = 64 << 10
_MESSAGE_ID = re.compile(r"[\x21-\x7e]{1,128}")
_TRACE_ID = re.compile(r"[0-9a-f]{32}")


class Headers(Protocol):
    """The headers of a request, whatever the server: names in any case."""

    def get(self, name: str, /) -> str | None:
        """Return a header, None where there is none."""
        ...


@dataclass(frozen=True)
class Body:
    """The body of a request; one that is too large was read past, and is known by its length and digest alone."""

    data: bytes | None
    size_bytes: int
    digest: str | None = None

    @property
    def sha256(self) -> str:
        """Of all of it, in hexadecimal; few bodies are asked for it."""
        return self.digest or hashlib.sha256(self.data or b"").hexdigest()

    def whole(self) -> bytes:
        """Return all of it. Raises InvalidMessage where it is too large."""
        if self.data is None:
            raise InvalidMessage(f"request: expected at most {MAX_BODY_BYTES} bytes, found {self.size_bytes}")
        return self.data


def serve(request: Request, handle: Handler, *, function: str, ports: Ports) -> tuple[str, int]:
    """Decode a request, handle its message and answer.

    Raises:
        Exception: whatever the handler raised beyond `InvalidMessage`: the framework answers 500, Pub/Sub redelivers.
    """
    if request.method in {"GET", "HEAD"}:
        return "ok", 200
    begin(request.headers, function=function, project=ports.settings.project)
    body = read_body(request)
    try:
        outcome = handle(received(request.headers, body, now=ports.clock.now()))
    except InvalidMessage as error:
        set_aside(error, body, function=function, ports=ports)
        return DONE
    except Exception as error:
        tell_failure(error)
        raise
    log(outcome)
    return DONE


def begin(headers: Headers, *, function: str, project: str) -> None:
    """Let every later log line of this request name its function and, in the project's traces, its trace."""
    trace_id = _trace_id(headers)
    fresh(function=function, **{TRACE: trace_name(project, trace_id) if trace_id is not None else None})


def received(headers: Headers, body: Body, *, now: datetime) -> Message:
    """Decode a request, and let every later log line name its message. Raises InvalidMessage as `decode`."""
    message = decode(headers, body.whole(), now=now)
    bind(message_id=message.message_id, delivery_attempt=message.delivery_attempt)
    return message


def set_aside(error: InvalidMessage, body: Body, *, function: str, ports: Ports) -> None:
    """Quarantine a malformed request and tell that it was."""
    key = quarantine(ports.store, function=function, reason=str(error), body=body, now=ports.clock.now())
    # The reason quotes what was found, which may be a transcript: it stays in the object.
    log("quarantined: malformed", severity="WARNING", key=key)


def tell_failure(error: Exception) -> None:
    """Tell why a message will be delivered again."""
    log(f"failed, to be delivered again: {type(error).__name__}: {error}", severity="ERROR")


def body_of(data: bytes) -> Body:
    """Return a body that is kept whole."""
    return Body(data, len(data))


class BodyReader:
    """Takes a body block by block, and keeps what a push may have at most."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._size_bytes = 0
        self._digest = hashlib.sha256()

    def take(self, block: bytes) -> None:
        """Take the next block."""
        self._size_bytes += len(block)
        self._digest.update(block)
        if self._size_bytes <= MAX_BODY_BYTES:
            self._kept += block

    def body(self) -> Body:
        """Return what was read, once it has ended."""
        whole = self._size_bytes <= MAX_BODY_BYTES
        return Body(bytes(self._kept) if whole else None, self._size_bytes, self._digest.hexdigest())


def read_body(request: Request) -> Body:
    """Read a request to its end, and keep what a push may have at most.

    The framework reads what a function leaves, all at once: what is too large is read past here.
    """
    if request.content_length is not None and request.content_length <= MAX_BODY_BYTES:
        return body_of(request.get_data())
    reader = BodyReader()
    while block := request.stream.read(BLOCK_BYTES):
        reader.take(block)
    return reader.body()


def decode(headers: Headers, body: bytes, *, now: datetime) -> Message:
    """Return the Pub/Sub message in a raw push, a binary CloudEvent (both carry it in the body) or a structured one.

    Raises:
        InvalidMessage: the body is not such an envelope.
    """
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidMessage(f"request: expected a Pub/Sub push envelope in JSON, found {body[:60]!r}") from error
    outside: Headers | Mapping[str, Any] = headers
    event_id, event_time = "ce-id", "ce-time"
    if isinstance(envelope, dict) and "specversion" in envelope:
        outside, event_id, event_time, envelope = envelope, "id", "time", envelope.get("data")
    inner = envelope.get("message") if isinstance(envelope, dict) else None
    if not isinstance(envelope, dict) or not isinstance(inner, dict):
        raise InvalidMessage(f"request: expected a Pub/Sub push envelope with a message, found {body[:60]!r}")
    attempt, subscription = envelope.get("deliveryAttempt"), envelope.get("subscription")
    return Message(
        data=_data(inner),
        attributes=_attributes(inner),
        message_id=_message_id(inner.get("messageId") or inner.get("message_id") or outside.get(event_id), body),
        publish_time=_time(inner.get("publishTime") or inner.get("publish_time") or outside.get(event_time), now),
        delivery_attempt=attempt if isinstance(attempt, int) and not isinstance(attempt, bool) else None,
        subscription=subscription if isinstance(subscription, str) else None,
    )


def _message_id(found: object, body: bytes) -> str:
    """Return the id that the bus gave, or one that follows from the body where it gave none that could be one."""
    text = str(found) if isinstance(found, str | int) else ""
    return text if _MESSAGE_ID.fullmatch(text) else hashlib.sha256(body).hexdigest()[:32]


def _data(inner: dict[str, Any]) -> bytes:
    found = inner.get("data") or ""
    try:
        return base64.b64decode(found, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise InvalidMessage(f"request: expected base64 in message.data, found {brief(found)}") from error


def _attributes(inner: dict[str, Any]) -> dict[str, str]:
    found = inner.get("attributes") or {}
    if not isinstance(found, dict):
        raise InvalidMessage(f"request: expected strings by name in message.attributes, found {brief(found)}")
    for name, value in found.items():
        if not isinstance(value, str):
            raise InvalidMessage(f"request: expected strings by name in message.attributes, found {brief(value)} under {brief(name)}")
    return found


def _time(text: object, now: datetime) -> datetime:
    try:
        parsed = datetime.fromisoformat(text) if isinstance(text, str) else now
    except ValueError:
        return now
    return parsed if parsed.tzinfo else now


def _trace_id(headers: Headers) -> str | None:
    parent = (headers.get("traceparent") or "").split("-")
    found = parent[1] if len(parent) == 4 else (headers.get("X-Cloud-Trace-Context") or "").split("/")[0]
    return found if _TRACE_ID.fullmatch(found) else None


def quarantine(store: ObjectStore, *, function: str, reason: str, body: Body, now: datetime) -> str:
    """Keep a malformed request with the reason; the same request is kept once a day. Return its key.

    Of a request that is too large nothing is kept but its length and digest: what is cut off in the middle cannot be searched
    when somebody is to be forgotten.
    """
    document = {
        "function": function,
        "reason": reason,
        "at": now.isoformat(),
        "body_bytes": body.size_bytes,
        "body": (body.data or b"").decode("utf-8", errors="backslashreplace"),
    }
    if body.data is None:
        document["body_sha256"] = body.sha256
    key = keys.quarantine(now.date().isoformat(), f"{function}-{body.sha256[:32]}")
    create(store, key, json.dumps(document, indent=1).encode())
    return key
