"""From references to training sets: who is in which part, and what of it can be trained on."""

from collections.abc import Mapping
from dataclasses import replace

from shared.training import TRAINING_ROLES, SetAside, SetRole, TrainingConfig
from trainer.clips.audio import check_length, training_bounds
from trainer.clips.fetch import ClipRefused
from trainer.clips.load import UsableClip, check_labels
from trainer.finetune.audio import DecodedClip
from trainer.finetune.decisions import DecidedClip, RunDecisions
from trainer.finetune.folder import CONDITIONS
from trainer.finetune.measure import References
from trainer.finetune.report import Ending
from trainer.finetune.split import JudgedClip, NoSplit, decide_split
from trainer.network.model import AcousticModel


def divide(decided: RunDecisions, found: References, seed: int) -> tuple[RunDecisions, Ending | None]:
    """Give every clip its part, or say why the run ends here."""
    total = len(decided.clips) + len(decided.unreferenced)
    if not total:
        reason = f"all {len(decided.set_aside)} files were set aside, see the reasons"
        return decided, Ending(outcome="all_set_aside", reason=reason)
    if found.little_gold:
        reason = (
            f"{len(decided.clips)} of {total} clips have one, at least half must; hear those in review.jsonl and write down what is said"
        )
        return decided, Ending(outcome="little_gold", reason=reason)
    if not decided.clips:
        reason = f"none of {total} clips has a transcript; add transcripts.jsonl, or ask an LLM with --gold llm"
        return decided, Ending(outcome="no_references", reason=reason)
    wrong = decided.wrong
    split = decide_split(
        [JudgedClip(clip.utterance_id, clip.condition, clip.speaker, clip.utterance_id in wrong) for clip in decided.clips], seed
    )
    if isinstance(split, NoSplit):
        return decided, Ending(outcome=split.outcome, reason=split.reason)
    clips = tuple(clip.model_copy(update={"part": split.parts[clip.utterance_id]}) for clip in decided.clips)
    warnings = (*decided.warnings, *split.warnings)
    return decided.model_copy(update={"clips": clips, "unit": split.unit, "warnings": warnings}), None


def usable(clip: DecidedClip, audio: DecodedClip, *, wrong: bool) -> UsableClip:
    """Return a clip with its reference as evaluation takes it; `wrong` = the base model made an error in it."""
    return audio.with_reference(clip.reference, clip.provenance, "errors" if wrong else "replay")


def trainable(
    decided: RunDecisions, clips: Mapping[str, DecodedClip], model: AcousticModel, config: TrainingConfig
) -> tuple[dict[SetRole, list[UsableClip]], list[SetAside]]:
    """Return the clips of train and dev with their labels, by role, and those that cannot have any.

    Train is divided by what the base model got wrong, dev by condition where there are two: clips chosen for being right can only get
    worse, so that a guard made of them would let nothing pass.
    """
    sets: dict[SetRole, list[UsableClip]] = {role: [] for role in TRAINING_ROLES}
    set_aside = []
    wrong = decided.wrong
    guarded = {clip.condition for clip in decided.clips if clip.part == "dev"} == set(CONDITIONS)
    for clip in decided.clips:
        role: SetRole
        if clip.part == "train":
            role = "train_errors" if clip.utterance_id in wrong else "train_replay"
        elif clip.part == "dev":
            role = "dev_replay" if guarded and clip.condition == "clean" else "dev_errors"
        else:
            continue
        try:
            heard = usable(clip, clips[clip.utterance_id], wrong=clip.utterance_id in wrong)
            sets[role].append(_with_labels(heard, model, config))
        except ClipRefused as refusal:
            set_aside.append(refusal.set_aside(clip.utterance_id, role))
    return sets, set_aside


def _with_labels(clip: UsableClip, model: AcousticModel, config: TrainingConfig) -> UsableClip:
    check_length(clip.samples, model.sampling_rate_hz, training_bounds(config))
    return replace(clip, labels=check_labels(clip.clip, clip.samples, model, config))
