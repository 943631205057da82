"""Options that many commands have."""

import getpass
import os
from typing import Annotated

import typer


def _me() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"


Json = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, for machines.")]
By = Annotated[str, typer.Option(default_factory=_me, help="Who asks; recorded as a claim.", show_default="you")]
