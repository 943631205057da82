"""`docs/commands/`: a page for each command of `retune`, from its own help.

The pages of commands that hand their arguments on (`finetune`, `llm-check`) name the guide that explains them.
"""

import re
from collections.abc import Iterator

import typer
from typer.cli import get_docs_for_click

from infra.cli import PANELS, PASSED_ON, app

MADE = "Made from the command's own help by `make pages`; a test keeps it true."
HELP_OPTION = "* `--help`: Show this message and exit.\n"


def pages() -> dict[str, str]:
    """Return the text of each page by its path in docs/."""
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    context = typer.Context(group, info_name="retune")
    found = {}
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        text = get_docs_for_click(obj=command, ctx=typer.Context(command, parent=context, info_name=name), call_prefix="retune", name=name)
        lines = [_pruned(text), ""]
        if command.context_settings.get("ignore_unknown_options") == PASSED_ON["ignore_unknown_options"]:
            lines += ["Its options: `--help` lists them, [the guide](../guides/finetune.md) explains them.", ""]
        found[f"commands/{name}.md"] = "\n".join([*lines, MADE, ""])
    return {"commands/README.md": _index(group, context), **found}


def _pruned(text: str) -> str:
    """Return a page without what every command has, and without the list of commands that follow at length."""
    without = text.replace(HELP_OPTION, "").replace("**Options**:\n\n\n", "")
    return re.sub(r"\*\*Commands\*\*:\n\n(\*.*\n)*\n", "", without).rstrip()


def _index(group: typer.core.TyperGroup, context: typer.Context) -> str:
    lines = ["# Commands", "", (group.help or "").strip(), "", (group.epilog or "").strip(), ""]
    lines += ["`retune --install-completion` teaches the shell to complete them.", ""]
    for panel in PANELS:
        lines += [f"## {panel}", "", "| command | what it does |", "|---|---|", *_rows(group, context, panel), ""]
    return "\n".join([*lines, MADE, ""])


def _rows(group: typer.core.TyperGroup, context: typer.Context, panel: str) -> Iterator[str]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if getattr(command, "rich_help_panel", None) == panel:
            yield f"| [`retune {name}`]({name}.md) | {' '.join((command.help or '').split())} |"
