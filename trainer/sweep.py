"""How much of what was learned to keep: the scale of the update that helps on errors and does not hurt clean speech."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.utils import parametrize

from shared.training import LambdaTrial, TrainingConfig
from shared.wer import count_word_errors_batch, pooled_wer
from trainer.batching import plan_batches
from trainer.data import UsableClip
from trainer.decode import greedy_transcripts
from trainer.features import FeatureCache, encode
from trainer.finetune import Adapted
from trainer.progress import Progress
from trainer.recogniser import BUDGET


@dataclass(frozen=True)
class ScaleChoice:
    """The chosen scale and why."""

    scale: float
    reason: str


def decide_scale(trials: Sequence[LambdaTrial], clean_margin: float) -> ScaleChoice:
    """Choose the largest scale whose WER on clean dev speech is at most `clean_margin` (absolute) above the base's.

    Scale 0 (the base) is one of the trials. A scale that makes dev errors worse than the base does is not taken, however
    clean it is. A dev set that is empty has no say.
    """
    base = next(trial for trial in trials if trial.scale == 0.0)
    limit = None if base.dev_replay_wer is None else base.dev_replay_wer + clean_margin
    allowed = [trial for trial in trials if limit is None or trial.dev_replay_wer is None or trial.dev_replay_wer <= limit]
    helps = [trial for trial in allowed if (trial.dev_errors_wer or 0.0) <= (base.dev_errors_wer or 0.0)]
    best = max(helps, key=lambda trial: trial.scale)
    clean = "no clean dev clips to guard" if limit is None else f"clean dev WER {_percent(best.dev_replay_wer)} <= {_percent(limit)}"
    errors = "no dev errors to compare on" if best.dev_errors_wer is None else f"dev error WER {_percent(best.dev_errors_wer)}"
    return ScaleChoice(
        best.scale, f"{errors} (base {_percent(base.dev_errors_wer)}), {clean}; {len(allowed)} of {len(trials)} scales allowed"
    )


def _percent(rate: float | None) -> str:
    return "none" if rate is None else f"{rate:.2%}"


class DevSet:
    """Dev clips with their cached features, transcribed at one scale after another."""

    def __init__(self, adapted: Adapted, clips: Sequence[UsableClip]) -> None:
        self._adapted = adapted
        self._references = [clip.clip.reference for clip in clips]
        self._cache = FeatureCache(adapted.model, [clip.waveform for clip in clips])
        self._batches = plan_batches([adapted.model.frames_of(clip.samples) for clip in clips], BUDGET)

    def wer(self) -> float | None:
        """Return the pooled WER at the present scale; None without reference words."""
        heard = [""] * len(self._references)
        with torch.inference_mode():
            for batch in self._batches:
                features, lengths = self._cache.batch(batch)
                logits = encode(self._adapted.model.network, features, lengths)
                texts = greedy_transcripts(logits, lengths, self._adapted.model.vocabulary)
                for index, text in zip(batch, texts, strict=True):
                    heard[index] = text
        return pooled_wer(count_word_errors_batch(self._references, heard))


def sweep(
    adapted: Adapted, dev_errors: Sequence[UsableClip], dev_replay: Sequence[UsableClip], config: TrainingConfig, progress: Progress
) -> list[LambdaTrial]:
    """Measure the dev WER at each scale of the config and at 0; the features are computed once, a scale costs one encoder pass."""
    errors, replay = DevSet(adapted, dev_errors), DevSet(adapted, dev_replay)
    scales = sorted({0.0, *config.lambdas})
    trials = []
    with parametrize.cached():
        for scale in progress.track(scales, "choosing the scale", len(scales)):
            adapted.set_scale(scale)
            trial = LambdaTrial(scale=scale, dev_errors_wer=errors.wer(), dev_replay_wer=replay.wer())
            trials.append(trial)
            progress.log("scale", **trial.model_dump())
    return trials
