"""What a bucket holds when everything has come to rest, and what the world outside knows of it: the books that must balance.

Only values. `tests.chaos.reading` reads them from a store, `tests.chaos.audit` says what is wrong with them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from shared.cycle import CycleState
from shared.dataset import Row
from shared.registry import Move, Production
from shared.training import ModelManifest, TrainingResult, TrainingSpec
from shared.verdict import ValidationReport

Document = TypeVar("Document")


@dataclass(frozen=True)
class Stored(Generic[Document]):
    """A document with the digest of the very bytes in which it is stored."""

    document: Document
    sha256: str


@dataclass(frozen=True)
class Model:
    """A model's manifest as stored, and what is wrong with its files; None = each is there, to the last byte."""

    manifest: ModelManifest
    sha256: str
    problem: str | None = None


@dataclass(frozen=True)
class Quarantined:
    """A message that a function refused for good.

    Attributes:
        message_id: that the bus gave it; None = the body does not tell.
        event_id: None = nothing can be made of it.
    """

    key: str
    function: str
    reason: str
    message_id: str | None = None
    event_id: str | None = None


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
class Books:
    """Everything that can be checked. Mappings go by the number of the cycle.

    Attributes:
        head: the cycle that is collecting.
        ledgers: event_ids in the ledgers that no dataset has sealed.
        counted, exact: errors in the open ledger, as its totals say and as its events say.
        held_out: utterances that each cycle has added to the holdout.
        unreadable: documents that could not be parsed, and why.
        seen: what was observed; empty = nobody looked.
    """

    head: int = 1
    ledgers: Mapping[int, frozenset[str]] = field(default_factory=dict)
    counted: int = 0
    exact: int = 0
    datasets: Mapping[int, Stored[tuple[Row, ...]]] = field(default_factory=dict)
    specs: Mapping[int, Stored[TrainingSpec]] = field(default_factory=dict)
    results: Mapping[int, Stored[TrainingResult]] = field(default_factory=dict)
    reports: Mapping[int, Stored[ValidationReport]] = field(default_factory=dict)
    states: Mapping[int, CycleState] = field(default_factory=dict)
    models: Mapping[int, Model] = field(default_factory=dict)
    held_out: Mapping[int, frozenset[str]] = field(default_factory=dict)
    production: Production | None = None
    log: tuple[Move, ...] = ()
    quarantine: tuple[Quarantined, ...] = ()
    unreadable: tuple[str, ...] = ()
    seen: tuple[Seen, ...] = ()
    outside: Outside = Outside()
