"""The ports of one simulated instance, with everything that can go wrong at a call: what strikes is decided in one place."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path

from functions.launcher.trainers import NoCapacity, Refused, Started, TrainerLauncher, TrainerRun
from shared.bus import Outgoing, Publisher
from shared.clock import Clock
from shared.errors import CommitUnknown, Conflict, Retryable, RetuneError
from shared.objectstore import Generation, ObjectInfo, ObjectStore, StoredObject
from tests.chaos.schedule import FAULTS, Fault


class Crash(BaseException):
    """The process is dead: no `except Exception` of the product sees it, and nothing is acknowledged."""


@dataclass(frozen=True, order=True)
class Point:
    """A place at which an actor changes the world: what it writes, without numbers, digests and names made anew."""

    actor: str
    what: str

    def __str__(self) -> str:
        return f"{self.actor}: {self.what}"


_VARIABLE = (
    (re.compile(r"\d{4}-\d\d-\d\d/[a-z]+-"), "<day>/<function>-"),
    (re.compile(r"[0-9a-f]{32,}"), "<name>"),
    (re.compile(r"\d{6,}"), "<n>"),
)


@lru_cache(maxsize=1 << 12)
def pattern(key: str) -> str:
    """Return a key without what differs from run to run."""
    for variable, name in _VARIABLE:
        key = variable.sub(name, key)
    return key


def _written(key: str, data: bytes) -> str:
    status = f" ({json.loads(data)['status']})" if key.endswith("/state.json") else ""
    return f"put {pattern(key)}{status}"


@dataclass
class Injector:
    """Decides at each call of each actor whether a fault strikes.

    Attributes:
        met: points that an actor came to, each with the sides of it on which it stood.
        crashed: points at which an actor died, with the side.
        struck: how many faults have struck.
        skews: seconds by which an actor's clock is ahead.
        tell: takes a line for the timeline.
        due: says whether messages could be delivered now.
        overtake: delivers some of them meanwhile.
        finish: lets every trainer do all of its work.
    """

    clock: Clock
    tell: Callable[[str], None]
    due: Callable[[], bool]
    overtake: Callable[[], None]
    finish: Callable[[], None]
    met: set[tuple[Point, str]] = field(default_factory=set)
    crashed: set[tuple[Point, str]] = field(default_factory=set)
    struck: int = 0
    skews: dict[str, int] = field(default_factory=dict)
    away: dict[str, datetime] = field(default_factory=dict)
    _armed: list[tuple[Fault, list[int]]] = field(default_factory=list)

    def arm(self, fault: Fault) -> None:
        """Let a fault strike later."""
        self._armed.append((fault, [fault.nth]))

    def cut_off(self, actor: str, until: datetime) -> None:
        """Let an actor reach nothing until then."""
        self.away[actor] = until

    def heal(self) -> None:
        """End what lasts; faults that have not struck yet still may."""
        self.away.clear()

    def reading(self, actor: str, what: str) -> None:
        """Come to a call that changes nothing."""
        self._reach(actor)
        if self._armed:
            self._let_overtake(Point(actor, what), ("interleave",))

    def before(self, point: Point) -> None:
        """Come to a call that changes the world.

        Raises:
            Crash, Retryable: as was asked for.
        """
        self._reach(point.actor)
        self._let_overtake(point, ("interleave", "interleave write"))
        if self._strikes(point, ("finish",)):
            self.finish()
        self.met.add((point, "crash before"))
        kind = self._strikes(point, ("crash before", "unavailable"))
        if kind == "crash before":
            self.crashed.add((point, kind))
            raise Crash(str(point))
        if kind == "unavailable":
            raise Retryable(f"{point}: 429 or 503, as the schedule asked")

    def after(self, point: Point, *, unknown: type[RetuneError] = Retryable, conditional: bool = False) -> None:
        """Have changed the world, before the actor knows.

        Raises:
            Crash, Retryable, CommitUnknown, Conflict: as was asked for.
        """
        self.met.add((point, "crash after"))
        kind = self._strikes(point, ("crash after", "lost reply", *(("conflict",) if conditional else ())))
        if kind == "crash after":
            self.crashed.add((point, kind))
            raise Crash(str(point))
        if kind == "lost reply":
            lost = f"{point}: done, and the reply was lost, as the schedule asked"
            raise unknown(lost)
        if kind == "conflict":
            raise Conflict(f"{point}: 412 to the second try of a write that had landed, as the schedule asked")

    def _reach(self, actor: str) -> None:
        if actor in self.away and self.clock.now() < self.away[actor]:
            raise Retryable(f"{actor} is cut off until {self.away[actor].isoformat()}, as the schedule asked")

    def _let_overtake(self, point: Point, kinds: tuple[str, ...]) -> None:
        if self._fitting(point, kinds) and self.due() and self._strikes(point, kinds):
            self.overtake()

    def _fitting(self, point: Point, kinds: tuple[str, ...]) -> list[tuple[Fault, list[int]]]:
        """Return the armed faults that may strike here, if it is their turn."""
        return [
            armed
            for armed in self._armed
            if armed[0].kind in kinds and armed[0].actor in {"", point.actor} and armed[0].point in {"", point.what}
        ]

    def _strikes(self, point: Point, kinds: tuple[str, ...]) -> str:
        for armed in self._fitting(point, kinds):
            fault, left = armed
            left[0] -= 1
            if left[0] <= 0:
                self._armed.remove(armed)
                self.struck += 1
                self.tell(f"! {point.actor} {FAULTS[fault.kind]}: {point.what}")
                return fault.kind
        return ""


@dataclass(frozen=True)
class SkewedClock:
    """An instance's own clock."""

    injector: Injector
    actor: str

    def now(self) -> datetime:
        """Return the present time as this instance believes it."""
        return self.injector.clock.now() + timedelta(seconds=self.injector.skews.get(self.actor, 0))


@dataclass(frozen=True)
class FaultyStore:
    """`ObjectStore` as one actor reaches it. `check` raises where the actor is no more."""

    inner: ObjectStore
    injector: Injector
    actor: str
    check: Callable[[], None] = lambda: None

    @property
    def uri(self) -> str:
        """Address of the store."""
        return self.inner.uri

    def get(self, key: str, *, generation: Generation | None = None) -> StoredObject:
        """Read one object."""
        self._reading(f"get {key}")
        return self.inner.get(key, generation=generation)

    def stat(self, key: str) -> ObjectInfo:
        """Read an object's listing."""
        self._reading(f"stat {key}")
        return self.inner.stat(key)

    def list(self, prefix: str, *, start_after: str | None = None) -> Iterator[ObjectInfo]:
        """List a prefix."""
        self._reading(f"list {prefix}")
        return self.inner.list(prefix, start_after=start_after)

    def get_to_file(self, key: str, path: Path, *, generation: Generation | None = None) -> ObjectInfo:
        """Download one object."""
        self._reading(f"get {key}")
        return self.inner.get_to_file(key, path, generation=generation)

    def put(
        self,
        key: str,
        data: bytes,
        *,
        if_generation_match: Generation | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> ObjectInfo:
        """Write one object."""
        point = Point(self.actor, _written(key, data))
        self.check()
        self.injector.before(point)
        self.check()
        info = self.inner.put(key, data, if_generation_match=if_generation_match, metadata=metadata, content_type=content_type)
        self.injector.after(point, unknown=CommitUnknown, conditional=if_generation_match is not None)
        return info

    def put_file(
        self,
        key: str,
        path: Path,
        *,
        if_generation_match: Generation | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str = "application/octet-stream",
    ) -> ObjectInfo:
        """Write one object from a file."""
        return self.put(key, path.read_bytes(), if_generation_match=if_generation_match, metadata=metadata, content_type=content_type)

    def delete(self, key: str, *, if_generation_match: Generation | None = None) -> None:
        """Delete one object."""
        point = Point(self.actor, f"delete {pattern(key)}")
        self.check()
        self.injector.before(point)
        self.inner.delete(key, if_generation_match=if_generation_match)
        self.injector.after(point)

    def _reading(self, what: str) -> None:
        self.check()
        self.injector.reading(self.actor, what)
        self.check()


@dataclass(frozen=True)
class FaultyPublisher:
    """`Publisher` as one actor reaches it."""

    inner: Publisher
    injector: Injector
    actor: str

    def publish(self, message: Outgoing) -> str:
        """Publish one message."""
        point = Point(self.actor, f"publish {message.topic} {message.attributes.get('type', '')}".strip())
        self.injector.before(point)
        message_id = self.inner.publish(message)
        self.injector.after(point)
        return message_id


@dataclass(frozen=True)
class FaultyTrainers:
    """`TrainerLauncher` as one actor reaches it."""

    inner: TrainerLauncher
    injector: Injector
    actor: str

    def start(self, run: TrainerRun) -> Started | NoCapacity | Refused:
        """Start a trainer."""
        point = Point(self.actor, "start a trainer")
        self.injector.before(point)
        answer = self.inner.start(run)
        self.injector.after(point)
        return answer

    def delete(self, name: str) -> None:
        """End a trainer."""
        point = Point(self.actor, "end a trainer")
        self.injector.before(point)
        self.inner.delete(name)
        self.injector.after(point)

    def list_names(self) -> list[str]:
        """Return the names of the trainers that are there."""
        self.injector.reading(self.actor, "list trainers")
        return self.inner.list_names()
