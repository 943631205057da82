"""Which reports are taken. Pure."""

from collections.abc import Callable
from datetime import datetime, timedelta

from shared.dataset import CARRY_FOR
from shared.errors import InvalidMessage
from shared.events import Event, Utterance

AHEAD = timedelta(days=1)
"""A publisher's clock may be this far ahead."""


def check_report(event: Event, *, now: datetime, check_uri: Callable[[str], object]) -> None:
    """Refuse what can never be used.

    Args:
        event: any event of the topic `stt-errors`.
        now: the present time.
        check_uri: raises InvalidMessage for an audio_uri outside the allowed prefixes.

    Raises:
        InvalidMessage: too old to be consumed once, from the future, or with an audio_uri that is not allowed.
    """
    if event.occurred_at < now - CARRY_FOR:
        raise InvalidMessage(f"event {event.event_id}: expected at most {CARRY_FOR.days} days old, found {event.occurred_at.isoformat()}")
    if event.occurred_at > now + AHEAD:
        raise InvalidMessage(f"event {event.event_id}: expected a time that has come, found {event.occurred_at.isoformat()}")
    if isinstance(event, Utterance):
        check_uri(event.audio_uri)
