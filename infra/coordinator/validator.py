"""The verdict on a model, as the validator stored it."""

from pathlib import Path

from functions.validator.judge import judge
from infra.coordinator.functions import Functions
from infra.errors import Refused
from infra.judged import judged_cycles
from shared import keys
from shared.cas import find
from shared.documents import Frozen
from shared.ids import version_name
from shared.policy import ValidationPolicy
from shared.rates import Interval
from shared.verdict import Outcome, SetNumbers, ValidationReport, parse_report


class ValidationResult(Frozen):
    """A verdict and the numbers that people ask for first; `report` has all.

    Attributes:
        failure_reason: why the candidate is not accepted, in one sentence; None = it is.
        reasons: all of them, the deciding ones first.
        baseline_wer, model_wer: on the holdout, with 95% intervals; None = it permits none.
        wer_change: model minus baseline, at the level that was tested; None = nothing could be tested.
        p_value: one-sided, for an improvement.
        report_key: of the page for people, beside the report in the store.
    """

    version: int
    baseline_version: int
    outcome: Outcome
    failure_reason: str | None
    reasons: tuple[str, ...]
    baseline_wer: Interval | None
    model_wer: Interval | None
    wer_change: Interval | None
    p_value: float | None
    report_key: str
    report: ValidationReport

    @property
    def passed(self) -> bool:
        """The candidate may be deployed."""
        return self.outcome == "accepted"


class ModelValidator:
    """Compares a candidate with the model in production, on people whom neither has learned from.

    Args:
        functions: that judge.
    """

    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    @property
    def config(self) -> ValidationPolicy:
        """The gate's numbers; `FinetuningConfig(policy=Policy(validation=...))` sets them."""
        return self._functions.ports.settings.policy.validation

    def validate(self, version: int | None = None) -> ValidationResult:
        """Return the verdict on a version (None = the newest that was judged).

        Raises:
            Refused: it was not judged: imported, or not trained yet.
        """
        ports = self._functions.ports
        chosen = self._newest() if version is None else version
        found = find(ports.store, keys.report(chosen))
        if found is None:
            raise Refused(f"{version_name(chosen)}: expected {keys.report(chosen)}, found none: it was not trained by a cycle, or not yet")
        return _result(parse_report(found.data))

    def save_report(self, path: Path | str, version: int | None = None) -> Path:
        """Write the verdict's page for people to a file, and return its path.

        Raises:
            Refused: there is no verdict.
        """
        page = self._functions.ports.store.get(self.validate(version).report_key)
        target = Path(path)
        target.write_bytes(page.data)
        return target

    def recompute(self, version: int) -> ValidationResult:
        """Judge anew from the stored hypotheses, under the policy of now; nothing is stored, and what was decided stays decided.

        Raises:
            Refused: there is no result of its training.
        """
        ports = self._functions.ports
        if find(ports.store, keys.result(version)) is None:
            raise Refused(f"{version_name(version)}: expected {keys.result(version)}, found none: no training has come to an end")
        report, _ = judge(ports, version)
        return _result(report)

    def _newest(self) -> int:
        judged = judged_cycles(self._functions.ports.store)
        if not judged:
            raise Refused("no model was judged yet: run_complete_workflow trains and judges one")
        return judged[-1]


def _result(report: ValidationReport) -> ValidationResult:
    holdout: SetNumbers | None = next((each for each in report.sets if each.name == keys.HOLDOUT_SET), None)
    return ValidationResult(
        version=report.version,
        baseline_version=report.base_version,
        outcome=report.outcome,
        failure_reason=report.failure_reason,
        reasons=report.reasons,
        baseline_wer=holdout.base.wer if holdout else None,
        model_wer=holdout.candidate.wer if holdout else None,
        wer_change=holdout.delta if holdout else None,
        p_value=holdout.p_value if holdout else None,
        report_key=keys.report_html(report.cycle),
        report=report,
    )
