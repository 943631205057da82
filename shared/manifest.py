"""A model's manifest: of which files it consists and where it comes from; written last, so that a model without one is none."""

import hashlib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, Field

from shared.documents import Frozen, sha256_hex
from shared.events import Digest
from shared.objectstore import crc32c_base64
from shared.whole_file import ChecksumWriter, read_blocks

MODEL_SUFFIXES = frozenset({".safetensors", ".json", ".txt"})
"""What a model may consist of: nothing that could hold code. `retune_client` has a copy."""


class FileDigest(Frozen):
    """One file of a model.

    Attributes:
        name: the file's name in a local folder.
        stored_name: its name in the model's folder of the store, where that is another one: an earlier attempt died
            after it had written `name`, which nobody may overwrite.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}$")]
    sha256: Digest
    crc32c: str
    size_bytes: Annotated[int, Field(ge=0)]
    stored_name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}$")] | None = None

    def key(self, folder: str) -> str:
        """Return where the file is stored; `folder` is the model's, with its trailing slash."""
        return folder + (self.stored_name or self.name)


class ModelManifest(Frozen):
    """A complete model: written last, so that its presence means that every file is there.

    Attributes:
        origin: trained by a cycle, or imported by a person.
        base_version: the version it was trained from; None for an import.
        learned: cycles whose datasets the model has learned: its own and those of its ancestors.
        policy_sha256: of the policy that its cycle's spec was made under.
    """

    v: Literal[1] = 1
    version: Annotated[int, Field(ge=0)]
    origin: Literal["trained", "imported"]
    created_at: AwareDatetime
    files: tuple[FileDigest, ...]
    base_version: int | None = None
    learned: tuple[int, ...] = ()
    dataset_sha256: Digest | None = None
    spec_sha256: Digest | None = None
    policy_sha256: Digest | None = None
    normaliser: str | None = None
    sampling_rate_hz: int = 16_000
    details: dict[str, Any] = {}


def unsafe_files(manifest: ModelManifest) -> str | None:
    """Return why a manifest's files must not be loaded; None = each has its own name, and no name promises anything but data."""
    names = [file.name for file in manifest.files]
    unsafe = sorted(name for name in names if Path(name).suffix not in MODEL_SUFFIXES)
    if unsafe:
        return f"expected only {sorted(MODEL_SUFFIXES)} files, found {unsafe}"
    if len(set(names)) < len(names):
        return f"expected each file once, found {sorted(names)}"
    return None


def digest_folder(folder: Path) -> list[FileDigest]:
    """Return what a manifest says of every file in a model folder, by name."""
    return [digest_file(path) for path in sorted(folder.iterdir())]


def digest_bytes(name: str, data: bytes) -> FileDigest:
    """Return what a manifest says of a file of these bytes."""
    return FileDigest(name=name, sha256=sha256_hex(data), crc32c=crc32c_base64(data), size_bytes=len(data))


def digest_file(path: Path) -> FileDigest:
    """Return what a manifest says of a file."""
    checksum, digest = ChecksumWriter(None), hashlib.sha256()
    with path.open("rb") as file:
        for block in read_blocks(file, path.stat().st_size):
            checksum.write(block)
            digest.update(block)
    return FileDigest(name=path.name, sha256=digest.hexdigest(), crc32c=checksum.crc32c, size_bytes=checksum.size_bytes)
