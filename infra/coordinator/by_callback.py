"""A person's own training function in the place of ours: the same claim, the same clips, the same evidence.

base model, clips      fetched and verified
callback(job)          trains
hypotheses             both models hear every clip that judges, and what is looked at again
models/n/...           create only, the manifest last
result.json            if absent
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from functions.launcher.trainers import TrainerRun
from functions.runtime import Ports
from infra.coordinator.job import TrainedModel, TrainingCallback, TrainingClip, TrainingJob, Transcribe
from infra.coordinator.recording import suffix_of
from infra.models import convert_with_trainer
from shared import keys
from shared.audio_source import AudioSource
from shared.bus import Publisher
from shared.cas import create
from shared.clock import Clock
from shared.code_identity import code_identity
from shared.errors import CorruptObject, InvalidMessage, NotFound
from shared.machine import Machine
from shared.normalisation import BASIC
from shared.objectstore import ObjectStore
from shared.tracing import OFF, Traces
from shared.training import (
    HEARD_ROLES,
    TRAINING_ROLES,
    Clip,
    ClipSet,
    EvaluationRef,
    EvaluationRow,
    ModelManifest,
    ObjectRef,
    SetAside,
    SetAsideReason,
    SetRole,
    TrainingResult,
    digest_folder,
    document_bytes,
    lines_bytes,
    sha256_hex,
    unsafe_files,
)
from trainer.attempt.spec import LoadedSpec, fetch_model, load_clips, load_spec
from trainer.attempt.upload import upload_files
from trainer.shell.carry import Ending, carry
from trainer.shell.failures import RunFailed, RunStopped
from trainer.shell.heartbeat import why_unwanted
from trainer.shell.preemption import Preemption
from trainer.shell.progress import Progress


@dataclass(frozen=True)
class Outside:
    """What the trainer's shell needs of the outside world."""

    store: ObjectStore
    publisher: Publisher
    clock: Clock
    machine: Machine | None
    preemption: Preemption
    heartbeat_s: float = 20.0
    traces: Traces = OFF


@dataclass(frozen=True)
class Shift:
    """One attempt at work, as the trainer's shell knows it."""

    deps: Outside
    cycle: int
    number: int
    progress: Progress

    @classmethod
    def begin(cls, ports: Ports, run: TrainerRun, folder: Path, machine: Machine | None) -> Self:
        """Return the attempt of a run; nothing is claimed yet."""
        outside = Outside(ports.store, ports.publisher, ports.clock, machine, Preemption())
        return cls(outside, run.cycle, run.attempt, Progress(folder / "train-log.jsonl", ports.clock))


class NotHeardError(Exception):
    """A clip cannot be transcribed."""

    def __init__(self, reason: SetAsideReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: SetAsideReason = reason
        self.detail = detail


@dataclass(frozen=True)
class _Clips:
    """The clips whose audio is here, by set, and those that are left out."""

    by_set: dict[str, list[tuple[Clip, Path]]]
    by_role: dict[SetRole, list[TrainingClip]]
    set_aside: tuple[SetAside, ...]


class CallbackRun:
    """The work of one attempt.

    Args:
        shift: the attempt.
        audio: the recordings that may be used.
        folder: an empty one, for everything that lies on the local disk.
        callback: trains.
        hear_base: transcribes as production does now; None = the base model does.
    """

    def __init__(self, shift: Shift, audio: AudioSource, folder: Path, callback: TrainingCallback, hear_base: Transcribe | None) -> None:
        self._shift, self._audio, self._folder = shift, audio, folder
        self._callback, self._hear_base = callback, hear_base

    def carry(self) -> Ending:
        """Carry it out within the trainer's shell."""
        return carry(self._shift, self._carry_out)

    def _carry_out(self) -> TrainingResult:
        shift, store = self._shift, self._shift.deps.store
        shift.progress.enter("loading the base model")
        loaded = load_spec(store, shift.cycle)
        base_manifest = fetch_model(store, loaded.spec.base.manifest, self._folder / "base")
        clips = self._fetch(loaded)
        shift.progress.enter("training by a callback")
        trained = self._train(loaded, clips)
        candidate = self._checked(trained)
        hear_base = self._hear_base or _recogniser(self._folder / "base")
        hear_candidate = trained.transcribe or _recogniser(candidate)
        aside = list(clips.set_aside)
        evaluations = [
            self._evaluate(each, clips.by_set[each.name], (hear_base, hear_candidate), aside)
            for each in loaded.spec.sets
            if each.role in HEARD_ROLES
        ]
        manifest = self._store_model(loaded, base_manifest, candidate, trained)
        return self._store_result(loaded, manifest, evaluations, aside)

    def _fetch(self, loaded: LoadedSpec) -> _Clips:
        """Bring every clip's audio to the local disk."""
        by_set: dict[str, list[tuple[Clip, Path]]] = {}
        by_role: dict[SetRole, list[TrainingClip]] = {role: [] for role in TRAINING_ROLES}
        aside: list[SetAside] = []
        for clip_set in loaded.spec.sets:
            if clip_set.role == "train_unlabelled":  # of no use to whoever makes no gold
                continue
            self._shift.progress.enter(f"fetching {clip_set.name}", clip_set.clips)
            here = by_set.setdefault(clip_set.name, [])
            for clip in load_clips(self._shift.deps.store, clip_set):
                try:
                    here.append((clip, self._fetch_audio(clip)))
                except NotHeardError as error:
                    aside.append(_aside(clip, clip_set, error))
            if clip_set.role in by_role:
                by_role[clip_set.role] += [TrainingClip(clip.utterance_id, path, clip.reference, clip.cluster) for clip, path in here]
        return _Clips(by_set, by_role, tuple(aside))

    def _fetch_audio(self, clip: Clip) -> Path:
        try:
            data = self._audio.fetch(clip.audio)
        except NotFound as error:
            raise NotHeardError("missing", str(error)) from error
        except CorruptObject as error:
            raise NotHeardError("changed", str(error)) from error
        except InvalidMessage as error:
            raise NotHeardError("not_allowed", str(error)) from error
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
            cycle=self._shift.cycle,
            attempt=self._shift.number,
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
    ) -> EvaluationRef:
        """Store what both models hear; the name holds a digest, so that two attempts never write the same object."""
        self._shift.progress.enter(f"evaluating {clip_set.name}", len(clips))
        rows = list(self._rows(clip_set, clips, hear, aside))
        data = lines_bytes(rows)
        key = keys.evaluation(self._shift.cycle, f"{clip_set.name}-{sha256_hex(data)[:32]}")
        create(self._shift.deps.store, key, data, content_type="application/x-ndjson")
        return EvaluationRef(name=clip_set.name, ref=ObjectRef(key=key, sha256=sha256_hex(data)), rows=len(rows))

    def _rows(
        self, clip_set: ClipSet, clips: Sequence[tuple[Clip, Path]], hear: tuple[Transcribe, Transcribe], aside: list[SetAside]
    ) -> Iterator[EvaluationRow]:
        for clip, path in clips:
            self._shift.progress.check()
            try:
                base, candidate = (transcribe(path) for transcribe in hear)
            except NotHeardError as error:
                aside.append(_aside(clip, clip_set, error))
                continue
            yield EvaluationRow(
                utterance_id=clip.utterance_id,
                cluster=clip.cluster,
                stratum=clip.stratum,
                reference=clip.reference,
                base_hypothesis=base,
                candidate_hypothesis=candidate,
            )

    def _store_model(self, loaded: LoadedSpec, base: ModelManifest, folder: Path, trained: TrainedModel) -> ObjectRef:
        shift, spec = self._shift, loaded.spec
        self._check_wanted()
        manifest = ModelManifest(
            version=shift.cycle,
            origin="trained",
            created_at=shift.deps.clock.now(),
            files=tuple(digest_folder(folder)),
            base_version=spec.base.version,
            learned=tuple(sorted({*base.learned, shift.cycle})),
            dataset_sha256=spec.dataset.sha256,
            spec_sha256=loaded.sha256,
            policy_sha256=spec.policy.sha256 if spec.policy else None,
            normaliser=BASIC.name_version,
            sampling_rate_hz=spec.config.sampling_rate_hz,
            details={
                "attempt": shift.number,
                "code": code_identity(os.environ),
                "base_manifest_sha256": spec.base.manifest.sha256,
                "trained_by": "a callback",
                "notes": dict(trained.notes),
            },
        )
        if (problem := unsafe_files(manifest)) is not None:
            raise RunFailed("internal", f"training callback: {problem}")
        files = upload_files(shift.deps.store, shift.cycle, folder, manifest.files)
        data = document_bytes(manifest.model_copy(update={"files": files}))
        if create(shift.deps.store, keys.manifest(shift.cycle), data).data != data:
            raise RunFailed("internal", f"{keys.manifest(shift.cycle)}: expected none yet, found that of an attempt that ended early")
        return ObjectRef(key=keys.manifest(shift.cycle), sha256=sha256_hex(data))

    def _store_result(
        self, loaded: LoadedSpec, manifest: ObjectRef, evaluations: Sequence[EvaluationRef], aside: Sequence[SetAside]
    ) -> TrainingResult:
        shift = self._shift
        self._check_wanted()
        result = TrainingResult(
            cycle=shift.cycle,
            attempt=shift.number,
            finished_at=shift.deps.clock.now(),
            spec_sha256=loaded.sha256,
            base=loaded.spec.base,
            manifest=manifest,
            evaluations=tuple(evaluations),
            set_aside=tuple(aside),
            lambda_trials=(),
            scale=1.0,
            train={
                "trained_by": "a callback",
                "base_heard_by": "the base model" if self._hear_base is None else "whoever started the run",
                "run_s": round(shift.progress.elapsed_s, 1),
            },
        )
        data = document_bytes(result)
        if create(shift.deps.store, keys.result(shift.cycle), data).data != data:
            raise RunStopped(f"cycle {shift.cycle} has a result of another process")
        return result

    def _check_wanted(self) -> None:
        if reason := why_unwanted(self._shift.deps.store, self._shift.cycle, self._shift.number):
            raise RunStopped(reason)


def _aside(clip: Clip, clip_set: ClipSet, error: NotHeardError) -> SetAside:
    return SetAside(utterance_id=clip.utterance_id, set_name=clip_set.name, reason=error.reason, detail=error.detail)


def _recogniser(folder: Path) -> Transcribe:
    """Return a wav2vec2 as the trainer hears with it; brings torch."""
    from trainer.clips.load import JUDGED, ClipRefused, decode_audio
    from trainer.recogniser import Recogniser

    recogniser = Recogniser.load(folder)

    def hear(path: Path) -> str:
        try:
            samples = decode_audio(path.read_bytes(), recogniser.model.sampling_rate_hz, JUDGED)
        except ClipRefused as refusal:
            raise NotHeardError(refusal.reason, refusal.detail) from refusal
        return recogniser.transcribe([samples])[0]

    return hear
