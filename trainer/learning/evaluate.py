"""What base and candidate hear in the clips that judge: hypotheses only, nothing is counted here."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self, TypeVar

import torch

from shared.training import EvaluationRow, ServingFigures
from trainer.clips.load import UsableClip
from trainer.network.prefetch import prefetched
from trainer.recogniser import Recogniser, batches_to_hear
from trainer.shell.progress import Progress

Given = TypeVar("Given")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Evaluation:
    """What both models heard in a set, and what that cost.

    Attributes:
        rows: in the order of the clips.
        audio_s: audio that was transcribed with each model, in seconds.
        base_s, candidate_s: computing time, in seconds: of the processor, all threads, or where there is a GPU by the clock.
    """

    rows: tuple[EvaluationRow, ...]
    audio_s: float
    base_s: float
    candidate_s: float

    def with_base(self, texts: Sequence[str]) -> Self:
        """Return the same with what something else heard in the place of the base model, in the order of the clips."""
        rows = (row.model_copy(update={"base_hypothesis": text}) for row, text in zip(self.rows, texts, strict=True))
        return replace(self, rows=tuple(rows))


def evaluate(base: Recogniser, candidate: Recogniser, clips: Sequence[UsableClip], set_name: str, progress: Progress) -> Evaluation:
    """Transcribe every clip with both models.

    Where both models share their convolutions (neither LoRA nor full fine-tuning changes them) these are computed once, and their time
    counts for both.
    """
    shared = same_convolutions(base, candidate)
    heard: list[tuple[str, str]] = [("", "")] * len(clips)
    batches = batches_to_hear(base.model, [clip.samples for clip in clips])
    loaded = prefetched(batches, lambda index: clips[index].waveform())
    base_s = candidate_s = 0.0
    for batch, waveforms in progress.track(loaded, f"evaluating {set_name}", len(batches)):
        base_below, base_below_s = _timed(base, base.features, waveforms)
        below, below_s = (base_below, base_below_s) if shared else _timed(candidate, candidate.features, waveforms)
        base_texts, base_above_s = _timed(base, base.transcribe_features, base_below)
        texts, above_s = _timed(candidate, candidate.transcribe_features, below)
        base_s += base_below_s + base_above_s
        candidate_s += below_s + above_s
        for index, pair in zip(batch, zip(base_texts, texts, strict=True), strict=True):
            heard[index] = pair
    rows = tuple(_row(clip, *pair) for clip, pair in zip(clips, heard, strict=True))
    audio_s = sum(clip.samples for clip in clips) / base.model.sampling_rate_hz
    return Evaluation(rows=rows, audio_s=audio_s, base_s=base_s, candidate_s=candidate_s)


def serving_figures(evaluations: Iterable[Evaluation]) -> ServingFigures:
    """Return what transcribing cost over all sets, of a model whose smoke test passed: without that none is stored."""
    known = list(evaluations)
    audio_s = sum(each.audio_s for each in known)
    return ServingFigures(
        audio_s=round(audio_s, 3),
        base_rtf=sum(each.base_s for each in known) / audio_s if audio_s else 0.0,
        candidate_rtf=sum(each.candidate_s for each in known) / audio_s if audio_s else 0.0,
        smoke_test_passed=True,
    )


def _timed(recogniser: Recogniser, compute: Callable[[Given], Result], given: Given) -> tuple[Result, float]:
    """Return a result and the seconds it took; what else runs on the machine does not count on a processor, and hardly on a GPU."""
    cuda = recogniser.model.device.type == "cuda"
    clock = time.perf_counter if cuda else time.process_time
    started = clock()
    result = compute(given)
    if cuda:
        torch.cuda.synchronize(recogniser.model.device)
    return result, clock() - started


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
