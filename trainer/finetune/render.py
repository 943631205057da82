"""The report for people: one HTML page that needs nothing else, and tables for the terminal."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from shared.pages import Filters, render_page
from shared.training import EpochFigures
from shared.wording import interval_in_percent, percent, points, range_in_points
from trainer.finetune.numbers import Rate, SetNumbers
from trainer.finetune.report import FinetuneReport

_TEMPLATE = Path(__file__).with_name("report.html.j2")
_COLOURS = {"improved": "green", "worse": "red", "mixed": "yellow"}
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 420.0, 180.0, 46.0, 24.0, 10.0


def rate_with_interval(rate: Rate) -> str:
    """Return a rate as `14.6% (12.0 to 17.2)`, or why it has no interval."""
    if rate.interval is None:
        return f"{percent(rate.value)} ({rate.note})"
    return interval_in_percent(rate.interval)


def points_with_interval(difference: Rate) -> str:
    """Return a difference as `-3.4 (-4.7 to -2.1)` percentage points, or why it has no interval."""
    return f"{points(difference.value)} ({range_in_points(difference.interval) if difference.interval else difference.note})"


def gold_label(numbers: SetNumbers) -> str:
    """Return what the references of a set are, where they are not all a person's."""
    if not numbers.llm:
        return ""
    return "LLM gold" if not numbers.human else f"{numbers.human} human, {numbers.llm} LLM gold"


@dataclass(frozen=True)
class Line:
    """One curve of a chart, in the chart's units."""

    name: str
    path: str
    dots: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Chart:
    """A small line chart: what the page draws.

    Attributes:
        ticks: label and height of each line of the grid.
        epochs: label and place of the first and the last epoch.
    """

    title: str
    lines: tuple[Line, ...]
    ticks: tuple[tuple[str, float], ...]
    epochs: tuple[tuple[str, float], ...]
    width: float = _WIDTH
    height: float = _HEIGHT
    left: float = _LEFT


def charts(epochs: Sequence[EpochFigures]) -> list[Chart]:
    """Return the training's curves: the loss, and the WER on dev clips, which are there in every epoch or in none."""
    if not epochs:
        return []
    numbers = [point.epoch for point in epochs]
    drawn = [_chart("Training loss", numbers, {"loss": [point.loss for point in epochs]}, "{:.2f}")]
    errors = [100 * point.dev_errors_wer for point in epochs if point.dev_errors_wer is not None]
    clean = [100 * point.dev_replay_wer for point in epochs if point.dev_replay_wer is not None]
    wer = {"noisy" if clean else "all": errors, "clean": clean}
    present = {name: values for name, values in wer.items() if values}
    if present:
        drawn.append(_chart("WER on dev", numbers, present, "{:.0f}%"))
    return drawn


def _chart(title: str, epochs: Sequence[int], curves: Mapping[str, Sequence[float]], form: str) -> Chart:
    values = [value for curve in curves.values() for value in curve]
    low, high = min(0.0, *values), max(values) or 1.0

    def across(epoch: int) -> float:
        span = max(1, epochs[-1] - epochs[0])
        return round(_LEFT + (epoch - epochs[0]) / span * (_WIDTH - _LEFT - 12), 1)

    def down(value: float) -> float:
        return round(_TOP + (high - value) / (high - low) * (_HEIGHT - _TOP - _BOTTOM), 1)

    lines = []
    for name, curve in curves.items():
        dots = tuple((across(epoch), down(value)) for epoch, value in zip(epochs, curve, strict=True))
        lines.append(Line(name, " ".join(f"{x},{y}" for x, y in dots), dots))
    steps = [low + share * (high - low) for share in (0.0, 0.5, 1.0)]
    ends = tuple((str(epoch), across(epoch)) for epoch in dict.fromkeys((epochs[0], epochs[-1])))
    return Chart(title, tuple(lines), tuple((form.format(step), down(step)) for step in steps), ends)


def render_html(report: FinetuneReport) -> str:
    """Return the report as one page; all text in it is escaped, and the page itself forbids scripts and requests."""
    filters: Filters = {"percent": percent, "rate": rate_with_interval, "points": points_with_interval, "gold": gold_label}
    reasons = Counter(f"{aside.set_name}: {aside.reason.replace('_', ' ')}" for aside in report.set_aside)
    training = report.training
    drawn = charts(training.epochs) if training else []
    return render_page(_TEMPLATE, filters, report=report, charts=drawn, reasons=sorted(reasons.items()))


def render_table(report: FinetuneReport) -> RenderableType:
    """Return what the terminal shows: the verdict, the numbers before and after, and what limits them."""
    parts: list[RenderableType] = []
    if report.holdout:
        parts.append(_table("Held-out clips, before and after", report.holdout))
    else:
        parts.append(_table("All clips, with the base model", report.measured))
    parts.append(Text(report.references))
    parts += [Text(f"Note: {warning}", style="yellow") for warning in report.warnings]
    parts.append(Text(f"{report.headline}: {report.reason}.", style=f"bold {_COLOURS.get(report.outcome, 'default')}"))
    return Group(*parts)


def _table(title: str, sets: Sequence[SetNumbers]) -> Table:
    table = Table(title=title, title_justify="left")
    for column in ("set", "clips", "speakers", "WER before", "WER after", "change, points", "CER before", "CER after"):
        table.add_column(column)
    for each in sets:
        after, change = each.after, each.change
        label = gold_label(each)
        table.add_row(
            f"{each.name} ({label})" if label else each.name,
            str(each.clips),
            str(each.clusters),
            rate_with_interval(each.before.wer),
            rate_with_interval(after.wer) if after else "-",
            points_with_interval(change.wer) if change else "-",
            percent(each.before.cer.value),
            percent(after.cer.value) if after else "-",
        )
    return table
