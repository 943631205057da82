"""The validator's report: every number a promotion rests on, parsed again by the deployer."""

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from shared.errors import CorruptObject
from shared.rates import Interval

Outcome = Literal["accepted", "rejected", "inconclusive"]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SystemErrors(_Frozen):
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


class SetNumbers(_Frozen):
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


class UtteranceChange(_Frozen):
    """One utterance on which the two models differ, with what was said and understood."""

    set_name: str
    utterance_id: str
    reference: str
    base_hypothesis: str
    candidate_hypothesis: str
    words: int
    base_errors: int
    candidate_errors: int


class ValidationReport(_Frozen):
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
    model_manifest_sha256: Sha256
    dataset_sha256: Sha256
    spec_sha256: Sha256
    result_sha256: Sha256
    normaliser: str
    left_out: dict[str, dict[str, int]]
    created_at: AwareDatetime


def dump_report(report: ValidationReport) -> bytes:
    """Return the report as UTF-8 JSON; the same report gives the same bytes, so that a digest names it."""
    return report.model_dump_json(indent=2).encode()


def parse_report(data: bytes) -> ValidationReport:
    """Return the report that `dump_report` wrote.

    Raises:
        CorruptObject: the bytes are not such a report.
    """
    try:
        return ValidationReport.model_validate_json(data)
    except ValidationError as error:
        raise CorruptObject(f"validation report: expected the form of ValidationReport, found {error}") from error
