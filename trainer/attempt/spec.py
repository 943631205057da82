"""What a run is given: spec, clips and base model, each verified against its digest before anything is made of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shared import keys
from shared.documents import parse_document, parse_lines, sha256_hex
from shared.errors import CorruptObject, InvalidMessage, NotFound
from shared.events import FailureReason
from shared.manifest import ModelManifest, digest_file, unsafe_files
from shared.objectstore import ObjectStore
from shared.training import Clip, ClipSet, ObjectRef, TrainingSpec, UnlabelledClip
from trainer.clips.fetch import ClipRow
from trainer.shell.failures import RunFailed

_SPEC_URI = re.compile(r"(?P<store>.+)/(?P<key>cycles/[0-9]{6}/spec\.json)")


@dataclass(frozen=True)
class SpecAddress:
    """Where a spec lies; the folder says which cycle it is of."""

    store_uri: str
    cycle: int


@dataclass(frozen=True)
class LoadedSpec:
    """A spec and the digest of the bytes that it was read from."""

    spec: TrainingSpec
    sha256: str


def parse_spec_uri(uri: str) -> SpecAddress:
    """Split `gs://bucket/cycles/000012/spec.json` (or the same under `file:///folder`).

    Raises:
        InvalidMessage: it is not the address of a cycle's spec.
    """
    found = _SPEC_URI.fullmatch(uri)
    cycle = keys.cycle_of(found["key"]) if found else 0
    if found is None or cycle < 1 or keys.spec(cycle) != found["key"]:
        raise InvalidMessage(f"spec {uri!r}: expected gs://bucket/cycles/000012/spec.json or file:///folder/cycles/000012/spec.json")
    return SpecAddress(found["store"], cycle)


def load_spec(store: ObjectStore, cycle: int) -> LoadedSpec:
    """Read the spec of a cycle.

    Raises:
        RunFailed: (bad_spec) it is missing, malformed, or of another cycle.
    """
    key = keys.spec(cycle)
    try:
        data = store.get(key).data
        spec = parse_document(TrainingSpec, data, what=key)
    except (NotFound, CorruptObject) as error:
        raise RunFailed("bad_spec", str(error)) from error
    if spec.cycle != cycle:
        raise RunFailed("bad_spec", f"{key}: expected cycle {cycle}, found {spec.cycle}")
    names = [clip_set.name for clip_set in spec.sets]
    if len(set(names)) != len(names):
        raise RunFailed("bad_spec", f"{key}: expected sets of different names, found {sorted(names)}")
    return LoadedSpec(spec, sha256_hex(data))


def load_clips(store: ObjectStore, clip_set: ClipSet) -> Sequence[ClipRow]:
    """Read the clips of one set.

    Raises:
        RunFailed: (bad_dataset) missing, malformed, or not what the spec promised.
    """
    data = _verified(store, clip_set.ref, "bad_dataset")
    kind: type[ClipRow] = UnlabelledClip if clip_set.role == "train_unlabelled" else Clip
    try:
        clips = parse_lines(kind, data, what=clip_set.ref.key)
    except CorruptObject as error:
        raise RunFailed("bad_dataset", str(error)) from error
    if len(clips) != clip_set.clips:
        raise RunFailed("bad_dataset", f"{clip_set.ref.key}: expected {clip_set.clips} clips, found {len(clips)}")
    return clips


def load_manifest(store: ObjectStore, ref: ObjectRef) -> ModelManifest:
    """Read a model's manifest.

    Raises:
        RunFailed: (bad_base_model) missing, malformed, of another digest, or it names a file that could hold code.
    """
    try:
        manifest = parse_document(ModelManifest, _verified(store, ref, "bad_base_model"), what=ref.key)
    except CorruptObject as error:
        raise RunFailed("bad_base_model", str(error)) from error
    if (problem := unsafe_files(manifest)) is not None:
        raise RunFailed("bad_base_model", f"{ref.key}: {problem}")
    return manifest


def fetch_model(store: ObjectStore, ref: ObjectRef, folder: Path) -> ModelManifest:
    """Download a model into `folder`, each file verified before the next is fetched.

    Raises:
        RunFailed: (bad_base_model) a file is missing or its size or SHA-256 is not the manifest's.
    """
    manifest = load_manifest(store, ref)
    prefix = ref.key.rpartition("/")[0] + "/"
    folder.mkdir(parents=True, exist_ok=True)
    for file in manifest.files:
        key = file.key(prefix)
        path = folder / file.name
        try:
            store.get_to_file(key, path)
        except (NotFound, CorruptObject) as error:
            raise RunFailed("bad_base_model", str(error)) from error
        found = digest_file(path)
        if (found.sha256, found.size_bytes) != (file.sha256, file.size_bytes):
            path.unlink()
            expected = f"sha256 {file.sha256} of {file.size_bytes} bytes"
            raise RunFailed("bad_base_model", f"{key}: expected {expected}, found {found.sha256} of {found.size_bytes}")
    return manifest


def _verified(store: ObjectStore, ref: ObjectRef, reason: FailureReason) -> bytes:
    try:
        data = store.get(ref.key).data
    except (NotFound, CorruptObject) as error:
        raise RunFailed(reason, str(error)) from error
    if sha256_hex(data) != ref.sha256:
        raise RunFailed(reason, f"{ref.key}: expected sha256 {ref.sha256}, found {sha256_hex(data)}")
    return data
