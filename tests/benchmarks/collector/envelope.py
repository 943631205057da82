"""Push requests by the thousand, made once: only the message id differs, and it always has as many digits."""

import base64
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from shared.events import Event
from shared.messages import outgoing

DIGITS = 16
_ID = "MESSAGE-ID"
SUBSCRIPTION = "projects/bench/subscriptions/collector-stt-errors"


class Envelopes:
    """Bodies as Pub/Sub pushes them, of equal length, over and over the given events.

    Args:
        events: what is reported; each is padded to the longest with spaces, which JSON allows behind an object.
        at: when Pub/Sub took them; None = now.
    """

    def __init__(self, events: Sequence[Event], *, at: datetime | None = None) -> None:
        payloads = [outgoing(event) for event in events]
        longest = max(len(payload.data) for payload in payloads)
        published = (at or datetime.now(UTC)).isoformat().replace("+00:00", "Z")
        self._parts = [_parts(payload.data.ljust(longest), dict(payload.attributes), published) for payload in payloads]

    def bodies(self, first_id: int) -> Iterator[bytes]:
        """Yield bodies without end; ids count from `first_id`."""
        number = first_id
        while True:
            for before, between, after in self._parts:
                text = b"%0*d" % (DIGITS, number)
                yield b"".join((before, text, between, text, after))
                number += 1


def _parts(data: bytes, attributes: dict[str, str], published: str) -> tuple[bytes, bytes, bytes]:
    message = {
        "attributes": attributes,
        "data": base64.b64encode(data).decode(),
        "messageId": _ID,
        "message_id": _ID,
        "publishTime": published,
        "publish_time": published,
    }
    envelope = {"message": message, "subscription": SUBSCRIPTION, "deliveryAttempt": 1}
    before, between, after = json.dumps(envelope).encode().split(_ID.encode())
    return before, between, after
