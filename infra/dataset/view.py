"""A dataset in numbers, for a terminal."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from functions.views.dataset import DatasetView

HOUR_S = 3600.0


def render(found: DatasetView) -> RenderableType:
    """Return a dataset for people."""
    kinds = ", ".join(f"{count} of kind {kind}" for kind, count in found.kinds.items())
    parts: list[RenderableType] = [
        Text(found.source, style="bold"),
        Text(f"  {found.rows} rows: {kinds or 'none'}; {found.fresh} fresh, {found.carried} carried, {found.waiting} waiting"),
    ]
    table = Table("split", "errors", "samples", "no reference", "speakers", "audio h", "human", "LLM", "accepted", box=None)
    for each in found.splits:
        numbers = (each.errors, each.samples, each.unlabelled, each.speakers)
        hours = f"{each.audio_s / HOUR_S:.2f}{f' + {each.unknown_length} of unknown length' if each.unknown_length else ''}"
        table.add_row(each.split, *map(str, numbers), hours, str(each.human), str(each.llm), str(each.accepted))
    parts.append(table)
    for aside in found.set_aside:
        examples = f": {'; '.join(aside.examples)}" if aside.examples else ""
        parts.append(Text(f"  set aside by the {aside.by}, {aside.reason}: {aside.rows}{examples}"))
    parts += [Text(f"  warning: {line}") for line in found.warnings]
    return Group(*parts)
