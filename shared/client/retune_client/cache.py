"""Models on the local disk: verified before every use, complete or not there at all [io]."""

import base64
import hashlib
import logging
import math
import os
import shutil
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import google_crc32c  # comes with google-cloud-storage

from retune_client.clock import Clock
from retune_client.errors import ModelRefusedError
from retune_client.registry import MANIFEST, Manifest, ModelFile, model_key, parse_manifest
from retune_client.store import ModelStore

log = logging.getLogger(__name__)

BLOCK_BYTES = 1 << 20
LEFTOVER_S = 86_400.0
"""A download that was begun so long ago has no process any more."""


class ModelCache:
    """One folder a version below `directory`; processes may share it."""

    def __init__(self, store: ModelStore, directory: Path, clock: Clock) -> None:
        """Create the directory.

        Raises:
            OSError: it cannot be created.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._store = store
        self._directory = directory
        self._clock = clock

    def fetch(self, version: int) -> Path:
        """Return the folder of a model that is complete and whose every byte is what its manifest promises.

        The manifest comes from the store each time; files that are here already are verified and not downloaded again.

        Raises:
            InvalidDocumentError: the manifest cannot be used.
            ModelRefusedError: a downloaded file is not what the manifest promises.
            ObjectMissingError: the manifest or a file is missing.
            OSError: the disk refused.
        """
        data = self._store.read(model_key(version, MANIFEST))
        manifest = parse_manifest(data, version)
        final = self._directory / f"{version:06d}"
        if final.exists():
            problem = _problem(manifest, data, final)
            if problem is None:
                return final
            log.warning("model v%d in the cache is downloaded again: %s", version, problem)
        draft = self._directory / f".incoming-{os.urandom(8).hex()}"
        try:
            self._download(manifest, data, draft)
            ours = self._publish(draft, final)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        if not ours and (problem := _problem(manifest, data, final)) is not None:
            raise ModelRefusedError(f"model v{version}: {problem}")
        return final

    def prune(self, keep: Collection[int]) -> None:
        """Delete the versions that are not in `keep`, and what crashed downloads left behind."""
        kept = {f"{version:06d}" for version in keep}
        oldest = self._clock.now().timestamp() - LEFTOVER_S
        for path in self._directory.iterdir():
            leftover = path.name.startswith((".incoming-", ".old-"))
            if (leftover and _changed_at(path) < oldest) or (path.name.isdigit() and path.name not in kept):
                shutil.rmtree(path, ignore_errors=True)

    def _download(self, manifest: Manifest, data: bytes, draft: Path) -> None:
        draft.mkdir(mode=0o700)
        for file in manifest.files:
            self._store.download(model_key(manifest.version, file.stored_name), draft / file.name)
            if (problem := _file_problem(file, draft)) is not None:
                raise ModelRefusedError(f"model v{manifest.version}: {problem}")
        (draft / MANIFEST).write_bytes(data)

    def _publish(self, draft: Path, final: Path) -> bool:
        """Put a complete folder in its place; False = a neighbour's copy stands there."""
        old = self._directory / f".old-{draft.name.rpartition('-')[2]}"
        with suppress(FileNotFoundError):
            final.rename(old)
        try:
            draft.rename(final)
        except OSError:
            if not final.exists():
                raise
            return False
        finally:
            shutil.rmtree(old, ignore_errors=True)
        return True


def _problem(manifest: Manifest, data: bytes, folder: Path) -> str | None:
    """Tell why a folder is not the manifest's model and nothing but that: libraries load more files than they are told of."""
    expected = {MANIFEST, *(file.name for file in manifest.files)}
    try:
        if links := [path.name for path in (folder, *sorted(folder.iterdir())) if path.is_symlink()]:
            return f"{links[0]}: expected no symbolic link, found one"
        if others := sorted({path.name for path in folder.iterdir()} - expected):
            return f"{others[0]}: expected only files of the manifest, found another"
        if (folder / MANIFEST).read_bytes() != data:
            return f"{MANIFEST}: expected the manifest in the bucket, found another"
    except OSError as error:
        return f"{MANIFEST}: {error.strerror}"
    return next((problem for file in manifest.files if (problem := _file_problem(file, folder)) is not None), None)


def _changed_at(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # a neighbour has just deleted it
        return math.inf


def _file_problem(file: ModelFile, folder: Path) -> str | None:
    try:
        with (folder / file.name).open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size != file.size_bytes:
                return f"{file.name}: expected {file.size_bytes} bytes, found {size}"
            sha256, crc32c = _digests(stream)
    except OSError as error:
        return f"{file.name}: {error.strerror}"
    if sha256 != file.sha256:
        return f"{file.name}: expected sha256 {file.sha256}, found {sha256}"
    return None if crc32c == file.crc32c else f"{file.name}: expected crc32c {file.crc32c}, found {crc32c}"


def _digests(stream: BinaryIO) -> tuple[str, str]:
    """Return the SHA-256 in hexadecimal and the CRC32C in the base64 of Cloud Storage, in one reading."""
    sha256, checksum = hashlib.sha256(), google_crc32c.Checksum()
    while block := stream.read(BLOCK_BYTES):
        sha256.update(block)
        checksum.update(block)
    return sha256.hexdigest(), base64.b64encode(checksum.digest()).decode("ascii")
