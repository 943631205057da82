"""What base and candidate hear in the clips that judge: hypotheses only, nothing is counted here."""

from collections.abc import Sequence

import torch

from shared.training import EvaluationRow
from trainer.batching import plan_batches
from trainer.data import UsableClip
from trainer.prefetch import prefetched
from trainer.progress import Progress
from trainer.recogniser import BUDGET, Recogniser


def evaluate(
    base: Recogniser, candidate: Recogniser, clips: Sequence[UsableClip], set_name: str, progress: Progress
) -> list[EvaluationRow]:
    """Transcribe every clip with both models; rows come in the order of the clips.

    Where both models share their convolutions (neither LoRA nor full fine-tuning changes them) these are computed once.
    """
    shared = same_convolutions(base, candidate)
    heard: list[tuple[str, str]] = [("", "")] * len(clips)
    batches = plan_batches([base.model.frames_of(clip.samples) for clip in clips], BUDGET)
    loaded = prefetched(batches, lambda index: clips[index].waveform())
    for batch, waveforms in progress.track(loaded, f"evaluating {set_name}", len(batches)):
        features = base.features(waveforms)
        candidate_features = features if shared else candidate.features(waveforms)
        texts = zip(base.transcribe_features(features), candidate.transcribe_features(candidate_features), strict=True)
        for index, pair in zip(batch, texts, strict=True):
            heard[index] = pair
    return [_row(clip, *pair) for clip, pair in zip(clips, heard, strict=True)]


def same_convolutions(base: Recogniser, candidate: Recogniser) -> bool:
    """Tell whether two models make the very same features of a clip."""
    if base.model.do_normalize != candidate.model.do_normalize:
        return False
    mine, theirs = (recogniser.model.network.wav2vec2.feature_extractor.state_dict() for recogniser in (base, candidate))
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def _row(clip: UsableClip, base_hypothesis: str, candidate_hypothesis: str) -> EvaluationRow:
    return EvaluationRow(
        utterance_id=clip.clip.utterance_id,
        cluster=clip.clip.cluster,
        stratum=clip.clip.stratum,
        reference=clip.clip.reference,
        base_hypothesis=base_hypothesis,
        candidate_hypothesis=candidate_hypothesis,
    )
