"""The one adapter between HTTP and handlers: a push envelope or a CloudEvent in, a status out.

Handled, declined or already done -> 204. Malformed for good -> written to `quarantine/` with the reason, 204. Anything
else raises -> 500 -> Pub/Sub delivers the message again.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

from flask import Request
from werkzeug.datastructures import Headers

from shared import keys
from shared.bus import Message
from shared.cas import create
from shared.clock import Clock
from shared.errors import InvalidMessage
from shared.log import TRACE, bind, fresh, log
from shared.objectstore import ObjectStore

Handler = Callable[[Message], str]
"""Handles one message and says in a few words what came of it."""

DONE = ("", 204)
MAX_QUARANTINED_BYTES = 10 * 1024 * 1024
"""Pub/Sub's own limit of a message."""


def serve(request: Request, handle: Handler, *, function: str, store: ObjectStore, clock: Clock) -> tuple[str, int]:
    """Decode a request, handle its message and answer.

    Raises:
        Exception: whatever the handler raised beyond `InvalidMessage`: the framework answers 500, Pub/Sub redelivers.
    """
    if request.method in {"GET", "HEAD"}:
        return "ok", 200
    fresh(function=function, **{TRACE: _trace(request.headers)})
    body = request.get_data()
    try:
        message = decode(request.headers, body, now=clock.now())
        bind(message_id=message.message_id, delivery_attempt=message.delivery_attempt)
        outcome = handle(message)
    except InvalidMessage as error:
        key = quarantine(store, function=function, reason=str(error), body=body, now=clock.now())
        # The reason quotes what was found, which may be a transcript: it stays in the object.
        log("quarantined: malformed", severity="WARNING", key=key)
        return DONE
    except Exception as error:
        log(f"failed, to be delivered again: {type(error).__name__}: {error}", severity="ERROR")
        raise
    log(outcome)
    return DONE


def decode(headers: Headers, body: bytes, *, now: datetime) -> Message:
    """Return the Pub/Sub message in a raw push, a binary CloudEvent (both carry it in the body) or a structured one.

    Raises:
        InvalidMessage: the body is not such an envelope.
    """
    try:
        envelope = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidMessage(f"request: expected a Pub/Sub push envelope in JSON, found {body[:60]!r}") from error
    event_id, event_time = headers.get("ce-id"), headers.get("ce-time")
    if isinstance(envelope, dict) and "specversion" in envelope:
        event_id, event_time, envelope = envelope.get("id"), envelope.get("time"), envelope.get("data")
    inner = envelope.get("message") if isinstance(envelope, dict) else None
    if not isinstance(envelope, dict) or not isinstance(inner, dict):
        raise InvalidMessage(f"request: expected a Pub/Sub push envelope with a message, found {body[:60]!r}")
    message_id = inner.get("messageId") or inner.get("message_id") or event_id or hashlib.sha256(body).hexdigest()[:32]
    attempt, subscription = envelope.get("deliveryAttempt"), envelope.get("subscription")
    return Message(
        data=_data(inner),
        attributes=_attributes(inner),
        message_id=str(message_id),
        publish_time=_time(inner.get("publishTime") or inner.get("publish_time") or event_time, now),
        delivery_attempt=attempt if isinstance(attempt, int) else None,
        subscription=subscription if isinstance(subscription, str) else None,
    )


def _data(inner: dict[str, Any]) -> bytes:
    try:
        return base64.b64decode(inner.get("data") or "", validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise InvalidMessage(f"request: expected base64 in message.data, found {str(inner.get('data'))[:60]!r}") from error


def _attributes(inner: dict[str, Any]) -> dict[str, str]:
    found = inner.get("attributes") or {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise InvalidMessage(f"request: expected strings by name in message.attributes, found {str(found)[:60]!r}")
    return found


def _time(text: str | None, now: datetime) -> datetime:
    try:
        parsed = datetime.fromisoformat(str(text))
    except ValueError:
        return now
    return parsed if parsed.tzinfo else now


def _trace(headers: Headers) -> str | None:
    parent = headers.get("traceparent", "").split("-")
    return parent[1] if len(parent) == 4 else headers.get("X-Cloud-Trace-Context", "").split("/")[0] or None


def quarantine(store: ObjectStore, *, function: str, reason: str, body: bytes, now: datetime) -> str:
    """Keep a malformed request with the reason; the same request is kept once a day. Return its key."""
    document = {
        "function": function,
        "reason": reason,
        "at": now.isoformat(),
        "body_bytes": len(body),
        "body": body[:MAX_QUARANTINED_BYTES].decode("utf-8", errors="backslashreplace"),
    }
    key = keys.quarantine(now.date().isoformat(), f"{function}-{hashlib.sha256(body).hexdigest()[:32]}")
    create(store, key, json.dumps(document, indent=1).encode())
    return key
