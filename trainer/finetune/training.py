"""The training that `retune finetune` runs: train, choose the scale on dev, write model and adapter."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from math import sqrt

from shared.dir_store import DirStore
from shared.normalisation import normalise
from shared.training import TrainingConfig
from trainer.clips.sets import TrainingSets
from trainer.finetune.output import OutputFolder
from trainer.finetune.report import TrainingSummary
from trainer.learning.adapted import LoraAdapted
from trainer.learning.checkpoint import Checkpoints
from trainer.learning.export import export
from trainer.learning.sweep import decide_scale, sweep
from trainer.learning.train import TrainingRun, train
from trainer.network.model import load_model
from trainer.shell.preemption import Preemption
from trainer.shell.progress import Progress

HALF = 0.5


@dataclass(frozen=True)
class TrainingJob:
    """What is to be trained, from what, and where it goes.

    Attributes:
        output: `base` holds the model to start from; `model` and `adapter` are to be written, `checkpoints` may be gone on from.
        base_name: what the adapter names as its base.
    """

    sets: TrainingSets
    config: TrainingConfig
    output: OutputFolder
    base_name: str
    base_sha256: str
    progress: Progress
    preemption: Preemption


FineTune = Callable[[TrainingJob], TrainingSummary]
"""The model lies in the job's `output.model` then."""


def cautious(config: TrainingConfig, dev_clean_words: int) -> TrainingConfig:
    """Return the config for as many words of clean dev speech.

    Where one word is more than the margin, harm within the margin cannot be seen: at most half of the update is taken, which Wortsman et
    al. 2022 (arXiv:2109.01903) find to keep most of the gain at little cost.
    """
    if dev_clean_words * config.clean_margin >= 1:
        return config
    return config.model_copy(update={"lambdas": tuple(scale for scale in config.lambdas if scale <= HALF)})


def bearable_rise(clean_margin: float, dev_clean_wer: float | None, dev_clean_words: int) -> float:
    """Return how much the WER on clean dev speech may rise: the margin, but no less than a standard error of the base's count of errors.

    A guard that is finer than its dev clips refuses good scales by chance.
    """
    if dev_clean_wer is None:
        return clean_margin
    return max(clean_margin, sqrt(max(1.0, dev_clean_wer * dev_clean_words)) / dev_clean_words)


def fine_tune(job: TrainingJob) -> TrainingSummary:
    """Train as `job` says; see `trainer.learning.train.train` for what it raises."""
    model, output = load_model(job.output.base), job.output
    checkpoints = Checkpoints(DirStore(output.checkpoints), "run/", output.work)
    run = TrainingRun(job.progress, checkpoints=checkpoints, preemption=job.preemption, base_digest=job.base_sha256)
    words = sum(len(normalise(clip.clip.reference).split()) for clip in job.sets.dev_replay)
    tuned = train(model, job.sets, cautious(job.config, words), run)
    trials = sweep(tuned, job.progress)
    base = next(trial for trial in trials if trial.scale == 0.0)
    choice = decide_scale(trials, bearable_rise(tuned.config.clean_margin, base.dev_replay_wer, words))
    job.progress.log("chosen", scale=choice.scale, reason=choice.reason)
    job.progress.enter("exporting")
    for folder in (output.model, output.adapter):
        shutil.rmtree(folder, ignore_errors=True)  # what a run that was cut off left
    export(tuned.adapted, choice.scale, output.base, output.model)
    if isinstance(tuned.adapted, LoraAdapted):
        tuned.adapted.save_adapter(output.adapter, choice.scale, job.base_name)
    return TrainingSummary(
        config=tuned.config,
        scale=choice.scale,
        scale_reason=choice.reason,
        trials=tuple(trials),
        epochs=tuned.epochs,
        figures=tuned.figures,
    )
