"""Dead letters that a person drops: each stays in quarantine with who dropped it, and why."""

import base64
import json
from collections.abc import Callable

from functions.push import body_of, quarantine
from functions.wiring import dead_letter_topic
from infra.dlq.letters import DeadLetter, settle
from infra.session import Session
from shared.bus import Received
from shared.documents import Frozen


class Dropped(Frozen):
    """A dead letter that was dropped, and the object that keeps it."""

    letter: DeadLetter
    key: str


def drop(session: Session, *, subscription: str | None, wanted: Callable[[DeadLetter], bool], by: str, reason: str) -> list[Dropped]:
    """Keep dead letters in quarantine with who drops them and why, then acknowledge them: nothing delivers them again.

    Args:
        session: the outside world.
        subscription: only what this one's function refused; None = all.
        wanted: picks the letters; the others are given back.
        by: who drops them, as they claim.
        reason: why.

    Raises:
        Refused: there is no such subscription.
    """

    def keep(letter: DeadLetter, received: Received) -> Dropped:
        function = letter.subscription.removesuffix(f"-{letter.topic}")
        said = f"dropped by {by} (claimed): {reason}"
        ports = session.ports
        key = quarantine(ports.store, function=function, reason=said, body=body_of(_envelope(letter, received)), now=ports.clock.now())
        return Dropped(letter=letter, key=key)

    return settle(session, subscription=subscription, wanted=wanted, act=keep)


def _envelope(letter: DeadLetter, received: Received) -> bytes:
    """Return the message as a push would have delivered it, so that every reader of the quarantine understands it."""
    message = received.message
    inner = {
        "data": base64.b64encode(message.data).decode(),
        "attributes": dict(message.attributes),
        "messageId": message.message_id,
        "publishTime": message.publish_time.isoformat(),
    }
    return json.dumps({"message": inner, "subscription": dead_letter_topic(letter.subscription)}).encode()
