"""What became of a cycle, for a terminal: why it was opened, on which data, what it cost, why it ended so, who moved its model."""

from collections.abc import Collection, Iterable
from datetime import timedelta

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from functions.runtime import Ports
from functions.views.cycle import CycleStory, read_cycle, set_text
from functions.views.production import read_moves
from infra.dataset.view import render as render_dataset
from infra.errors import Refused
from infra.wording import when
from shared.budget import AttemptCost
from shared.cycle import CycleState
from shared.errors import NotFound
from shared.ids import version_name
from shared.registry import Move
from shared.verdict import ValidationReport


def tell(ports: Ports, cycle: int) -> CycleStory:
    """Read the records of one cycle; writes nothing.

    Raises:
        Refused: no such cycle was opened.
    """
    try:
        return read_cycle(ports, cycle, read_moves(ports))
    except NotFound as error:
        raise Refused(str(error)) from error


def render(story: CycleStory) -> RenderableType:
    """Return the story for people, in the order in which it happened."""
    state = story.state
    opened = state.history[0]
    parts: list[RenderableType] = [
        Text(f"Cycle {state.cycle}: {state.status}", style="bold"),
        Text(f"  why: {opened.reason} ({'forced, ' if state.forced else ''}by {opened.by}, {when(opened.at)}, event {opened.cause})"),
    ]
    if story.declined is not None and story.declined.at < opened.at:
        parts.append(Text(f"  before that declined, {when(story.declined.at)}: {'; '.join(story.declined.decision.held)}"))
    parts.append(Text("  no dataset was sealed") if story.dataset is None else render_dataset(story.dataset))
    parts += [Text(line) for line in _training(state, story.attempts)]
    parts += [Text(line) for line in verdict_lines(story.verdict)]
    parts += [Text(line) for line in move_lines(story.moves)]
    told = {opened.reason, "; ".join(story.verdict.reasons) if story.verdict else ""}
    return Group(*parts, *_history(state, told))


def _training(state: CycleState, attempts: Iterable[AttemptCost]) -> Iterable[str]:
    for number, cost in enumerate(attempts, start=1):
        where = "" if cost.machine is None else f" on {cost.machine.machine_type} ({cost.machine.provisioning})"
        yield f"  attempt {number}: {timedelta(seconds=round(cost.gpu_s))} of machine time{where}, until {when(cost.ended_at)}"
    if state.attempt > 1:
        yield f"  {state.attempt} attempts in all"


def _history(state: CycleState, told: Collection[str]) -> Iterable[RenderableType]:
    table = Table(show_header=False, box=None, pad_edge=False)
    for entry in state.history:
        table.add_row(f"  {when(entry.at)}", entry.status, entry.by, "" if entry.reason in told else entry.reason)
    return (Text("  step by step:"), table)


def verdict_lines(report: ValidationReport | None) -> Iterable[str]:
    """Yield why a candidate was accepted or not, and the numbers that it rests on."""
    if report is None:
        yield "  it was not judged"
        return
    yield f"  {report.outcome} beside {version_name(report.base_version)}, {when(report.created_at)}: {'; '.join(report.reasons)}"
    yield from (f"    {set_text(each)}" for each in report.sets if each.decides)
    if report.closure is not None:
        closed = report.closure
        yield (
            f"    held-out production errors: {closed.fixed} fixed, {closed.improved} improved, "
            f"{closed.unchanged} unchanged, {closed.worse} worse"
        )


def move_lines(moves: Iterable[Move]) -> Iterable[str]:
    """Yield who moved the alias to or from a version, and why."""
    for move in moves:
        yield f"  {move.audit_text} by {move.by}, {when(move.at)}: {move.reason or 'no reason given'}"
