"""`retune trace`: the trace of one cycle on this machine, without a server for it."""

from pathlib import Path
from typing import Annotated

import typer

import infra.trace_view
from infra.options import Json
from infra.terminal import answering, show
from shared.tracing import FILE_VARIABLE

DEFAULT = Path(".retune/traces.jsonl")


def trace(
    cycle: Annotated[int | None, typer.Argument(min=1, help="A cycle; by default the newest.")] = None,
    file: Annotated[Path, typer.Option(envvar=FILE_VARIABLE, help="The file that spans are appended to.")] = DEFAULT,
    as_json: Json = False,
) -> None:
    """Show the trace of a cycle, from the error to the deployment, as `retune up --traces` has written it."""
    with answering():
        found = infra.trace_view.read_trace(file, cycle)
    show(found, infra.trace_view.render(found), as_json=as_json)
