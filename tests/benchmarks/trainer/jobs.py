"""What is measured: the variants, and one job of one process."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, Literal

import torch

BATCH = 8
"""Clips in a batch of the recipe; ours takes as many a step on average."""

Precision = Literal["fp32", "bf16"]


@dataclass(frozen=True)
class Variant:
    """One way to train.

    Attributes:
        name: as it stands in the results; `a` the recipe, `b` ours full, `c` ours LoRA on all layers, `d` ours LoRA on the top half.
        says: what is special about it, for the table.
        trainer: the Hugging Face recipe or ours.
        method: full fine-tuning without the convolutions, or LoRA.
        precision: None = the one in which the recipe was the faster.
        grouped: (recipe) batches of like length.
        arrays: (recipe) the clips are handed out as arrays, not as the lists of Python floats that the script's dataset gives.
        top_share: (ours, LoRA) share of the encoder's layers, from the top, that are adapted; None = all of them and the projection.
        cache: (ours) of what the frozen part makes of each clip.
        random_batches: (ours) eight clips at random, as in the recipe.
    """

    name: str
    says: str
    trainer: Literal["recipe", "ours"]
    method: Literal["full", "lora"]
    precision: Precision | None = None
    grouped: bool = False
    arrays: bool = False
    top_share: float | None = None
    cache: Literal["auto", "on", "off"] = "auto"
    random_batches: bool = False


@dataclass(frozen=True)
class Job:
    """One variant in one process.

    Attributes:
        folder: holds `model/` and `clips/`.
        epochs: passes over the clips.
        learning_rate: peak rate.
        seed: of batches, adapters and dropout.
        scored: transcribe the held-out clips after each epoch.
    """

    variant: Variant
    folder: str
    device: Literal["cpu", "cuda"]
    epochs: int
    learning_rate: float
    seed: int = 0
    scored: bool = False

    @property
    def model(self) -> Path:
        """The model that training starts from."""
        return Path(self.folder) / "model"

    @property
    def clips(self) -> Path:
        """The folder of the clips."""
        return Path(self.folder) / "clips"

    def dump(self) -> str:
        """Return the job as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> "Job":
        """Return the job that `dump` gave."""
        values = json.loads(text)
        return cls(variant=Variant(**values.pop("variant")), **values)


@dataclass(frozen=True)
class Score:
    """Word error rates on the held-out clips, and after how much training."""

    trained_s: float
    call_centre: float
    clean: float


@dataclass(frozen=True)
class Outcome:
    """What one process found.

    Attributes:
        first_epoch_s: the first epoch with all that comes before and after the training: set-up, caches, last copies.
        later_epochs_s: each further epoch.
        first_epoch_cpu_s, later_epochs_cpu_s: the same in seconds of processor time, which other work on the machine moves far less.
        peak_bytes: see `PeakMemory`.
        padding_share: of the computed samples or frames, in [0, 1].
        clips_per_step: on average.
        scores: after each epoch, where the job asked for it.
    """

    first_epoch_s: float
    later_epochs_s: list[float]
    first_epoch_cpu_s: float
    later_epochs_cpu_s: list[float]
    peak_bytes: int
    padding_share: float
    clips_per_step: float
    trained_parameters: int
    scores: list[Score]


@dataclass(frozen=True)
class Trained:
    """What a trainer tells of its batches."""

    clips: int
    steps: int
    padding_share: float
    trained_parameters: int


class Stopwatch:
    """Times epochs and leaves out what happens between them: transcribing the held-out clips is no part of training."""

    def __init__(self, device: torch.device, between: Callable[[float], None] | None = None) -> None:
        self._device = device
        self._between = between
        self.epochs_s: list[float] = []
        self.epochs_cpu_s: list[float] = []
        self._mark, self._cpu_mark = self._now()

    def epoch_done(self) -> None:
        """End an epoch; `between` is told the seconds of training so far."""
        now, cpu = self._now()
        self.epochs_s.append(now - self._mark)
        self.epochs_cpu_s.append(cpu - self._cpu_mark)
        if self._between:
            self._between(sum(self.epochs_s))
        self._mark, self._cpu_mark = self._now()

    def stop(self) -> None:
        """End the training; what came after the last epoch counts with the first, like all that is done once."""
        now, cpu = self._now()
        self.epochs_s[0] += now - self._mark
        self.epochs_cpu_s[0] += cpu - self._cpu_mark

    def _now(self) -> tuple[float, float]:
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return perf_counter(), process_time()


def outcome_of(values: dict[str, Any]) -> Outcome:
    """Return the outcome that a process wrote."""
    return Outcome(**values | {"scores": [Score(**score) for score in values["scores"]]})
