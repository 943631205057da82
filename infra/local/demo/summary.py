"""What the demo measured, and how it reads in a table."""

from dataclasses import dataclass

from infra.local.demo.bad_model import BadModel
from infra.local.demo.measure import Comparison
from shared.cycle import CycleState, Status
from shared.rates import Interval
from shared.verdict import SetNumbers, ValidationReport
from shared.wording import percent


@dataclass(frozen=True)
class Outcome:
    """Everything that the closing table and the page show.

    Attributes:
        served: calls that production served before the new model.
        wer_phone, wer_office: pooled WER of the old model on them, by line; None = no such call.
        state: last state of the cycle.
        report: the validator's report, where it came so far.
        comparison: old and new model on fresh callers, where a new model was deployed.
        bad: what a deliberately bad model did; None = not tried.
        follow_s: seconds from the rollback command until the service served the old model; None = not tried.
        seconds, peak_bytes: what the whole demo took.
    """

    served: int
    wer_phone: float | None
    wer_office: float | None
    state: CycleState
    report: ValidationReport | None
    comparison: Comparison | None
    bad: BadModel | None
    follow_s: float | None
    seconds: float
    peak_bytes: int

    @property
    def improved(self) -> bool:
        """The new model was deployed and its WER on fresh calls is surely lower."""
        return self.comparison is not None and self.comparison.improved


def summary(outcome: Outcome) -> list[tuple[str, str]]:
    """Return the closing table: one name and one measured value a row."""
    rows = [
        ("calls served before the cycle", str(outcome.served)),
        ("their WER with v0, phone line", percent(outcome.wer_phone)),
        ("their WER with v0, old line", percent(outcome.wer_office)),
        ("verdict", f"{outcome.report.outcome}: {outcome.report.reasons[0]}" if outcome.report else "none"),
    ]
    if outcome.report is not None:
        rows += [(f"judged on {numbers.name}", _judged(numbers)) for numbers in outcome.report.sets]
    statuses = [entry.status for entry in outcome.state.history]
    if Status.CANARY in statuses[:-1]:
        rows.append((f"canary, then {outcome.state.status}", outcome.state.reason))
    if outcome.comparison is not None:
        rows += _compared(outcome.comparison)
    if outcome.bad is not None:
        served = f"{outcome.bad.seconds:.0f} s, {outcome.bad.calls} calls"
        rows.append((f"bad model v{outcome.bad.version}, withdrawn by the guard", f"after {served}: {outcome.bad.reason}"))
    if outcome.follow_s is not None:
        rows.append(("rollback: command to old model serving", f"{outcome.follow_s:.2f} s"))
    rows.append(("total time", f"{outcome.seconds:.0f} s"))
    rows.append(("peak memory of all processes", f"{outcome.peak_bytes / 2**20:.0f} MiB"))
    return rows


def _judged(numbers: SetNumbers) -> str:
    before, after = numbers.base.wer, numbers.candidate.wer
    sizes = f"{numbers.utterances} utterances, {numbers.clusters} speakers"
    if before is None or after is None:
        return sizes
    delta = f"; change {interval(numbers.delta, points=True)}" if numbers.delta else ""
    return f"WER {percent(before.estimate)} -> {percent(after.estimate)}{delta} ({sizes})"


def _compared(comparison: Comparison) -> list[tuple[str, str]]:
    sizes = f"{comparison.utterances} calls, {comparison.speakers} callers nobody heard before"
    change = interval(comparison.change, points=False) if comparison.change else "cannot be told"
    return [
        ("WER on fresh calls, before", interval(comparison.before, points=False)),
        ("WER on fresh calls, after", interval(comparison.after, points=False)),
        ("relative change of WER", f"{change} ({sizes})"),
    ]


def interval(value: Interval, *, points: bool) -> str:
    """Return an estimate with its confidence interval."""
    unit = " points" if points else "%"
    numbers = [100 * number for number in (value.estimate, value.low, value.high)]
    signed = points or value.estimate < 0
    texts = [f"{number:+.1f}" if signed else f"{number:.1f}" for number in numbers]
    return f"{texts[0]}{unit} ({value.level:.0%} CI {texts[1]} to {texts[2]})"
