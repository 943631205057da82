"""What may happen to a process: it dies, its store or its bus is away, a reply is lost, another writer is faster."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from shared.bus import Outgoing
from shared.errors import CommitUnknown, Conflict, NotFound, Retryable, RetuneError
from shared.testing.memory_store import MemoryStore


class Killed(RetuneError):
    """The process died between two calls."""


FAULTS = (Killed, CommitUnknown, Retryable, Conflict, NotFound)
"""What a handler may raise under these faults: the message is delivered again."""


@dataclass
class Sink:
    """A publisher that remembers, and is away for some publishes."""

    sent: list[Outgoing] = field(default_factory=list)
    away_for: int = 0

    def publish(self, message: Outgoing) -> str:
        if self.away_for:
            self.away_for -= 1
            raise Retryable("Pub/Sub is away")
        self.sent.append(message)
        return str(len(self.sent))

    @property
    def text(self) -> str:
        """Everything that was sent."""
        return "".join(message.data.decode() for message in self.sent)


@dataclass
class Fuse:
    """A hook of the store that raises once, at the nth such call."""

    left: int
    operations: tuple[str, ...]
    fault: RetuneError

    def __call__(self, operation: str, _key: str) -> None:
        if operation in self.operations:
            self.left -= 1
            if self.left == 0:
                raise self.fault

    @property
    def struck(self) -> bool:
        return self.left <= 0


def dies(store: MemoryStore, number: int) -> Fuse:
    fuse = Fuse(number, ("put",), Killed("dead"))
    store.before = fuse
    return fuse


def dies_after_a_write(store: MemoryStore, number: int) -> Fuse:
    fuse = Fuse(number, ("put",), Killed("dead"))
    store.after = fuse
    return fuse


def loses_a_reply(store: MemoryStore, number: int) -> Fuse:
    fuse = Fuse(number, ("put",), CommitUnknown("the reply was lost"))
    store.after = fuse
    return fuse


def is_refused(store: MemoryStore, number: int) -> Fuse:
    fuse = Fuse(number, ("put",), Conflict("412"))
    store.before = fuse
    return fuse


def is_away(store: MemoryStore, number: int) -> Fuse:
    fuse = Fuse(number, ("get", "stat", "put"), Retryable("429 or 503"))
    store.before = fuse
    return fuse


INJECTIONS: Mapping[str, Callable[[MemoryStore, int], Fuse]] = {
    "dies": dies,
    "dies after a write": dies_after_a_write,
    "loses a reply": loses_a_reply,
    "is refused once": is_refused,
    "is away": is_away,
}
"""By name: strikes at the nth call of the store."""


def heal(store: MemoryStore) -> None:
    """End every fault of a store."""
    store.before = store.after = lambda _operation, _key: None


def outcome_of(act: Callable[[], str]) -> str | Exception:
    """Return what came of a delivery, or why it will be delivered again."""
    try:
        return act()
    except FAULTS as error:
        return error
