"""What the first page shows, read with few and bounded operations however many cycles there were [io]."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from functions.dashboard.errors import Refusal, read_confused, read_error_types, read_refusals
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
from functions.launcher.spending import read_attempts
from functions.launcher.states import find_state
from functions.runtime import Ports
from functions.views.production import newest_moves
from functions.views.snapshot import Snapshot
from functions.views.status import StatusReport, look
from shared import keys, ledger
from shared.budget import gpu_hours
from shared.cas import find
from shared.cycle import CycleState
from shared.frozen import Frozen
from shared.policy import Evidence, TriggerDecision, decide_trigger
from shared.training import RunProgress, parse_document
from shared.verdict import ValidationReport, parse_report

FEWEST_CYCLES, MOST_CYCLES, SHOWN_CYCLES = 5, 100, 20
TYPED_CYCLES = 8
"""Error types are counted in so many newest datasets, which are large."""
AUDIT_LINES = 20


class RunView(Frozen):
    """The cycle that runs.

    Attributes:
        progress: of its trainer, in the present attempt; None = none was told yet.
        gpu_s: time of its machines so far.
        usd: what that cost; None = no price is known.
    """

    state: CycleState
    progress: RunProgress | None
    gpu_s: float
    usd: float | None


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
    run: RunView | None
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


def read_overview(live: Ports, *, newest: int = SHOWN_CYCLES, before: int | None = None) -> Overview:
    """Read the first page.

    Args:
        live: the outside world; it is only read.
        newest: how many cycles charts and lists go back.
        before: charts and lists show cycles below this one; None = up to the newest.
    """
    store = Snapshot(live.store)
    ports = replace(live, store=store)
    head = ledger.read_head(store)
    top = min(head, before - 1) if before is not None else head
    window = range(top, max(top - newest, ledger.FIRST_CYCLE - 1), -1)
    here = [number for number in (head, head - 1) if number >= ledger.FIRST_CYCLE]
    store.prefetch(_wanted(window, here, head))
    status = look(ports, spends=False)
    states = {number: state for number in window if (state := find_state(ports, number)) is not None}
    reports = [parse_report(found.data) for number in window if (found := find(store, keys.report(number))) is not None]
    decision = _decision(ports, status, states.values())
    moves = _seqs(status)
    store.prefetch(map(keys.registry_log, moves))
    verdict = max(reports, key=lambda report: report.cycle, default=None)
    refused, refused_total = read_refusals(store, status.at)
    return Overview(
        status=status,
        decision=decision,
        thresholds=thresholds(status.collected, decision.metrics, ports.settings.policy, status.at),
        run=_run(ports, status),
        cycles=tuple(states.values()),
        older=window[-1] - 1 if window and window[-1] > ledger.FIRST_CYCLE else None,
        points=wer_points(reports, states),
        parts=slice_lines(reports),
        verdict=verdict,
        trends=tuple(trend(watch) for watch in status.watches),
        types=read_error_types(store, [number for number in window if number in states][:TYPED_CYCLES]),
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


def _run(ports: Ports, status: StatusReport) -> RunView | None:
    if status.running is None:
        return None
    state, budget = status.running.state, ports.settings.policy.budget
    costs = read_attempts(ports, state)
    priced = all(budget.usd_per_hour(machine) is not None for machine in [None, *(cost.machine for cost in costs)][bool(costs) :])
    found = find(ports.store, keys.progress(state.cycle))
    progress = parse_document(RunProgress, found.data, what=found.info.key) if found else None
    return RunView(
        state=state,
        progress=progress if progress is not None and progress.attempt == state.attempt else None,
        gpu_s=sum(gpu_hours(cost) for cost in costs) * 3600.0,
        usd=sum(map(budget.usd, costs)) if priced else None,
    )
