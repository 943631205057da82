"""What a run decides once and never again: references, split, and what both rest on; `run.json`."""

from collections.abc import Mapping
from typing import Literal, Self

from pydantic import AwareDatetime

from shared.documents import Frozen
from shared.events import Digest, ReferenceProvenance
from shared.manifest import FileDigest
from shared.training import SetAside
from shared.wer import count_word_errors_batch
from trainer.finetune.folder import Condition
from trainer.finetune.numbers import ScoredClip
from trainer.finetune.split import DrawnBy, Part


class DecidedClip(Frozen):
    """A clip with its reference; `before` is what the base model heard, `part` is None where the run ended before the split."""

    utterance_id: str
    condition: Condition
    speaker: str | None
    part: Part | None
    reference: str
    provenance: ReferenceProvenance
    before: str


class Unreferenced(Frozen):
    """A clip that could be heard but has no reference, and why."""

    utterance_id: str
    condition: Condition
    before: str
    reason: str


class HypothesisRow(Frozen):
    """One line of `hypotheses.jsonl`; what is None is left out, as `after` outside the holdout."""

    utterance_id: str
    condition: Condition
    before: str
    after: str | None = None
    split: Part | None = None
    reference: str | None = None
    provenance: ReferenceProvenance | None = None


class RunDecisions(Frozen):
    """All that a resumed run takes over.

    Attributes:
        folder_sha256: of names, audio, transcripts and speakers.
        base: the files of the base model.
        unit: what the split drew whole and every statistic resamples.
        gold_model: who was asked; None without an LLM.
        set_aside: clips that cannot be heard.
    """

    v: Literal[1] = 1
    created_at: AwareDatetime
    folder_sha256: Digest
    base: tuple[FileDigest, ...]
    unit: DrawnBy
    gold_model: str | None
    clips: tuple[DecidedClip, ...]
    unreferenced: tuple[Unreferenced, ...]
    set_aside: tuple[SetAside, ...]
    warnings: tuple[str, ...]

    @property
    def wrong(self) -> frozenset[str]:
        """The clips in which the base model made an error."""
        counts = count_word_errors_batch([clip.reference for clip in self.clips], [clip.before for clip in self.clips])
        return frozenset(clip.utterance_id for clip, count in zip(self.clips, counts, strict=True) if count.errors)

    def heard_again(self, before: Mapping[str, str]) -> Self:
        """Return the decisions with what the base model heard in some clips when both models heard them."""
        clips = tuple(clip.model_copy(update={"before": before.get(clip.utterance_id, clip.before)}) for clip in self.clips)
        return self.model_copy(update={"clips": clips})

    def scored(self, after: Mapping[str, str] | None = None) -> list[ScoredClip]:
        """Return the clips as the numbers take them: all of them, or those that were heard again."""
        return [
            ScoredClip(
                utterance_id=clip.utterance_id,
                condition=clip.condition,
                cluster=clip.speaker if self.unit == "speaker" and clip.speaker else clip.utterance_id,
                provenance=clip.provenance,
                reference=clip.reference,
                before=clip.before,
                after=None if after is None else after[clip.utterance_id],
            )
            for clip in self.clips
            if after is None or clip.utterance_id in after
        ]

    def hypotheses(self, after: Mapping[str, str]) -> list[HypothesisRow]:
        """Return what was heard in every clip, in the order of the names; `after` holds what the fine-tuned model heard."""
        judged = [
            HypothesisRow(
                utterance_id=clip.utterance_id,
                condition=clip.condition,
                split=clip.part,
                reference=clip.reference,
                provenance=clip.provenance,
                before=clip.before,
                after=after.get(clip.utterance_id),
            )
            for clip in self.clips
        ]
        unjudged = [
            HypothesisRow(utterance_id=clip.utterance_id, condition=clip.condition, before=clip.before) for clip in self.unreferenced
        ]
        return sorted([*judged, *unjudged], key=lambda row: row.utterance_id)
