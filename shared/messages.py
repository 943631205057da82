"""How events travel: the message that carries one, and the only way in, `parse_event`.

A message's data is one JSON object; its attribute `type` names the event and `v` the schema version. What a person
types needs neither: one key of `force`, `approve`, `cancel` (topic `finetune-triggers`) or `rollback`, `promote`,
`canary`, `withdraw`, `pin`, `unpin` (topic `model-commands`) says what it is.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from shared.bus import Message, Outgoing
from shared.documents import line_bytes
from shared.errors import CorruptObject, InvalidMessage, Retryable, brief
from shared.events import EVENT_TYPES, TOPIC_OF, AnyEvent, Event

SCHEMA_VERSION = 1
MAX_MESSAGE_BYTES = 256 * 1024
ORIGINAL_ID_ATTRIBUTE = "retune_original_id"
"""Carried by a replayed message so that it keeps the identity of its first publish."""
_ADAPTER: TypeAdapter[Any] = TypeAdapter(AnyEvent)
_PERSON_KEYS = {
    "force": "FinetuneRequested",
    "approve": "FinetuneApproved",
    "cancel": "FinetuneCancelled",
    "rollback": "RollbackRequested",
    "promote": "PromoteRequested",
    "canary": "CanaryRequested",
    "withdraw": "WithdrawRequested",
    "pin": "PinRequested",
    "unpin": "PinRequested",
}
_SCHEMA_VERSIONS = frozenset(str(version) for version in range(1, SCHEMA_VERSION + 1))
_NEWER = re.compile(r"[1-9][0-9]?", re.ASCII)
"""A version that a release to come may have."""
_CYCLE_KEYS = {"approve", "cancel"}
_NUMBER_NEEDED = {"promote", "canary", "withdraw", "pin", "unpin"}


def outgoing(event: Event, carrier: Mapping[str, str] | None = None) -> Outgoing:
    """Return the message that carries `event` to its topic, and what names the span in which it is made."""
    event_type: str = event.type  # type: ignore[attr-defined]  # every concrete event has it
    return Outgoing(
        topic=TOPIC_OF[event_type],
        data=line_bytes(event),
        attributes={"type": event_type, "v": str(SCHEMA_VERSION), **(carrier or {})},
    )


def parse_stored(line: str | bytes) -> Event:
    """Parse an event that we wrote into a ledger ourselves.

    Raises:
        CorruptObject: the line is not an event.
    """
    try:
        event: Event = _ADAPTER.validate_json(line)
    except ValidationError as error:
        raise CorruptObject(f"stored event: {_describe(error)}") from error
    return event


def parse_event(message: Message, *, expect: tuple[type[Event], ...] | None = None) -> Event:
    """Parse a delivered message.

    Args:
        message: as the bus delivered it.
        expect: the event types that the reader handles; None = all.

    Raises:
        InvalidMessage: not a JSON object, too large, an unknown type or version, a missing or wrong field, or a type
            that the reader does not handle. The text says what was expected and what was found.
        Retryable: its schema version is of a newer release: while functions are being upgraded it finds one that knows it.
    """
    payload = _decode(message)
    event_type = _event_type(message, payload)
    if event_type not in EVENT_TYPES:
        raise InvalidMessage(f"message {message.message_id}: expected a type of {sorted(EVENT_TYPES)}, found {event_type[:100]!r}")
    if expect is not None and EVENT_TYPES[event_type] not in expect:
        names = sorted(cls.__name__ for cls in expect)
        raise InvalidMessage(f"message {message.message_id}: expected one of {names}, found {event_type}")
    payload = {**payload, "type": event_type}
    if "event_id" not in payload:
        payload["event_id"] = message.attributes.get(ORIGINAL_ID_ATTRIBUTE) or f"pubsub:{message.message_id}"
    payload.setdefault("occurred_at", message.publish_time.isoformat())
    try:
        event: Event = _ADAPTER.validate_python(payload)
    except ValidationError as error:
        raise InvalidMessage(f"message {message.message_id} of type {event_type}: {_describe(error)}") from error
    return event


def _decode(message: Message) -> dict[str, Any]:
    if len(message.data) > MAX_MESSAGE_BYTES:
        raise InvalidMessage(f"message {message.message_id}: expected at most {MAX_MESSAGE_BYTES} bytes, found {len(message.data)}")
    try:
        payload = json.loads(message.data, object_pairs_hook=_once_each)
    except (ValueError, RecursionError) as error:
        raise InvalidMessage(f"message {message.message_id}: expected a JSON object, found {message.data[:60]!r} ({error})") from error
    if not isinstance(payload, dict):
        raise InvalidMessage(f"message {message.message_id}: expected a JSON object, found {type(payload).__name__}")
    return payload


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that names a field twice: one reader takes the first, another the last."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a field stands there twice")
    return found


def _event_type(message: Message, payload: dict[str, Any]) -> str:
    """Tell the event's type from the attribute, else from the one key that a person typed (completing `payload`)."""
    event_type = message.attributes.get("type")
    if event_type is not None:
        version = message.attributes.get("v", str(SCHEMA_VERSION))
        if _NEWER.fullmatch(version) and int(version) > SCHEMA_VERSION:
            raise Retryable(
                f"message {message.message_id}: expected schema version 1-{SCHEMA_VERSION}, found {version}, which a newer release "
                "publishes: delivered again until this function is of that release"
            )
        if version not in _SCHEMA_VERSIONS:
            raise InvalidMessage(f"message {message.message_id}: expected schema version 1-{SCHEMA_VERSION}, found {version[:20]!r}")
        return event_type
    keys = [key for key in _PERSON_KEYS if key in payload]
    if len(keys) != 1:
        found = keys or sorted(str(key)[:40] for key in payload)[:10]
        raise InvalidMessage(
            f"message {message.message_id}: expected an attribute `type`, or exactly one key of {sorted(_PERSON_KEYS)}, found {found}"
        )
    (key,) = keys
    value = payload.pop(key)
    number = isinstance(value, int) and not isinstance(value, bool)
    number_needed = key in _NUMBER_NEEDED
    if not (number and key != "force") and (value is not True or number_needed):
        wanted = "a version number" if number_needed else "true" if key == "force" else "true or a number"
        raise InvalidMessage(f"message {message.message_id}: {key!r}: expected {wanted}, found {brief(value)}")
    if number:
        payload["cycle" if key in _CYCLE_KEYS else "version"] = value
    if key == "unpin":
        payload["pinned"] = False
    return _PERSON_KEYS[key]


def _describe(error: ValidationError) -> str:
    problems = [
        f"{'.'.join(str(part) for part in item['loc'][1:]) or 'message'}: {item['msg']}, found {brief(item.get('input'))}"
        for item in error.errors(include_url=False)[:5]
    ]
    return "; ".join(problems)
