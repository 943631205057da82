"""Options that many commands have, and what is read from them."""

import getpass
import os
import re
from typing import Annotated

import typer

from infra.people import Person


def me() -> str:
    """Return under which name this process runs: a claim."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"


Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, for machines.")]
By = Annotated[str, typer.Option(default_factory=me, help="Who you are; recorded as a claim.", show_default="you")]
Reason = Annotated[str | None, typer.Option(help="Why; recorded.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait for the answer.")]
Timeout = Annotated[float, typer.Option(min=0, help="Seconds to wait for the answer.")]


def person(by: str, reason: str | None, wait: bool, timeout: float) -> Person:  # noqa: FBT001
    """Return who asks, and how long for an answer; None = not at all."""
    return Person(by=by, reason=reason, wait_s=timeout if wait else None)


def parse_version(text: str) -> int:
    """Return the number of a version such as v12.

    Raises:
        typer.BadParameter: it is none.
    """
    if not re.fullmatch(r"v?\d{1,6}", text):
        raise typer.BadParameter(f"expected a version such as v12, found {text!r}")
    return int(text.removeprefix("v"))


VersionArgument = Annotated[int, typer.Argument(parser=parse_version, metavar="VERSION", help="A version, such as v12.")]
