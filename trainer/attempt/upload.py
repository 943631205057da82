"""A model in the store: created file by file, never overwritten, its manifest last.

attempt 1   model.safetensors  x dies
attempt 2   model.safetensors  -> stands with other bytes: 9f2c...-model.safetensors instead, named by the manifest
            config.json        -> stands with these very bytes: done
            manifest.json      -> from here on the model is complete
"""

from collections.abc import Sequence
from pathlib import Path

from shared import keys
from shared.cas import TRIES
from shared.errors import CommitUnknown, Conflict, NotFound, Retryable
from shared.manifest import FileDigest
from shared.objectstore import ABSENT, ObjectStore
from trainer.shell.failures import RunFailed


def upload_files(store: ObjectStore, version: int, folder: Path, files: Sequence[FileDigest]) -> tuple[FileDigest, ...]:
    """Store a model's files and return them with the names under which just these bytes stand.

    Raises:
        CommitUnknown: nobody can tell whether a file landed.
    """
    return tuple(_upload(store, keys.model(version), folder / file.name, file) for file in files)


def _upload(store: ObjectStore, prefix: str, path: Path, file: FileDigest) -> FileDigest:
    for stored_name in (None, f"{file.sha256[:32]}-{file.name}"):
        named = file.model_copy(update={"stored_name": stored_name})
        if _create_file(store, named.key(prefix), path, file):
            return named
    raise RunFailed("internal", f"{prefix}{file.name}: expected a free name, found both taken by other bytes")


def _create_file(store: ObjectStore, key: str, path: Path, file: FileDigest) -> bool:
    """Create one object from a file; False when other bytes stand there. A lost reply shows as our own bytes."""
    lost: Exception | None = None
    for _ in range(TRIES):
        try:
            info = store.put_file(key, path, if_generation_match=ABSENT)
        except (Conflict, CommitUnknown, Retryable) as error:
            lost = error
            try:
                info = store.stat(key)
            except NotFound:
                continue
        return info.size_bytes == file.size_bytes and info.crc32c == file.crc32c
    raise CommitUnknown(f"{key}: the upload may or may not have landed: {lost}") from lost
