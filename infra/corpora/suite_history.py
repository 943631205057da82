"""What verdicts said of a suite, model after model: each is one look at it."""

from dataclasses import dataclass
from html import escape
from pathlib import Path

from markupsafe import Markup
from pydantic import AwareDatetime
from rich.table import Table

from functions.runtime import Ports
from infra.judged import judged_cycles
from infra.wording import when
from shared import keys
from shared.cas import find
from shared.documents import Frozen, parse_document
from shared.ids import version_name
from shared.pages import Filters, render_page
from shared.rates import Interval
from shared.training import TrainingSpec
from shared.verdict import Outcome, SetNumbers, ValidationReport, parse_report
from shared.wording import interval_in_percent, points, range_in_points


class Look(Frozen):
    """One verdict that used the suite: a cycle looks at it once, when its report is written.

    Attributes:
        version: the candidate; `base_version` was in production.
        decides: the verdict rested on the suite.
        base, candidate: WER with its 95% interval; None where fewer than two speakers or no words permit one.
        delta: WER of the candidate minus the base's, at the level that was tested.
        suite_version: digest of the clips; None = an older spec, which did not say.
        sd_d: spread of the differences, which sizes the suite from then on.
    """

    cycle: int
    version: int
    base_version: int
    at: AwareDatetime
    outcome: Outcome
    decides: bool
    utterances: int
    speakers: int
    base: Interval | None
    candidate: Interval | None
    delta: Interval | None
    margin: float | None
    suite_version: str | None
    sd_d: float | None = None


class SuiteHistory(Frozen):
    """Every look at a suite, oldest first."""

    name: str
    looks: tuple[Look, ...]


def history(ports: Ports, name: str) -> SuiteHistory:
    """Return every verdict that used a suite."""
    return SuiteHistory(name=name, looks=tuple(looks_at(ports, name)))


def looks_at(ports: Ports, name: str) -> list[Look]:
    """Return every look at a suite, oldest first: the log of looks is the verdicts themselves, which are written once."""
    reports = (parse_report(ports.store.get(keys.report(cycle)).data) for cycle in judged_cycles(ports.store))
    return [_look(ports, report, numbers) for report in reports for numbers in report.sets if numbers.name == f"{keys.SUITE_SET}{name}"]


def _look(ports: Ports, report: ValidationReport, numbers: SetNumbers) -> Look:
    return Look(
        cycle=report.cycle,
        version=report.version,
        base_version=report.base_version,
        at=report.created_at,
        outcome=report.outcome,
        decides=numbers.decides,
        utterances=numbers.utterances,
        speakers=numbers.clusters,
        base=numbers.base.wer,
        candidate=numbers.candidate.wer,
        delta=numbers.delta,
        margin=numbers.margin,
        suite_version=_suite_version(ports, report.cycle, numbers.name),
        sd_d=numbers.sd_d,
    )


def _suite_version(ports: Ports, cycle: int, set_name: str) -> str | None:
    found = find(ports.store, keys.spec(cycle))
    if found is None:
        return None
    spec = parse_document(TrainingSpec, found.data, what=found.info.key)
    return next((clip_set.version for clip_set in spec.sets if clip_set.name == set_name), None)


def render_history(found: SuiteHistory) -> Table | str:
    """Return a table for people."""
    if not found.looks:
        return f"suite {found.name}: no verdict has used it yet"
    table = Table("model", "WER before", "WER after", "change", "margin", "outcome", "clips", "suite", "at", box=None)
    for look in found.looks:
        table.add_row(
            f"{version_name(look.version)} (from {version_name(look.base_version)})",
            _rate(look.base),
            _rate(look.candidate),
            _points(look.delta),
            "" if look.margin is None else f"{100 * look.margin:.2f}",
            look.outcome,
            f"{look.utterances} of {look.speakers} speakers",
            (look.suite_version or "?")[:8],
            when(look.at),
        )
    return table


def _rate(interval: Interval | None) -> str:
    return "-" if interval is None else interval_in_percent(interval)


def _points(interval: Interval | None) -> str:
    return "-" if interval is None else f"{points(interval.estimate, 2)} ({range_in_points(interval, 2)})"


def history_page(found: SuiteHistory) -> str:
    """Return the history as one page that needs nothing else: a plot and its numbers; the page itself forbids scripts and requests."""
    filters: Filters = {"rate": _rate, "points": _points, "model": version_name}
    picture = Markup(plot(found))  # noqa: S704 - all text in it is escaped where it is made
    return render_page(Path(__file__).parent / "suite_history.html.j2", filters, history=found, plot=picture)


STEP = 84
TOP, HEIGHT, LEFT, FOOT = 16, 260, 56, 44


@dataclass(frozen=True)
class _Scale:
    """From a WER to a height in the plot."""

    highest: float

    def y(self, rate: float) -> float:
        return TOP + HEIGHT * (1 - rate / self.highest)


def plot(found: SuiteHistory) -> str:
    """Return an SVG: for each verdict the WER before (hollow) and after (filled) with 95% intervals; a dashed line = other clips."""
    looks = [look for look in found.looks if look.base is not None and look.candidate is not None]
    ends = [interval.high for look in looks for interval in (look.base, look.candidate) if interval is not None]
    scale = _Scale(max([*ends, 0.01]) * 1.05)
    width = LEFT + STEP * max(len(looks), 1) + 16
    parts = [*_grid(scale, width)]
    earlier: Look | None = None
    for index, look in enumerate(looks):
        x = LEFT + STEP * index + STEP / 2
        if earlier is not None and look.suite_version != earlier.suite_version:
            parts.append(f'<line class="other" x1="{x - STEP / 2:.1f}" x2="{x - STEP / 2:.1f}" y1="{TOP}" y2="{TOP + HEIGHT}"/>')
        parts.append(_mark(scale, x - 10, look.base, "before", f"{version_name(look.base_version)} before"))
        parts.append(_mark(scale, x + 10, look.candidate, f"after {look.outcome}", f"{version_name(look.version)}, {look.outcome}"))
        parts.append(f'<text class="tick" x="{x:.1f}" y="{TOP + HEIGHT + 18}" text-anchor="middle">{version_name(look.version)}</text>')
        earlier = look
    label = escape(f"WER on suite {found.name}, {len(looks)} verdicts")
    return f'<svg viewBox="0 0 {width} {TOP + HEIGHT + FOOT}" width="{width}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _grid(scale: _Scale, width: int) -> list[str]:
    lines = []
    for quarter in range(5):
        rate = scale.highest * quarter / 4
        y = scale.y(rate)
        lines.append(f'<line class="grid" x1="{LEFT}" x2="{width - 16}" y1="{y:.1f}" y2="{y:.1f}"/>')
        lines.append(f'<text class="tick" x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{100 * rate:.1f}%</text>')
    return lines


def _mark(scale: _Scale, x: float, interval: Interval | None, css: str, who: str) -> str:
    if interval is None:
        return ""
    low, high, middle = scale.y(interval.low), scale.y(interval.high), scale.y(interval.estimate)
    whisker = f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}"/>'
    point = f'<circle cx="{x:.1f}" cy="{middle:.1f}" r="5"/>'
    return f'<g class="{css}"><title>{escape(who)}: {_rate(interval)}</title>{whisker}{point}</g>'
