"""`retune simulate`: what a policy would do, before anyone pays for it."""

from pathlib import Path
from typing import Annotated

import typer

from infra.options import Json
from infra.session import read_policy
from infra.terminal import answering, show
from shared.policy import Policy
from shared.terminal import say

Repeated = list[str] | None


def simulate(  # noqa: PLR0917 - typer reads options off the parameters
    days: Annotated[float | None, typer.Option(help="Days to simulate; by default 90, or as long as the record is.")] = None,
    errors_per_hour: Annotated[float | None, typer.Option(help="Reported errors while the first model serves; by default 5.")] = None,
    history: Annotated[
        str | None, typer.Option(help="Play this again: a file of events, a store's folder or gs://bucket (only read).")
    ] = None,
    policy: Annotated[list[Path] | None, typer.Option(help="A file with a policy as in RETUNE_POLICY; repeatable, side by side.")] = None,
    set_: Annotated[Repeated, typer.Option("--set", help="What if: min_error_cases=50, or canary.percent=10; repeatable.")] = None,
    assume: Annotated[Repeated, typer.Option(help="Another assumption than the printed one: wer=0.2; repeatable.")] = None,
    measured_from: Annotated[
        str | None, typer.Option(help="A store's folder or gs://bucket whose cycles tell what training does and takes.")
    ] = None,
    usd_per_gpu_hour: Annotated[
        float | None, typer.Option(help="Price of an hour of the trainer's machine; by default the policy's.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all draws: the same seed, the same calls.")] = 0,
    as_json: Json = False,
) -> None:
    """Try policies on made-up or recorded traffic, through the functions' own code, in memory; nothing outside is touched."""
    for name, value in (("--days", days), ("--errors-per-hour", errors_per_hour), ("--usd-per-gpu-hour", usd_per_gpu_hour)):
        if value is not None and not 0 < value < float("inf"):
            raise typer.BadParameter(f"{name}: expected more than 0, found {value:g}")
    # the functions and numpy take a second to import: not for every command
    from infra.simulate.command import Asked, carry_out
    from infra.simulate.render import render

    with answering():
        asked = Asked(
            days=days,
            errors_per_hour=errors_per_hour,
            history=history,
            files=tuple(policy or ()),
            changes=tuple(set_ or ()),
            assume=tuple(assume or ()),
            measured_from=measured_from,
            usd_per_gpu_hour=usd_per_gpu_hour,
            seed=seed,
            present=read_policy(Policy()),
        )
        simulation = carry_out(asked, lambda line: say(line, err=True))
    show(simulation, render(simulation), as_json=as_json)
