"""What people ask the functions for, as commands: trigger, approve, cancel, promote, canary, rollback."""

from collections.abc import Callable
from typing import Annotated, Concatenate, ParamSpec

import typer

from functions.acts import people
from functions.acts.people import Act, Answer, Asker
from functions.runtime import Ports
from infra.options import By, Json, Reason, Timeout, VersionArgument, Wait, parse_version, person
from infra.people import TIMEOUT_S, Person, ask
from infra.session import open_session
from infra.terminal import answer_with, answering

Said = ParamSpec("Said")
CycleArgument = Annotated[int | None, typer.Argument(min=1, help="A cycle; by default the one that runs.")]


def asked(who: Person, act: Callable[Concatenate[Ports, Asker, Said], Act | Answer], *args: Said.args, **kwargs: Said.kwargs) -> Answer:
    """Ask for an act of the stack that the environment names; see `ask`."""
    with answering(), open_session() as session:
        return ask(session.ports, who, act, *args, **kwargs)


def trigger(by: By, reason: Reason = None, wait: Wait = True, timeout: Timeout = TIMEOUT_S, as_json: Json = False) -> None:
    """Start a cycle now: it skips thresholds, cooldown and approval; nothing else."""
    answer_with(asked(person(by, reason, wait, timeout), people.trigger), as_json=as_json)


def approve(
    by: By, cycle: CycleArgument = None, reason: Reason = None, wait: Wait = True, timeout: Timeout = TIMEOUT_S, as_json: Json = False
) -> None:
    """Let the cycle that awaits approval go on."""
    answer_with(asked(person(by, reason, wait, timeout), people.approve, cycle), as_json=as_json)


def cancel(
    by: By, cycle: CycleArgument = None, reason: Reason = None, wait: Wait = True, timeout: Timeout = TIMEOUT_S, as_json: Json = False
) -> None:
    """Cancel the cycle that runs; its errors go into the next one."""
    answer_with(asked(person(by, reason, wait, timeout), people.cancel, cycle), as_json=as_json)


def promote(
    by: By,
    version: VersionArgument,
    override: Annotated[bool, typer.Option("--override", help="Without evidence, on your word; needs a reason.")] = False,
    reason: Reason = None,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Make an accepted version stable."""
    if override and not reason:
        raise typer.BadParameter("--override needs --reason: it stays in the audit log for ever")
    answer_with(asked(person(by, reason, wait, timeout), people.promote, version, override=override), as_json=as_json)


def canary(
    by: By,
    version: VersionArgument,
    percent: Annotated[
        int | None, typer.Option(min=0, max=99, help="Share of the sessions; 0 = transcribe beside, serve nobody; by default the policy's.")
    ] = None,
    reason: Reason = None,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Serve an accepted version to a share of the sessions; its errors there decide whether it is promoted."""
    answer_with(asked(person(by, reason, wait, timeout), people.canary, version, percent), as_json=as_json)


def rollback(
    by: By,
    version: Annotated[
        int | None,
        typer.Argument(parser=parse_version, metavar="VERSION", help="A live version; by default the canary, else the stable one."),
    ] = None,
    to: Annotated[
        int | None,
        typer.Option(
            parser=parse_version, metavar="VERSION", help="The earlier stable version to serve then; by default the last good one."
        ),
    ] = None,
    reason: Reason = None,
    wait: Wait = True,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Withdraw a live version and serve the last good one before it."""
    answer_with(asked(person(by, reason, wait, timeout), people.rollback, version, to), as_json=as_json)
