"""Fuzz target: `parse_event` refuses, or gives an event that can be sent, stored and read again as it is.

Input: the attributes `type` and `v` and the data, separated by NUL bytes.
"""

from collections.abc import Iterator
from pathlib import Path

from shared.bus import Message
from shared.errors import InvalidMessage
from shared.messages import outgoing, parse_event, parse_stored
from shared.testing.clock import START

EVENTS = Path("tests/data/events")
TYPED = (
    b'{"force": true}',
    b'{"approve": 3, "by": "ana"}',
    b'{"promote": 2, "override": true, "reason": "r"}',
    b'{"rollback": true}',
    b'{"pin": 1}',
)
REFUSAL_CHARS = 3_000


def seeds() -> Iterator[bytes]:
    """Yield what is worth starting from."""
    for path in sorted(EVENTS.iterdir()):
        yield b"\0".join((path.name.partition("-")[0].encode(), b"1", path.read_bytes()))
    yield from (b"\0\0" + text for text in TYPED)


def one(data: bytes) -> None:
    """Parse one message."""
    kind, version, body = (*data.split(b"\0", 2), b"", b"")[:3]
    attributes = {name: text.decode("utf-8", "replace") for name, text in (("type", kind), ("v", version)) if text}
    event, refusal = None, ""
    try:
        event = parse_event(Message(body, attributes, "7", START))
    except InvalidMessage as error:
        refusal = str(error)
    if event is None:
        assert len(refusal) <= REFUSAL_CHARS, "a refusal of a few lines"
        return
    sent = outgoing(event)
    assert parse_event(Message(sent.data, dict(sent.attributes), "8", START)) == event
    assert parse_stored(event.model_dump_json(exclude_none=True)) == event
