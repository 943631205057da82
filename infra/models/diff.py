"""Two models side by side: configuration, lineage, files and what the validator measured."""

from collections.abc import Mapping
from typing import Any

from functions.runtime import Ports
from functions.views.production import ModelView
from infra.models.stored import show_model
from shared.documents import Frozen
from shared.ids import version_name

Value = str | int | float | bool | None
NOT_COMPARED = {"outcome", "base_manifest_sha256", "config_sha256", "packages"}
"""Details that stand elsewhere in the comparison, or follow from what does."""


class DiffRow(Frozen):
    """One line of the comparison; None = that model has no such value."""

    section: str
    name: str
    a: Value
    b: Value

    @property
    def differs(self) -> bool:
        """True when the two models differ here."""
        return self.a != self.b


class ModelDiff(Frozen):
    """The comparison of two versions."""

    a: int
    b: int
    rows: tuple[DiffRow, ...]


def diff_models(ports: Ports, a: int, b: int) -> ModelDiff:
    """Compare two models.

    Raises:
        Refused: one of them does not exist.
    """
    left, right = (_sections(show_model(ports, version)) for version in (a, b))
    rows: list[DiffRow] = []
    for section, values in left.items():
        names = [*values, *(name for name in right[section] if name not in values)]
        rows.extend(DiffRow(section=section, name=name, a=values.get(name), b=right[section].get(name)) for name in names)
    return ModelDiff(a=a, b=b, rows=tuple(rows))


def _sections(view: ModelView) -> dict[str, dict[str, Value]]:
    details = view.manifest.details
    outcome = details.get("outcome", {})
    return {
        "config": _flat({**outcome.get("config", {}), **({"chosen scale": outcome["scale"]} if "scale" in outcome else {})}),
        "lineage": _lineage(view),
        "files": {file.name: file.sha256 for file in view.manifest.files},
        "validation": _numbers(view),
    }


def _lineage(view: ModelView) -> dict[str, Value]:
    manifest, report = view.manifest, view.verdict
    named: dict[str, Value] = {
        "origin": manifest.origin,
        "made": manifest.created_at.isoformat(timespec="seconds"),
        "base": None if manifest.base_version is None else version_name(manifest.base_version),
        "base manifest": manifest.details.get("base_manifest_sha256"),
        "cycles learned": ", ".join(map(str, manifest.learned)) or None,
        "dataset": manifest.dataset_sha256,
        "spec": manifest.spec_sha256,
        "policy": manifest.policy_sha256,
        "normaliser": manifest.normaliser,
        "manifest judged": report.model_manifest_sha256 if report else None,
    }
    rest = {name: value for name, value in manifest.details.items() if name not in NOT_COMPARED}
    packages = {f"package {name}": value for name, value in manifest.details.get("packages", {}).items()}
    return {**named, **_flat(rest), **packages}


def _numbers(view: ModelView) -> dict[str, Value]:
    report = view.verdict
    if report is None:
        return {"verdict": None}
    numbers: dict[str, Value] = {"verdict": report.outcome, "compared with": version_name(report.base_version)}
    for judged in (*report.sets, *report.strata):
        numbers[f"{judged.name}: utterances"] = judged.utterances
        numbers[f"{judged.name}: WER"] = judged.candidate.wer.estimate if judged.candidate.wer else None
        numbers[f"{judged.name}: WER of the champion then"] = judged.base.wer.estimate if judged.base.wer else None
        numbers[f"{judged.name}: CER"] = judged.candidate.cer
    return numbers


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Value]:
    flat: dict[str, Value] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else value
    return flat
