"""What functions refused: dead letters, which can be published again, and quarantined messages, which say why they cannot.

Each push subscription has a dead-letter topic, and that topic a pull subscription of the same name, so that nothing is lost.
"""

import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pydantic import AwareDatetime
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from functions.wiring import OPTIONAL, dead_letter_topic, subscription_name, subscriptions
from infra.dlq.quarantine import Quarantined, look
from infra.errors import Refused
from infra.session import Session
from infra.wording import when
from shared import keys
from shared.bus import Outgoing, Received
from shared.documents import Frozen
from shared.errors import NotFound
from shared.messages import ORIGINAL_ID_ATTRIBUTE

Done = TypeVar("Done")
SHOWN = 100
SOURCE = "CloudPubSubDeadLetterSource"
"""Pub/Sub's own attributes on a dead letter begin with this."""


class DeadLetter(Frozen):
    """A message that a function refused too often.

    Attributes:
        subscription: whose function refused it.
        message_id: of the dead letter.
        original_id: the event's own id, or the one it has for the handlers.
        dead_since: when Pub/Sub gave it up.
    """

    subscription: str
    topic: str
    message_id: str
    original_id: str
    type: str
    deliveries: int | None
    dead_since: AwareDatetime
    size_bytes: int

    def is_called(self, name: str | None) -> bool:
        """Tell whether a person means it by this id."""
        return name in {self.message_id, self.original_id}


class DlqReport(Frozen):
    """Everything that was refused; of the quarantine the newest."""

    dead: tuple[DeadLetter, ...]
    quarantined: tuple[Quarantined, ...]
    quarantined_total: int


def list_dead(session: Session) -> DlqReport:
    """Look at what was refused; every dead letter is given back."""
    pulled = pull_all(session, subscriptions())
    dead = [describe(subscription, received) for subscription, all_of_it in pulled.items() for received in all_of_it]
    for subscription, all_of_it in pulled.items():
        session.bus.nack(dead_letter_topic(subscription), [received.ack_id for received in all_of_it])
    store = session.ports.store
    refused = list(store.list(keys.QUARANTINE))
    return DlqReport(
        dead=tuple(sorted(dead, key=lambda letter: letter.dead_since)),
        quarantined=tuple(look(store, refused[-SHOWN:])),
        quarantined_total=len(refused),
    )


def replay(session: Session, *, subscription: str | None, wanted: Callable[[DeadLetter], bool]) -> list[DeadLetter]:
    """Publish dead letters to the topic that they came from, with the identity that they had; then acknowledge each.

    Raises:
        Refused: there is no such subscription.
    """

    def again(letter: DeadLetter, received: Received) -> DeadLetter:
        session.ports.publisher.publish(_again(letter, received))
        return letter

    return settle(session, subscription=subscription, wanted=wanted, act=again)


def settle(
    session: Session, *, subscription: str | None, wanted: Callable[[DeadLetter], bool], act: Callable[[DeadLetter, Received], Done]
) -> list[Done]:
    """Do something with each wanted dead letter, and acknowledge it when that is done: a command that dies leaves it where it is.

    Args:
        session: the outside world.
        subscription: only what this one's function refused; None = all.
        wanted: picks the letters; the others are given back.
        act: is done before the acknowledgement.

    Raises:
        Refused: there is no such subscription.
    """
    known = subscriptions()
    if subscription is not None and subscription not in known:
        raise Refused(f"subscription {subscription}: expected one of {sorted(known)}")
    done = []
    for name, all_of_it in pull_all(session, [subscription] if subscription else known).items():
        for received in all_of_it:
            letter = describe(name, received)
            if not wanted(letter):
                session.bus.nack(dead_letter_topic(name), [received.ack_id])
                continue
            done.append(act(letter, received))
            session.bus.ack(dead_letter_topic(name), [received.ack_id])
    return done


def pull_all(session: Session, names: Iterable[str]) -> dict[str, list[Received]]:
    """Pull every dead letter of the subscriptions that are there, side by side, since an empty one has each pull wait."""
    names = list(names)
    with ThreadPoolExecutor(max_workers=len(names)) as pool:
        found = zip(names, pool.map(lambda name: _drain_if_there(session, name), names), strict=True)
    return {name: letters for name, letters in found if letters is not None}


def _drain_if_there(session: Session, subscription: str) -> list[Received] | None:
    """Drain the dead letters of a subscription; None = it is not there, since nobody asked for its function."""
    optional = {subscription_name(function, topic) for function, topics in OPTIONAL.items() for topic in topics}
    try:
        return _drain(session, dead_letter_topic(subscription))
    except NotFound:
        if subscription not in optional:
            raise
        return None


def _drain(session: Session, subscription: str) -> list[Received]:
    letters: dict[str, Received] = {}
    while batch := session.bus.pull(subscription, limit=1000):
        new = {received.message.message_id: received for received in batch if received.message.message_id not in letters}
        letters |= new
        if not new:
            break  # leases have ended while we pulled: the first ones come round again
    return list(letters.values())


def describe(subscription: str, received: Received) -> DeadLetter:
    """Return what a dead letter is, without what it says."""
    message = received.message
    count = message.attributes.get(f"{SOURCE}DeliveryCount", "")
    return DeadLetter(
        subscription=subscription,
        topic=subscriptions()[subscription],
        message_id=message.message_id,
        original_id=_original_id(received),
        type=message.attributes.get("type", ""),
        deliveries=int(count) if count.isdigit() else None,
        dead_since=message.publish_time,
        size_bytes=len(message.data),
    )


def _original_id(received: Received) -> str:
    message = received.message
    try:
        payload = json.loads(message.data)
    except (ValueError, RecursionError):
        payload = None
    named = payload.get("event_id") if isinstance(payload, dict) else None
    return str(named or message.attributes.get(ORIGINAL_ID_ATTRIBUTE) or f"pubsub:{message.message_id}")


def _again(letter: DeadLetter, received: Received) -> Outgoing:
    kept = {key: value for key, value in received.message.attributes.items() if not key.startswith((SOURCE, "goog"))}
    return Outgoing(letter.topic, received.message.data, {**kept, ORIGINAL_ID_ATTRIBUTE: letter.original_id})


def render(report: DlqReport) -> RenderableType:
    """Return the report for people."""
    if not report.dead and not report.quarantined:
        return Text("Nothing was refused.")
    dead = Table(
        "subscription", "message", "type", "event", "deliveries", "dead since", title="Dead letters: `retune dlq show`, `replay`, `drop`"
    )
    for letter in report.dead:
        since = when(letter.dead_since)
        dead.add_row(letter.subscription, letter.message_id, letter.type, letter.original_id, str(letter.deliveries or ""), since)
    lost = Table("function", "at", "reason", "object", title=f"Quarantine: {len(report.quarantined)} of {report.quarantined_total}")
    for item in report.quarantined:
        lost.add_row(item.function, when(item.at), Text(item.reason[:300]), item.key)
    return Group(*([dead] if report.dead else []), *([lost] if report.quarantined else []))
