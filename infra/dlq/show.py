"""A refused message in full: a dead letter, or an object in quarantine; nothing is taken away."""

import base64
import json
from collections.abc import Iterable

from functions.wiring import dead_letter_topic, subscriptions
from infra.dlq.letters import DeadLetter, describe, pull_all
from infra.dlq.quarantine import open_quarantined
from infra.errors import Refused
from infra.session import Session
from infra.wording import when
from shared import keys
from shared.documents import Frozen

MOST_SHOWN = 20_000
"""Characters of a message."""


class RefusedMessage(Frozen):
    """A refused message in full.

    Attributes:
        place: a dead-letter subscription, or the object in quarantine.
        reason: None = a dead letter: the function's log says why, under the message's id.
        letter: what is known of a dead letter.
        data: what it says, as far as it is text.
    """

    place: str
    reason: str | None
    letter: DeadLetter | None
    attributes: dict[str, str]
    data: str


def show_refused(session: Session, wanted: str) -> list[RefusedMessage]:
    """Return every dead letter of an id, or the object in quarantine of that name; nothing is taken away.

    Raises:
        Refused: there is none.
    """
    if wanted.startswith(keys.QUARANTINE):
        return [_in_quarantine(session, wanted)]
    shown = []
    for name, all_of_it in pull_all(session, subscriptions()).items():
        for received in all_of_it:
            letter = describe(name, received)
            if letter.is_called(wanted):
                attributes, data = dict(received.message.attributes), received.message.data.decode(errors="backslashreplace")
                shown.append(RefusedMessage(place=dead_letter_topic(name), reason=None, letter=letter, attributes=attributes, data=data))
        session.bus.nack(dead_letter_topic(name), [received.ack_id for received in all_of_it])
    if not shown:
        raise Refused(
            f"message {wanted}: expected a dead letter of that id or an object under {keys.QUARANTINE}, found none: `retune dlq list`"
        )
    return shown


def _in_quarantine(session: Session, key: str) -> RefusedMessage:
    found = open_quarantined(session.ports.store, key)
    if found.refusal is None:
        data = found.stored.data.decode(errors="backslashreplace")
        return RefusedMessage(place=key, reason=found.problem, letter=None, attributes={}, data=data)
    reason, body = found.refusal.reason, found.refusal.body
    try:
        message = json.loads(body)["message"]
        attributes = {str(name): str(value) for name, value in (message.get("attributes") or {}).items()}
        data = base64.b64decode(message.get("data") or "", validate=True).decode(errors="backslashreplace")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        attributes, data = {}, body  # malformed already as an envelope: this is all there is
    return RefusedMessage(place=key, reason=reason, letter=None, attributes=attributes, data=data)


def render_refused(message: RefusedMessage) -> str:
    """Return a refused message for people."""
    return "\n".join(_lines(message))


def _lines(message: RefusedMessage) -> Iterable[str]:
    letter = message.letter
    yield message.place
    if letter is not None:
        yield f"message {letter.message_id}, event {letter.original_id}, for {letter.subscription}"
        yield f"dead since {when(letter.dead_since)} after {letter.deliveries or 'unknown'} deliveries"
        yield f"why: the log of {letter.subscription.removesuffix(f'-{letter.topic}')} says it, under these ids"
    else:
        yield f"why: {message.reason}"
    yield from (f"{name}: {value}" for name, value in sorted(message.attributes.items()))
    yield ""
    left = len(message.data) - MOST_SHOWN
    yield message.data[:MOST_SHOWN] + (f"\n({left} characters more: --json)" if left > 0 else "")
