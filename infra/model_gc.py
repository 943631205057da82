"""Deletes the files of models that nobody needs any more [io].

plan        alias, manifests and running cycles -> `decide_gc`
mark        WithdrawRequested(collect): the deployer's swap refuses what has become needed meanwhile
delete      every object but the manifest, and only of what the alias calls collected; a run that died is finished by the next
"""

from functions.launcher.opening import newest_states
from functions.runtime import Ports
from infra.models import complete_versions
from infra.people import Person, read_production, withdraw
from shared import keys
from shared.cas import find
from shared.frozen import Frozen
from shared.retention import Fate, StoredModel, decide_gc
from shared.training import ModelManifest, TrainingSpec, parse_document


class GcReport(Frozen):
    """What a collection did, or (`dry_run`) would do.

    Attributes:
        fates: of every model that has files.
        deleted: versions whose files are gone now.
        left: versions that could not be collected, with the reason.
    """

    dry_run: bool
    fates: tuple[Fate, ...]
    deleted: tuple[int, ...] = ()
    left: dict[int, str] = {}


def collect_models(ports: Ports, person: Person, *, dry_run: bool) -> GcReport:
    """Delete the files of every model that the retention lets go.

    Raises:
        NoAnswer: the deployer did not move the alias in time; run it again.
    """
    fates = plan(ports)
    if dry_run:
        return GcReport(dry_run=True, fates=fates)
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
    return GcReport(dry_run=False, fates=fates, deleted=tuple(deleted), left=left)


def plan(ports: Ports) -> tuple[Fate, ...]:
    """Return what the retention says of every model that has files."""
    models = [model for model in (_stored(ports, version) for version in complete_versions(ports)) if model.size_bytes]
    return decide_gc(read_production(ports), models, _running(ports), ports.settings.policy.keep_models)


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
