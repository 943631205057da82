"""What is wrong at the moment between the processes of a stack and what they talk to; decided in one place for every proxy."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from functions.wiring import READS
from tests.chaos.schedule import ACTORS
from tests.gcs_proxy import CUT, PASS, REFUSED, TRUNCATED, TWICE

LATE = "late"
KILL_BEFORE = "kill before"
KILL_AFTER = "kill after"
FATES: Mapping[str, Mapping[str, str]] = {
    "store": {
        LATE: "waits for the store",
        "429": "is answered 429 by the store",
        "503": "is answered 503 by the store",
        REFUSED: "is cut off before the store has heard it",
        CUT: "loses the store's replies",
        TRUNCATED: "gets half of the store's replies",
        KILL_BEFORE: "dies before its next write",
        KILL_AFTER: "dies after its next write, before it knows",
    },
    "bus": {
        LATE: "waits for the bus",
        "429": "is told by the bus to slow down",
        "503": "finds the bus away",
        CUT: "loses the bus's replies",
        KILL_BEFORE: "dies before its next publish",
        KILL_AFTER: "dies after its next publish, before it knows",
    },
    "push": {
        LATE: "gets some messages late, after others",
        "503": "answers 503 before it has looked",
        REFUSED: "is not reached by pushes",
        CUT: "handles messages, and its answers are lost",
        TWICE: "gets messages twice",
    },
    "compute": {
        LATE: "waits for Compute Engine",
        "503": "is answered 503 by Compute Engine",
        REFUSED: "is cut off before Compute Engine has heard it",
        CUT: "loses Compute Engine's replies",
    },
}
"""Link -> what may happen on it, in words. A 429 of the bus is RESOURCE_EXHAUSTED, a 503 UNAVAILABLE."""
SUFFERERS = {
    "store": ACTORS,
    "bus": ACTORS,
    "push": tuple(READS),
    "compute": ("launcher", "sweeper"),
}
"""Link -> who may have trouble on it."""
DEADLY = frozenset({KILL_BEFORE, KILL_AFTER})
LONGEST_WAIT_S = 1.5


@dataclass(frozen=True)
class Trouble:
    """Something that is wrong for a while.

    Attributes:
        actor: who suffers from it.
        link: to what, of FATES.
        fate: of the link's FATES.
        share: of the calls, in (0, 1].
        seconds: how long, in real time; one that kills ends with the kill.
    """

    actor: str
    link: str
    fate: str
    share: float = 1.0
    seconds: float = 1.0

    def __str__(self) -> str:
        often = "" if self.fate in DEADLY else f", {self.share:.0%} of the calls for {self.seconds:.1f} s"
        return f"{self.actor} {FATES[self.link][self.fate]}{often}"


@dataclass
class Weather:
    """All troubles of the moment; safe to share between threads.

    Attributes:
        kill: kills a process.
        struck: how often each (link, fate) has struck.
    """

    rng: random.Random
    kill: Callable[[str], None]
    struck: Counter[tuple[str, str]] = field(default_factory=Counter)
    _now: list[tuple[Trouble, float]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _calm: threading.Event = field(default_factory=threading.Event)

    def bring(self, *troubles: Trouble) -> None:
        """Let troubles begin."""
        with self._lock:
            self._now += [(trouble, time.monotonic() + trouble.seconds) for trouble in troubles]

    def heal(self) -> None:
        """End all of them for good."""
        with self._lock:
            self._now.clear()
        self._calm.set()

    def fate(self, actor: str, link: str, *, writes: bool) -> str:
        """Return what happens to one call; a late one comes back after its wait, one that kills before it has killed."""
        trouble, wait_s = self._draw(actor, link, writes=writes)
        if trouble is None:
            return PASS
        if trouble.fate == LATE:
            self._calm.wait(wait_s)
            return PASS
        if trouble.fate == KILL_BEFORE:
            self.kill(actor)
            return REFUSED
        return trouble.fate

    def answered(self, actor: str, fate: str) -> None:
        """See that a call with a fate was carried out."""
        if fate == KILL_AFTER:
            self.kill(actor)

    def _draw(self, actor: str, link: str, *, writes: bool) -> tuple[Trouble | None, float]:
        with self._lock:
            self._now = [(trouble, until) for trouble, until in self._now if trouble.fate in DEADLY or until > time.monotonic()]
            for number, (trouble, _) in enumerate(self._now):
                if (trouble.actor, trouble.link) != (actor, link) or (trouble.fate in DEADLY and not writes):
                    continue
                if self.rng.random() < trouble.share:
                    self.struck[link, trouble.fate] += 1
                    if trouble.fate in DEADLY:
                        del self._now[number]
                    return trouble, self.rng.uniform(0, LONGEST_WAIT_S)
        return None, 0.0
