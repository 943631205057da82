"""The interval plot of a report as an SVG drawing: shapes tell what colours would, so that it can be printed."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

from shared.rates import Interval
from shared.verdict import ValidationReport

_ROW_PX = 26
_LABELS_PX = 250
_WIDTH_PX = 860
_RIGHT_PX = 24
_TICKS = 6


@dataclass(frozen=True)
class Line:
    """One interval of the plot.

    Attributes:
        label: what it is of.
        delta: change of the WER.
        decides: drawn full where the verdict rests on it, else open.
        margin: bearable rise, drawn as a mark; None = none.
        worse: significantly; named in words beside the label.
    """

    label: str
    delta: Interval
    decides: bool
    margin: float | None = None
    worse: bool = False


def lines_of(report: ValidationReport) -> list[Line]:
    """Return what a report has to plot: sets, parts of the holdout, and slices that were tested."""
    sets = [Line(each.name, each.delta, each.decides, each.margin) for each in (*report.sets, *report.strata) if each.delta is not None]
    slices = [
        Line(f"{each.dimension}: {each.value}", each.delta, decides=False, worse=each.worse)
        for each in report.slices
        if each.delta is not None and each.p_value is not None
    ]
    return sets + slices


def interval_plot(lines: Sequence[Line]) -> str:
    """Return an SVG element with one interval a line, in percentage points, zero marked; empty where there is nothing to plot.

    All text in it is escaped. Sizes are in pixels of a drawing that scales with the page.
    """
    if not lines:
        return ""
    ends = [100 * end for line in lines for end in (line.delta.low, line.delta.high, line.margin or 0.0)]
    low, high = min(0.0, *ends), max(0.0, *ends)
    step = nice_step((high - low) / _TICKS or 1.0)
    low, high = step * floor(low / step), step * ceil(high / step)
    high = high if high > low else low + step
    height = _ROW_PX * (len(lines) + 2)

    def x(points: float) -> float:
        return round(_LABELS_PX + (points - low) / (high - low) * (_WIDTH_PX - _LABELS_PX - _RIGHT_PX), 1)

    parts = [
        f'<svg viewBox="0 0 {_WIDTH_PX} {height}" role="img" class="plot" xmlns="http://www.w3.org/2000/svg">',
        "<title>Change of the word error rate in percentage points, with its interval; left of zero is better</title>",
    ]
    bottom = _ROW_PX * len(lines) + 6
    for number in range(round((high - low) / step) + 1):
        points = low + number * step
        zero = abs(points) < step / 1000
        parts.append(f'<line class="{"zero" if zero else "grid"}" x1="{x(points)}" x2="{x(points)}" y1="4" y2="{bottom}"/>')
        parts.append(f'<text class="tick" x="{x(points)}" y="{bottom + 16}">{"0" if zero else f"{points:+g}"}</text>')
    parts.append(f'<text class="tick" x="{x((low + high) / 2)}" y="{bottom + 36}">change of WER in points; left of 0 is better</text>')
    for position, line in enumerate(lines):
        parts += _drawn(line, position, x(100 * line.delta.low), x(100 * line.delta.estimate), x(100 * line.delta.high))
        if line.margin is not None:
            y = _ROW_PX * position + 4
            parts.append(f'<path class="margin" d="M{x(100 * line.margin)} {y} v{_ROW_PX - 4}"/>')
    return "\n".join((*parts, "</svg>"))


def _drawn(line: Line, position: int, low: float, estimate: float, high: float) -> list[str]:
    y = _ROW_PX * position + _ROW_PX // 2 + 2
    label = f"{line.label} (worse)" if line.worse else line.label
    short = label if len(label) <= 38 else f"{label[:37]}…"
    mark = (
        f'<circle class="full" cx="{estimate}" cy="{y}" r="5"/>'
        if line.decides
        else f'<rect class="open" x="{round(estimate - 4, 1)}" y="{y - 4}" width="8" height="8"/>'
    )
    return [
        f'<text class="label" x="{_LABELS_PX - 12}" y="{y + 4}">{escape(short)}</text>',
        f'<path class="interval" d="M{low} {y} H{high} M{low} {y - 4} v8 M{high} {y - 4} v8"/>',
        mark,
    ]


def nice_step(rough: float) -> float:
    """Return the least of 1, 2, 5 times a power of ten that is not below `rough`."""
    power = 10.0 ** floor(log10(rough))
    return next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough * (1 - 1e-9))
