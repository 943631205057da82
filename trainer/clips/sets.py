"""The clips of one training: what is trained on and what is tuned on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from shared.training import SetRole, TrainingConfig
from trainer.clips.load import UsableClip


@dataclass(frozen=True)
class TrainingSets:
    """What is trained on and what is tuned on."""

    train_errors: Sequence[UsableClip]
    train_replay: Sequence[UsableClip] = ()
    dev_errors: Sequence[UsableClip] = ()
    dev_replay: Sequence[UsableClip] = ()

    @property
    def train(self) -> list[UsableClip]:
        """All that is trained on, the errors first."""
        return [*self.train_errors, *self.train_replay]


def training_sets(clips: Mapping[SetRole, list[UsableClip]], config: TrainingConfig) -> TrainingSets:
    """Return the errors and, drawn by the seed, up to `replay_ratio` times as many replay clips; and both dev sets."""
    replay = _draw(clips["train_replay"], round(config.replay_ratio * len(clips["train_errors"])), config.seed)
    return TrainingSets(clips["train_errors"], replay, clips["dev_errors"], clips["dev_replay"])


def _draw(clips: Sequence[UsableClip], number: int, seed: int) -> list[UsableClip]:
    chosen = np.random.default_rng(seed).permutation(len(clips))[:number]
    return [clips[index] for index in sorted(chosen.tolist())]
