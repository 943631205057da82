"""Suites for people: the list, one of them, and what its size can show."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from infra.corpora.suite_size import SuiteSize
from infra.corpora.suites import SuiteAdded, SuiteView
from infra.wording import when
from shared.wer_power import PRIOR_RHO, PRIOR_SD_D


def render_suites(views: Sequence[SuiteView]) -> RenderableType:
    """Return one line a suite."""
    if not views:
        return Text("No suite yet: `retune suite add NAME --audio-dir DIR` brings clips that a model must stay good on.")
    table = Table("suite", "clips", "speakers", "words", "margin", "shows", "policy", "looks", "version", box=None)
    for view in views:
        policy = "must pass" if view.named else "not judged"
        frozen = " (frozen)" if view.frozen else ""
        size = view.size
        version = f"{view.version[:8]}{frozen}" if view.version else "no clips"
        counts = (str(size.clips), str(size.speakers), str(size.words))
        table.add_row(view.name, *counts, _points(view.margin), _points(size.shows), policy, str(len(view.looks)), version)
    return table


def render_suite(view: SuiteView) -> RenderableType:
    """Return everything that is known of one suite."""
    lines = [
        f"suite {view.name}{' (frozen)' if view.frozen else ''}: version {view.version or 'none in force'}",
        f"  {size_in_words(view.size)}",
    ]
    policy = "names it: a candidate must stay good on it" if view.named else "does not name it: no candidate is judged on it"
    lines.append(f"  the policy {policy}")
    lines.append(f"  looks: {len(view.looks)} verdicts used it, {view.looks_at_version} of them this version")
    if view.worn:
        lines.append("  WARNING: models come to be chosen for suiting these very clips; add fresh ones, or make a new suite")
    table = Table("version", "clips", "speakers", "words", "at", "by", "change", box=None)
    for version in view.versions:
        counts = (str(version.clips), str(version.speakers), str(version.words))
        table.add_row(f"  {version.sha256[:12]}", *counts, when(version.created_at), version.by, version.change)
    return Group(*map(Text, lines), table) if view.versions else Group(*map(Text, lines))


def render_added(added: SuiteAdded) -> RenderableType:
    """Return what came of `suite add`, for people."""
    repeated = f", {added.repeated} were there already" if added.repeated else ""
    notes = [Text(f"note: {text}") for text in (*added.warnings, *added.left_out)]
    return Group(Text(f"added {added.added} clips{repeated}"), *notes, render_suite(added.suite))


def size_in_words(size: SuiteSize) -> str:
    """Return what a suite of this size can show."""
    counted = f"{size.clips} clips of {size.speakers} speakers, {size.words} words; margin {_points(size.margin)} points."
    if not size.clips:
        return counted
    if size.shows is None:
        return f"{counted} One speaker permits no test: at least 2 are needed, and better 20."
    spread = (
        f"prior: spread {PRIOR_SD_D} a clip"
        if not size.measured
        else f"by the spread that {size.measured} verdict{'s' if size.measured > 1 else ''} on it measured"
    )
    basis = f"{spread}, correlation {PRIOR_RHO} within a speaker"
    able = f"It excludes a rise by {_points(size.shows)} points in 4 of 5 trials where the models are alike ({basis})."
    if size.enough:
        return f"{counted} {able}"
    return f"{counted} {able} For the margin it lacks about {size.further_clips} clips of {size.further_speakers} speakers."


def _points(rate: float | None) -> str:
    return "-" if rate is None else f"{100 * rate:.2f}"
