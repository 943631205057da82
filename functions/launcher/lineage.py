"""The stable model: what it has learned, and for which errors nobody need be asked any more."""

from collections.abc import Callable
from dataclasses import dataclass

from functions.runtime import Ports
from shared import keys
from shared.alias import find_production
from shared.cas import find
from shared.dataset import Row
from shared.documents import parse_document, parse_lines
from shared.gold import GoldRecord
from shared.manifest import ModelManifest
from shared.objectstore import StoredObject

GOLD_CYCLES = 200
"""An error waits 90 days for a person's word: no more cycles than these can have made gold for it."""


@dataclass(frozen=True)
class Lineage:
    """The stable model and what it has learned.

    Attributes:
        stable: its version; None before the first.
        manifest: its manifest as stored; None before the first.
        learned: cycles whose datasets it or an ancestor was trained on.
    """

    stable: int | None
    manifest: StoredObject | None
    learned: frozenset[int]


def read_lineage(ports: Ports) -> Lineage:
    """Read which model is stable and what it has learned."""
    production = find_production(ports.store)
    stable = production.stable if production else None
    if stable is None:
        return Lineage(None, None, frozenset())
    stored = ports.store.get(keys.manifest(stable))
    manifest = parse_document(ModelManifest, stored.data, what=keys.manifest(stable))
    return Lineage(stable, stored, frozenset(manifest.learned))


def askable(ports: Ports, learned: frozenset[int]) -> Callable[[Row], bool]:
    """Return what tells whether gold may be made for an error without a reference: for none where the policy names nobody to ask.

    What the stable model has learned from gold waits for a person's word, and need not be asked again.
    """
    if ports.settings.policy.gold is None:
        return lambda _: False
    done = _learned_gold(ports, learned)
    return lambda row: row.utterance_id not in done


def _learned_gold(ports: Ports, learned: frozenset[int]) -> frozenset[str]:
    newest = sorted(learned, reverse=True)[:GOLD_CYCLES]
    found = {number: find(ports.store, keys.gold(number)) for number in newest}
    return frozenset(
        record.utterance_id
        for stored in found.values()
        if stored is not None
        for record in parse_lines(GoldRecord, stored.data, what=stored.info.key)
        if record.decision == "accepted"
    )
