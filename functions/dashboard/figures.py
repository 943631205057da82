"""What charts and tables of the console show, worked out from the records. Pure."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from pydantic import AwareDatetime

from shared import keys
from shared.cycle import CycleState, Status
from shared.documents import Frozen
from shared.events import CLAIMED
from shared.policy import Policy
from shared.rates import Interval
from shared.registry import Move
from shared.totals import Totals
from shared.training import EvaluationRow
from shared.verdict import Outcome, ValidationReport
from shared.watch import Watch

MOST_SLICES = 6
"""Lines that one chart can tell apart without colours; the table beside it has all."""
MOST_TYPES = 6
MOST_CONFUSED = 12
MOST_TREND = 40
NO_TYPE = "not told"
OTHER = "others"


class Threshold(Frozen):
    """One way to start a cycle, and how far it is.

    Attributes:
        has, wants: in words, with units.
        share: of what is wanted, at most 1.
        off: the policy does not use it.
        counted: both are numbers of events: so many of so many.
    """

    name: str
    has: str
    wants: str
    share: float
    off: bool = False
    counted: bool = False


def thresholds(totals: Totals, metrics: Mapping[str, float | int | None], policy: Policy, now: datetime) -> tuple[Threshold, ...]:
    """Return how far each threshold of the policy is."""
    bound = metrics.get("error_rate_lower_bound")
    age_s = max((now - totals.oldest).total_seconds(), 0.0) if totals.oldest is not None else 0.0
    oldest = "no error yet" if totals.oldest is None else f"{age_s / 3600:.1f} h"
    return (
        _count("Errors", totals.errors, policy.min_error_cases),
        _count("Corrected errors", totals.corrected, policy.min_corrected_cases),
        Threshold(
            name="Error rate",
            has="unknown: no traffic was told" if bound is None else f"lower bound {bound:.1%}",
            wants=f"{policy.error_rate_threshold:.1%}",
            share=min((bound or 0.0) / policy.error_rate_threshold, 1.0) if policy.error_rate_threshold else 1.0,
            off=not policy.trigger_on_error_rate,
        ),
        Threshold(
            name="Age of the oldest error",
            has=oldest,
            wants="none" if policy.max_age_s is None else f"{policy.max_age_s / 3600:.1f} h",
            share=0.0 if policy.max_age_s is None else min(age_s / policy.max_age_s, 1.0),
            off=policy.max_age_s is None,
        ),
    )


def _count(name: str, has: int, wants: int) -> Threshold:
    return Threshold(name=name, has=str(has), wants=str(wants), share=min(has / wants, 1.0), counted=True)


class WerPoint(Frozen):
    """One verdict's numbers on the holdout.

    Attributes:
        wer, base_wer: of the candidate and of what served then, with 95% intervals; None = not measurable.
        served: the candidate became stable.
    """

    cycle: int
    at: AwareDatetime
    base_version: int
    outcome: Outcome
    wer: Interval | None
    base_wer: Interval | None
    served: bool


class Line(Frozen):
    """One series: a value a cycle, None where there is none."""

    name: str
    values: tuple[float | None, ...]


def wer_points(reports: Sequence[ValidationReport], states: Mapping[int, CycleState]) -> tuple[WerPoint, ...]:
    """Return the numbers of each verdict on its holdout, oldest first."""
    return tuple(_point(report, states.get(report.cycle)) for report in sorted(reports, key=lambda report: report.cycle))


def _point(report: ValidationReport, state: CycleState | None) -> WerPoint:
    numbers = next((each for each in report.sets if each.name == keys.HOLDOUT_SET), None)
    return WerPoint(
        cycle=report.cycle,
        at=report.created_at,
        base_version=report.base_version,
        outcome=report.outcome,
        wer=numbers.candidate.wer if numbers else None,
        base_wer=numbers.base.wer if numbers else None,
        served=state is not None and any(entry.status == Status.DEPLOYED for entry in state.history),
    )


def slice_lines(reports: Sequence[ValidationReport]) -> tuple[Line, ...]:
    """Return the candidates' WER on suites, parts of the holdout and slices, those with the most utterances first."""
    ordered = sorted(reports, key=lambda report: report.cycle)
    found: dict[str, dict[int, float]] = {}
    sizes: Counter[str] = Counter()
    for report in ordered:
        for name, rate, utterances in _parts(report):
            found.setdefault(name, {})[report.cycle] = rate
            sizes[name] += utterances
    cycles = [report.cycle for report in ordered]
    order = sorted(found, key=lambda name: (-sizes[name], name))
    return tuple(Line(name=name, values=tuple(found[name].get(cycle) for cycle in cycles)) for name in order)


def _parts(report: ValidationReport) -> Iterable[tuple[str, float, int]]:
    for each in (*report.sets, *report.strata):
        if each.name != keys.HOLDOUT_SET and each.candidate.wer is not None:
            yield each.name, each.candidate.wer.estimate, each.utterances
    for part in report.slices:
        if part.candidate_wer is not None:
            yield f"{part.dimension}: {part.value}", part.candidate_wer, part.utterances


class ErrorTypes(Frozen):
    """How many fresh errors of each type the datasets hold.

    Attributes:
        cycles: whose datasets were counted, oldest first.
        lines: a share of the cycle's errors for each type.
        counts: the same as numbers.
        left_out: cycles whose datasets are too large to be counted here.
    """

    cycles: tuple[int, ...]
    lines: tuple[Line, ...]
    counts: dict[str, tuple[int, ...]]
    left_out: tuple[int, ...] = ()


def count_error_types(dataset: bytes) -> Counter[str]:
    """Count the fresh errors of a dataset by type: lines of `Row`, looked at without checking every field of every row."""
    counts: Counter[str] = Counter()
    for line in dataset.splitlines():
        row = json.loads(line) if b'"error"' in line else {}
        if row.get("kind") == "error" and row.get("origin") == "fresh":
            counts[row.get("error_type") or NO_TYPE] += 1
    return counts


def error_types(by_cycle: Mapping[int, Counter[str]], left_out: Iterable[int] = ()) -> ErrorTypes:
    """Return the errors of each type over the cycles: the most frequent types, and the others together."""
    cycles = sorted(by_cycle)
    total = sum(by_cycle.values(), Counter[str]())
    shown = [name for name, _ in sorted(total.items(), key=lambda item: (-item[1], item[0]))[:MOST_TYPES]]
    rest = set(total) - set(shown)
    counts = {name: tuple(by_cycle[cycle][name] for cycle in cycles) for name in shown}
    if rest:
        counts[OTHER] = tuple(sum(by_cycle[cycle][name] for name in rest) for cycle in cycles)
    lines = tuple(
        Line(name=name, values=tuple(number / all_of_it if (all_of_it := by_cycle[cycle].total()) else None for cycle, number in pairs))
        for name, numbers in counts.items()
        for pairs in [list(zip(cycles, numbers, strict=True))]
    )
    return ErrorTypes(cycles=tuple(cycles), lines=lines, counts=counts, left_out=tuple(sorted(left_out)))


class Confused(Frozen):
    """A word that is taken for another one.

    Attributes:
        said, heard: empty = nothing.
        before, after: how often, with the model that served and with the candidate.
    """

    said: str
    heard: str
    before: int
    after: int


def confused_words(rows: Sequence[EvaluationRow]) -> tuple[Confused, ...]:
    """Return the words that are most often taken for others, lost or invented, on the same clips with both models."""
    from shared.wer_align import align_words_batch

    references = [row.reference for row in rows]
    before = _confusions(align_words_batch(references, [row.base_hypothesis for row in rows]))
    after = _confusions(align_words_batch(references, [row.candidate_hypothesis for row in rows]))
    order = sorted(before.keys() | after.keys(), key=lambda pair: (-after[pair] - before[pair], pair))
    return tuple(
        Confused(said=said, heard=heard, before=before[said, heard], after=after[said, heard]) for said, heard in order[:MOST_CONFUSED]
    )


def _confusions(alignments: Iterable[Sequence[tuple[str, str, str]]]) -> Counter[tuple[str, str]]:
    return Counter((said, heard) for steps in alignments for kind, said, heard in steps if kind != "hit")


class Trend(Frozen):
    """A watched version beside the one that it is compared with.

    Attributes:
        errors, utterances: of the watched version, then of the other one.
        lines: error rate up to each look, of both.
    """

    watch: Watch
    errors: tuple[int, int]
    utterances: tuple[int, int]
    lines: tuple[Line, Line]


def trend(watch: Watch) -> Trend:
    """Return what was counted of a watched version, added up over time."""
    sums, rates = (0, 0, 0, 0), []
    for interval in watch.intervals:
        sums = (sums[0] + interval[0], sums[1] + interval[1], sums[2] + interval[2], sums[3] + interval[3])
        rates.append((_rate(sums[0], sums[1]), _rate(sums[2], sums[3])))
    every = max(1, -(-len(rates) // MOST_TREND))
    shown = rates[::-1][::every][::-1]
    guard = watch.subject.kind == "guard"
    base = watch.base if guard else (sums[2], sums[3])
    other = tuple(_rate(*base) for _ in shown) if guard else tuple(pair[1] for pair in shown)
    return Trend(
        watch=watch,
        errors=(sums[0], base[0]),
        utterances=(sums[1], base[1]),
        lines=(
            Line(name=f"v{watch.subject.version}", values=tuple(pair[0] for pair in shown)),
            Line(name=f"v{watch.subject.against}{' before' if guard else ''}", values=other),
        ),
    )


def _rate(errors: int, utterances: int) -> float | None:
    return errors / utterances if utterances else None


class Audited(Frozen):
    """One line of the audit log.

    Attributes:
        what: in words.
        version: whose page tells more, where it is about a version.
        cycle: likewise.
    """

    at: AwareDatetime
    by: str
    what: str
    reason: str
    version: int | None = None
    cycle: int | None = None


def audit(moves: Iterable[Move], states: Iterable[CycleState], most: int) -> tuple[Audited, ...]:
    """Return what moved the alias, and what people did with cycles, newest first."""
    alias = [
        Audited(
            at=move.at,
            by=move.by,
            what=move.audit_text,
            reason=move.reason,
            version=move.version,
        )
        for move in moves
    ]
    people = [
        Audited(at=entry.at, by=entry.by, what=f"cycle {state.cycle}: {entry.status}", reason=entry.reason, cycle=state.cycle)
        for state in states
        for entry in state.history
        if entry.by.endswith(CLAIMED)
    ]
    return tuple(sorted((*alias, *people), key=lambda line: line.at, reverse=True)[:most])
