"""The port that tells how much waits in subscriptions, without taking, leasing or delivering anything."""

from collections.abc import Collection
from datetime import datetime
from typing import Protocol

from pydantic import AwareDatetime

from shared.documents import Frozen
from shared.errors import RetuneError


class NotTold(RetuneError):  # noqa: N818 - the taxonomy's names say the fact
    """Nobody says how much waits; the text says why, and what to do."""


class Backlog(Frozen):
    """What waits in one subscription.

    Attributes:
        waiting: messages that are not acknowledged, those that somebody holds at this moment among them.
        oldest_s: age of the oldest of them; None = nothing waits, or it is not told.
        at: when this was so.
    """

    subscription: str
    waiting: int
    oldest_s: float | None
    at: AwareDatetime


class Backlogs(Protocol):
    """Tells how much waits."""

    def look(self, subscriptions: Collection[str], now: datetime) -> tuple[Backlog, ...]:
        """Return what waits in those subscriptions of which something is known, by name.

        Args:
            subscriptions: short names.
            now: the present time.

        Raises:
            NotTold: nobody answers, or does not say.
        """
        ...
