"""Line charts as SVG drawings that can be read without colours: dashes and markers tell the lines apart, names stand at their ends. Pure.

All text is escaped. Sizes are in pixels of a drawing that scales with the page; colours come from the page's style sheet.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from math import ceil
from typing import Literal

from markupsafe import Markup

from functions.dashboard.figures import Line
from shared.plot import nice_step
from shared.rates import Interval

WIDTH_PX, HEIGHT_PX = 720, 260
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 52, 168, 12, 34
NAME_PX = 15
NAME_CHARS = 24
MOST_TICKS = 10
STYLES = 7
"""So many dash patterns and markers there are, `line-0` to `line-6` in the style sheet."""


@dataclass(frozen=True)
class Chart:
    """What is drawn.

    Attributes:
        title: what it shows, in words, for those who cannot see it.
        labels: of the positions from left to right.
        lines: drawn in this order; of a value that is None nothing is drawn.
        intervals: of the first line, one a position.
        marks: positions at which the first line's marker is filled; None = all.
        unit: `%` for shares, empty for plain numbers.
    """

    title: str
    labels: Sequence[str]
    lines: Sequence[Line]
    intervals: Sequence[Interval | None] = ()
    marks: frozenset[int] | None = None
    unit: Literal["%", ""] = "%"

    @property
    def factor(self) -> float:
        """By which a value is multiplied to be written with the unit."""
        return 100.0 if self.unit else 1.0


def line_chart(chart: Chart) -> Markup:
    """Return an SVG element with values from 0 upwards; empty where there is nothing to draw."""
    values = [value for line in chart.lines for value in line.values if value is not None]
    if not values:
        return Markup("")
    highest = chart.factor * max([*values, *(interval.high for interval in chart.intervals if interval is not None)])
    step = nice_step(max(highest, 0.1) / 4)
    scale = _Scale(len(chart.labels), step * max(ceil(highest / step - 1e-9), 1) / chart.factor)
    parts = [
        f'<svg viewBox="0 0 {WIDTH_PX} {HEIGHT_PX}" role="img" class="chart" xmlns="http://www.w3.org/2000/svg">',
        f"<title>{escape(chart.title)}</title>",
        *_grid(scale, step, chart),
        *_labels(scale, chart.labels),
    ]
    for position, interval in enumerate(chart.intervals):
        if interval is not None:
            x, low, high = scale.x(position), scale.y(interval.low), scale.y(interval.high)
            parts.append(f'<path class="whisker" d="M{x} {low} V{high} M{x - 4} {low} h8 M{x - 4} {high} h8"/>')
    for number, line in enumerate(chart.lines):
        parts += _line(scale, number % STYLES, line, chart.marks if number == 0 else None)
    parts += _names(scale, chart.lines)
    return Markup("\n".join((*parts, "</svg>")))  # noqa: S704 - drawn here, its texts escaped


@dataclass(frozen=True)
class _Scale:
    """Where a position and a value lie; `top` is the highest value there is room for."""

    positions: int
    top: float

    def x(self, position: int) -> float:
        room = WIDTH_PX - LEFT_PX - RIGHT_PX - 20
        return round(LEFT_PX + 10 + (room / 2 if self.positions == 1 else room * position / (self.positions - 1)), 1)

    def y(self, value: float) -> float:
        room = HEIGHT_PX - TOP_PX - BOTTOM_PX
        return round(TOP_PX + room * (1 - min(max(value, 0.0), self.top) / self.top), 1)


def _grid(scale: _Scale, step: float, chart: Chart) -> list[str]:
    parts = []
    for number in range(round(scale.top * chart.factor / step) + 1):
        y, right = scale.y(number * step / chart.factor), WIDTH_PX - RIGHT_PX
        parts.append(f'<line class="{"axis" if number == 0 else "grid"}" x1="{LEFT_PX}" x2="{right}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="tick end" x="{LEFT_PX - 8}" y="{y + 4}">{number * step:g}{chart.unit}</text>')
    return parts


def _labels(scale: _Scale, labels: Sequence[str]) -> list[str]:
    every = max(1, -(-len(labels) // MOST_TICKS))
    shown = [(position, label) for position, label in enumerate(labels) if (len(labels) - 1 - position) % every == 0]
    return [f'<text class="tick" x="{scale.x(position)}" y="{HEIGHT_PX - 12}">{escape(label)}</text>' for position, label in shown]


def _line(scale: _Scale, style: int, line: Line, filled: frozenset[int] | None) -> list[str]:
    points = [(position, scale.x(position), scale.y(value)) for position, value in enumerate(line.values) if value is not None]
    path = " ".join(
        f"{'L' if before is not None and before[0] == point[0] - 1 else 'M'}{point[1]} {point[2]}"
        for before, point in pairwise([None, *points])
        if point is not None
    )
    parts = [f'<path class="series line-{style}" d="{path}"/>'] if len(points) > 1 else []
    for position, x, y in points:
        kind = "full" if filled is None or position in filled else "open"
        parts.append(f'<path class="marker {kind}" d="{_marker(style, x, y)}"/>')
    return parts


def _marker(style: int, x: float, y: float) -> str:
    shapes = (
        f"M{x - 4} {y} a4 4 0 1 0 8 0 a4 4 0 1 0 -8 0 Z",
        f"M{x - 3.5} {y - 3.5} h7 v7 h-7 Z",
        f"M{x} {y - 5} l4.5 8 h-9 Z",
        f"M{x} {y - 5} l5 5 l-5 5 l-5 -5 Z",
        f"M{x} {y + 5} l4.5 -8 h-9 Z",
        f"M{x - 4} {y - 1} h3 v-3 h2 v3 h3 v2 h-3 v3 h-2 v-3 h-3 Z",
        f"M{x - 5} {y - 1.5} h10 v3 h-10 Z",
    )
    return shapes[style]


def _names(scale: _Scale, lines: Sequence[Line]) -> list[str]:
    """Write each line's name at its right end, with its marker; names that would lie over each other are moved apart."""
    ends = [
        (scale.y(last), number % STYLES, line.name)
        for number, line in enumerate(lines)
        if (last := next((value for value in reversed(line.values) if value is not None), None)) is not None
    ]
    placed, floor = [], float(TOP_PX)
    for y, style, name in sorted(ends):
        at = max(y, floor)
        placed.append((at, style, name))
        floor = at + NAME_PX
    over = max(placed[-1][0] - (HEIGHT_PX - BOTTOM_PX), 0.0) if placed else 0.0
    x = WIDTH_PX - RIGHT_PX + 14
    parts = []
    for at, style, name in placed:
        y, short = round(at - over, 1), name if len(name) <= NAME_CHARS else f"{name[: NAME_CHARS - 1]}…"
        parts.append(
            f'<path class="marker full" d="{_marker(style, x, y)}"/><text class="name" x="{x + 10}" y="{y + 4}">{escape(short)}</text>'
        )
    return parts
