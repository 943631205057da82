"""Whether the evidence for a version still stands, and its files with it. Pure."""

from collections.abc import Mapping

from shared.cycle import CycleState, Status
from shared.ids import version_name
from shared.manifest import ModelManifest, unsafe_files
from shared.objectstore import ObjectInfo
from shared.verdict import ValidationReport


def check_report(
    version: int, report: ValidationReport, report_sha256: str, manifest_sha256: str, claim: tuple[str, str] | None
) -> str | None:
    """Return why a report does not carry a promotion; None = it does.

    Args:
        version: the version to promote.
        report: as the validator stored it.
        report_sha256: digest of the stored bytes.
        manifest_sha256: digest of the version's manifest as stored.
        claim: digests of report and manifest that the message named; None = a person's message names none.
    """
    if claim is not None and claim != (report_sha256, manifest_sha256):
        return f"{version_name(version)}: expected the digests of the stored report and manifest, found others: forged or stale"
    if report.version != version:
        return f"{version_name(version)}: expected its own report, found the one of {version_name(report.version)}"
    if report.outcome != "accepted":
        return f"{version_name(version)}: expected an accepted candidate, found {report.outcome}: {report.reasons[0]}"
    if report.model_manifest_sha256 != manifest_sha256:
        return f"{version_name(version)}: expected the manifest that was judged, found another"
    return None


def check_base(report: ValidationReport, base_manifest_sha256: str | None) -> str | None:
    """Return why the model that a candidate was compared with is another one now; None = it is the same, to the last byte.

    Args:
        report: as the validator stored it.
        base_manifest_sha256: digest of the base's manifest as stored now; None = it is missing.
    """
    judged, found = report.base_manifest_sha256, base_manifest_sha256
    if judged is None or judged == found:
        return None
    against = f"the manifest {judged[:12]}... of {version_name(report.base_version)}"
    return f"{version_name(report.version)}: judged against {against}, found {f'{found[:12]}...' if found else 'none'} in its place"


def check_state(version: int, state: CycleState | None) -> str | None:
    """Return why a cycle's state forbids a promotion on evidence; None = it allows it."""
    if state is None:
        return f"{version_name(version)}: expected an accepted cycle, found no state"
    if state.status not in {Status.ACCEPTED, Status.CANARY, Status.DEPLOYED}:
        return f"{version_name(version)}: expected an accepted cycle, found it {state.status}"
    return None


def check_files(manifest: ModelManifest, found: Mapping[str, ObjectInfo | None]) -> str | None:
    """Return what is wrong with a model's files; None = every one is there as the manifest says.

    Args:
        manifest: of the model.
        found: by file name, what the store tells of it; None = absent.
    """
    if (problem := unsafe_files(manifest)) is not None:
        return f"{version_name(manifest.version)}: {problem}"
    for file in manifest.files:
        info = found.get(file.name)
        if info is None:
            return f"{version_name(manifest.version)}: expected {file.name}, found no such object"
        if (info.size_bytes, info.crc32c) != (file.size_bytes, file.crc32c):
            expected = f"{file.name} of {file.size_bytes} bytes with CRC32C {file.crc32c}"
            return f"{version_name(manifest.version)}: expected {expected}, found {info.size_bytes} bytes with {info.crc32c}"
    return None
