"""The validation report: assembled from a verdict, and as one HTML page that needs nothing else."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from markupsafe import Markup

from functions.validator.decide import Verdict
from functions.validator.rules import GatePolicy
from shared import keys
from shared.diffs import shown
from shared.pages import Filters, render_page
from shared.plot import interval_plot, lines_of
from shared.verdict import ClosureCounts, RecheckNumbers, ValidationReport
from shared.wording import interval_in_percent, interval_in_points, percent, relative_change

TEMPLATE = Path(__file__).with_name("report.html.j2")
RECHECK_NAMES = {keys.FIXED_SET: "held out when they were fixed", keys.MEMORY_SET: "learned"}
FILTERS: Filters = {"percent": percent, "rate": interval_in_percent, "points": interval_in_points, "relative": relative_change}


@dataclass(frozen=True)
class Lineage:
    """What was judged against what, by digest: fields of `ValidationReport`."""

    cycle: int
    version: int
    base_version: int
    model_manifest_sha256: str
    dataset_sha256: str
    spec_sha256: str
    result_sha256: str
    normaliser: str
    left_out: Mapping[str, Mapping[str, int]]
    base_manifest_sha256: str | None = None
    learned: tuple[int, ...] = ()
    policy_sha256: str | None = None
    judged_under_sha256: str | None = None
    code: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Closures:
    """What became of errors; see `ValidationReport`."""

    held_out: ClosureCounts | None = None
    learned: ClosureCounts | None = None
    rechecks: tuple[RecheckNumbers, ...] = ()


def build_report(
    verdict: Verdict, lineage: Lineage, policy: GatePolicy, created_at: datetime, closures: Closures | None = None
) -> ValidationReport:
    """Return the document that the deployer verifies before it moves production."""
    closures = closures or Closures()
    return ValidationReport(
        **vars(lineage),
        outcome=verdict.outcome,
        reasons=verdict.reasons,
        notes=verdict.notes,
        alpha=policy.alpha,
        sets=verdict.sets,
        strata=verdict.strata,
        worst_regressions=verdict.changes.regressions,
        best_fixes=verdict.changes.fixes,
        created_at=created_at,
        failure_reason=verdict.failure_reason,
        slices=verdict.slices,
        gates=verdict.gates,
        classic=verdict.classic,
        closure=closures.held_out,
        learned_closure=closures.learned,
        rechecks=closures.rechecks,
    )


def render_html(report: ValidationReport) -> str:
    """Return the report as one self-contained page; all text in it is escaped, and the page itself forbids scripts and requests."""
    return render_page(
        TEMPLATE,
        FILTERS,
        report=report,
        plot=Markup(interval_plot(lines_of(report))),  # noqa: S704  # drawn by us, its labels escaped
        recheck_names=RECHECK_NAMES,
        came_back=[shown(change) for each in report.rechecks for change in each.examples],
        regressions=[shown(change) for change in report.worst_regressions],
        fixes=[shown(change) for change in report.best_fixes],
    )
