"""A simulation for people: policies side by side, each one's cycles, and everything that was assumed."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from infra.simulate.outcome import CycleOutcome, Held, Outcome, Simulation
from shared.cycle import Status
from shared.wording import percent

SHOWN_CYCLES = 30
SHOWN_CHARS = 160


def render(simulation: Simulation) -> RenderableType:
    """Return the whole simulation for people."""
    parts: list[RenderableType] = [
        Text(f"Simulated, not measured: {simulation.days:g} days, {simulation.source}, seed {simulation.seed}", style="bold"),
        _side_by_side(simulation.outcomes),
    ]
    for outcome in simulation.outcomes:
        parts += _cycles(outcome)
    parts.append(Text("\nWhat this rests on", style="bold"))
    parts.append(_assumptions(simulation))
    parts += [Text(f"  assumed: {line}") for line in simulation.always]
    return Group(*parts)


def _side_by_side(outcomes: Iterable[Outcome]) -> Table:
    table = Table("", *(outcome.name for outcome in outcomes), box=None)
    rows = {
        "cycles opened": lambda one: str(len(one.cycles)),
        "  deployed": lambda one: str(one.count(Status.DEPLOYED)),
        "  rejected": lambda one: str(one.count(Status.REJECTED)),
        "  inconclusive": lambda one: str(one.count(Status.INCONCLUSIVE)),
        "  rolled back": lambda one: str(one.rolled_back),
        "  failed or cancelled": lambda one: str(one.count(Status.FAILED, Status.CANCELLED)),
        "GPU hours": lambda one: f"{one.gpu_hours:.2f}",
        "cost (USD)": lambda one: "no price known" if one.usd is None else f"{one.usd:.2f}",
        "time to the first better model": lambda one: "never" if one.first_better_h is None else _time(one.first_better_h),
        "modelled WER at first": lambda one: percent(one.wer_start),
        "modelled WER at the end": lambda one: percent(one.wer_end),
        "modelled WER, mean": lambda one: percent(one.wer_mean),
        "errors reported": lambda one: str(one.errors),
        "samples": lambda one: str(one.samples),
    }
    for name, cell in rows.items():
        table.add_row(name, *(cell(outcome) for outcome in outcomes))
    return table


def _cycles(outcome: Outcome) -> Iterable[RenderableType]:
    yield Text(f"\n{outcome.name}", style="bold")
    if not outcome.cycles:
        yield Text("  no cycle was opened")
    table = Table("cycle", "opened", "ended", "clips", "holdout", "GPU h", "WER", "outcome", box=None)
    for cycle in outcome.cycles[:SHOWN_CYCLES]:
        wer = f"{percent(cycle.wer_before)} to {percent(cycle.wer_after)}" if cycle.wer_after is not None else "-"
        ended = "-" if cycle.ended_h is None else _time(cycle.ended_h)
        clips, holdout = ("-" if number is None else str(number) for number in (cycle.clips, cycle.holdout))
        table.add_row(str(cycle.cycle), _time(cycle.opened_h), ended, clips, holdout, f"{cycle.gpu_hours:.2f}", wer, str(cycle.status))
    if outcome.cycles:
        yield table
    if len(outcome.cycles) > SHOWN_CYCLES:
        yield Text(f"  and {len(outcome.cycles) - SHOWN_CYCLES} more: --json has them all")
    for cycle in outcome.cycles[:SHOWN_CYCLES]:
        yield from _why(cycle)
    for held in outcome.collecting:
        yield Text(f"  the cycle that collects is held {_span(held)}: {_short(held.reason)}")


def _why(cycle: CycleOutcome) -> Iterable[Text]:
    yield Text(f"  cycle {cycle.cycle}: {_short(cycle.triggered_by)}")
    for held in cycle.held:
        yield Text(f"    held {_span(held)}: {_short(held.reason)}")
    yield Text(f"    {cycle.status}{f' after {cycle.attempts} attempts' if cycle.attempts > 1 else ''}: {_short(cycle.reason)}")


def _assumptions(simulation: Simulation) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    for item in simulation.assumptions:
        value = f"{item.value:.4g}" if isinstance(item.value, float) else str(item.value)
        basis = f" ({item.basis})" if item.basis else ""
        table.add_row(f"  {item.origin}", item.name, value, item.meaning + basis)
    return table


def _span(held: Held) -> str:
    return f"from {_time(held.since_h)} to {_time(held.until_h)}"


def _time(hours: float) -> str:
    return f"day {hours / 24:.1f}"


def _short(text: str) -> str:
    return text if len(text) <= SHOWN_CHARS else f"{text[: SHOWN_CHARS - 3]}..."
