"""Deletes the files of models that nobody needs any more [io].

plan        alias, manifests and running cycles -> `decide_gc`
mark        WithdrawRequested(collect): the deployer's swap refuses what has become needed meanwhile
delete      every object but the manifest, and only of what the alias calls collected; a run that died is finished by the next

What has no manifest needs no mark: no alias, verdict or rollback can name it. Its cycle must have ended, and nothing of it be newer than
a day: a trainer looks at the state before it writes the manifest, and an import takes minutes.
"""

from collections import defaultdict
from datetime import timedelta

from functions.launcher.opening import find_state, newest_states
from functions.runtime import Ports
from infra.models import complete_versions
from infra.people import Person, read_production, withdraw
from shared import keys
from shared.cas import find
from shared.frozen import Frozen
from shared.objectstore import ObjectInfo
from shared.retention import Fate, StoredModel, decide_gc
from shared.training import ModelManifest, TrainingSpec, parse_document

ABANDONED_AFTER = timedelta(days=1)
IMPORTED_FIRST = 0
"""The first import takes no cycle's number, so that it has no state."""


class GcReport(Frozen):
    """What a collection did, or (`dry_run`) would do.

    Attributes:
        fates: of every model that has files.
        deleted: versions whose files are gone now.
        left: versions that could not be collected, with the reason.
        abandoned: bytes of files without a manifest, by version: a trainer or an import died while it uploaded them.
    """

    dry_run: bool
    fates: tuple[Fate, ...]
    deleted: tuple[int, ...] = ()
    left: dict[int, str] = {}
    abandoned: dict[int, int] = {}


def collect_models(ports: Ports, person: Person, *, dry_run: bool) -> GcReport:
    """Delete the files of every model that the retention lets go.

    Raises:
        NoAnswer: the deployer did not move the alias in time; run it again.
    """
    fates = plan(ports)
    abandoned = {version: sum(info.size_bytes for info in infos) for version, infos in _abandoned(ports).items()}
    if dry_run:
        return GcReport(dry_run=True, fates=fates, abandoned=abandoned)
    for version in abandoned:
        _delete_files(ports, version)
    deleted, left = [], {}
    for fate in fates:
        if not fate.collect:
            continue
        named = person.model_copy(update={"reason": person.reason or f"retention: {fate.why}"})
        answer = None if _is_collected(ports, fate.version) else withdraw(ports, named, fate.version, collect=True)
        if _is_collected(ports, fate.version) and fate.version not in _bases_of_running(ports):
            _delete_files(ports, fate.version)
            deleted.append(fate.version)
        else:
            left[fate.version] = answer.text if answer is not None else "a cycle trains from it"
    return GcReport(dry_run=False, fates=fates, deleted=tuple(deleted), left=left, abandoned=abandoned)


def plan(ports: Ports) -> tuple[Fate, ...]:
    """Return what the retention says of every model that has files."""
    models = [model for model in (_stored(ports, version) for version in complete_versions(ports)) if model.size_bytes]
    return decide_gc(read_production(ports), models, _running(ports), ports.settings.policy.keep_models)


def _abandoned(ports: Ports) -> dict[int, list[ObjectInfo]]:
    """Return the files of models that nobody will complete any more."""
    found: dict[int, list[ObjectInfo]] = defaultdict(list)
    for info in ports.store.list(keys.MODELS):
        found[keys.cycle_of(info.key)].append(info)
    now = ports.clock.now()
    return {
        version: infos
        for version, infos in found.items()
        if keys.manifest(version) not in {info.key for info in infos}
        and all(info.updated < now - ABANDONED_AFTER for info in infos)
        and _has_ended(ports, version)
    }


def _has_ended(ports: Ports, cycle: int) -> bool:
    state = find_state(ports, cycle)
    return state.ended if state is not None else cycle == IMPORTED_FIRST


def _stored(ports: Ports, version: int) -> StoredModel:
    manifest = parse_document(ModelManifest, ports.store.get(keys.manifest(version)).data, what=keys.manifest(version))
    size = sum(info.size_bytes for info in ports.store.list(keys.model(version)) if info.key != keys.manifest(version))
    return StoredModel(version=version, base_version=manifest.base_version, size_bytes=size)


def _running(ports: Ports) -> dict[int, int | None]:
    running: dict[int, int | None] = {}
    for state in newest_states(ports):
        if not state.ended:
            found = find(ports.store, keys.spec(state.cycle))
            spec = parse_document(TrainingSpec, found.data, what=found.info.key) if found else None
            running[state.cycle] = spec.base.version if spec else None
    return running


def _bases_of_running(ports: Ports) -> set[int | None]:
    return set(_running(ports).values())


def _is_collected(ports: Ports, version: int) -> bool:
    production = read_production(ports)
    return production is not None and version in production.collected


def _delete_files(ports: Ports, version: int) -> None:
    for info in list(ports.store.list(keys.model(version))):
        if info.key != keys.manifest(version):
            ports.store.delete(info.key, if_generation_match=info.generation)
