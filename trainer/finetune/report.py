"""The report of a run as a document: everything that was found, decided and measured, for machines; pages are made of it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import AwareDatetime

from shared.documents import Frozen
from shared.events import Digest, ReferenceProvenance
from shared.normalisation import BASIC
from shared.training import EpochFigures, LambdaTrial, SetAside, TrainingConfig
from shared.wer import count_word_errors_batch
from trainer.finetune.decisions import DecidedClip, RunDecisions
from trainer.finetune.folder import CONDITIONS, Condition
from trainer.finetune.numbers import SetNumbers, Verdict, decide_verdict, measure_sets
from trainer.finetune.split import PARTS, Part

EarlyEnd = Literal["all_set_aside", "no_references", "little_gold", "nothing_to_learn", "too_few_errors", "no_trainable_clips"]
Outcome = Verdict | EarlyEnd
Whose = Literal["human", "llm", "both", "none"]
SHOWN_CHANGES = 10

_HEADLINES: Mapping[Outcome, str] = {
    "improved": "The fine-tuned model is better",
    "mixed": "Better in one condition, worse in another",
    "worse": "The fine-tuned model is worse",
    "no_clear_difference": "No clear difference",
    "not_testable": "The change cannot be tested",
    "all_set_aside": "No clip could be used",
    "no_references": "There are no references",
    "little_gold": "Too few clips have a reference that can be trusted",
    "nothing_to_learn": "There is nothing to learn",
    "too_few_errors": "There are too few errors to learn from",
    "no_trainable_clips": "No clip with an error can be trained on",
}


class PartCount(Frozen):
    """How many clips of a condition one part has."""

    part: Part
    condition: Condition
    wrong: int
    right: int


class ClipChange(Frozen):
    """A clip of the holdout that the two models hear differently."""

    utterance_id: str
    provenance: ReferenceProvenance
    reference: str
    before: str
    after: str
    errors_before: int
    errors_after: int


class TrainingSummary(Frozen):
    """What the training was and made.

    Attributes:
        config: with every choice made.
        scale: of the update that was kept: 0 is the base, 1 all that was learned.
        epochs: the training curve; the rates are of dev: noisy and clean, or of all clips and None where there is one condition.
        figures: the trainer's own.
    """

    config: TrainingConfig
    scale: float
    scale_reason: str
    trials: tuple[LambdaTrial, ...]
    epochs: tuple[EpochFigures, ...]
    figures: dict[str, Any]


class NamedDigest(Frozen):
    """What a file or folder must hash to."""

    name: str
    sha256: Digest


class FinetuneReport(Frozen):
    """All of one run.

    Attributes:
        outcome: a verdict on the holdout, or why the run ended before training.
        references, gold: whose word they are, in a sentence and in a word.
        measured: the base model on all clips with a reference.
        holdout: base and fine-tuned model on clips that nothing was trained or tuned on.
        options: the flags.
        training: None where nothing was trained.
    """

    v: Literal[1] = 1
    created_at: AwareDatetime
    outcome: Outcome
    headline: str
    reason: str
    references: str
    gold: Whose
    warnings: tuple[str, ...]
    measured: tuple[SetNumbers, ...]
    holdout: tuple[SetNumbers, ...]
    parts: tuple[PartCount, ...]
    training: TrainingSummary | None
    worst_regressions: tuple[ClipChange, ...]
    best_fixes: tuple[ClipChange, ...]
    set_aside: tuple[SetAside, ...]
    unreferenced: dict[str, int]
    options: dict[str, Any]
    normaliser: str
    packages: dict[str, str]
    digests: tuple[NamedDigest, ...]
    run_s: float

    @property
    def ended_early(self) -> bool:
        """Whether nothing was trained."""
        return self.training is None


class Surroundings(Frozen):
    """What a report says of the run itself."""

    created_at: AwareDatetime
    options: dict[str, Any]
    seed: int
    packages: dict[str, str]
    digests: tuple[NamedDigest, ...] = ()
    run_s: float = 0.0


class Ending(Frozen):
    """Why a run ends before training."""

    outcome: EarlyEnd
    reason: str


def report_ending(ending: Ending, found: RunDecisions, around: Surroundings, set_aside: Sequence[SetAside] = ()) -> FinetuneReport:
    """Return the report of a run in which nothing was trained."""
    return _report(found, around, ending.outcome, ending.reason, set_aside=set_aside)


def report_result(
    decided: RunDecisions, training: TrainingSummary, after: Mapping[str, str], around: Surroundings, set_aside: Sequence[SetAside] = ()
) -> FinetuneReport:
    """Return the report of a run that trained.

    Args:
        decided: references, split and what the base heard.
        training: what was trained.
        after: what the fine-tuned model hears in each clip of the holdout.
        around: the run.
        set_aside: clips that could be heard, but not trained on.
    """
    holdout = measure_sets(decided.scored(after), around.seed)
    verdict, reason = decide_verdict(holdout) if holdout else ("not_testable", "no clip is left to judge on")
    if training.scale == 0.0:
        reason = f"the base is kept, no part of what was learned helped on dev ({training.scale_reason})"
    changes = _changes([clip for clip in decided.clips if clip.utterance_id in after], after)
    return _report(decided, around, verdict, reason, set_aside=set_aside, holdout=holdout, training=training, changes=changes)


def _report(
    found: RunDecisions,
    around: Surroundings,
    outcome: Outcome,
    reason: str,
    *,
    set_aside: Sequence[SetAside],
    holdout: tuple[SetNumbers, ...] = (),
    training: TrainingSummary | None = None,
    changes: tuple[tuple[ClipChange, ...], tuple[ClipChange, ...]] = ((), ()),
) -> FinetuneReport:
    gold, references = describe_references(found)
    return FinetuneReport(
        created_at=around.created_at,
        outcome=outcome,
        headline=_HEADLINES[outcome],
        reason=reason,
        references=references,
        gold=gold,
        warnings=found.warnings,
        measured=measure_sets(found.scored(), around.seed),
        holdout=holdout,
        parts=_count_parts(found),
        training=training,
        worst_regressions=changes[0],
        best_fixes=changes[1],
        set_aside=(*found.set_aside, *set_aside),
        unreferenced=dict(Counter(clip.reason for clip in found.unreferenced)),
        options=around.options,
        normaliser=BASIC.name_version,
        packages=around.packages,
        digests=around.digests,
        run_s=around.run_s,
    )


def describe_references(found: RunDecisions) -> tuple[Whose, str]:
    """Return whose word the references are, in a word and in a sentence."""
    human = sum(clip.provenance == "human" for clip in found.clips)
    llm = len(found.clips) - human
    if not found.clips:
        return "none", "No clip has a reference."
    if not llm:
        return "human", f"All {human} references are a person's."
    asked = f"{found.gold_model or 'an LLM'}, as far as the sound bore them out"
    if not human:
        return "llm", f"All {llm} references are LLM gold ({asked}): no number here rests on what a person heard."
    return "both", f"{human} references are a person's, {llm} are LLM gold ({asked}): numbers over both rest on both."


def _count_parts(found: RunDecisions) -> tuple[PartCount, ...]:
    wrong = found.wrong
    counts = Counter((clip.part, clip.condition, clip.utterance_id in wrong) for clip in found.clips)
    return tuple(
        PartCount(part=part, condition=condition, wrong=counts[part, condition, True], right=counts[part, condition, False])
        for part in PARTS
        for condition in CONDITIONS
        if counts[part, condition, True] or counts[part, condition, False]
    )


def _changes(clips: Sequence[DecidedClip], after: Mapping[str, str]) -> tuple[tuple[ClipChange, ...], tuple[ClipChange, ...]]:
    """Return the clips that got worse and those that got better, the largest changes first."""
    references = [clip.reference for clip in clips]
    old = count_word_errors_batch(references, [clip.before for clip in clips])
    new = count_word_errors_batch(references, [after[clip.utterance_id] for clip in clips])
    changes = [
        ClipChange(
            utterance_id=clip.utterance_id,
            provenance=clip.provenance,
            reference=clip.reference,
            before=clip.before,
            after=after[clip.utterance_id],
            errors_before=before.errors,
            errors_after=now.errors,
        )
        for clip, before, now in zip(clips, old, new, strict=True)
    ]
    by_change = sorted(changes, key=lambda change: (change.errors_before - change.errors_after, change.utterance_id))
    worse = [change for change in by_change if change.errors_after > change.errors_before]
    better = [change for change in reversed(by_change) if change.errors_after < change.errors_before]
    return tuple(worse[:SHOWN_CHANGES]), tuple(better[:SHOWN_CHANGES])
