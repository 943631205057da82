"""The spool as the outbox sees it: there or not, and never raising [io]."""

import logging
import math
from collections.abc import Sequence

from retune_client.clock import Clock
from retune_client.errors import SpoolFullError
from retune_client.events import EventMessage
from retune_client.spool import Segment, Spool
from retune_client.tally import Tally

log = logging.getLogger(__name__)

REST_S = 10.0
"""How long a disk that refused a write is left alone."""


class Backlog:
    """Keeps events on disk where there is a spool; what the disk refuses stays with the caller.

    Attributes:
        pending: the spool may hold segments that nobody has claimed.
        unreadable: the last attempt to read it failed.
    """

    def __init__(self, spool: Spool | None, clock: Clock, tally: Tally) -> None:
        self.pending = spool is not None
        self.unreadable = False
        self._spool = spool
        self._clock = clock
        self._tally = tally
        self._rest_until = -math.inf

    @property
    def usable(self) -> bool:
        """Whether there is a spool and it has not just refused."""
        return self._spool is not None and self._clock.monotonic() >= self._rest_until

    def look_again(self) -> None:
        """Look for segments at the next occasion: a neighbour may have died and left some."""
        self.pending = self._spool is not None

    def store(self, messages: Sequence[EventMessage]) -> bool:
        """Store all of `messages` and tell so; else they are still the caller's."""
        if self._spool is None:
            return False
        try:
            self._spool.append(messages)
        except (OSError, SpoolFullError) as error:
            self._refused(error)
            return False
        self._tally.add(spooled=len(messages))
        self.pending = True
        return True

    def take(self) -> Segment | None:
        """Claim the oldest segment, where there is one and the disk allows."""
        segment = None
        self.unreadable = False
        if self._spool is not None:
            expired, corrupt = self._spool.expired, self._spool.corrupt
            try:
                segment = self._spool.take()
            except OSError as error:
                self.unreadable = True
                self._refused(error)
            self._tally.drop("spool_expired", self._spool.expired - expired)
            self._tally.drop("spool_corrupt", self._spool.corrupt - corrupt)
        self.pending = segment is not None
        return segment

    def finish(self, segment: Segment) -> None:
        """Delete a segment whose events are all published."""
        if self._spool is not None:
            try:
                self._spool.finish(segment)
            except OSError as error:
                self._refused(error)

    def close(self, claimed: Segment | None) -> None:
        """Let go of everything; a claimed segment goes back as it was."""
        if self._spool is not None:
            if claimed is not None:
                self._spool.release(claimed)
            self._spool.close()

    def _refused(self, error: Exception) -> None:
        self._rest_until = self._clock.monotonic() + REST_S
        self._tally.problem(f"spool: {error}")
        log.warning("spool: %s", error)
