"""The production alias and the models beside it, as the records tell [io]."""

from collections.abc import Iterable, Sequence

from functions.runtime import Ports
from shared import keys
from shared.alias import find_production
from shared.cas import find_document, get_document
from shared.documents import Frozen
from shared.errors import NotFound
from shared.ids import version_name
from shared.manifest import ModelManifest
from shared.registry import Move, Production
from shared.verdict import ValidationReport, find_report


class ModelView(Frozen):
    """A model and what became of it.

    Attributes:
        role: stable, canary, previous, collected, withdrawn, or nothing of these.
        pinned: its files stay whatever the retention says.
        overrides: moves that made it stable against, or without, the evidence: for ever on record. The first model stands against none.
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
    logged = [get_document(ports.store, info.key, Move) for info in ports.store.list(keys.REGISTRY_LOG)]
    return _together(logged, find_production(ports.store))


def newest_moves(ports: Ports, production: Production | None, most: int) -> tuple[Move, ...]:
    """Return the newest moves, at most `most`, the newest first: their numbers follow each other, so that no log is listed."""
    last = production.seq if production is not None else 0
    found = (find_document(ports.store, keys.registry_log(seq), Move) for seq in range(last, max(last - most, 0), -1))
    return _together((move for move in found if move is not None), production)[::-1][:most]


def _together(logged: Iterable[Move], production: Production | None) -> tuple[Move, ...]:
    moves = {move.seq: move for move in (*logged, *(production.moves if production else ()))}
    return tuple(move for _, move in sorted(moves.items()))


def get_model(ports: Ports, version: int, moves: Sequence[Move]) -> ModelView:
    """Return one model.

    Raises:
        NotFound: there is no such model.
    """
    manifest = find_document(ports.store, keys.manifest(version), ModelManifest)
    if manifest is None:
        raise NotFound(f"{version_name(version)}: expected {ports.store.uri}/{keys.manifest(version)}, found no such object")
    production = find_production(ports.store) or Production()
    return ModelView(
        version=version,
        role=role_of(production, version),
        pinned=version in production.pinned,
        overrides=tuple(move for move in moves if move.override and not move.first and move.version == version),
        verdict=find_report(ports.store, version),
        manifest=manifest,
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
