"""The figures as lines, as a Markdown table and as JSON."""

import importlib.metadata
import os
import platform
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks.trainer.figures import AMORTISED_OVER, Row, Target, times_faster, times_less_cpu
from tests.benchmarks.trainer.jobs import Outcome, Precision, Variant

PACKAGES = ("torch", "transformers", "peft", "accelerate", "numpy", "soundfile")
MEBIBYTE = 1 << 20


@dataclass
class ShapeReport:
    """What was found on one shape.

    Attributes:
        clips, audio_s: what was trained on.
        fast: the precision in which the recipe was the faster.
        runs: the outcomes of each variant's repetitions.
        rows: their medians.
        failed: variants that gave no outcome, and why.
        reference: the recipe's best full run; `grouped` = the same with length grouping.
    """

    shape: str
    clips: int
    audio_s: float
    epochs: int
    fast: Precision = "fp32"
    variants: dict[str, Variant] = field(default_factory=dict)
    runs: dict[str, list[Outcome]] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    common_wer: float | None = None
    reference: str | None = None
    grouped: str | None = None

    @property
    def scored(self) -> bool:
        """There are word error rates; but no figures of memory, since transcribing before the training leaves some to be used again."""
        return self.common_wer is not None


def lines_of(report: ShapeReport) -> list[str]:
    """Return `name: value unit` lines."""
    shape = report.shape
    lines = [
        f"{shape}.clips: {report.clips} clips",
        f"{shape}.audio: {report.audio_s:.0f} s",
        f"{shape}.fastest_precision_of_the_recipe: {report.fast} of fp32, bf16",
    ]
    if report.common_wer is not None:
        lines.append(f"{shape}.common_held_out_wer: {100 * report.common_wer:.2f} %")
    for name, row in report.rows.items():
        values: list[tuple[str, float | None, str]] = [
            ("first_epoch", row.first_epoch_s, "s"),
            ("later_epoch", row.later_epoch_s, "s"),
            (f"amortised_over_{AMORTISED_OVER}_epochs", row.amortised_s, "s"),
            (f"amortised_over_{AMORTISED_OVER}_epochs_cpu", row.amortised_cpu_s, "s"),
            ("peak_memory", None if report.scored else row.peak_bytes / MEBIBYTE, "MiB"),
            ("padding", 100 * row.padding_share, "%"),
            ("clips_per_step", row.clips_per_step, "clips"),
            ("call_centre_wer", _percent(row.call_centre_wer), "%"),
            ("clean_wer", _percent(row.clean_wer), "%"),
            ("to_common_wer", row.to_common_s, "s"),
        ]
        lines += [f"{shape}.{name}.{what}: {value:.2f} {unit}" for what, value, unit in values if value is not None]
        for label, other in (("recipe", report.reference), ("grouped_recipe", report.grouped)):
            if other in report.rows:
                lines.append(f"{shape}.{name}.faster_than_{label}: {times_faster(row, report.rows[other]):.2f} x")
                lines.append(f"{shape}.{name}.less_cpu_than_{label}: {times_less_cpu(row, report.rows[other]):.2f} x")
    return lines + [f"{shape}.{name}.failed: {why}" for name, why in report.failed.items()]


def table_of(report: ShapeReport) -> str:
    """Return a Markdown table; ratios compare amortised epochs."""
    columns = _columns(report)
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    lines += [f"| {' | '.join(cell(name, row) for cell in columns.values())} |" for name, row in report.rows.items()]
    lines += [f"| `{name}` | failed: {why} |" + " |" * (len(columns) - 2) for name, why in report.failed.items()]
    return "\n".join(lines)


def _columns(report: ShapeReport) -> dict[str, Callable[[str, Row], str]]:
    """Return head and cell of each column."""
    marks = {report.reference: " (a)", report.grouped: " (a')"}
    reference, grouped = (report.rows.get(name or "") for name in (report.reference, report.grouped))
    columns: dict[str, Callable[[str, Row], str]] = {
        "variant": lambda name, _: f"`{name}`{marks.get(name, '')}",
        "": lambda name, _: report.variants[name].says,
        "precision": lambda name, _: str(report.variants[name].precision),
        "runs": lambda _, row: str(row.repetitions),
        "first epoch, s": lambda _, row: f"{row.first_epoch_s:.1f}",
        "later epoch, s": lambda _, row: f"{row.later_epoch_s:.1f}",
        f"per epoch over {AMORTISED_OVER}, s": lambda _, row: f"{row.amortised_s:.1f}",
        "x of (a)": lambda _, row: f"{times_faster(row, reference):.2f}" if reference else "-",
        "x of (a')": lambda _, row: f"{times_faster(row, grouped):.2f}" if grouped else "-",
        "x of (a), CPU time": lambda _, row: f"{times_less_cpu(row, reference):.2f}" if reference else "-",
        "padding": lambda _, row: _share(row.padding_share),
        "clips a step": lambda _, row: f"{row.clips_per_step:.1f}",
    }
    if report.scored:
        return columns | {
            "WER call centre": lambda _, row: _share(row.call_centre_wer),
            "WER clean": lambda _, row: _share(row.clean_wer),
            f"s to {_share(report.common_wer)}": lambda _, row: "-" if row.to_common_s is None else f"{row.to_common_s:.1f}",
        }
    return columns | {
        "peak, MiB": lambda _, row: f"{row.peak_bytes / MEBIBYTE:.0f}",
        "of (a)": lambda _, row: f"{row.peak_bytes / reference.peak_bytes:.2f}" if reference else "-",
    }


def targets_table(targets: Sequence[Target]) -> str:
    """Return the targets beside what was measured."""
    rows = [f"| {target.name} | {target.wanted} | {target.found} | {target.verdict} |" for target in targets]
    return "\n".join(["| target | wanted | found | |", "|---|---|---|---|", *rows])


def environment(device: str) -> dict[str, Any]:
    """Return hardware, versions and the exact command."""
    import torch

    return {
        "command": shlex.join(["python", "-m", "tests.benchmarks.trainer", *_without_out(sys.argv[1:])]),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "load_average_at_start": [round(load, 2) for load in os.getloadavg()],
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY", ""),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def _without_out(arguments: Sequence[str]) -> list[str]:
    """Return the flags but for the one that says where the results go, which changes none of them."""
    kept = [word for word in arguments if not word.startswith("--out=")]
    if "--out" in kept:
        place = kept.index("--out")
        del kept[place : place + 2]
    return kept


def cpu_name() -> str:
    """Return the processor's name, with the units for bf16 that it has."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    fields = dict(line.split(":", 1) for line in text.split("\n\n")[0].splitlines() if ":" in line)
    values = {name.strip(): value.strip() for name, value in fields.items()}
    units = sorted(set(values.get("flags", "").split()) & {"avx512_bf16", "amx_bf16"})
    return f"{values.get('model name', platform.processor())} ({', '.join(units) or 'no bf16 units'})"


def as_markdown(
    surroundings: Mapping[str, Any], reports: Sequence[ShapeReport], targets: Sequence[Target], extra: Mapping[str, float]
) -> str:
    """Return the whole report."""
    parts = ["# Trainer benchmark", "", f"    {surroundings['command']}", ""]
    parts += [f"- {name}: {value}" for name, value in surroundings.items() if name != "command"]
    for report in reports:
        parts += ["", f"## {report.shape}: {report.clips} clips, {report.audio_s:.0f} s of audio, {report.epochs} epochs", ""]
        parts.append(table_of(report))
    parts += ["", "## Targets", "", targets_table(targets), "", "## Further figures", ""]
    parts += [f"- {name}: {value:.4g}" for name, value in extra.items()]
    return "\n".join(parts) + "\n"


def as_document(
    surroundings: Mapping[str, Any], reports: Sequence[ShapeReport], targets: Sequence[Target], extra: Mapping[str, float]
) -> dict[str, Any]:
    """Return what is written as JSON."""
    return {
        **surroundings,
        "amortised_over_epochs": AMORTISED_OVER,
        "shapes": {report.shape: asdict(report) for report in reports},
        "targets": [asdict(target) | {"verdict": target.verdict} for target in targets],
        "further": dict(extra),
    }


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _share(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}%"
