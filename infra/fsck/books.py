"""What a bucket holds when everything has come to rest: the books that must balance.

Only values. `infra.fsck.reading` reads them from a store, `infra.fsck.rules` says what is wrong with them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from shared.cycle import CycleState, Status
from shared.dataset import Row
from shared.manifest import ModelManifest
from shared.registry import Move, Production
from shared.training import TrainingResult, TrainingSpec
from shared.verdict import ValidationReport

Document = TypeVar("Document")
RUNS_STAY = timedelta(days=29)
"""The bucket of `infra/modules/store` deletes what is under `runs/` 30 days after it was written; a day for the lifecycle's own pace."""


@dataclass(frozen=True)
class Problem:
    """One thing that is not as it must be.

    Attributes:
        where: an object's key, or what it is about.
        advice: what to do; empty = what the rule says.
    """

    where: str
    expected: str
    found: str
    advice: str = ""

    def __str__(self) -> str:
        return f"{self.where}: expected {self.expected}, found {self.found}"


@dataclass(frozen=True)
class Stored(Generic[Document]):
    """A document with the digest of the very bytes in which it is stored."""

    document: Document
    sha256: str


@dataclass(frozen=True)
class Model:
    """A model's manifest as stored, and what is wrong with its files; None = nothing that was looked for."""

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
class Books:
    """Everything that can be checked. Mappings go by the number of the cycle.

    Attributes:
        head: the cycle that is collecting.
        ledgers: event_ids in the ledgers that no dataset has sealed.
        sealed: event_ids in what is left of the ledgers that a dataset has sealed.
        counted, exact: errors in the open ledger, as its totals say and as its events say.
        held_out: utterances that each cycle has added to the holdout.
        digests: of every other object that a document names by its digest, by key; absent = it is not there.
        redactions: digests that objects were given when people were forgotten, by key and the digest before.
        keys: of all objects.
        unreadable: what cannot be read.
        now: when they were read; None = nothing has expired.
    """

    head: int = 1
    ledgers: Mapping[int, frozenset[str]] = field(default_factory=dict)
    sealed: Mapping[int, frozenset[str]] = field(default_factory=dict)
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
    digests: Mapping[str, str] = field(default_factory=dict)
    redactions: Mapping[tuple[str, str], str] = field(default_factory=dict)
    keys: frozenset[str] = frozenset()
    unreadable: tuple[Problem, ...] = ()
    now: datetime | None = None

    def run_expired(self, cycle: int) -> bool:
        """Tell whether what a cycle's trainer wrote, beside its model, may have been deleted by the bucket's lifecycle."""
        state = self.states.get(cycle)
        return self.now is not None and state is not None and state.ended and self._trained(state) < self.now - RUNS_STAY

    @staticmethod
    def _trained(state: CycleState) -> datetime:
        return next((entry.at for entry in reversed(state.history) if entry.status == Status.VALIDATING), state.since)

    def became(self, key: str, digest: str, now: str | None) -> bool:
        """Tell whether an object that had a digest is the one that is stored, after people were forgotten."""
        for _ in range(len(self.redactions) + 1):
            if digest == now:
                return True
            if (key, digest) not in self.redactions:
                return False
            digest = self.redactions[key, digest]
        return False
