"""Our trainer under the same conditions: the same clips, model, number of epochs, and clips in a step on average."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from shared.audio_source import AudioPin
from shared.clock import SystemClock
from shared.training import Clip as DatasetClip
from shared.training import LoraConfig, TrainingConfig
from tests.benchmarks.trainer.clips import Clip, Role, read_clips
from tests.benchmarks.trainer.jobs import BATCH, Job, Stopwatch, Trained
from trainer.augment.acoustics import SAMPLE_RATE_HZ
from trainer.clips.load import UsableClip
from trainer.clips.sets import TrainingSets
from trainer.learning.train import MAX_PADDING, TrainingRun, train
from trainer.network.batching import BatchBudget, padding_share, plan_batches, split_batch
from trainer.network.model import AcousticModel
from trainer.shell.progress import Progress

MOST_CLIPS = 64
"""In one batch of short clips; how many there are on average is set by the duration."""
PLANNED_EPOCHS = 5


def usable(folder: Path, clip: Clip, model: AcousticModel) -> UsableClip:
    """Return a clip as the trainer's loader would."""
    path = folder / clip.file
    pin = AudioPin(uri=path.as_uri(), crc32c="AAAAAA==", size_bytes=path.stat().st_size)
    stored = DatasetClip(utterance_id=clip.file, cluster=clip.file, stratum="errors", audio=pin, reference=clip.text, provenance="human")
    return UsableClip(stored, path, clip.samples, tuple(model.vocabulary.encode(clip.text)))


def training_sets(job: Job, model: AcousticModel) -> TrainingSets:
    """Return the clips to train on; there is no dev set, so nothing stops early and the last epoch counts, as in the recipe."""

    def of(role: Role) -> list[UsableClip]:
        return [usable(job.clips, clip, model) for clip in read_clips(job.clips, role)]

    return TrainingSets(of("train_errors"), of("train_replay"))


def budget_s(lengths: Sequence[int], frames_per_s: float, clips: int = BATCH) -> float:
    """Return the audio in a batch, in seconds, with which `plan_batches` makes batches of `clips` clips on average.

    Args:
        lengths: frames of every clip.
        frames_per_s: of the network.
        clips: in a batch, on average over the first epochs.
    """
    wanted = len(lengths) / clips

    def batches(frames: int) -> float:
        budget = BatchBudget(MOST_CLIPS, frames)
        return float(np.mean([len(plan_batches(lengths, budget, np.random.default_rng((0, epoch)))) for epoch in range(PLANNED_EPOCHS)]))

    longest, everything = max(lengths), max(lengths) * max(clips, len(lengths))
    candidates = np.unique(np.linspace(longest, min(everything, longest * clips * 2), 200).astype(int)).tolist()
    best: int = min(candidates, key=lambda frames: abs(batches(frames) - wanted))
    return best / frames_per_s


def random_batches(lengths: Sequence[int], _budget: BatchBudget, rng: np.random.Generator) -> list[list[int]]:
    """Return batches of eight clips at random, as the recipe draws them."""
    order = rng.permutation(len(lengths)).tolist()
    return [order[start : start + BATCH] for start in range(0, len(order), BATCH)]


def config_of(job: Job, model: AcousticModel, sets: TrainingSets) -> TrainingConfig:
    """Return our config for a job."""
    variant, layers = job.variant, int(model.network.config.num_hidden_layers)
    frames_per_s = model.frames_of(SAMPLE_RATE_HZ * 60) / 60
    lengths = [model.frames_of(clip.samples) for clip in sets.train]
    top = None if variant.top_share is None else max(1, round(layers * variant.top_share))
    return TrainingConfig(
        seed=job.seed,
        method=variant.method,
        epochs=job.epochs,
        batch_size=MOST_CLIPS,
        max_batch_s=budget_s(lengths, frames_per_s),
        learning_rate=job.learning_rate,
        lora=LoraConfig(top_layers=top),
        precision=variant.precision or "auto",
        feature_cache=variant.cache,
        patience=None,
    )


def fine_tune(job: Job, model: AcousticModel, sets: TrainingSets, stopwatch: Stopwatch) -> Trained:
    """Train with our trainer and return what the batches were like."""
    config = config_of(job, model, sets)
    planning: dict[str, Any] = {"plan": random_batches, "max_padding": 1.0} if job.variant.random_batches else {}
    with TemporaryDirectory() as folder:
        progress = Progress(Path(folder) / "log.jsonl", SystemClock())
        tuned = train(model, sets, config, TrainingRun(progress=progress, on_epoch=lambda *_: stopwatch.epoch_done(), **planning))
    stopwatch.stop()
    return Trained(
        clips=len(sets.train) * job.epochs,
        steps=tuned.figures["steps"],
        padding_share=tuned.figures["padding_share"],
        trained_parameters=tuned.figures["trained_parameters"],
    )


def padding_of(lengths: Sequence[int], seed: int = 0) -> float:
    """Return the share of padding that our batches of these lengths hold."""
    rng = np.random.default_rng(seed)
    budget = BatchBudget(MOST_CLIPS, round(budget_s(lengths, 1.0)))
    pieces = [piece for batch in plan_batches(lengths, budget, rng) for piece in split_batch(batch, lengths, None, MAX_PADDING)]
    return padding_share(lengths, pieces)
