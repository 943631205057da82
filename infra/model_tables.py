"""Models for people: the list, and one with everything that is known of it."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from infra.models import ModelView
from infra.wording import when
from shared.ids import version_name


def render_models(views: Sequence[ModelView]) -> RenderableType:
    """Return one line a model."""
    if not views:
        return Text("No model yet: run `retune models import DIR|HUB_ID --promote`.")
    table = Table("version", "role", "origin", "from", Column("made", no_wrap=True), "MB", "verdict", box=None)
    for view in views:
        manifest = view.manifest
        base = "" if manifest.base_version is None else version_name(manifest.base_version)
        size_mb = sum(file.size_bytes for file in manifest.files) / 1e6
        made = when(manifest.created_at)
        verdict = view.verdict.outcome if view.verdict else ""
        table.add_row(version_name(view.version), view.role, manifest.origin, base, made, f"{size_mb:.1f}", verdict)
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
    if view.verdict is not None:
        lines.append(Text(f"  {view.verdict.outcome}: {'; '.join(view.verdict.reasons)}"))
    table = Table("file", "bytes", "sha256", box=None)
    for file in manifest.files:
        table.add_row(f"  {file.name}", str(file.size_bytes), f"{file.sha256[:16]}...")
    return Group(*lines, table)
