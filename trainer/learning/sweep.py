"""How much of what was learned to keep: the scale of the update that helps on errors and does not hurt clean speech."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch.nn.utils import parametrize

from shared.training import LambdaTrial
from trainer.learning.train import Tuned
from trainer.shell.progress import Progress


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


def sweep(tuned: Tuned, progress: Progress) -> list[LambdaTrial]:
    """Measure the dev WER at each scale of the config and at 0: a scale costs one pass above the cut. The last scale stays set."""
    scales = sorted({0.0, *tuned.config.lambdas})
    trials = []
    for scale in progress.track(scales, "choosing the scale", len(scales)):
        tuned.adapted.set_scale(scale)
        with parametrize.cached():
            wer = tuned.dev.wer()
        trial = LambdaTrial(scale=scale, dev_errors_wer=wer.errors, dev_replay_wer=wer.replay)
        trials.append(trial)
        progress.log("scale", **trial.model_dump())
    return trials
