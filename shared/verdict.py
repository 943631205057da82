"""The validator's report: every number a promotion rests on, parsed again by the deployer."""

from typing import Literal

from pydantic import AwareDatetime, Field

from shared import keys
from shared.cas import find
from shared.documents import Frozen, parse_document
from shared.events import Digest
from shared.objectstore import ObjectStore
from shared.rates import Interval

Outcome = Literal["accepted", "rejected", "inconclusive"]


class SystemErrors(Frozen):
    """What one model got wrong on one set; the rates are weighted as the set is, the three counts are plain counts.

    Attributes:
        wer: pooled WER with its 95% interval; None where fewer than two clusters or no reference words permit one.
        cer: pooled character error rate; None without reference characters.
        substitutions: words replaced.
        deletions: words lost.
        insertions: words invented.
        empty_rate: share of the utterances that hold speech for which it returned nothing; None without such utterances.
    """

    wer: Interval | None
    cer: float | None
    substitutions: int
    deletions: int
    insertions: int
    empty_rate: float | None


class SetNumbers(Frozen):
    """Both models on one set of utterances.

    Attributes:
        name: `holdout`, `holdout/errors`, `holdout/traffic` or a suite's name.
        decides: the verdict rests on it; other sets are reported only.
        finding: what the test says, in plain English.
        utterances: utterances judged.
        clusters: speakers or calls among them.
        words: reference words, unweighted.
        base: the model in production.
        candidate: the model judged.
        delta: WER of the candidate minus the base's, at the level that was tested (1 - 2 alpha).
        relative_change: relative change of WER with its 95% interval; -0.38 means that it fell by 38%.
        p_value: one-sided sign-flip p-value for an improvement, where that was tested.
        margin: bearable rise of WER, where the set is a suite with one.
        set_aside: utterances that could not be judged, by reason.
        sd_d: spread of the difference as this set measured it, from which later cycles are sized, never this one.
    """

    name: str
    decides: bool
    finding: str
    utterances: int
    clusters: int
    words: int
    base: SystemErrors
    candidate: SystemErrors
    delta: Interval | None
    relative_change: Interval | None
    p_value: float | None
    margin: float | None
    set_aside: dict[str, int]
    sd_d: float | None = None


class SliceNumbers(Frozen):
    """Both models on a part of the holdout, judged on references that people (or, by leave, a language model) gave.

    Attributes:
        dimension: what it is cut by: error type, language, device, noise, duration.
        value: the slice's value of it.
        delta: WER of the candidate minus the base's, at the level that was tested (1 - 2 alpha).
        p_value: one-sided, for a rise; None = too few speakers or calls to be tested.
        worse: significantly, with Holm's correction over all slices that were tested.
    """

    dimension: str
    value: str
    utterances: int
    clusters: int
    base_wer: float | None
    candidate_wer: float | None
    delta: Interval | None
    p_value: float | None
    worse: bool


class GateNumbers(Frozen):
    """One way in which a speech model fails, before and after.

    Attributes:
        gate: its name, such as `empty output`.
        set_name: the set it was counted on, or `serving`.
        base, candidate: a share or a measured size; None = not known.
        bearable: rise (of shares) or ratio (of sizes and times) that is still bearable.
        p_value: one-sided, for a rise beyond what is bearable, before any correction; None = nothing to test.
        result: `not testable` = it rose by more than is bearable on too few speakers or calls to be sure.
        finding: in plain English.
    """

    gate: str
    set_name: str
    base: float | None
    candidate: float | None
    bearable: float
    p_value: float | None
    result: Literal["passed", "failed", "not testable", "not measured"]
    finding: str


class ClassicTest(Frozen):
    """A test that papers report, beside those of the gate; it decides nothing.

    Attributes:
        name: MAPSSWE, McNemar, or bootstrap.
        unit: what it takes for independent: segment, sentence, utterance, or speaker or call.
        units: how many of them it rests on.
        statistic: W or chi squared; None = exact, or a bootstrap.
        p_value: two-sided; None for a bootstrap.
        delta: WER of the candidate minus the base's with its percentile interval, for a bootstrap.
        improvement: share of a bootstrap's draws in which the candidate has fewer errors.
    """

    name: str
    set_name: str
    unit: str
    units: int
    statistic: float | None = None
    p_value: float | None = None
    delta: Interval | None = None
    improvement: float | None = None


class ClosureCounts(Frozen):
    """What became of production errors; `closure.jsonl` names each.

    Attributes:
        fixed: errors of the base that the candidate transcribes without any error.
        improved: fewer errors, not none.
        unchanged: as many errors as before, also where it is none.
        worse: more errors.
    """

    fixed: int
    improved: int
    unchanged: int
    worse: int


class UtteranceChange(Frozen):
    """One utterance on which the two models differ, with what was said and understood.

    Attributes:
        audio_uri: where it can be heard.
    """

    set_name: str
    utterance_id: str
    reference: str
    base_hypothesis: str
    candidate_hypothesis: str
    words: int
    base_errors: int
    candidate_errors: int
    audio_uri: str = ""


class RecheckNumbers(Frozen):
    """Errors that earlier versions fixed, heard again; they decide nothing.

    Attributes:
        name: `recheck-fixed` (held out when they were fixed) or `recheck-memory` (learned).
        base_right, candidate_right: transcribed without any error.
        came_back: right with the base and wrong with the candidate.
        examples: some of these, the worst first.
    """

    name: str
    utterances: int
    base_right: int
    candidate_right: int
    came_back: int
    examples: tuple[UtteranceChange, ...] = ()


class ValidationReport(Frozen):
    """Verdict on one candidate and all it rests on.

    Attributes:
        cycle: number of the cycle.
        version: the candidate, equal to the cycle.
        base_version: the model in production that it was compared with.
        outcome: accepted, rejected or inconclusive.
        reasons: why, in plain English, the deciding ones first.
        notes: limits of the evidence that a reader must know before the numbers.
        alpha: one-sided level of every test.
        sets: holdout and suites, those that decide and those that do not.
        strata: the parts of the holdout alone; they never decide.
        worst_regressions: utterances that got worse, the worst first.
        best_fixes: utterances that got better, the best first.
        model_manifest_sha256: digest of the candidate's manifest.
        dataset_sha256: digest of the dataset the candidate was trained and judged on.
        spec_sha256: digest of the training specification.
        result_sha256: digest of the trainer's result, hence of the evaluation judged here.
        normaliser: name and version of the text normalisation.
        left_out: clips and events that nobody could use, by set and reason; `dataset` = before any set was made.
        created_at: time of the verdict, UTC.
        failure_reason: why it is not accepted, in one sentence; None where it is.
        slices: parts of the holdout by error type, language, device, noise and duration; those that could not be tested last.
        gates: ways in which speech models fail, and what serving costs.
        classic: tests that papers report, for comparison.
        closure: what became of the production errors that were held out; None where the evidence could not be read.
        base_manifest_sha256: digest of the manifest of the model it was compared with.
        learned: cycles whose data the candidate has learned, its own among them.
        policy_sha256: digest of the policy that the cycle was opened under; None where an older release opened it.
        judged_under_sha256: digest of the policy that the verdict was reached under.
        code: what the candidate was trained by: version of Retune, commit and image digest, as far as the trainer knew them.
        learned_closure: what became of the errors that were trained or tuned on: a memory check, no evidence; None = it was not looked at.
        rechecks: errors that earlier versions fixed.
    """

    cycle: int
    version: int
    base_version: int
    outcome: Outcome
    reasons: tuple[str, ...] = Field(min_length=1)
    notes: tuple[str, ...]
    alpha: float
    sets: tuple[SetNumbers, ...]
    strata: tuple[SetNumbers, ...]
    worst_regressions: tuple[UtteranceChange, ...]
    best_fixes: tuple[UtteranceChange, ...]
    model_manifest_sha256: Digest
    dataset_sha256: Digest
    spec_sha256: Digest
    result_sha256: Digest
    normaliser: str
    left_out: dict[str, dict[str, int]]
    created_at: AwareDatetime
    failure_reason: str | None = None
    slices: tuple[SliceNumbers, ...] = ()
    gates: tuple[GateNumbers, ...] = ()
    classic: tuple[ClassicTest, ...] = ()
    closure: ClosureCounts | None = None
    base_manifest_sha256: Digest | None = None
    learned: tuple[int, ...] = ()
    policy_sha256: Digest | None = None
    judged_under_sha256: Digest | None = None
    code: dict[str, str] = {}
    learned_closure: ClosureCounts | None = None
    rechecks: tuple[RecheckNumbers, ...] = ()

    @property
    def verdict(self) -> str:
        """The outcome as people say it: PASS, FAIL or INCONCLUSIVE."""
        return {"accepted": "PASS", "rejected": "FAIL", "inconclusive": "INCONCLUSIVE"}[self.outcome]


def dump_report(report: ValidationReport) -> bytes:
    """Return the report as UTF-8 JSON; the same report gives the same bytes, so that a digest names it."""
    return report.model_dump_json(indent=2).encode()


def parse_report(data: bytes) -> ValidationReport:
    """Return the report that `dump_report` wrote.

    Raises:
        CorruptObject: the bytes are not such a report.
    """
    return parse_document(ValidationReport, data, what="validation report")


def find_report(store: ObjectStore, cycle: int) -> ValidationReport | None:
    """Read the report on a cycle's candidate; None = it was not judged. Raises CorruptObject as `parse_report`."""
    found = find(store, keys.report(cycle))
    return parse_report(found.data) if found is not None else None
