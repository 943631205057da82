"""What became of a cycle, from the records: why it was opened, on which data, what it cost, why it ended so, who moved its model [io]."""

from collections.abc import Collection, Iterable
from datetime import timedelta

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from functions.crossing import Declined, find_declined
from functions.launcher.opening import find_state
from functions.launcher.seal import find_dataset
from functions.launcher.spending import read_attempts
from functions.runtime import Ports
from infra.dataset.view import DatasetView, view
from infra.dataset.view import render as render_dataset
from infra.errors import Refused
from infra.models import read_moves
from infra.wording import when
from shared import keys
from shared.budget import AttemptCost
from shared.cas import find
from shared.cycle import CycleState
from shared.frozen import Frozen
from shared.ids import version_name
from shared.registry import Move
from shared.training import TrainingResult, parse_document
from shared.verdict import SetNumbers, ValidationReport, parse_report
from shared.wording import interval_in_points, percent


class CycleStory(Frozen):
    """All that is on record about one cycle.

    Attributes:
        state: every move of the cycle, and who made it because of what; the first says why it was opened.
        declined: the last refusal to open it, from the time before.
        dataset: what it trained and was judged on; None = not sealed.
        attempts: what each attempt to train cost.
        verdict: the validator's report; None = it was not judged.
        moves: what the production alias did with its version, from the audit log.
    """

    state: CycleState
    declined: Declined | None
    dataset: DatasetView | None
    attempts: tuple[AttemptCost, ...]
    verdict: ValidationReport | None
    moves: tuple[Move, ...]


def tell(ports: Ports, cycle: int) -> CycleStory:
    """Read the records of one cycle; writes nothing.

    Raises:
        Refused: no such cycle was opened.
    """
    state = find_state(ports, cycle)
    if state is None:
        raise Refused(f"cycle {cycle}: expected one that was opened, found no state: `retune explain` tells about the one that collects")
    report = find(ports.store, keys.report(cycle))
    return CycleStory(
        state=state,
        declined=find_declined(ports, cycle),
        dataset=_dataset(ports, cycle),
        attempts=read_attempts(ports, state),
        verdict=parse_report(report.data) if report else None,
        moves=tuple(move for move in read_moves(ports) if move.version == cycle),
    )


def _dataset(ports: Ports, cycle: int) -> DatasetView | None:
    sealed = find_dataset(ports, cycle)
    if sealed is None:
        return None
    stored = find(ports.store, keys.result(cycle))
    aside = parse_document(TrainingResult, stored.data, what=stored.info.key).set_aside if stored else ()
    return view("on which data", sealed.rows, aside)


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
    yield from (f"    {_numbers(each)}" for each in report.sets if each.decides)
    if report.closure is not None:
        closed = report.closure
        yield (
            f"    held-out production errors: {closed.fixed} fixed, {closed.improved} improved, "
            f"{closed.unchanged} unchanged, {closed.worse} worse"
        )


def _numbers(each: SetNumbers) -> str:
    base, candidate = (None if system.wer is None else system.wer.estimate for system in (each.base, each.candidate))
    change = "" if each.delta is None else f", {interval_in_points(each.delta)}"
    return (
        f"{each.name}: WER {percent(base)} -> {percent(candidate)}{change}; {each.utterances} utterances, {each.clusters} speakers or calls"
    )


def move_lines(moves: Iterable[Move]) -> Iterable[str]:
    """Yield who moved the alias to or from a version, and why."""
    for move in moves:
        kind = move.kind.replace("_", " ")
        share = "" if move.percent is None else f" for {move.percent}% of the sessions"
        override = ", against or without the evidence" if move.override else ""
        yield f"  {kind}{share} by {move.by}{override}, {when(move.at)}: {move.reason or 'no reason given'}"
