"""Deletes the files of models that nobody needs any more [io].

plan        alias, manifests and running cycles -> `decide_gc`
mark        WithdrawRequested(collect): the deployer's swap refuses what has become needed meanwhile
delete      every object but the manifest, and only of what the alias calls collected; a run that died is finished by the next

What has no manifest is not marked, see `decide_unfinished`: just the objects that were looked at are deleted.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from functions.acts.people import withdraw
from functions.runtime import Ports
from functions.states import find_state, newest_states
from infra.models.stored import complete_versions, load_manifest
from infra.people import Person, ask
from shared import keys
from shared.alias import find_production
from shared.cas import find
from shared.documents import Frozen, parse_document
from shared.objectstore import ObjectInfo
from shared.retention import Fate, StoredModel, UnfinishedUpload, decide_gc, decide_unfinished
from shared.training import TrainingSpec

IMPORTED_FIRST = 0
"""The first import takes no cycle's number, so that it has no state."""
Uploads = Mapping[int, Sequence[ObjectInfo]]


class GcReport(Frozen):
    """What a collection did, or (`dry_run`) would do.

    Attributes:
        fates: of every model that has files, the oldest first.
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
    fates, uploads = plan(ports), _unfinished(ports)
    unfinished = plan_unfinished(ports, uploads)
    everything = tuple(sorted((*fates, *unfinished), key=lambda fate: fate.version))
    if dry_run:
        return GcReport(dry_run=True, fates=everything)
    abandoned = [fate.version for fate in unfinished if fate.collect]
    for version in abandoned:
        _delete(ports, uploads[version])
    collected, left = _collect(ports, person, fates)
    return GcReport(dry_run=False, fates=everything, deleted=tuple(sorted((*abandoned, *collected))), left=left)


def _collect(ports: Ports, person: Person, fates: Iterable[Fate]) -> tuple[list[int], dict[int, str]]:
    """Mark and delete; return the versions whose files are gone, and why others had to be left."""
    collected, left = [], {}
    for fate in fates:
        if not fate.collect:
            continue
        named = person.model_copy(update={"reason": person.reason or f"retention: {fate.why}"})
        answer = None if _is_collected(ports, fate.version) else ask(ports, named, withdraw, fate.version, collect=True)
        if _is_collected(ports, fate.version) and fate.version not in _bases_of_running(ports):
            _delete(ports, _files(ports, fate.version))
            collected.append(fate.version)
        else:
            left[fate.version] = answer.text if answer is not None else "a cycle trains from it"
    return collected, left


def plan(ports: Ports) -> tuple[Fate, ...]:
    """Return what the retention says of every model that has files."""
    models = [model for model in (_stored(ports, version) for version in complete_versions(ports.store)) if model.size_bytes]
    return decide_gc(find_production(ports.store), models, _running(ports), ports.settings.policy.keep_models)


def plan_unfinished(ports: Ports, uploads: Uploads) -> list[Fate]:
    """Return what the retention says of models without a manifest."""
    production, running, now = find_production(ports.store), _running(ports), ports.clock.now()
    return [decide_unfinished(production, _upload(ports, version, infos), running, now) for version, infos in uploads.items()]


def _unfinished(ports: Ports) -> Uploads:
    """Return the objects of every model that has no manifest."""
    found: dict[int, list[ObjectInfo]] = defaultdict(list)
    for info in ports.store.list(keys.MODELS):
        found[keys.cycle_of(info.key)].append(info)
    return {version: infos for version, infos in found.items() if keys.manifest(version) not in {info.key for info in infos}}


def _upload(ports: Ports, version: int, infos: Sequence[ObjectInfo]) -> UnfinishedUpload:
    written_at = max(info.updated for info in infos)
    state = find_state(ports, version)
    ended_at = state.since if state is not None and state.ended else None
    return UnfinishedUpload(
        version=version,
        size_bytes=sum(info.size_bytes for info in infos),
        written_at=written_at,
        ended_at=written_at if version == IMPORTED_FIRST else ended_at,
        completed=find(ports.store, keys.result(version)) is not None,
    )


def _stored(ports: Ports, version: int) -> StoredModel:
    size_bytes = sum(info.size_bytes for info in _files(ports, version))
    return StoredModel(version=version, base_version=load_manifest(ports.store, version).base_version, size_bytes=size_bytes)


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
    production = find_production(ports.store)
    return production is not None and version in production.collected


def _files(ports: Ports, version: int) -> list[ObjectInfo]:
    """Return the objects of a model beside its manifest."""
    return [info for info in ports.store.list(keys.model(version)) if info.key != keys.manifest(version)]


def _delete(ports: Ports, infos: Iterable[ObjectInfo]) -> None:
    for info in infos:
        ports.store.delete(info.key, if_generation_match=info.generation)
