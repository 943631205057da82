"""View models as HTML pages: every text is escaped by the templates, and nothing in a page comes from elsewhere."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from markupsafe import Markup

from functions.dashboard.audio import audio_address, gold_address
from functions.dashboard.charts import Chart, line_chart
from functions.dashboard.details import CycleDetails, ModelDetails
from functions.dashboard.figures import MOST_SLICES, Line, Trend, audit
from functions.dashboard.overview import Overview
from functions.dashboard.refusals import QUARANTINE_DAYS
from functions.dashboard.utterances import UtteranceDetails, shown_mention, utterance_address
from functions.dashboard.visit import Visit
from functions.dashboard.wording import ago, moment, size, words
from shared.cycle import Status, can_move
from shared.pages import Filters, render_page
from shared.plot import interval_plot, lines_of
from shared.training import EpochFigures
from shared.verdict import UtteranceChange, ValidationReport
from shared.wording import interval_in_percent, interval_in_points, lasting, money, percent

if TYPE_CHECKING:
    from shared.diffs import ShownChange

HERE = Path(__file__).parent
LIVE_S = 10
"""So often an open page asks for news."""
FILTERS: Filters = {
    "percent": percent,
    "rate": interval_in_percent,
    "points": interval_in_points,
    "moment": moment,
    "ago": ago,
    "lasting": lasting,
    "money": money,
    "size": size,
    "words": words,
    "query": partial(quote, safe=""),
    "utterance": utterance_address,
    "intervals": lines_of,
}


@dataclass(frozen=True)
class ShownTrend:
    """A watched version with its drawing."""

    trend: Trend
    chart: Markup


@cache
def asset(name: str) -> str:
    """Return a file that pages ask for: `style.css`, `live.js` or `icon.svg`."""
    return (HERE / f"pages.{name}.j2").read_text(encoding="utf-8")


def page(name: str, visit: Visit, now: datetime | None, *, live: bool = True, **values: Any) -> str:
    """Return the page that a template makes.

    Args:
        name: of the template.
        visit: where the page lies, and who looks: whoever may not act is shown no way to.
        now: when it was read; None = nothing was.
        live: it asks for news by itself.
        values: of the template.
    """
    shown = {"here": name, "viewer": visit.viewer, "now": now, "root": visit.root, "live_s": LIVE_S if live else 0}
    return render_page(HERE / f"pages.{name}.html.j2", FILTERS, **shown, **values)


def overview_page(view: Overview, visit: Visit, *, newer: bool, shown: int) -> str:
    """Return the first page.

    Args:
        view: what it shows.
        visit: who looks, and where.
        newer: there are newer cycles than those it shows.
        shown: how many cycles it goes back.
    """
    labels = [f"v{point.cycle}" for point in view.points]
    own = Line(name="candidate", values=tuple(None if point.wer is None else point.wer.estimate for point in view.points))
    base = Line(name="served then", values=tuple(None if point.base_wer is None else point.base_wer.estimate for point in view.points))
    served = frozenset(position for position, point in enumerate(view.points) if point.served)
    epochs = view.run.progress.epochs if view.run is not None and view.run.progress is not None else ()
    types = [f"cycle {number}" for number in view.types.cycles]
    return page(
        "overview",
        visit,
        view.status.at,
        view=view,
        headline=headline(view),
        cancellable=view.run is not None and can_move(view.run.state, Status.CANCELLED),
        newer=newer,
        shown=shown,
        quarantine_days=QUARANTINE_DAYS,
        wer_labels=labels,
        wer_lines=[own, base],
        wer_chart=line_chart(
            Chart("WER of each candidate on its holdout", labels, [own, base], [point.wer for point in view.points], served)
        ),
        parts_chart=line_chart(Chart("WER of each candidate on parts of the holdout and on suites", labels, view.parts[:MOST_SLICES])),
        types_chart=line_chart(Chart("Share of each error type over cycles", types, view.types.lines)),
        verdict_plot=verdict_plot(view.verdict),
        trends=[ShownTrend(each, _trend_chart(each)) for each in view.trends],
        dev_chart=_dev_chart(epochs),
        loss_chart=_loss_chart(epochs),
    )


@dataclass(frozen=True)
class Playable:
    """A word diff, and where its recording can be heard; empty = nowhere here."""

    shown: "ShownChange"
    audio: str


def cycle_page(view: CycleDetails, visit: Visit, now: datetime) -> str:
    """Return the page of a cycle."""
    story, report = view.story, view.story.verdict
    epochs = view.run.progress.epochs if view.run.progress is not None else ()
    back = [change for each in report.rechecks for change in each.examples] if report is not None else []
    return page(
        "cycle",
        visit,
        now,
        live=not story.state.ended,
        view=view,
        cancellable=can_move(story.state, Status.CANCELLED),
        moves=audit(story.moves, (), len(story.moves)),
        verdict_plot=verdict_plot(report),
        worse=_playable(story.state.cycle, report.worst_regressions if report is not None else ()),
        better=_playable(story.state.cycle, report.best_fixes if report is not None else ()),
        doubtful=[(each, gold_address(story.state.cycle, each)) for each in view.doubtful],
        back=_playable(story.state.cycle, back),
        dev_chart=_dev_chart(epochs),
        loss_chart=_loss_chart(epochs),
    )


def _playable(cycle: int, changes: Sequence[UtteranceChange]) -> list[Playable]:
    from shared.diffs import shown

    return [Playable(shown(each), audio_address(cycle, each.set_name, each.utterance_id) if each.audio_uri else "") for each in changes]


def model_page(view: ModelDetails, visit: Visit, now: datetime) -> str:
    """Return the page of a model."""
    manifest = view.model.manifest
    facts = {
        "Dataset, SHA-256": manifest.dataset_sha256,
        "Spec, SHA-256": manifest.spec_sha256,
        "Policy, SHA-256": manifest.policy_sha256,
        "Normaliser": manifest.normaliser,
        "Sampling rate": f"{manifest.sampling_rate_hz} Hz",
    }
    return page(
        "model",
        visit,
        now,
        live=False,
        view=view,
        facts=[(name, value) for name, value in facts.items() if value is not None],
        details=json.dumps(manifest.details, indent=1, ensure_ascii=False) if manifest.details else "",
        moves=audit(view.moves, (), len(view.moves)),
        verdict_plot=verdict_plot(view.model.verdict),
    )


def utterance_page(view: UtteranceDetails, visit: Visit, now: datetime) -> str:
    """Return the page of an utterance; of one that nothing is known of, a page that says what was looked at."""
    mentions = [shown_mention(view.story.utterance_id, mention) for mention in view.story.mentions]
    return page("utterance", visit, now, live=False, view=view, mentions=mentions)


def problem_page(title: str, text: str, visit: Visit) -> str:
    """Return a page that says what is wrong."""
    return page("problem", visit, None, live=False, title=title, text=text)


def headline(view: Overview) -> str:
    """Return where everything stands, in one line."""
    production, run = view.status.production, view.run
    serves = "no model is stable" if production is None or production.stable is None else f"v{production.stable} is stable"
    if production is not None and production.canary is not None:
        serves += f", v{production.canary.version} on canary"
    doing = f"cycle {run.state.cycle} {words(run.state.status)}" if run is not None else f"cycle {view.status.collecting} collects"
    return f"{serves}; {doing}"


def verdict_plot(report: ValidationReport | None) -> Markup:
    """Return the drawing of a verdict's intervals; empty without a verdict."""
    return Markup("" if report is None else interval_plot(lines_of(report)))  # noqa: S704 - drawn by us, its labels escaped


def _trend_chart(trend: Trend) -> Markup:
    watch = trend.watch
    count = len(trend.lines[0].values)
    labels = ["" for _ in range(count - 1)] + ([f"{watch.looked:%H:%M}"] if count else [])
    if count > 1:
        labels[0] = f"{watch.began:%H:%M}"
    return line_chart(Chart("Error rate so far, of both versions", labels, trend.lines))


def _dev_chart(epochs: Sequence[EpochFigures]) -> Markup:
    labels = [str(epoch.epoch) for epoch in epochs]
    errors = Line(name="dev WER, errors", values=tuple(epoch.dev_errors_wer for epoch in epochs))
    replay = Line(name="dev WER, replay", values=tuple(epoch.dev_replay_wer for epoch in epochs))
    return line_chart(Chart("Dev WER after each epoch", labels, [errors, replay]))


def _loss_chart(epochs: Sequence[EpochFigures]) -> Markup:
    line = Line(name="loss", values=tuple(epoch.loss for epoch in epochs))
    return line_chart(Chart("Mean loss of each epoch", [str(epoch.epoch) for epoch in epochs], [line], unit=""))
