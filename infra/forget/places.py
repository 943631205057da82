"""Where a person is met in the store, and what each object would be without them [io]."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from infra.forget import redact
from infra.forget.redact import Redactor, Target
from shared import keys
from shared.cas import find
from shared.objectstore import ObjectStore, StoredObject

TRAINING_SET = re.compile(r"cycles/\d+/clips/(train|dev)-[^/]*\.jsonl")


@dataclass(frozen=True)
class Step:
    """One object that must change.

    Attributes:
        place: for people.
        found: as it was read.
        data: what it shall hold; None = it is deleted.
        theirs: the documents that go.
    """

    place: str
    found: StoredObject
    data: bytes | None
    theirs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def key(self) -> str:
        """The object's name."""
        return self.found.info.key

    @property
    def items(self) -> int:
        """How much goes."""
        return max(1, len(self.theirs))


PLACES: tuple[tuple[str, re.Pattern[str], Redactor], ...] = (
    ("report", re.compile(r"verdicts/\d+/report\.json"), redact.prune_report),
    ("run", re.compile(r"runs/\d+/result\.json"), redact.prune_json),
    ("run", re.compile(r"(runs|verdicts)/\d+/.*\.jsonl"), redact.prune_lines),
    ("cycle's clips", re.compile(r"cycles/\d+/clips/.*\.jsonl"), redact.prune_lines),
    ("what was told", re.compile(r"cycles/\d+/told\.jsonl"), redact.prune_told),
    ("former cycles", re.compile(r"cycles/\d+/former\.jsonl"), redact.drop_former),
    ("holdout", re.compile(r"corpora/holdout/.*\.jsonl"), redact.prune_lines),
    ("replay", re.compile(re.escape(keys.REPLAY)), redact.prune_lines),
    ("memory", re.compile(re.escape(keys.MEMORY)), redact.prune_lines),
    ("suite version", re.compile(r"corpora/suites/[^/]+/versions/.*\.jsonl"), redact.prune_lines),
    ("suite", re.compile(r"corpora/suites/[^/]+/manifest\.jsonl"), redact.prune_lines),
    ("dataset", re.compile(r"cycles/\d+/dataset\.jsonl"), redact.redact_rows),
    ("ledger", re.compile(r"ledger/\d+/.*\.jsonl"), redact.redact_events),
)
"""The first that fits counts. In the order in which they are emptied, as far as `find_steps` has no other reason."""
ORDER = {place: position for position, (place, _, _) in enumerate(PLACES)}
SOURCES = re.compile(r"ledger/\d+/.*\.jsonl|cycles/\d+/(dataset|clips/.*)\.jsonl|corpora/.*\.jsonl")
"""What tells which utterances are theirs."""
ASKED = re.compile(rf"runs/\d+/gold\.jsonl|cycles/\d+/clips/{keys.UNLABELLED_SET}\.jsonl")
"""Whoever is in these was asked about: a cached answer does not say whose it is, so that all of them go."""
FOLDERS = (keys.VERDICTS, "runs/", keys.CYCLES, keys.CORPORA, keys.LEDGERS)


def their_utterances(store: ObjectStore, target: Target) -> frozenset[str]:
    """Return the utterances that ledgers, datasets and corpora say are theirs."""
    found: set[str] = set()
    for stored in _objects(store, SOURCES):
        found.update(redact.utterances_of(redact.prune_lines(stored.data, target)[1]))
    return frozenset(found)


def _objects(store: ObjectStore, wanted: re.Pattern[str]) -> Iterator[StoredObject]:
    for info in (info for folder in FOLDERS for info in store.list(folder)):
        if wanted.fullmatch(info.key) and (stored := find(store, info.key)) is not None:
            yield stored


def find_steps(store: ObjectStore, target: Target) -> list[Step]:
    """Return everything that must change, in the order in which it must."""
    # what only an utterance's id betrays goes before what names the person: a command that died between them finds both again
    found = sorted(_redacted(store, target), key=lambda step: (any(map(target.named_in, step.theirs)), ORDER[step.place]))
    deleted: list[Step] = []
    if any(ASKED.fullmatch(step.key) for step in found):
        deleted.extend(Step("gold answers", stored, None) for stored in _under(store, keys.GOLD_ANSWERS))
    addresses = {address for step in found for address in redact.addresses_of(step.theirs)}
    copies = {address.removeprefix(f"{store.uri}/") for address in addresses if address.startswith(f"{store.uri}/{keys.AUDIO}")}
    deleted.extend(Step("copied audio", stored, None) for key in sorted(copies) if (stored := find(store, key)) is not None)
    refused = (stored for stored in _under(store, keys.QUARANTINE) if redact.quarantined(stored.data, target))
    deleted.extend(Step("quarantine", stored, None) for stored in refused)
    return [*deleted, *found]


def _under(store: ObjectStore, prefix: str) -> Iterator[StoredObject]:
    stored = (find(store, info.key) for info in store.list(prefix))
    return (each for each in stored if each is not None)


def _redacted(store: ObjectStore, target: Target) -> Iterator[Step]:
    for stored in _objects(store, re.compile("|".join(pattern.pattern for _, pattern, _ in PLACES))):
        place, redactor = next((place, redactor) for place, pattern, redactor in PLACES if pattern.fullmatch(stored.info.key))
        data, theirs = redactor(stored.data, target)
        if theirs:
            yield Step(place, stored, data, theirs)


def taught_in(steps: Sequence[Step]) -> set[int]:
    """Return the cycles that trained or tuned with clips of theirs."""
    return {keys.cycle_of(step.key) for step in steps if TRAINING_SET.fullmatch(step.key)}
