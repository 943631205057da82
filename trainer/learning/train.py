"""Fine-tuning of a wav2vec2 CTC model: one loop, all of it visible.

Deliberately absent: `transformers.Trainer` (it multiplies CTC gradients by the number of accumulated batches,
huggingface/transformers#47688), layerdrop, and every dropout but that of the adapters.

    plan every epoch's batches       from the seed alone
    step: values at the cut -> gradient of the mean loss (`trainer.learning.step`) -> AdamW
    epoch: WER on dev -> keep the best -> stop when it gets no better
    every few minutes, at the end, and when the machine is taken away: a checkpoint
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils import parametrize

from shared.errors import RetuneError
from shared.log import log
from shared.training import EpochFigures, TrainingConfig
from trainer.augment.variation import replay_like_errors
from trainer.clips.sets import TrainingSets
from trainer.learning.adapted import Adapted, adapt, check_every_adapter_learns
from trainer.learning.checkpoint import Checkpoints
from trainer.learning.dev import DevSets, DevWer
from trainer.learning.group import Group
from trainer.learning.identity import config_sha256, fingerprint
from trainer.learning.schedule import Plan, Schedule
from trainer.learning.settings import resolve
from trainer.learning.state import MOMENTS, BestEpoch, EpochRecord, TrainState, read_state, write_state
from trainer.learning.step import StepGradient, StepShare
from trainer.network.batching import BatchBudget, padding_share, plan_batches, split_batch
from trainer.network.features import FeatureCache
from trainer.network.memory import Room
from trainer.network.model import AcousticModel
from trainer.shell.failures import RunFailed, RunPreempted
from trainer.shell.preemption import Preemption
from trainer.shell.progress import Progress

ADAM_BETAS = (0.9, 0.98)
LAST_UPLOAD_S = 15.0
"""A preempted machine has 30 s, and the event that tells of it needs some of them."""
MORE_SILENCE = 0.1
"""A rise by so much of the share of clips in which nothing is heard is damage, and is told."""
MAX_PADDING = 0.05
"""Share of what is computed at once."""


@dataclass(frozen=True)
class TrainingRun:
    """What surrounds a training.

    Attributes:
        progress: bar, log and the ear for a stop.
        checkpoints: None = nothing to go on from, and nothing is left for others.
        base_digest: of the weights that training starts from.
        plan: of each epoch's batches.
        max_padding: share of what is computed at once that may be padding.
        on_epoch: called after each epoch with its number and the network as it is.
    """

    progress: Progress
    checkpoints: Checkpoints | None = None
    preemption: Preemption = field(default_factory=Preemption)
    group: Group = field(default_factory=Group)
    base_digest: str = ""
    plan: Plan = plan_batches
    max_padding: float = MAX_PADDING
    on_epoch: Callable[[int, Adapted], None] | None = None


@dataclass(frozen=True)
class Tuned:
    """The trained network and how it went.

    Attributes:
        adapted: at scale 1.
        dev: what the scale is chosen on.
        config: resolved.
        epochs: what each came to.
        figures: for people.
    """

    adapted: Adapted
    dev: DevSets
    config: TrainingConfig
    epochs: tuple[EpochFigures, ...]
    figures: dict[str, Any]


def train(model: AcousticModel, sets: TrainingSets, config: TrainingConfig, run: TrainingRun) -> Tuned:
    """Train on `sets`; the same sets, config, base and number of CPU threads give the same weights on a CPU, interrupted or not.

    A step that has to be cut for want of memory draws the adapters' dropout anew for each piece: then the same config gives an equally
    good model and not the same one; `piece_frames` in the figures tells.

    Raises:
        RunFailed: (diverged) a loss or gradient is not finite; (out_of_memory) one clip alone does not fit; (bad_spec) the config is
            contradictory; (internal) an adapter gets no gradient.
        RunStopped: the run is no longer wanted.
        RunPreempted: the machine is being taken away; with adapters, a last checkpoint has been stored.
    """
    training = _Training(model, sets, resolve(config, model), run)
    frozen = parametrize.cached() if config.method == "lora" else nullcontext()
    with frozen:  # the positional convolution's weight norm is folded once, not at every step
        training.resume()
        try:
            training.go()
        except RunPreempted:
            training.save_last()
            raise
    return Tuned(training.adapted, training.dev, training.config, tuple(training.epoch_figures()), training.figures())


class _Training:
    """One training under way; everything that changes is in `state`, the network's weights and the optimizer."""

    def __init__(self, model: AcousticModel, sets: TrainingSets, config: TrainingConfig, run: TrainingRun) -> None:
        self.config, self._run, self._model = config, run, model
        self._clips = sets.train
        self._errors = len(sets.train_errors)
        self.adapted = adapt(model, config)
        self.dev = DevSets(self.adapted.frontend, sets.dev_errors, sets.dev_replay)
        self._frames = [model.frames_of(clip.samples) for clip in self._clips]
        frames_per_s = model.frames_of(model.sampling_rate_hz * 60) / 60
        budget = BatchBudget(config.batch_size, math.ceil(config.max_batch_s * frames_per_s))
        plan = [run.plan(self._frames, budget, np.random.default_rng((config.seed, epoch))) for epoch in range(config.epochs)]
        self._schedule = Schedule(plan, config.warmup_ratio)
        kept_bytes = None if config.feature_cache != "off" and config.epochs > 1 else 0
        self._cache = FeatureCache(self.adapted.frontend, [clip.waveform for clip in self._clips], kept_bytes)
        self._altered = replay_like_errors(sets.train_errors, sets.train_replay, config, model.sampling_rate_hz)
        self._weights = list(self.adapted.trained.values())
        self._gradient = StepGradient(self.adapted, config, run.group, run.progress, run.max_padding)
        self._optimizer = torch.optim.AdamW(
            self._weights, lr=0.0, betas=ADAM_BETAS, weight_decay=config.weight_decay, fused=model.device.type == "cuda" or None
        )
        self.state = TrainState(room=Room(gradient_checkpointing=config.gradient_checkpointing))
        self._fingerprint = fingerprint(sets, config, run.base_digest)
        self._saved_at = time.monotonic()
        self._settled = False
        self._cache_figures: dict[str, Any] = {}
        self._mark = time.perf_counter()

    def go(self) -> None:
        """Train to the end, or until the time is up: then what is stored can still go on, given more time."""
        if self.state.finished:
            return
        self.adapted.training_mode(active=True)
        if self.state.step == 0:
            self._probe_memory()
        self._mark = time.perf_counter()
        if self.state.losses and self.state.step in self._schedule.ends:
            self._end_epoch()  # the machine went between the epoch's last step and its measurement on dev
        if not self._is_over():
            self._loop()
        if self._out_of_time():
            self._save()
            self._settled = True  # what follows counts for this attempt alone
            if self.state.losses:
                self._end_epoch()
            self._choose()
            return
        self._choose()
        self.state.finished = True
        self._save()

    def _loop(self) -> None:
        with self._run.progress.counting("training", self._schedule.steps, self.state.step) as advance:
            for epoch, share in self._shares():
                self._step(epoch, share)
                advance()
                if self._out_of_time():
                    return
                if self.state.step == self._schedule.ends[epoch]:
                    self._end_epoch()
                    if self._is_over():
                        return
                if time.monotonic() - self._saved_at >= self.config.checkpoint_interval_s:
                    self._save()

    def _shares(self) -> Iterator[tuple[int, StepShare]]:
        """Yield this process's share of each step that is left, and its epoch (from 0)."""
        for epoch in range(len(self.state.epochs), self.config.epochs):
            if epoch:
                self._try_cache()
            batches = self._schedule.left(epoch, self.state.step)
            altered = {self._errors + index: waveform for index, waveform in self._altered(epoch).items()}
            values = self._cache.batches([self._mine(batch) for batch in batches], altered)
            for batch, (mine, padded, lengths) in zip(batches, values, strict=True):
                yield epoch, self._share(batch, mine, padded, lengths)

    def _mine(self, batch: Sequence[int]) -> list[int]:
        """Return the clips of a step that this process takes, the longest first: all processes get about the same work."""
        return self._run.group.share(sorted(batch, key=lambda clip: -self._frames[clip]))

    def _share(self, batch: Sequence[int], mine: Sequence[int], values: torch.Tensor, lengths: torch.Tensor) -> StepShare:
        return StepShare(self.state.step, len(batch), values, lengths, [self._clips[clip].labels for clip in mine])

    def _step(self, epoch: int, share: StepShare) -> None:
        state = self.state
        loss = self._gradient.of(share, state.room)
        norm = torch.nn.utils.clip_grad_norm_(self._weights, self.config.max_grad_norm).item()
        figures = {"loss": loss, "grad_norm": norm}
        if not all(math.isfinite(figure) for figure in figures.values()):
            raise RunFailed("diverged", f"step {state.step + 1} of epoch {epoch + 1}: expected finite numbers, found {figures}")
        if state.step == 0:
            check_every_adapter_learns(self.adapted.trained)
        rate = (self.config.learning_rate or 0.0) * self._schedule.rate_share(state.step)
        self._optimizer.param_groups[0]["lr"] = rate
        with self._run.preemption.held():
            self._optimizer.step()
            state.step += 1
            state.first_loss = loss if state.first_loss is None else state.first_loss
            state.losses.append(loss)
            state.epoch_s += self._lap()
        self._run.progress.note_loss(loss)
        self._run.progress.log("step", step=state.step, epoch=epoch + 1, clips=share.step_clips, lr=rate, **figures)

    def _probe_memory(self) -> None:
        largest = max(self._schedule.epochs[0], key=lambda batch: len(batch) * max(self._frames[clip] for clip in batch))
        if len(largest) >= self._run.group.size:
            mine = self._mine(largest)
            self._gradient.probe(self._share(largest, mine, *self._cache.batch(mine)), self.state.room)

    def _try_cache(self) -> None:
        """Drop the cache where it does not win (`auto`)."""
        if self.config.feature_cache != "auto" or self._cache_figures:
            return
        trial = self._cache.trial(self._mine(self._schedule.epochs[0][0]))
        if trial is None:
            return
        self._cache_figures = {"cache_kept_s": trial.kept_s, "cache_computed_s": trial.computed_s, "cache_wins": trial.wins}
        if not trial.wins:
            self._cache.drop()

    def _lap(self) -> float:
        """Return the seconds since the last call."""
        last, self._mark = self._mark, time.perf_counter()
        return self._mark - last

    def _end_epoch(self) -> None:
        """Measure on dev, keep the weights if they are among the best, and close the epoch's books."""
        state = self.state
        epoch = len(state.epochs)
        self.adapted.training_mode(active=False)
        wer = self._dev_wer()
        self.adapted.training_mode(active=True)
        record = EpochRecord(
            epoch=epoch + 1,
            loss=sum(state.losses) / len(state.losses),
            train_s=state.epoch_s,
            dev_errors_wer=wer.errors,
            dev_replay_wer=wer.replay,
            dev_empty_share=wer.empty_share,
        )
        with self._run.preemption.held():
            state.epochs.append(record)
            state.losses, state.epoch_s = [], 0.0
            self._keep_if_best(epoch + 1, wer.deciding)
        self._run.progress.note_epochs(self.epoch_figures())
        self._run.progress.log("epoch", **record.model_dump())
        if wer.empty_share > min(each.dev_empty_share for each in state.epochs) + MORE_SILENCE:
            advice = "a lower learning rate or more replay may help"
            log(f"epoch {epoch + 1}: nothing was heard in {wer.empty_share:.0%} of the dev clips; {advice}", severity="WARNING")
        if self._run.on_epoch is not None:
            self._run.on_epoch(epoch + 1, self.adapted)
        self._lap()

    def _keep_if_best(self, epoch: int, wer: float | None) -> None:
        """Keep the weights of as many of the best epochs as are averaged; the earlier of equals has drifted less."""
        best, wanted = self.state.best, self.config.average_checkpoints
        if wer is None or (len(best) == wanted and wer >= best[-1].dev_wer):
            return
        best.append(BestEpoch(epoch=epoch, dev_wer=wer, weights=self.adapted.weights()))
        best.sort(key=lambda each: (each.dev_wer, each.epoch))
        del best[wanted:]

    def _dev_wer(self) -> DevWer:
        """Measure on dev; in a group one process does it and tells the others."""
        group = self._run.group
        return DevWer.model_validate_json(group.text_from_leader(self.dev.wer().model_dump_json() if group.leads else ""))

    def _is_over(self) -> bool:
        state, patience = self.state, self.config.patience
        if len(state.epochs) == self.config.epochs or self._out_of_time():
            return True
        return patience is not None and bool(state.best) and len(state.epochs) - state.best[0].epoch >= patience

    def _out_of_time(self) -> bool:
        limit = self.config.max_train_s
        if limit is None:
            return False
        return self._run.group.sums([float(self.state.train_s >= limit)], self._model.device)[0] > 0

    def _choose(self) -> None:
        """Take the best epoch's weights, or the mean of several where dev says that it is better."""
        self.adapted.training_mode(active=False)
        state = self.state
        if not state.best:
            state.chosen = "the last epoch: no dev clips to choose by"
            return
        best = state.best[0]
        state.chosen = f"epoch {best.epoch} of {len(state.epochs)}: the lowest WER on dev, {best.dev_wer:.2%}"
        self.adapted.load(best.weights)
        if len(state.best) > 1:
            mean = {name: torch.stack([each.weights[name] for each in state.best]).mean(dim=0) for name in best.weights}
            self.adapted.load(mean)
            wer = self._dev_wer().deciding
            if wer is not None and wer < best.dev_wer:
                epochs = sorted(each.epoch for each in state.best)
                state.chosen = f"the mean of epochs {epochs}: WER on dev {wer:.2%}, {best.dev_wer:.2%} for the best alone"
            else:
                self.adapted.load(best.weights)

    def resume(self) -> None:
        """Take over the newest checkpoint of this very run, if there is one."""
        checkpoints, group = self._run.checkpoints, self._run.group
        path = checkpoints.fetch_newest(self._fingerprint) if checkpoints is not None and group.leads else None
        place = group.text_from_leader(str(path or ""))
        if not place:
            return
        self.state, weights, moments = read_state(Path(place))
        self.adapted.load(weights)
        for name, weight in self.adapted.trained.items():
            if name in moments[MOMENTS[0]]:
                restored = {moment: moments[moment][name].to(weight.device) for moment in MOMENTS}
                # a fused optimizer reads its step counter on the device
                where = weight.device if self._optimizer.param_groups[0]["fused"] else torch.device("cpu")
                self._optimizer.state[weight] = {"step": torch.tensor(float(self.state.step), device=where), **restored}
        self._run.progress.note_epochs(self.epoch_figures())
        self._run.progress.log("resumed", step=self.state.step, of=self._schedule.steps)

    def save_last(self) -> None:
        """Store a last checkpoint before the machine goes; all weights would take too long, there the last periodic one counts."""
        if self.config.method == "lora" and self.state.step and not self._settled:
            self._save(LAST_UPLOAD_S)

    def _save(self, within_s: float | None = None) -> None:
        """Store a checkpoint; training needs no store, so one that is away is reported and no more."""
        checkpoints, state = self._run.checkpoints, self.state
        self._saved_at = time.monotonic()
        if checkpoints is None or not self._run.group.leads:
            return
        optimizer = {name: self._optimizer.state.get(weight, {}) for name, weight in self.adapted.trained.items()}
        moments = {moment: {name: kept[moment] for name, kept in optimizer.items() if moment in kept} for moment in MOMENTS}
        path = checkpoints.work_dir / "checkpoint.safetensors"
        write_state(path, self._fingerprint, state, self.adapted.weights(), {} if state.finished else moments)
        try:
            if within_s is None:
                checkpoints.put(path, self._fingerprint, state.step)
            else:
                checkpoints.put_within(within_s, path, self._fingerprint, state.step)
        except RetuneError as error:
            log(f"the checkpoint after step {state.step} was not stored: {error}", severity="WARNING")
        self._lap()

    def epoch_figures(self) -> list[EpochFigures]:
        """Return what each epoch came to."""
        return [each.figures for each in self.state.epochs]

    def figures(self) -> dict[str, Any]:
        """Return what people want to know."""
        state, device = self.state, self._model.device
        batches, room = self._schedule.epochs[0], state.room
        pieces = [rows for batch in batches for rows in split_batch(batch, self._frames, room.frames, self._run.max_padding)]
        return {
            "steps": state.step,
            "planned_steps": self._schedule.steps,
            "trained_clips": len(self._clips),
            "audio_s": round(sum(clip.samples for clip in self._clips) / self._model.sampling_rate_hz, 1),
            "trained_parameters": sum(weight.numel() for weight in self._weights),
            "clips_per_step": round(len(self._clips) / len(batches), 2),
            "padding_share": round(padding_share(self._frames, pieces), 4),
            "first_loss": state.first_loss,
            "last_epoch_loss": state.epochs[-1].loss,
            "train_s": round(state.train_s, 1),
            "epoch_s": [record.train_s for record in state.epochs],
            "epochs": [record.model_dump() for record in state.epochs],
            "chosen": state.chosen,
            "config_sha256": config_sha256(self.config),
            "gradient_checkpointing": room.gradient_checkpointing,
            "memory_halvings": room.halvings,
            "piece_frames": room.frames,
            "cached_bytes": self._cache.kept_bytes,
            **self._cache_figures,
            "processes": self._run.group.size,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        }
