"""What the store holds for a version: its evidence, its model. Read only [io]."""

from dataclasses import dataclass

from functions.deployer.checks import check_base, check_files, check_report, check_state
from functions.runtime import Ports
from functions.states import find_state
from shared import keys
from shared.cas import find, find_document, find_info
from shared.documents import sha256_hex
from shared.errors import CorruptObject
from shared.forgotten import became
from shared.ids import version_name
from shared.manifest import ModelManifest
from shared.verdict import parse_report


@dataclass(frozen=True)
class Evidence:
    """What was found of a version's evidence.

    Attributes:
        champion: the version that it compares with.
        report_sha256, manifest_sha256: digests of the stored report and manifest.
        refusal: why it does not stand; None = it does.
    """

    champion: int | None = None
    report_sha256: str | None = None
    manifest_sha256: str | None = None
    refusal: str | None = None


def check_evidence(ports: Ports, version: int, claim: tuple[str, str] | None) -> Evidence:
    """Return what was found of a version's evidence, and why it does not stand, if it does not."""
    found = find(ports.store, keys.report(version))
    stored = find(ports.store, keys.manifest(version))
    if found is None or stored is None:
        return Evidence(refusal=_absent(version, keys.report(version) if found is None else keys.manifest(version)))
    try:
        report = parse_report(found.data)
    except CorruptObject as error:
        return Evidence(refusal=f"{version_name(version)}: {error}")
    base = find(ports.store, keys.manifest(report.base_version))
    report_sha256, manifest_sha256 = sha256_hex(found.data), sha256_hex(stored.data)
    if claim is not None and became(ports.store, keys.report(version), claim[0], report_sha256):
        report_sha256 = claim[0]  # a person was forgotten after the verdict: it is the same one without their words
    refusal = (
        check_report(version, report, report_sha256, manifest_sha256, claim)
        or check_base(report, sha256_hex(base.data) if base else None)
        or check_state(version, find_state(ports, version))
        or check_model(ports, version)
    )
    return Evidence(report.base_version, report_sha256, manifest_sha256, refusal)


def check_exists(ports: Ports, version: int) -> str | None:
    """Return why a version is none; None = a model was completed under this number, whatever became of its files."""
    return None if find(ports.store, keys.manifest(version)) is not None else _absent(version, keys.manifest(version))


def check_model(ports: Ports, version: int) -> str | None:
    """Return what is wrong with a stored model; None = manifest and files agree."""
    try:
        manifest = find_document(ports.store, keys.manifest(version), ModelManifest)
    except CorruptObject as error:
        return str(error)
    if manifest is None:
        return _absent(version, keys.manifest(version))
    found = {file.name: find_info(ports.store, file.key(keys.model(version))) for file in manifest.files}
    return check_files(manifest, found)


def _absent(version: int, key: str) -> str:
    return f"{version_name(version)}: expected {key}, found no such object"
