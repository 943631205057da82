"""`retune train`: the trainer of a cycle, started by hand."""

from dataclasses import replace
from typing import Annotated, Literal

import typer

from functions.launcher.build import launch_deps
from infra.errors import OK, REFUSED
from infra.options import Json
from infra.session import open_session
from infra.terminal import answering, show
from infra.train import follow, train
from shared.terminal import say

DAY_S = 86_400.0


def train_command(
    cycle: Annotated[int, typer.Option(min=1, help="A cycle.")],
    launcher: Annotated[
        Literal["compute_engine", "cloud_run", "local"], typer.Option(help="What starts the trainer; the one in RETUNE_LAUNCHER.")
    ],
    wait: Annotated[bool, typer.Option("--wait", help="Follow it by its heartbeat until it is trained.")] = False,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to follow it for.")] = DAY_S,
    as_json: Json = False,
) -> None:
    """Start the trainer of a cycle that is prepared, interrupted or waits for a machine: what the sweeper would do, now."""
    with answering(), open_session() as session:
        # the launcher is the functions' own, so that the sweeper sees what is started here
        deps = replace(launch_deps("launcher"), ports=session.ports)
        answer = train(deps, cycle, launcher)
        if wait and not answer.refused:
            say(answer.text, err=True)
            answer = follow(session.ports, cycle, lambda line: say(line, err=True), timeout_s=timeout)
    show(answer, answer.text, as_json=as_json)
    raise typer.Exit(REFUSED if answer.refused else OK)
