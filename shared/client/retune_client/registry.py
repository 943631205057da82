"""The production alias and a model's manifest, as the bucket holds them. No I/O.

Unknown fields are ignored, so that a newer Retune does not stop an older service.
"""

import json
import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from retune_client.errors import InvalidDocumentError

PRODUCTION = "registry/production.json"
MANIFEST = "manifest.json"

MODEL_SUFFIXES = frozenset({".safetensors", ".json", ".txt"})
"""What a model may consist of: nothing that could hold code."""

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CRC32C = re.compile(r"[A-Za-z0-9+/]{6}==")


@dataclass(frozen=True)
class Canary:
    """A version that serves `percent` of the sessions."""

    version: int
    percent: int


@dataclass(frozen=True)
class Alias:
    """What shall serve.

    Attributes:
        seq: number of the move that led here; a higher one is newer.
        stable: the version for everyone, None before the first.
        previous: stable versions before this one, newest first: where a rollback goes.
    """

    seq: int
    stable: int | None = None
    canary: Canary | None = None
    previous: tuple[int, ...] = ()

    @property
    def versions(self) -> tuple[int, ...]:
        """The versions that must be loaded, the stable one first."""
        stable = () if self.stable is None else (self.stable,)
        return (*stable, *(() if self.canary is None or self.canary.version in stable else (self.canary.version,)))


@dataclass(frozen=True)
class ModelFile:
    """One file of a model: its local name, its name in the model's folder of the bucket, and what its bytes must be."""

    name: str
    stored_name: str
    sha256: str
    size_bytes: int
    crc32c: str


@dataclass(frozen=True)
class Manifest:
    """All files of a model version."""

    version: int
    files: tuple[ModelFile, ...]


def model_key(version: int, name: str) -> str:
    """Return the key of an object of a model."""
    return f"models/{version:06d}/{name}"


def parse_alias(data: bytes) -> Alias:
    """Parse `registry/production.json`.

    Raises:
        InvalidDocumentError: a field is missing or wrong.
    """
    document = _object(data, PRODUCTION)
    stable, canary = document.get("stable"), document.get("canary")
    if canary is not None and not isinstance(canary, dict):
        raise InvalidDocumentError(f"{PRODUCTION}: canary: expected an object or null, found {type(canary).__name__}")
    previous = document.get("previous", [])
    if not isinstance(previous, list):
        raise InvalidDocumentError(f"{PRODUCTION}: previous: expected a list, found {type(previous).__name__}")
    return Alias(
        seq=_whole(document.get("seq"), f"{PRODUCTION}: seq"),
        stable=None if stable is None else _whole(stable, f"{PRODUCTION}: stable"),
        canary=None if canary is None else _canary(canary),
        previous=tuple(_whole(version, f"{PRODUCTION}: previous") for version in previous),
    )


def parse_manifest(data: bytes, version: int) -> Manifest:
    """Parse the manifest of `version`.

    Raises:
        InvalidDocumentError: it is of another version, names no file, the same file twice, a file outside its folder, or one that
            could hold code.
    """
    what = model_key(version, MANIFEST)
    document = _object(data, what)
    if document.get("v", 1) != 1 or document.get("version") != version:
        found = f"v {document.get('v', 1)!r}, version {document.get('version')!r}"[:100]
        raise InvalidDocumentError(f"{what}: expected v 1, version {version}, found {found}")
    rows = document.get("files")
    if not isinstance(rows, list) or not rows:
        raise InvalidDocumentError(f"{what}: files: expected a list of at least one file, found {type(rows).__name__}")
    files = tuple(_file(row, what) for row in rows)
    names = {file.name for file in files}
    if len(names) < len(files) or MANIFEST in names:
        raise InvalidDocumentError(
            f"{what}: files: expected each name once and none called {MANIFEST}, found {sorted(file.name for file in files)}"
        )
    return Manifest(version, files)


def _canary(document: dict[str, Any]) -> Canary:
    percent = _whole(document.get("percent"), f"{PRODUCTION}: canary.percent")
    if percent > 100:
        raise InvalidDocumentError(f"{PRODUCTION}: canary.percent: expected at most 100, found {percent}")
    return Canary(_whole(document.get("version"), f"{PRODUCTION}: canary.version"), percent)


def _file(row: object, what: str) -> ModelFile:
    if not isinstance(row, dict):
        raise InvalidDocumentError(f"{what}: files: expected objects, found {type(row).__name__}")
    name, sha256, crc32c = row.get("name"), row.get("sha256"), row.get("crc32c")
    stored_name = row.get("stored_name") or name
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InvalidDocumentError(f"{what}: files: expected a plain file name, found {name!r:.100}")
    if PurePosixPath(name).suffix not in MODEL_SUFFIXES:
        raise InvalidDocumentError(f"{what}: files: expected only {sorted(MODEL_SUFFIXES)} files, found {name!r:.100}")
    if not isinstance(stored_name, str) or not _NAME.fullmatch(stored_name):
        raise InvalidDocumentError(f"{what}: {name}: expected a plain stored_name, found {stored_name!r:.100}")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise InvalidDocumentError(f"{what}: {name}: expected a sha256 in hexadecimal, found {sha256!r:.100}")
    if not isinstance(crc32c, str) or not _CRC32C.fullmatch(crc32c):
        raise InvalidDocumentError(f"{what}: {name}: expected a crc32c in base64, found {crc32c!r:.100}")
    return ModelFile(name, stored_name, sha256, _whole(row.get("size_bytes"), f"{what}: {name}: size_bytes"), crc32c)


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise InvalidDocumentError(f"{what}: expected JSON, found {data[:40]!r}") from error
    if not isinstance(document, dict):
        raise InvalidDocumentError(f"{what}: expected a JSON object, found {type(document).__name__}")
    return document


def _whole(value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise InvalidDocumentError(f"{what}: expected a whole number of at least 0, found {value!r:.40}")
    return value
