"""The production alias and the models beside it, as the records tell [io]."""

from collections.abc import Iterable, Sequence

from functions.runtime import Ports
from shared import keys
from shared.alias import find_production
from shared.cas import find
from shared.documents import Frozen, parse_document
from shared.errors import NotFound
from shared.ids import version_name
from shared.manifest import ModelManifest
from shared.registry import Move, Production
from shared.verdict import ValidationReport, parse_report


class ModelView(Frozen):
    """A model and what became of it.

    Attributes:
        role: stable, canary, previous, collected, withdrawn, or nothing of these.
        pinned: its files stay whatever the retention says.
        overrides: moves that made it stable against, or without, the evidence: for ever on record.
        verdict: the validator's word on it; None = it was not judged.
    """

    version: int
    role: str
    pinned: bool
    overrides: tuple[Move, ...]
    verdict: ValidationReport | None
    manifest: ModelManifest


def read_moves(ports: Ports) -> tuple[Move, ...]:
    """Return every move that the alias ever made, the oldest first: from the audit log, and the last from the alias itself."""
    stored = (ports.store.get(info.key) for info in ports.store.list(keys.REGISTRY_LOG))
    logged = {found.info.key: parse_document(Move, found.data, what=found.info.key) for found in stored}
    return _together(logged.values(), find_production(ports.store))


def newest_moves(ports: Ports, production: Production | None, most: int) -> tuple[Move, ...]:
    """Return the newest moves, at most `most`, the newest first: their numbers follow each other, so that no log is listed."""
    last = production.seq if production is not None else 0
    found = (find(ports.store, keys.registry_log(seq)) for seq in range(last, max(last - most, 0), -1))
    logged = [parse_document(Move, each.data, what=each.info.key) for each in found if each is not None]
    return _together(logged, production)[::-1][:most]


def _together(logged: Iterable[Move], production: Production | None) -> tuple[Move, ...]:
    moves = {move.seq: move for move in (*logged, *(production.moves if production else ()))}
    return tuple(move for _, move in sorted(moves.items()))


def find_model(ports: Ports, version: int, moves: Sequence[Move]) -> ModelView:
    """Return one model.

    Raises:
        NotFound: there is no such model.
    """
    stored = find(ports.store, keys.manifest(version))
    if stored is None:
        raise NotFound(f"{version_name(version)}: expected {ports.store.uri}/{keys.manifest(version)}, found no such object")
    production = find_production(ports.store) or Production()
    report = find(ports.store, keys.report(version))
    return ModelView(
        version=version,
        role=role_of(production, version),
        pinned=version in production.pinned,
        overrides=tuple(move for move in moves if move.override and move.version == version),
        verdict=parse_report(report.data) if report else None,
        manifest=parse_document(ModelManifest, stored.data, what=stored.info.key),
    )


def role_of(production: Production, version: int) -> str:
    """Return what a version is now; empty = it serves nobody and nothing speaks against it."""
    roles = {
        "stable": version == production.stable,
        "canary": production.canary is not None and version == production.canary.version,
        "collected": version in production.collected,
        "withdrawn": version in production.withdrawn,
        "previous": version in production.previous,
    }
    return next((role for role, holds in roles.items() if holds), "")
