"""Regression suites: clips on which no new model may be worse, and what each verdict said of them."""

from pathlib import Path

from infra.coordinator.functions import Functions
from infra.coordinator.validator import ModelValidator
from infra.corpora.admission import Adding
from infra.corpora.source import Convert, convert_with_trainer, read_offer
from infra.corpora.suite_history import SuiteHistory, history
from infra.corpora.suites import SuiteAdded, SuiteView, add_suite, list_suites
from infra.options import me
from shared import keys
from shared.documents import Frozen
from shared.rates import Interval


class RegressionResult(Frozen):
    """One suite in the verdict on one model.

    Attributes:
        passed: the model was shown to stay good on it; None = the verdict does not rest on this suite, or never heard it.
        finding: what the test says.
        baseline_wer, model_wer, wer_change: with their intervals; None = the suite permits none.
        margin: by how much WER may rise.
    """

    suite: str
    passed: bool | None
    finding: str
    baseline_wer: Interval | None = None
    model_wer: Interval | None = None
    wer_change: Interval | None = None
    margin: float | None = None


class RegressionTester:
    """Keeps suites and tells how models did on them; every cycle's candidate is judged on those that the policy names.

    Args:
        functions: whose validator judges.
    """

    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    def add_suite(
        self, name: str, audio_dir: Path | str, *, margin: float | None = None, convert: Convert = convert_with_trainer
    ) -> SuiteAdded:
        """Add the clips of a folder (audio with transcripts.jsonl, as `retune suite add`) to a suite, or make it.

        Raises:
            Refused: a clip's speaker, session or recording was trained on, or the name cannot be one.
        """
        adding = Adding(by=me(), convert=convert, open_store=self._functions.data.open_store)
        return add_suite(self._functions.ports, name, read_offer(Path(audio_dir), None), adding, margin)

    def list_suites(self) -> list[SuiteView]:
        """Return every suite that has clips, and what the policy names beside."""
        return list_suites(self._functions.ports)

    def history(self, name: str) -> SuiteHistory:
        """Return every verdict that used a suite, oldest first."""
        return history(self._functions.ports, name)

    def run(self, version: int | None = None) -> list[RegressionResult]:
        """Return how a version (None = the newest that was judged) did on each suite, by its verdict.

        Raises:
            Refused: it was not judged.
        """
        report = ModelValidator(self._functions).validate(version).report
        heard = {each.name.removeprefix(keys.SUITE_SET): each for each in report.sets if each.name.startswith(keys.SUITE_SET)}
        results = [
            RegressionResult(
                suite=name,
                passed=_passed(each.decides, each.delta, each.margin),
                finding=each.finding,
                baseline_wer=each.base.wer,
                model_wer=each.candidate.wer,
                wer_change=each.delta,
                margin=each.margin,
            )
            for name, each in heard.items()
        ]
        others = [view.name for view in self.list_suites() if view.name not in heard]
        return results + [RegressionResult(suite=name, passed=None, finding="the verdict did not use it") for name in others]


def _passed(decides: bool, delta: Interval | None, margin: float | None) -> bool | None:  # noqa: FBT001
    """Tell whether the upper confidence limit of the change is within the margin: the validator's own rule."""
    return delta is not None and margin is not None and delta.high <= margin if decides else None
