"""Where everything stands, for a terminal: what is collected, which cycle runs and how far it is, what serves."""

from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from functions.views.dead_letters import DeadLetters
from functions.views.run import RunView
from functions.views.status import CycleView, StatusReport
from infra.wording import when
from shared.cycle import Status
from shared.ids import version_name
from shared.registry import Production
from shared.wording import lasting, money, percent


def render(report: StatusReport) -> RenderableType:
    """Return the report for people."""
    parts: list[RenderableType] = [
        Text(report.bucket, style="bold"),
        *serving_lines(report.production),
        *_watched(report),
        *_collected(report),
        *_dead(report.dead),
    ]
    if report.running is not None:
        parts += _cycle(report.running, report.at)
        parts += _run(report.run)
        parts += [Text(f"  {spend.text}") for spend in report.spends]
    if report.ended is not None:
        parts += _cycle(report.ended, report.at)
    if report.running is None and report.ended is None:
        parts.append(Text("No cycle was opened yet."))
    return Group(*parts)


def serving_lines(production: Production | None) -> list[RenderableType]:
    """Return what serves, and the last move, for people."""
    if production is None or production.stable is None:
        return [Text("No model is stable: run `retune models import DIR|HUB_ID --promote`.", style="yellow")]
    text = f"Stable: {version_name(production.stable)}"
    if production.canary is not None:
        share = production.canary.percent
        served = f"for {share}% of the sessions" if share else "in shadow: it transcribes beside and serves nobody"
        text += f", canary: {version_name(production.canary.version)} {served}"
    if production.previous:
        text += f"; before: {', '.join(map(version_name, production.previous[:3]))}"
    if production.withdrawn:
        text += f"; withdrawn: {', '.join(map(version_name, production.withdrawn))}"
    last = production.last
    return [Text(text), *([Text(f"  last move: {last.kind} {version_name(last.version)} by {last.by}: {last.reason}")] if last else [])]


def _watched(report: StatusReport) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for watch in report.watches:
        subject, verdict = watch.subject, watch.verdict
        lines.append(Text(f"  {subject.kind} since {when(subject.since)}, {verdict.action}: {verdict.reason}"))
        if verdict.action == "promote":
            lines.append(Text(f"  run `retune promote {version_name(subject.version)}` where the policy does not do it by itself"))
    return lines


def _collected(report: StatusReport) -> list[RenderableType]:
    totals, wanted = report.collected, report.wanted
    text = (
        f"Collecting: cycle {report.collecting} with {totals.errors} errors (of {wanted['errors']} wanted), "
        f"{totals.corrected} corrected (of {wanted['corrected']}), {totals.samples} samples"
    )
    lines: list[RenderableType] = [Text(text)]
    if report.declined is not None:
        lines.append(Text(f"  last declined: {'; '.join(report.declined.decision.held)}"))
    return lines


def _dead(dead: DeadLetters | None) -> list[RenderableType]:
    if dead is None:
        return []
    lines: list[RenderableType] = [Text(f"Dead letters: {dead.text}")]
    if dead.waiting:
        lines.append(Text("  run `retune dlq list`; once the cause is mended `retune dlq replay --all`, or `retune dlq drop`"))
    return lines


def _run(run: RunView | None) -> list[RenderableType]:
    """Return the trainer's numbers, and what its machines cost so far."""
    if run is None:
        return []
    lines: list[RenderableType] = []
    if run.progress is not None and run.state.status == Status.TRAINING:
        told = run.progress
        numbers = [] if told.loss is None else [f"loss {told.loss:.3f}"]
        if told.epochs:
            last = told.epochs[-1]
            numbers.append(
                f"dev WER {percent(last.dev_errors_wer)} on errors, {percent(last.dev_replay_wer)} on replay after epoch {last.epoch}"
            )
        left = "time left in this phase not known yet" if told.left_s is None else f"about {lasting(told.left_s)} left in this phase"
        lines.append(Text(f"  {'; '.join([*numbers, left])}"))
    if run.gpu_s:
        lines.append(Text(f"  so far {lasting(run.gpu_s)} of machine time, {money(run.usd)}"))
    return lines


def _cycle(view: CycleView, now: datetime) -> list[RenderableType]:
    state = view.state
    attempt = f", attempt {state.attempt}" if state.attempt > 1 else ""
    lines: list[RenderableType] = [Text(f"Cycle {state.cycle}: {state.status}{attempt}", style="bold")]
    if view.heartbeat is not None and state.status == Status.TRAINING:
        beat = view.heartbeat
        done = f" {beat.done} of {beat.total}" if beat.total else ""
        lines.append(Text(f"  trainer: {beat.phase}{done}, {(now - beat.at).total_seconds():.0f} s ago"))
    if state.status == Status.AWAITING_APPROVAL:
        lines.append(Text("  run `retune approve` to let it go on, or `retune cancel`"))
    table = Table(show_header=False, box=None, pad_edge=False)
    for entry in state.history:
        table.add_row(f"  {when(entry.at)}", entry.status, entry.by, entry.reason)
    return [*lines, table]
