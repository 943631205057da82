"""A person's own training function in the place of ours: the same claim, the same clips, the same evidence.

base model, clips      fetched and verified
callback(job)          trains
hypotheses             both models hear every clip that judges, and what is looked at again
models/n/...           create only, the manifest last
result.json            if absent
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.coordinator.data_manager import suffix_of
from infra.coordinator.job import TrainedModel, TrainingCallback, TrainingClip, TrainingJob, Transcribe
from infra.models.importing import convert_with_trainer
from shared import keys
from shared.audio_source import AudioSource
from shared.cas import find
from shared.documents import sha256_hex
from shared.training import (
    HEARD_ROLES,
    TRAINING_ROLES,
    Clip,
    ClipSet,
    EvaluationRow,
    SetAside,
    SetRole,
    TrainingResult,
    UnlabelledClip,
)
from trainer.attempt.spec import LoadedSpec, fetch_model, load_clips, load_spec
from trainer.attempt.store import store_evaluation, store_model, store_result
from trainer.clips.fetch import ClipRefused, fetch_audio
from trainer.shell.attempt import Attempt
from trainer.shell.carry import Ending, carry
from trainer.shell.failures import RunFailed

BY_CALLBACK = {"trained_by": "a callback"}


@dataclass(frozen=True)
class _Clips:
    """The clips whose audio is here, by set, and those that are left out."""

    by_set: dict[str, list[tuple[Clip, Path]]]
    by_role: dict[SetRole, list[TrainingClip]]
    set_aside: tuple[SetAside, ...]


class CallbackRun:
    """The work of one attempt.

    Args:
        attempt: to carry out.
        audio: the recordings that may be used.
        folder: an empty one, for everything that lies on the local disk.
        callback: trains.
        hear_base: transcribes as production does now; None = the base model does.
    """

    def __init__(
        self, attempt: Attempt, audio: AudioSource, folder: Path, callback: TrainingCallback, hear_base: Transcribe | None
    ) -> None:
        self._attempt, self._audio, self._folder = attempt, audio, folder
        self._callback, self._hear_base = callback, hear_base

    def carry(self) -> Ending:
        """Carry it out within the trainer's shell."""
        return carry(self._attempt, self._carry_out)

    def _carry_out(self) -> TrainingResult:
        attempt, store = self._attempt, self._attempt.store
        attempt.progress.enter("loading the base model")
        loaded = load_spec(store, attempt.cycle)
        if find(store, keys.manifest(attempt.cycle)) is not None:
            raise RunFailed("internal", f"{keys.manifest(attempt.cycle)}: expected none yet, found that of an attempt that ended early")
        base_manifest = fetch_model(store, loaded.spec.base.manifest, self._folder / "base")
        clips = self._fetch(loaded)
        attempt.progress.enter("training by a callback")
        trained = self._train(loaded, clips)
        candidate = self._checked(trained)
        hear_base = self._hear_base or _recogniser(self._folder / "base")
        hear_candidate = trained.transcribe or _recogniser(candidate)
        aside = list(clips.set_aside)
        evaluations = [
            store_evaluation(attempt, each.name, list(self._evaluate(each, clips.by_set[each.name], (hear_base, hear_candidate), aside)))
            for each in loaded.spec.sets
            if each.role in HEARD_ROLES
        ]
        model = store_model(attempt, loaded, base_manifest, candidate, {**BY_CALLBACK, "notes": dict(trained.notes)})
        return store_result(
            attempt, loaded, model, evaluations=evaluations, set_aside=aside, scale=1.0, train=BY_CALLBACK, hear_base=self._hear_base
        )

    def _fetch(self, loaded: LoadedSpec) -> _Clips:
        """Bring every clip's audio to the local disk."""
        by_set: dict[str, list[tuple[Clip, Path]]] = {}
        by_role: dict[SetRole, list[TrainingClip]] = {role: [] for role in TRAINING_ROLES}
        aside: list[SetAside] = []
        for clip_set in loaded.spec.sets:
            self._attempt.progress.enter(f"fetching {clip_set.name}", clip_set.clips)
            here = by_set.setdefault(clip_set.name, [])
            for clip in load_clips(self._attempt.store, clip_set):
                if isinstance(clip, UnlabelledClip):  # of no use to whoever makes no gold
                    continue
                try:
                    here.append((clip, self._fetch_audio(clip)))
                except ClipRefused as refusal:
                    aside.append(refusal.set_aside(clip.utterance_id, clip_set.name))
            if clip_set.role in by_role:
                by_role[clip_set.role] += [TrainingClip(clip.utterance_id, path, clip.reference, clip.cluster) for clip, path in here]
        return _Clips(by_set, by_role, tuple(aside))

    def _fetch_audio(self, clip: Clip) -> Path:
        data = fetch_audio(self._audio, clip.audio)
        path = self._folder / "audio" / f"{sha256_hex(data)}{suffix_of(clip.audio.uri)}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return path

    def _train(self, loaded: LoadedSpec, clips: _Clips) -> TrainedModel:
        """Have the callback train.

        Raises:
            RunFailed: there is nothing to learn from, or it gave back something else than a model.
        """
        if not clips.by_role["train_errors"]:
            raise RunFailed("no_trainable_clips", f"expected at least one trainable error, found none; set aside: {len(clips.set_aside)}")
        out = self._folder / "output"
        out.mkdir()
        job = TrainingJob(
            cycle=self._attempt.cycle,
            attempt=self._attempt.number,
            base_version=loaded.spec.base.version,
            base_model=self._folder / "base",
            train=tuple(clips.by_role["train_errors"]),
            dev=tuple(clips.by_role["dev_errors"]),
            replay=tuple(clips.by_role["train_replay"]),
            dev_replay=tuple(clips.by_role["dev_replay"]),
            config=loaded.spec.config,
            output_dir=out,
        )
        given = self._callback(job)
        if isinstance(given, str | Path):
            given = TrainedModel(Path(given))
        if not isinstance(given, TrainedModel) or not given.folder.is_dir():
            raise RunFailed("internal", f"training callback: expected a TrainedModel or the path of a model folder, found {given!r}")
        return given

    def _checked(self, trained: TrainedModel) -> Path:
        """Return the folder of the model as it will be stored: a wav2vec2 is loaded, tried and written anew, as an import is."""
        if trained.transcribe is None:
            folder = self._folder / "candidate"
            convert_with_trainer(str(trained.folder), folder)
            return folder
        others = sorted(path.name for path in trained.folder.iterdir() if not path.is_file())
        if others or not any(trained.folder.iterdir()):
            raise RunFailed("internal", f"training callback: expected a folder of files, found {others or 'none'}")
        return trained.folder

    def _evaluate(
        self, clip_set: ClipSet, clips: Sequence[tuple[Clip, Path]], hear: tuple[Transcribe, Transcribe], aside: list[SetAside]
    ) -> Iterator[EvaluationRow]:
        self._attempt.progress.enter(f"evaluating {clip_set.name}", len(clips))
        for clip, path in clips:
            self._attempt.progress.check()
            try:
                base, candidate = (transcribe(path) for transcribe in hear)
            except ClipRefused as refusal:
                aside.append(refusal.set_aside(clip.utterance_id, clip_set.name))
                continue
            yield EvaluationRow(
                utterance_id=clip.utterance_id,
                cluster=clip.cluster,
                stratum=clip.stratum,
                reference=clip.reference,
                base_hypothesis=base,
                candidate_hypothesis=candidate,
            )


def _recogniser(folder: Path) -> Transcribe:
    """Return a wav2vec2 as the trainer hears with it; brings torch."""
    from trainer.clips.audio import JUDGED, decode_audio
    from trainer.recogniser import Recogniser

    recogniser = Recogniser.load(folder)

    def hear(path: Path) -> str:
        return recogniser.transcribe([decode_audio(path.read_bytes(), recogniser.model.sampling_rate_hz, JUDGED)])[0]

    return hear
