"""Whether evidence still carries a promotion: report, state and files."""

from dataclasses import replace
from typing import Any

import pytest

from functions.deployer.checks import check_base, check_files, check_report, check_state
from shared.cycle import Status
from shared.manifest import FileDigest, ModelManifest
from shared.objectstore import Generation, ObjectInfo
from shared.testing.builders import cycle_state
from shared.testing.clock import START
from shared.verdict import ValidationReport

REPORT, MANIFEST, OTHER = "a" * 64, "b" * 64, "f" * 64


def report(**fields: Any) -> ValidationReport:
    """Return the report of an accepted v12, judged by the manifest `MANIFEST`."""
    judged = {"outcome": "accepted", "reasons": ("WER fell by 38%", "more"), "notes": (), "alpha": 0.05, "normaliser": "basic/1"}
    empty: dict[str, Any] = {"sets": (), "strata": (), "worst_regressions": (), "best_fixes": (), "left_out": {}}
    digests = {"model_manifest_sha256": MANIFEST, "dataset_sha256": OTHER, "spec_sha256": OTHER, "result_sha256": OTHER}
    known = {"cycle": 12, "version": 12, "base_version": 11, "created_at": START, **judged, **empty, **digests}
    return ValidationReport.model_validate(known | fields)


@pytest.mark.parametrize("claim", [(REPORT, MANIFEST), None])
def test_an_accepted_report_carries_its_promotion_claimed_or_asked_for(claim: tuple[str, str] | None) -> None:
    assert check_report(12, report(), REPORT, MANIFEST, claim) is None


@pytest.mark.parametrize("claim", [(OTHER, MANIFEST), (REPORT, OTHER), (MANIFEST, REPORT)])
def test_a_message_that_names_other_digests_is_forged_or_stale(claim: tuple[str, str]) -> None:
    refusal = check_report(12, report(), REPORT, MANIFEST, claim)
    assert refusal == "v12: expected the digests of the stored report and manifest, found others: forged or stale"


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({"version": 11}, "v12: expected its own report, found the one of v11"),
        (
            {"outcome": "rejected", "reasons": ("suite names got worse", "x")},
            "expected an accepted candidate, found rejected: suite names got worse",
        ),
        ({"outcome": "inconclusive", "reasons": ("4 speakers",)}, "v12: expected an accepted candidate, found inconclusive: 4 speakers"),
        ({"model_manifest_sha256": OTHER}, "v12: expected the manifest that was judged, found another"),
    ],
)
def test_a_report_that_does_not_carry_the_promotion_says_why(fields: dict[str, Any], refusal: str) -> None:
    assert (check_report(12, report(**fields), REPORT, MANIFEST, None) or "").endswith(refusal)


@pytest.mark.parametrize("status", sorted(Status))
def test_only_an_accepted_cycle_is_promoted_on_evidence(status: Status) -> None:
    refusal = check_state(12, cycle_state(status, cycle=12))
    if status in {Status.ACCEPTED, Status.CANARY, Status.DEPLOYED}:
        assert refusal is None
    else:
        assert refusal == f"v12: expected an accepted cycle, found it {status}"


def test_a_version_without_a_cycle_has_no_evidence() -> None:
    assert check_state(12, None) == "v12: expected an accepted cycle, found no state"


WEIGHTS = FileDigest(name="model.safetensors", sha256=OTHER, crc32c="AAAAAA==", size_bytes=4)
VOCABULARY = FileDigest(name="vocab.json", sha256=OTHER, crc32c="BBBBBB==", size_bytes=2)
MODEL = ModelManifest(version=12, origin="trained", created_at=START, files=(WEIGHTS, VOCABULARY))


def stored(file: FileDigest) -> ObjectInfo:
    return ObjectInfo(key=file.name, generation=Generation(1), size_bytes=file.size_bytes, crc32c=file.crc32c, updated=START)


def test_a_model_whose_files_are_all_there_is_complete() -> None:
    assert check_files(MODEL, {file.name: stored(file) for file in MODEL.files}) is None
    assert check_files(MODEL.model_copy(update={"files": ()}), {}) is None


@pytest.mark.parametrize("found", [{WEIGHTS.name: stored(WEIGHTS)}, {WEIGHTS.name: stored(WEIGHTS), VOCABULARY.name: None}])
def test_a_file_that_is_missing_is_named(found: dict[str, ObjectInfo | None]) -> None:
    assert check_files(MODEL, found) == "v12: expected vocab.json, found no such object"


@pytest.mark.parametrize("changed", [{"crc32c": "CCCCCC=="}, {"size_bytes": 5}])
def test_a_file_with_other_bytes_is_named(changed: dict[str, Any]) -> None:
    info = replace(stored(WEIGHTS), **changed)
    refusal = check_files(MODEL, {WEIGHTS.name: info, VOCABULARY.name: stored(VOCABULARY)})
    assert refusal == f"v12: expected model.safetensors of 4 bytes with CRC32C AAAAAA==, found {info.size_bytes} bytes with {info.crc32c}"


@pytest.mark.parametrize(
    ("judged", "found", "refusal"),
    [
        (OTHER, OTHER, None),
        (None, OTHER, None),  # a report of an earlier release names no digest
        (OTHER, MANIFEST, "v12: judged against the manifest ffffffffffff... of v11, found bbbbbbbbbbbb... in its place"),
        (OTHER, None, "v12: judged against the manifest ffffffffffff... of v11, found none in its place"),
    ],
)
def test_a_report_is_bound_to_the_very_model_that_it_compares_with(judged: str | None, found: str | None, refusal: str | None) -> None:
    assert check_base(report(base_manifest_sha256=judged), found) == refusal


@pytest.mark.parametrize("name", ["weights.bin", "model.pkl", "loader.py", "model.safetensors.zip", "README"])
def test_a_file_that_could_hold_code_is_no_part_of_a_model(name: str) -> None:
    odd = WEIGHTS.model_copy(update={"name": name})
    model = MODEL.model_copy(update={"files": (WEIGHTS, odd)})
    refusal = f"v12: expected only ['.json', '.safetensors', '.txt'] files, found ['{name}']"
    assert check_files(model, {file.name: stored(file) for file in model.files}) == refusal


def test_a_manifest_that_names_a_file_twice_is_refused() -> None:
    model = MODEL.model_copy(update={"files": (WEIGHTS, WEIGHTS)})
    refusal = "v12: expected each file once, found ['model.safetensors', 'model.safetensors']"
    assert check_files(model, {WEIGHTS.name: stored(WEIGHTS)}) == refusal
