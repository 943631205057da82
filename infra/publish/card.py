"""A model card from what the registry and the validator's report say. Pure.

Source: Mitchell et al. 2019, Model Cards for Model Reporting; the header is Hugging Face's, with its `model-index`
(https://huggingface.co/docs/hub/model-cards).
"""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from functions.views.production import ModelView
from shared.documents import Frozen
from shared.ids import version_name
from shared.manifest import ModelManifest
from shared.rates import Interval
from shared.verdict import ValidationReport
from shared.wording import interval_in_percent, points, range_in_points

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&])")
TASK = "automatic-speech-recognition"


class Measured(Frozen):
    """One number for the card's header.

    Attributes:
        dataset: that it was measured on, in words.
        wer: pooled word error rate in percent, as leaderboards give it.
    """

    dataset: str
    wer: float


def measured(report: ValidationReport | None) -> tuple[Measured, ...]:
    """Return the candidate's WER on every set that permits one."""
    found = [(each.name, each.candidate.wer) for each in (report.sets if report else ())]
    return tuple(Measured(dataset=name, wer=round(100 * wer.estimate, 2)) for name, wer in found if wer is not None)


def card_body(view: ModelView, source: str | None, written: datetime) -> str:
    """Return the card's text in Markdown; whatever people said in it is text and never markup.

    Args:
        view: the model and what became of it.
        source: where the first of its ancestors was imported from; None = unknown.
        written: the present time.
    """
    report, name = view.verdict, version_name(view.version)
    return (
        _TEMPLATES.get_template("card.md.j2")
        .render(
            title=f"{name}, a speech model kept by Retune",
            name=name,
            role=view.role,
            manifest=view.manifest,
            report=report,
            failed=[gate for gate in report.gates if gate.result == "failed"] if report else [],
            source=source or "unknown",
            written=written,
            lineage=lineage(view.manifest, source),
        )
        .strip()
        + "\n"
    )


def lineage(manifest: ModelManifest, source: str | None) -> dict[str, str]:
    """Return where a model comes from, by name."""
    details: Mapping[str, Any] = manifest.details
    config = details.get("outcome", {}).get("config", {}) if isinstance(details.get("outcome"), dict) else {}
    found: dict[str, object] = {
        "version": version_name(manifest.version),
        "made": manifest.created_at.isoformat(timespec="seconds"),
        "base": None if manifest.base_version is None else version_name(manifest.base_version),
        "first ancestor": source,
        "data learned": ", ".join(f"cycle {cycle}" for cycle in manifest.learned) or None,
        "dataset sha256": manifest.dataset_sha256,
        "spec sha256": manifest.spec_sha256,
        "policy sha256": manifest.policy_sha256,
        **{f"trained with {name}": value for name, value in sorted(config.items()) if isinstance(value, str | int | float)},
        **{f"code {name}": value for name, value in sorted(details.get("code", {}).items())},
        **{f"package {name}": value for name, value in sorted(details.get("packages", {}).items())},
    }
    return {name: str(value) for name, value in found.items() if value not in (None, "")}


def _text(value: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(value.split()))


def _code(value: str) -> str:
    return " ".join(value.split()).replace("`", "'")


def _wer(interval: Interval | None) -> str:
    return "-" if interval is None else interval_in_percent(interval)


def _change(interval: Interval | None) -> str:
    return "-" if interval is None else f"{points(interval.estimate)} ({100 * interval.level:.0f}%: {range_in_points(interval)})"


_TEMPLATES = Environment(
    loader=PackageLoader("infra.publish", "."),
    autoescape=False,  # noqa: S701 - Markdown: the filters `text`, `cell` and `code` escape what people said
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters.update(text=_text, cell=_text, code=_code, wer=_wer, change=_change)
