"""Models for people: the list, and one with everything that is known of it."""

import re
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from functions.views.production import ModelView
from infra.models.check import ModelCheck
from infra.models.diff import ModelDiff, Value
from infra.models.gc import GcReport
from infra.wording import when
from shared.ids import version_name

DIGEST = re.compile(r"[0-9a-f]{64}")


def render_models(views: Sequence[ModelView]) -> RenderableType:
    """Return one line a model."""
    if not views:
        return Text("No model yet: run `retune models import DIR|HUB_ID --promote`.")
    table = Table("version", "role", "origin", "from", Column("made", no_wrap=True), "MB", "verdict", "", box=None)
    for view in views:
        manifest = view.manifest
        base = "" if manifest.base_version is None else version_name(manifest.base_version)
        size_mb = sum(file.size_bytes for file in manifest.files) / 1e6
        made = when(manifest.created_at)
        verdict = view.verdict.outcome if view.verdict else ""
        marks = ", ".join(mark for mark, holds in (("override", view.overrides), ("pinned", view.pinned)) if holds)
        table.add_row(version_name(view.version), view.role, manifest.origin, base, made, f"{size_mb:.1f}", verdict, marks)
    return table


def render_model(view: ModelView) -> RenderableType:
    """Return everything that is known of one model."""
    manifest = view.manifest
    learned = ", ".join(map(str, manifest.learned)) or "no cycle"
    base = "" if manifest.base_version is None else f" from {version_name(manifest.base_version)}"
    lines: list[RenderableType] = [
        Text(f"{version_name(view.version)} {view.role}".rstrip(), style="bold"),
        Text(f"  {manifest.origin}{base} at {when(manifest.created_at)}, has learned {learned}"),
    ]
    digests = {"dataset": manifest.dataset_sha256, "spec": manifest.spec_sha256, "policy": manifest.policy_sha256}
    named = {**{name: digest[:16] for name, digest in digests.items() if digest}, **manifest.details.get("code", {})}
    if named:
        made_from = ", ".join(f"{name} {value}".replace("_", " ") for name, value in named.items())
        lines.append(Text(f"  made from {made_from}"))
    if view.verdict is not None:
        lines.append(Text(f"  {view.verdict.outcome}: {'; '.join(view.verdict.reasons)}"))
    if view.pinned:
        lines.append(Text("  pinned: its files stay whatever the retention says"))
    lines.extend(
        Text(f"  override: made stable without its evidence by {move.by} at {when(move.at)}: {move.reason}") for move in view.overrides
    )
    table = Table("file", "bytes", "sha256", box=None)
    for file in manifest.files:
        table.add_row(f"  {file.name}", str(file.size_bytes), f"{file.sha256[:16]}...")
    return Group(*lines, table)


def render_check(check: ModelCheck) -> RenderableType:
    """Return what is wrong with a model, file by file."""
    name = version_name(check.version)
    table = Table("file", "bytes", "", box=None)
    for file in check.files:
        table.add_row(f"  {file.name}", str(file.size_bytes), file.problem or "as its manifest says")
    lines: list[RenderableType] = [Text(f"{name} is whole" if check.whole else f"{name} is damaged: do not serve it", style="bold")]
    lines.extend(Text(f"  {problem}") for problem in check.problems)
    lines.append(table)
    lines.extend(Text(f"  beside them, never loaded: {key}") for key in check.beside)
    return Group(*lines)


def render_diff(diff: ModelDiff) -> RenderableType:
    """Return what differs between two models, and all that was measured."""
    table = Table("", "", version_name(diff.a), version_name(diff.b), box=None)
    same = 0
    for row in diff.rows:
        if row.differs or row.section == "validation":
            table.add_row(row.section, row.name, _cell(row.a), _cell(row.b))
        else:
            same += 1
    return Group(table, Text(f"The same in both: {same} values (--json shows them)."))


def render_gc(report: GcReport) -> RenderableType:
    """Return the fate of every model."""
    if not report.fates:
        return Text("No model has files.")
    table = Table("version", "MB", "", "why", box=None)
    for fate in report.fates:
        done = "would go" if report.dry_run else "deleted" if fate.version in report.deleted else "left"
        why = report.left.get(fate.version, fate.why)
        table.add_row(version_name(fate.version), f"{fate.size_bytes / 1e6:.1f}", done if fate.collect else "stays", why)
    return table


def _cell(value: Value) -> str:
    if value is None:
        return "-"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return f"{text[:16]}..." if DIGEST.fullmatch(text) else text
