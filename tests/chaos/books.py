"""The books of a bucket (`infra.fsck.books`), with what the world outside knows of it and what was seen while they were written."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from infra.fsck.books import Books as BucketBooks
from infra.fsck.books import Model, Problem, Quarantined, Stored

__all__ = ["Books", "Model", "Outside", "Problem", "Publish", "Quarantined", "Seen", "Span", "Stored"]


@dataclass(frozen=True)
class Publish:
    """A message that the bus has acknowledged; `event_id` None: nobody can make anything of it."""

    message_id: str
    topic: str
    event_id: str | None


@dataclass(frozen=True)
class Span:
    """A trainer at work: from its first act to its end, in the order of what was observed; `end` None = it works still."""

    cycle: int
    attempt: int
    begin: int
    end: int | None


@dataclass(frozen=True)
class Seen:
    """One write of a cycle's state, a spec, the alias or its audit log, in the order in which they landed.

    Attributes:
        incomplete: what was wrong at that moment with a model that the alias named; None = nothing.
    """

    key: str
    data: bytes
    incomplete: str | None = None


@dataclass(frozen=True)
class Outside:
    """What the world outside the bucket knows.

    Attributes:
        publishes: that the bus has acknowledged.
        announced: event_ids on the topic `model-events`.
        waiting: messages that nobody has acknowledged, by subscription.
        dead: dead letters, by subscription.
        machines: names of the trainers that are still there.
        spans: of trainers at work.
        clocks_agree: the times in the histories of states can be compared.
    """

    publishes: tuple[Publish, ...] = ()
    announced: frozenset[str] = frozenset()
    waiting: Mapping[str, int] = field(default_factory=dict)
    dead: Mapping[str, int] = field(default_factory=dict)
    machines: tuple[str, ...] = ()
    spans: tuple[Span, ...] = ()
    clocks_agree: bool = True


@dataclass(frozen=True)
class Books(BucketBooks):
    """Everything that can be checked.

    Attributes:
        seen: what was observed; empty = nobody looked.
    """

    seen: tuple[Seen, ...] = ()
    outside: Outside = Outside()
