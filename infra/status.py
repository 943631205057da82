"""Where everything stands: what is collected, which cycle runs and how far it is, what serves."""

from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from functions.crossing import Declined, find_declined
from functions.launcher.opening import find_state
from functions.launcher.spending import read_spends
from functions.runtime import Ports
from functions.sweeper.decide import SPENDS
from functions.sweeper.verdict import subjects
from functions.sweeper.watch import find_watch
from infra.people import read_production
from infra.wording import when
from shared import keys, ledger
from shared.cas import find
from shared.cycle import CycleState, Status
from shared.frozen import Frozen
from shared.ids import version_name
from shared.ledger import Totals
from shared.registry import Production
from shared.spend import Spend
from shared.training import Heartbeat, parse_document
from shared.watch import Watch


class CycleView(Frozen):
    """A cycle and how far its trainer is.

    Attributes:
        heartbeat: the trainer's last sign of life in the present attempt; None = none yet.
    """

    state: CycleState
    heartbeat: Heartbeat | None = None


class StatusReport(Frozen):
    """What `retune status` shows.

    Attributes:
        collecting: number of the cycle that collects.
        collected: how much it holds; after redeliveries it may be too high, `explain` counts exactly.
        wanted: thresholds of the policy.
        running: the cycle that has not ended.
        ended: the newest cycle that has.
        declined: the last recorded refusal to start the cycle that collects.
        watches: what was seen of the canary, and of a stable version in its guard window.
        spends: what has been spent of each limit of the budget, while a cycle runs that may train.
    """

    at: datetime
    bucket: str
    collecting: int
    collected: Totals
    wanted: dict[str, int]
    running: CycleView | None
    ended: CycleView | None
    declined: Declined | None
    production: Production | None
    watches: tuple[Watch, ...] = ()
    spends: tuple[Spend, ...] = ()


def look(ports: Ports) -> StatusReport:
    """Read where everything stands; changes nothing."""
    head = ledger.read_head(ports.store)
    views = [view for view in (_view(ports, number) for number in (head, head - 1) if number >= ledger.FIRST_CYCLE) if view is not None]
    policy = ports.settings.policy
    production = read_production(ports)
    running = next((view for view in views if not view.state.ended), None)
    watched = ((subject, find_watch(ports, subject.version)) for subject in subjects(production, policy.canary))
    return StatusReport(
        at=ports.clock.now(),
        bucket=ports.store.uri,
        collecting=head,
        collected=ledger.count(ports.store, head),
        wanted={"errors": policy.min_error_cases, "corrected": policy.min_corrected_cases},
        running=running,
        ended=next((view for view in views if view.state.ended), None),
        declined=find_declined(ports, head),
        production=production,
        watches=tuple(watch for subject, watch in watched if watch is not None and watch.subject == subject),
        spends=read_spends(ports, running.state.cycle) if running is not None and running.state.status in SPENDS else (),
    )


def without_time(report: StatusReport) -> StatusReport:
    """Return what stays the same while nothing happens."""
    return report.model_copy(update={"at": datetime.min.replace(tzinfo=UTC)})


def _view(ports: Ports, cycle: int) -> CycleView | None:
    state = find_state(ports, cycle)
    if state is None:
        return None
    found = find(ports.store, keys.heartbeat(cycle))
    beat = parse_document(Heartbeat, found.data, what=found.info.key) if found else None
    return CycleView(state=state, heartbeat=beat if beat is not None and beat.attempt == state.attempt else None)


def render(report: StatusReport) -> RenderableType:
    """Return the report for people."""
    parts: list[RenderableType] = [
        Text(report.bucket, style="bold"),
        *serving_lines(report.production),
        *_watched(report),
        *_collected(report),
    ]
    if report.running is not None:
        parts += _cycle(report.running, report.at)
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
