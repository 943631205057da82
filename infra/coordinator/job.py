"""What a person's own training function is given, and what it gives back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared.training import TrainingConfig

Transcribe = Callable[[Path], str]
"""From an audio file to what is heard in it."""


@dataclass(frozen=True)
class TrainingClip:
    """One utterance, its audio on the local disk.

    Attributes:
        speaker: keyed hash of the speaker, session or recording: nobody is on both sides of a split.
    """

    utterance_id: str
    audio: Path
    reference: str
    speaker: str


@dataclass(frozen=True)
class TrainingJob:
    """One attempt to train; what judges is not among it.

    Attributes:
        base_version, base_model: the stable model, and the folder with its verified files.
        train, dev: errors to learn from, and to tune on.
        replay, dev_replay: trusted clips against forgetting, likewise.
        config: the policy's hyper-parameters.
        output_dir: an empty folder, for the new model.
    """

    cycle: int
    attempt: int
    base_version: int
    base_model: Path
    train: tuple[TrainingClip, ...]
    dev: tuple[TrainingClip, ...]
    replay: tuple[TrainingClip, ...]
    dev_replay: tuple[TrainingClip, ...]
    config: TrainingConfig
    output_dir: Path


@dataclass(frozen=True)
class TrainedModel:
    """A model that a person's function has trained.

    Attributes:
        folder: its files: safetensors, json and txt.
        transcribe: hears with it as production will; None = it is a wav2vec2 CTC model, and is heard as the trainer's own are.
        notes: kept in the model's manifest.
    """

    folder: Path
    transcribe: Transcribe | None = None
    notes: Mapping[str, str] = field(default_factory=dict)


TrainingCallback = Callable[[TrainingJob], TrainedModel | Path | str]
"""Trains; a path stands for a model folder that is heard as the trainer's own are."""
