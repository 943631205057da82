"""What the first page shows, read with few and bounded operations however many cycles there were [io]."""

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from functions.dashboard.errors import read_confused, read_error_types
from functions.dashboard.figures import (
    Audited,
    Confused,
    ErrorTypes,
    Line,
    Threshold,
    Trend,
    WerPoint,
    audit,
    slice_lines,
    thresholds,
    trend,
    wer_points,
)
from functions.dashboard.refusals import Refusal, read_refusals
from functions.runtime import Ports
from functions.states import find_state
from functions.views.dead_letters import read_dead_letters
from functions.views.production import newest_moves
from functions.views.run import RunView
from functions.views.snapshot import Snapshot
from functions.views.status import StatusReport, look
from shared import keys
from shared.backlog import Backlogs
from shared.cycle import CycleState
from shared.documents import Frozen
from shared.head import FIRST_CYCLE, read_head
from shared.policy import Evidence, TriggerDecision, decide_trigger
from shared.verdict import ValidationReport, find_report

FEWEST_CYCLES, MOST_CYCLES, SHOWN_CYCLES = 5, 100, 20
TYPED_CYCLES = 8
"""Error types are counted in so many newest datasets, which are large; the newest cycle may have none yet."""
AUDIT_LINES = 20


class Overview(Frozen):
    """The first page.

    Attributes:
        status: what `retune status` shows.
        decision: what the cheap counts say about a start; the launcher counts exactly.
        cycles: the newest ones, newest first; at most as many as were asked for.
        older: number of the newest cycle that is not among them; None = all are there.
        points, parts: WER over these cycles, of the candidates that were judged.
        verdict: the newest of them; the confused words are from its evaluation.
        refused: the newest of the quarantine; `refused_total` = of the last days.
    """

    status: StatusReport
    decision: TriggerDecision
    thresholds: tuple[Threshold, ...]
    cycles: tuple[CycleState, ...]
    older: int | None
    points: tuple[WerPoint, ...]
    parts: tuple[Line, ...]
    verdict: ValidationReport | None
    trends: tuple[Trend, ...]
    types: ErrorTypes
    confused: tuple[Confused, ...]
    audit: tuple[Audited, ...]
    refused: tuple[Refusal, ...]
    refused_total: int

    @property
    def run(self) -> RunView | None:
        """The cycle that runs."""
        return self.status.run


def read_overview(live: Ports, *, newest: int = SHOWN_CYCLES, before: int | None = None, backlogs: Backlogs | None = None) -> Overview:
    """Read the first page.

    Args:
        live: the outside world; it is only read.
        newest: how many cycles charts and lists go back.
        before: charts and lists show cycles below this one; None = up to the newest.
        backlogs: is asked, beside the reading, how many dead letters wait; None = nobody is.
    """
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(read_dead_letters, backlogs, live.clock.now()) if backlogs is not None else None
        view = _read(live, newest, before)
        dead = asked.result() if asked is not None else None
    return view.model_copy(update={"status": view.status.model_copy(update={"dead": dead})})


def _read(live: Ports, newest: int, before: int | None) -> Overview:
    store = Snapshot(live.store)
    ports = replace(live, store=store)
    head = read_head(store)
    top = min(head, before - 1) if before is not None else head
    window = range(top, max(top - newest, FIRST_CYCLE - 1), -1)
    here = [number for number in (head, head - 1) if number >= FIRST_CYCLE]
    with ThreadPoolExecutor(2) as pool:  # side by side: a page waits for the store, hardly for its own work
        refusals = pool.submit(read_refusals, store, ports.clock.now())
        types = pool.submit(read_error_types, store, window[: TYPED_CYCLES + 1], TYPED_CYCLES)
        store.prefetch(_wanted(window, here, head))
    status = look(ports, spends=False)
    states = {number: state for number in window if (state := find_state(ports, number)) is not None}
    reports = [report for number in window if (report := find_report(store, number)) is not None]
    decision = _decision(ports, status, states.values())
    moves = _seqs(status)
    store.prefetch(map(keys.registry_log, moves))
    verdict = max(reports, key=lambda report: report.cycle, default=None)
    refused, refused_total = refusals.result()
    return Overview(
        status=status,
        decision=decision,
        thresholds=thresholds(status.collected, decision.metrics, ports.settings.policy, status.at),
        cycles=tuple(states.values()),
        older=window[-1] - 1 if window and window[-1] > FIRST_CYCLE else None,
        points=wer_points(reports, states),
        parts=slice_lines(reports),
        verdict=verdict,
        trends=tuple(trend(watch) for watch in status.watches),
        types=types.result(),
        confused=read_confused(store, verdict.cycle) if verdict is not None else (),
        audit=audit(newest_moves(ports, status.production, AUDIT_LINES), states.values(), AUDIT_LINES),
        refused=refused,
        refused_total=refused_total,
    )


def _wanted(window: range, here: Sequence[int], head: int) -> Iterable[str]:
    yield keys.PRODUCTION
    yield keys.declined(head)
    for number in here:
        yield from (keys.state(number), keys.heartbeat(number), keys.progress(number), keys.result(number))
    for number in window:
        yield from (keys.state(number), keys.report(number))


def _seqs(status: StatusReport) -> range:
    seq = status.production.seq if status.production is not None else 0
    return range(seq, max(seq - AUDIT_LINES, 0), -1)


def _decision(ports: Ports, status: StatusReport, states: Iterable[CycleState]) -> TriggerDecision:
    """Decide as the launcher would on what can be counted without opening anything."""
    stable = status.production.stable if status.production is not None else None
    return decide_trigger(Evidence(totals=status.collected, stable=stable), ports.settings.policy, list(states), status.at)
