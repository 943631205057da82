"""All sets of a run, loaded and checked."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared.objectstore import ObjectStore
from shared.training import Clip, SetAside, SetRole, TrainingConfig, TrainingSpec
from trainer.data import ClipLoader, UsableClip, drop_repeated, leaked
from trainer.failures import RunFailed
from trainer.progress import Progress
from trainer.spec import load_clips
from trainer.train import TrainingSets


@dataclass(frozen=True)
class Dataset:
    """What a run works on.

    Attributes:
        by_role: usable clips for training and for dev.
        judges: usable clips of each set that judges, by its name.
        set_aside: every clip that is left out.
    """

    by_role: dict[SetRole, list[UsableClip]]
    judges: dict[str, list[UsableClip]]
    set_aside: tuple[SetAside, ...]

    def figures(self) -> dict[str, Any]:
        """Return the counts for the train log."""
        return {
            "clips": {role: len(clips) for role, clips in self.by_role.items()},
            "judged": {name: len(clips) for name, clips in self.judges.items()},
            "set_aside": dict(Counter(f"{aside.set_name}: {aside.reason}" for aside in self.set_aside)),
        }


def load_dataset(spec: TrainingSpec, store: ObjectStore, loader: ClipLoader, progress: Progress) -> Dataset:
    """Load every set of the spec.

    Raises:
        RunFailed: (bad_dataset) a set is not what the spec promised, or a clip that judges is also trained on;
            (no_trainable_clips) no error is left to learn from.
    """
    sets = [(clip_set, load_clips(store, clip_set)) for clip_set in spec.sets]
    by_role: dict[SetRole, list[Clip]] = {}
    for clip_set, clips in sets:
        by_role.setdefault(clip_set.role, []).extend(clips)
    if both := leaked(by_role):
        raise RunFailed("bad_dataset", f"expected no clip both to train and to judge, found {len(both)}: {', '.join(both[:3])}")

    usable: dict[SetRole, list[UsableClip]] = {"train_errors": [], "train_replay": [], "dev_errors": [], "dev_replay": []}
    judges: dict[str, list[UsableClip]] = {}
    set_aside: list[SetAside] = []
    for clip_set, clips in sets:
        kept, repeated = (clips, []) if clip_set.role == "judge" else drop_repeated(clips, clip_set.name)
        set_aside.extend(repeated)
        target = judges.setdefault(clip_set.name, []) if clip_set.role == "judge" else usable[clip_set.role]
        loaded = loader.load(kept, clip_set.name, clip_set.role)
        for outcome in progress.track(loaded, f"fetching {clip_set.name}", len(kept)):
            if isinstance(outcome, SetAside):
                set_aside.append(outcome)
            else:
                target.append(outcome)
    dataset = Dataset(usable, judges, tuple(set_aside))
    progress.log("dataset", **dataset.figures())
    if not usable["train_errors"]:
        raise RunFailed("no_trainable_clips", f"expected at least one trainable error, found {dataset.figures()}")
    return dataset


def training_sets(dataset: Dataset, config: TrainingConfig) -> TrainingSets:
    """Return the errors and, drawn by the seed, up to `replay_ratio` times as many replay clips; and both dev sets."""
    clips = dataset.by_role
    replay = _draw(clips["train_replay"], round(config.replay_ratio * len(clips["train_errors"])), config.seed)
    return TrainingSets(clips["train_errors"], replay, clips["dev_errors"], clips["dev_replay"])


def _draw(clips: Sequence[UsableClip], number: int, seed: int) -> list[UsableClip]:
    chosen = np.random.default_rng(seed).permutation(len(clips))[:number]
    return [clips[index] for index in sorted(chosen.tolist())]
