"""Whether a stored model is what its manifest says, to the last byte [io]."""

from pathlib import Path
from tempfile import TemporaryDirectory

from functions.runtime import Ports
from functions.views.production import read_moves
from infra.errors import Refused
from shared import keys
from shared.cas import find
from shared.documents import Frozen, parse_document, sha256_hex
from shared.errors import CorruptObject, NotFound
from shared.ids import version_name
from shared.manifest import FileDigest, ModelManifest, digest_file, unsafe_files


class FileCheck(Frozen):
    """One file of a model, and what is wrong with it; None = nothing."""

    name: str
    size_bytes: int
    problem: str | None


class ModelCheck(Frozen):
    """What a check of a model found.

    Attributes:
        problems: of the model as a whole.
        beside: objects in its folder that the manifest does not name: left by an attempt that died, never loaded.
    """

    version: int
    problems: tuple[str, ...]
    files: tuple[FileCheck, ...]
    beside: tuple[str, ...]

    @property
    def whole(self) -> bool:
        """True when nothing is wrong."""
        return not self.problems and all(file.problem is None for file in self.files)


def check_stored_model(ports: Ports, version: int) -> ModelCheck:
    """Download a model and hold every file against its manifest: size, CRC32C, SHA-256 and suffix.

    Raises:
        Refused: there is no such model.
        Retryable: the store could not be reached.
    """
    stored = find(ports.store, keys.manifest(version))
    if stored is None:
        raise Refused(f"{version_name(version)}: expected {ports.store.uri}/{keys.manifest(version)}, found no such object")
    try:
        manifest = parse_document(ModelManifest, stored.data, what=stored.info.key)
    except CorruptObject as error:
        return ModelCheck(version=version, problems=(str(error),), files=(), beside=())
    known = {keys.manifest(version), *(file.key(keys.model(version)) for file in manifest.files)}
    return ModelCheck(
        version=version,
        problems=_problems(ports, version, manifest, sha256_hex(stored.data)),
        files=tuple(_check_file(ports, version, file) for file in manifest.files),
        beside=tuple(info.key for info in ports.store.list(keys.model(version)) if info.key not in known),
    )


def _problems(ports: Ports, version: int, manifest: ModelManifest, sha256: str) -> tuple[str, ...]:
    problems = []
    if manifest.version != version:
        problems.append(f"manifest: expected {version_name(version)}, found {version_name(manifest.version)}")
    if (unsafe := unsafe_files(manifest)) is not None:
        problems.append(f"manifest: {unsafe}")
    carried = {move.manifest_sha256: move for move in read_moves(ports) if move.version == version and move.manifest_sha256 is not None}
    problems.extend(
        f"manifest: expected the one that carried move {move.seq} ({digest[:12]}...), found {sha256[:12]}..."
        for digest, move in carried.items()
        if digest is not None and digest != sha256
    )
    return tuple(problems)


def _check_file(ports: Ports, version: int, file: FileDigest) -> FileCheck:
    with TemporaryDirectory(prefix="retune-verify-") as folder:
        path = Path(folder) / file.name
        try:
            ports.store.get_to_file(file.key(keys.model(version)), path)
        except (NotFound, CorruptObject) as error:
            problem: str | None = str(error)
        else:
            problem = _difference(file, digest_file(path))
    return FileCheck(name=file.name, size_bytes=file.size_bytes, problem=problem)


def _difference(expected: FileDigest, found: FileDigest) -> str | None:
    pairs = {
        "bytes": (expected.size_bytes, found.size_bytes),
        "CRC32C": (expected.crc32c, found.crc32c),
        "SHA-256": (expected.sha256, found.sha256),
    }
    return "; ".join(f"{what}: expected {wanted}, found {got}" for what, (wanted, got) in pairs.items() if wanted != got) or None
