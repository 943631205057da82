"""How a command answers: a document for machines or a text for people, and an exit code."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import typer
from google.api_core.exceptions import GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from pydantic import BaseModel
from rich.console import Console, RenderableType

from infra.errors import OK, REFUSED, TIMEOUT, UNREACHABLE, NoAnswer, Refused, Unreachable
from infra.people import Answer
from shared.errors import NotFound, Retryable, RetuneError
from shared.terminal import TextConsole, say


def show(document: BaseModel | Sequence[BaseModel], rendered: RenderableType, *, as_json: bool) -> None:
    """Print a document, or a list of them, as JSON; else what was rendered of it."""
    if as_json:
        dumped = [item.model_dump(mode="json") for item in ([document] if isinstance(document, BaseModel) else document)]
        print_json(dumped[0] if isinstance(document, BaseModel) else dumped, indent=1)
    elif isinstance(rendered, str):
        say(rendered)
    else:
        console().print(rendered)


def print_json(document: object, *, indent: int | None = None) -> None:
    """Print JSON in ASCII: every character that a terminal could obey is escaped, also DEL, which JSON allows as it is."""
    typer.echo(json.dumps(document, indent=indent).replace("\x7f", "\\u007f"))


def console() -> Console:
    """Return where tables are printed: as wide as the terminal, without colours elsewhere; what they hold is text, never markup."""
    return TextConsole()


def answer_with(answer: Answer, *, as_json: bool) -> NoReturn:
    """Print what came of a person's command, and leave with its code."""
    show(answer, answer.text, as_json=as_json)
    raise typer.Exit(REFUSED if answer.outcome == "refused" else OK)


@contextmanager
def answering() -> Iterator[None]:
    """Turn exceptions that say who must act into a text on standard error and an exit code.

    Raises:
        typer.Exit: with the code.
    """
    try:
        yield
    except NoAnswer as error:
        _fail(error, TIMEOUT)
    except Refused as error:
        _fail(error, REFUSED)
    except (Unreachable, Retryable, NotFound, GoogleAPIError, GoogleAuthError) as error:
        _fail(error, UNREACHABLE)
    except RetuneError as error:
        _fail(error, REFUSED)


def _fail(error: Exception, code: int) -> NoReturn:
    say(error, err=True)
    raise typer.Exit(code) from error
