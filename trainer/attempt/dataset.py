"""All sets of a run, loaded and checked."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.objectstore import ObjectStore
from shared.training import HEARD_ROLES, TRAINING_ROLES, SetAside, SetRole, TrainingSpec
from trainer.attempt.spec import load_clips
from trainer.clips.fetch import ClipRow
from trainer.clips.load import ClipLoader, UnlabelledOnDisk, UsableClip
from trainer.shell.failures import RunFailed
from trainer.shell.progress import Progress


@dataclass(frozen=True)
class Dataset:
    """What a run works on.

    Attributes:
        by_role: usable clips for training and for dev.
        heard: usable clips of each set that base and candidate transcribe at the end, by its name.
        set_aside: every clip that is left out.
        unlabelled: errors whose text nobody knows yet.
        gold: how many of the training errors have gold that was made here.
    """

    by_role: dict[SetRole, list[UsableClip]]
    heard: dict[str, list[UsableClip]]
    set_aside: tuple[SetAside, ...]
    unlabelled: list[UnlabelledOnDisk] = field(default_factory=list)
    gold: int = 0

    def figures(self) -> dict[str, Any]:
        """Return the counts for the train log."""
        return {
            "clips": {role: len(clips) for role, clips in self.by_role.items()},
            "gold": self.gold,
            "heard": {name: len(clips) for name, clips in self.heard.items()},
            "set_aside": dict(Counter(f"{aside.set_name}: {aside.reason}" for aside in self.set_aside)),
        }


def load_dataset(spec: TrainingSpec, store: ObjectStore, loader: ClipLoader, progress: Progress) -> Dataset:
    """Load every set of the spec.

    Raises:
        RunFailed: (bad_dataset) a set is not what the spec promised, or a clip that judges is also trained on.
    """
    rows = [(clip_set, load_clips(store, clip_set)) for clip_set in spec.sets]
    by_role: dict[SetRole, list[ClipRow]] = {}
    for clip_set, clips in rows:
        by_role.setdefault(clip_set.role, []).extend(clips)
    if both := leaked(by_role):
        raise RunFailed("bad_dataset", f"expected no clip both to train and to judge, found {len(both)}: {', '.join(both[:3])}")

    usable: dict[SetRole, list[UsableClip]] = {role: [] for role in TRAINING_ROLES}
    heard: dict[str, list[UsableClip]] = {}
    unlabelled: list[UnlabelledOnDisk] = []
    set_aside: list[SetAside] = []
    for clip_set, clips in rows:
        listens = clip_set.role in HEARD_ROLES
        kept, repeated = (clips, []) if listens else drop_repeated(clips, clip_set.name)
        set_aside += repeated
        target = heard.setdefault(clip_set.name, []) if listens else usable.get(clip_set.role, [])
        loaded = loader.load(kept, clip_set.name, clip_set.role)
        for outcome in progress.track(loaded, f"fetching {clip_set.name}", len(kept)):
            if isinstance(outcome, SetAside):
                set_aside.append(outcome)
            elif isinstance(outcome, UnlabelledOnDisk):
                unlabelled.append(outcome)
            else:
                target.append(outcome)
    return Dataset(usable, heard, tuple(set_aside), unlabelled)


def drop_repeated(clips: Sequence[ClipRow], set_name: str) -> tuple[list[ClipRow], list[SetAside]]:
    """Keep the first clip of each utterance: a repeated one would weigh twice in training."""
    first: dict[str, ClipRow] = {}
    repeated = [clip for clip in clips if first.setdefault(clip.utterance_id, clip) is not clip]
    aside = [SetAside(utterance_id=clip.utterance_id, set_name=set_name, reason="duplicate") for clip in repeated]
    return list(first.values()), aside


def leaked(by_role: Mapping[SetRole, Sequence[ClipRow]]) -> list[str]:
    """Return the utterances that are trained or tuned on and also judge: there must be none."""
    judging = {clip.utterance_id for clip in by_role.get("judge", ())}
    return sorted({clip.utterance_id for role, clips in by_role.items() if role not in HEARD_ROLES for clip in clips} & judging)


def check_trainable(dataset: Dataset) -> None:
    """Refuse a dataset without an error to learn from.

    Raises:
        RunFailed: (no_trainable_clips) with what became of every clip.
    """
    if not dataset.by_role["train_errors"]:
        raise RunFailed("no_trainable_clips", f"expected at least one trainable error, found {dataset.figures()}")
