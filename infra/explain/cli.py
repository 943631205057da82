"""`retune explain`: stories from the records, of what would happen now, a cycle, a version or an utterance."""

import re
from collections.abc import Callable
from typing import Annotated

import typer
from pydantic import BaseModel
from rich.console import RenderableType

import infra.explain.cycle_story
import infra.explain.decision
import infra.explain.utterance_story
import infra.explain.version_story
from functions.runtime import Ports
from infra.errors import OK, REFUSED
from infra.options import Json
from infra.session import open_session
from infra.terminal import answering, show

Teller = Callable[[Ports], tuple[BaseModel, RenderableType]]


def explain(
    subject: Annotated[
        str | None,
        typer.Argument(
            metavar="CYCLE|VERSION|UTTERANCE", help="12 = a cycle, v12 = a version, else an utterance; without it, the cycle to come."
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Explain what `retune trigger` would do.")] = False,
    utterance: Annotated[str | None, typer.Option(help="An utterance whose name looks like a cycle's or a version's.")] = None,
    as_json: Json = False,
) -> None:
    """Tell why a cycle would start now (exit code 0) or would not (1), on an exact count; or tell the story of what is named."""
    if sum((subject is not None, utterance is not None, force)) > 1:
        raise typer.BadParameter("expected one of a subject, --utterance and --force, found more")
    teller = about(subject, utterance)
    if teller is not None:
        with answering(), open_session() as session:
            story, rendered = teller(session.ports)
        show(story, rendered, as_json=as_json)
        return
    with answering(), open_session() as session:
        explanation = infra.explain.decision.explain(session.ports, forced=force)
    show(explanation, infra.explain.decision.render(explanation), as_json=as_json)
    raise typer.Exit(OK if explanation.decision.should_trigger else REFUSED)


def about(subject: str | None, utterance: str | None) -> Teller | None:
    """Return what tells the story that is asked for; None = about the next cycle."""
    if utterance is None and subject is not None and re.fullmatch(r"v\d{1,6}", subject):
        return lambda ports: _version(ports, int(subject[1:]))
    if utterance is None and subject is not None and re.fullmatch(r"\d{1,6}", subject):
        return lambda ports: _cycle(ports, int(subject))
    name = utterance if utterance is not None else subject
    return None if name is None else lambda ports: _utterance(ports, name)


def _version(ports: Ports, version: int) -> tuple[BaseModel, RenderableType]:
    story = infra.explain.version_story.tell(ports, version)
    return story, infra.explain.version_story.render(story)


def _cycle(ports: Ports, cycle: int) -> tuple[BaseModel, RenderableType]:
    story = infra.explain.cycle_story.tell(ports, cycle)
    return story, infra.explain.cycle_story.render(story)


def _utterance(ports: Ports, utterance_id: str) -> tuple[BaseModel, RenderableType]:
    story = infra.explain.utterance_story.tell(ports, utterance_id)
    return story, infra.explain.utterance_story.render(story)
