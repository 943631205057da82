"""The work of one attempt, from the spec to `result.json`.

spec, base model, clips         each verified against its digest
train, choose scale, export     left out when an earlier attempt died between its manifest and its result
evaluate                        base and candidate as they would be served, on every set that judges or is looked at again
smoke test                      a fresh process hears the same
models/n/..., manifest.json     create only, the manifest last
result.json                     if absent
"""

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from shared import keys
from shared.bus import Publisher
from shared.cas import create, find
from shared.clock import Clock
from shared.code_identity import code_identity
from shared.errors import CorruptObject, InvalidMessage
from shared.frozen import Frozen
from shared.gold import GoldConfig
from shared.machine import Machine
from shared.normalisation import BASIC
from shared.objectstore import ObjectStore, StoredObject
from shared.tracing import OFF, Traces
from shared.training import (
    EvaluationRef,
    LambdaTrial,
    ModelManifest,
    ObjectRef,
    TrainingConfig,
    TrainingResult,
    TrainingSpec,
    digest_folder,
    document_bytes,
    lines_bytes,
    parse_document,
    sha256_hex,
)
from trainer.attempt.dataset import Dataset, check_trainable, load_dataset, training_sets
from trainer.attempt.follow import Followers
from trainer.attempt.labelling import Labelling
from trainer.attempt.smoke import check_same_transcripts, transcribe_in_fresh_process
from trainer.attempt.spec import LoadedSpec, fetch_model, load_spec
from trainer.attempt.upload import upload_files
from trainer.clips.load import AudioFetcher, ClipLoader, UsableClip
from trainer.gold.question import GoldTranscriber
from trainer.gold.transcribers import open_transcriber
from trainer.learning.checkpoint import Checkpoints
from trainer.learning.evaluate import Evaluation, evaluate, serving_figures
from trainer.learning.export import export
from trainer.learning.settings import config_sha256
from trainer.learning.sweep import decide_scale, sweep
from trainer.learning.train import TrainingRun, train
from trainer.network.model import AcousticModel, default_device, load_model
from trainer.recogniser import Recogniser
from trainer.shell.failures import RunFailed, RunStopped
from trainer.shell.heartbeat import why_unwanted
from trainer.shell.preemption import Preemption
from trainer.shell.progress import Progress

PACKAGES = ("num2words", "numpy", "peft", "safetensors", "soundfile", "tokenizers", "torch", "transformers")
SMOKE_CLIPS = 4


@dataclass(frozen=True)
class Dependencies:
    """Everything outside that a run touches.

    Attributes:
        work_dir: an empty local folder for the base model, audio, export and train log.
        audio: makes the source of clips from the spec's allowed prefixes.
        smoke_test: transcribes audio files with a model folder, elsewhere.
        followers: processes that train along, if torchrun started several.
        open_transcriber: from a gold config to whom it names.
        machine: that the run is on, for its price; None = nobody said.
        traces: where spans go.
        hear_base: transcribes an audio file as production does now; None = the base model does, as it would be served.
    """

    store: ObjectStore
    publisher: Publisher
    clock: Clock
    work_dir: Path
    audio: Callable[[tuple[str, ...]], AudioFetcher]
    smoke_test: Callable[[Path, Sequence[Path]], list[str]] = transcribe_in_fresh_process
    device: torch.device = field(default_factory=default_device)
    heartbeat_s: float = 20.0
    preemption: Preemption = field(default_factory=Preemption)
    followers: Followers = field(default_factory=Followers)
    open_transcriber: Callable[[GoldConfig], GoldTranscriber] = lambda config: open_transcriber(config, os.environ)
    machine: Machine | None = None
    traces: Traces = OFF
    hear_base: Callable[[Path], str] | None = None


class TrainingOutcome(Frozen):
    """What training made, kept in the manifest so that a later attempt can finish what this one began.

    Attributes:
        config: resolved: with its seed, it and the digests in the manifest are all that the weights depend on.
    """

    config: TrainingConfig
    scale: float
    scale_reason: str
    trials: tuple[LambdaTrial, ...]
    figures: dict[str, Any]


@dataclass(frozen=True)
class Attempt:
    """One attempt at work."""

    deps: Dependencies
    cycle: int
    number: int
    progress: Progress

    @property
    def base_folder(self) -> Path:
        """Where the verified base model lies."""
        return self.deps.work_dir / "base"

    @property
    def candidate_folder(self) -> Path:
        """Where the candidate lies, exported or downloaded."""
        return self.deps.work_dir / "candidate"

    def check_wanted(self) -> None:
        """Look at the state itself before something is written for good.

        Raises:
            RunStopped: the cycle no longer wants this attempt.
        """
        if reason := why_unwanted(self.deps.store, self.cycle, self.number):
            raise RunStopped(reason)


def carry_out(attempt: Attempt) -> TrainingResult:
    """Do the work and write `result.json`.

    Raises:
        RunFailed: with a typed reason.
        RunStopped: the cycle no longer wants this attempt, or another process of it was faster.
    """
    store, progress = attempt.deps.store, attempt.progress
    progress.enter("loading the base model")
    loaded = load_spec(store, attempt.cycle)
    base_manifest = fetch_model(store, loaded.spec.base.manifest, attempt.base_folder)
    model = _load_base(attempt, loaded.spec, base_manifest)
    loader = ClipLoader(_audio_source(attempt, loaded.spec), model, loaded.spec.config, attempt.deps.work_dir / "audio")
    base = Recogniser.load(attempt.base_folder, attempt.deps.device)
    dataset = _label(attempt, loaded.spec, base, load_dataset(loaded.spec, store, loader, progress))

    standing = find(store, keys.manifest(attempt.cycle))
    outcome = _adopt(attempt, loaded, standing) if standing else _train(attempt, loaded.spec, model, dataset)
    candidate = _load_candidate(attempt)
    evaluated = {name: _evaluate(attempt, base, candidate, clips, name) for name, clips in dataset.heard.items()}
    evaluations = tuple(_store_evaluation(attempt, name, each) for name, each in evaluated.items())
    if standing is None:
        _smoke_test(attempt, candidate, dataset)
        standing = _store_model(attempt, loaded, base_manifest, outcome)

    attempt.check_wanted()
    attempt.deps.preemption.disarm()
    result = TrainingResult(
        cycle=attempt.cycle,
        attempt=attempt.number,
        finished_at=attempt.deps.clock.now(),
        spec_sha256=loaded.sha256,
        base=loaded.spec.base,
        manifest=ObjectRef(key=standing.info.key, sha256=sha256_hex(standing.data)),
        evaluations=evaluations,
        set_aside=dataset.set_aside,
        lambda_trials=outcome.trials,
        scale=outcome.scale,
        train={
            **outcome.figures,
            "scale_reason": outcome.scale_reason,
            "base_heard_by": "the base model" if attempt.deps.hear_base is None else "whoever started the run",
            "run_s": round(progress.elapsed_s, 1),
        },
        # A model whose smoke test failed is never stored, and what an earlier attempt stored had passed its own.
        serving=serving_figures(evaluated.values(), smoke_test_passed=True),
    )
    data = document_bytes(result)
    if create(store, keys.result(attempt.cycle), data).data != data:
        raise RunStopped(f"cycle {attempt.cycle} has a result of another process")
    return result


def _load_base(attempt: Attempt, spec: TrainingSpec, manifest: ModelManifest) -> AcousticModel:
    try:
        model = load_model(attempt.base_folder, attempt.deps.device)
    except CorruptObject as error:
        raise RunFailed("bad_base_model", str(error)) from error
    expected = (spec.base.version, spec.config.sampling_rate_hz, spec.config.sampling_rate_hz)
    found = (manifest.version, manifest.sampling_rate_hz, model.sampling_rate_hz)
    if found != expected:
        raise RunFailed("bad_base_model", f"version, rate in manifest and preprocessor (Hz): expected {expected}, found {found}")
    return model


def _audio_source(attempt: Attempt, spec: TrainingSpec) -> AudioFetcher:
    try:
        return attempt.deps.audio(spec.audio_prefixes)
    except InvalidMessage as error:
        raise RunFailed("bad_spec", str(error)) from error


def _label(attempt: Attempt, spec: TrainingSpec, base: Recogniser, dataset: Dataset) -> Dataset:
    """Make gold for the errors that have no reference, where the spec says whom to ask."""
    deps = attempt.deps
    labelling = Labelling(deps.store, attempt.cycle, base, deps.open_transcriber, spec.config, attempt.progress)
    labelled = labelling.label(dataset, spec.gold)
    attempt.progress.log("dataset", **labelled.figures())
    check_trainable(labelled)
    return labelled


def _train(attempt: Attempt, spec: TrainingSpec, model: AcousticModel, dataset: Dataset) -> TrainingOutcome:
    """Fine-tune, choose the scale on dev and leave the candidate in its folder."""
    progress = attempt.progress
    sets = training_sets(dataset.by_role, spec.config)
    attempt.deps.followers.hand_over(attempt.base_folder, spec.base.manifest.sha256, spec.config, sets)
    tuned = train(model, sets, spec.config, _training_run(attempt, spec))
    trials = sweep(tuned, progress)
    choice = decide_scale(trials, spec.config.clean_margin)
    progress.log("chosen", scale=choice.scale, reason=choice.reason)
    progress.enter("exporting")
    export(tuned.adapted, choice.scale, attempt.base_folder, attempt.candidate_folder)
    figures = {**tuned.figures, **dataset.figures()}
    return TrainingOutcome(config=tuned.config, scale=choice.scale, scale_reason=choice.reason, trials=tuple(trials), figures=figures)


def _training_run(attempt: Attempt, spec: TrainingSpec) -> TrainingRun:
    deps = attempt.deps
    return TrainingRun(
        progress=attempt.progress,
        checkpoints=Checkpoints(deps.store, keys.checkpoints(attempt.cycle), deps.work_dir),
        preemption=deps.preemption,
        group=deps.followers.group,
        base_digest=spec.base.manifest.sha256,
    )


def _adopt(attempt: Attempt, loaded: LoadedSpec, standing: StoredObject) -> TrainingOutcome:
    """Take over the complete model of an attempt that died before its result: the manifest's name is taken for ever."""
    manifest = parse_document(ModelManifest, standing.data, what=standing.info.key)
    if manifest.spec_sha256 != loaded.sha256:
        raise RunFailed("internal", f"{standing.info.key}: expected a model of spec {loaded.sha256}, found {manifest.spec_sha256}")
    attempt.progress.enter("taking over a complete model")
    fetch_model(attempt.deps.store, ObjectRef(key=standing.info.key, sha256=sha256_hex(standing.data)), attempt.candidate_folder)
    return TrainingOutcome.model_validate(manifest.details["outcome"])


def _load_candidate(attempt: Attempt) -> Recogniser:
    try:
        return Recogniser.load(attempt.candidate_folder, attempt.deps.device)
    except CorruptObject as error:
        raise RunFailed("smoke_test_failed", str(error)) from error


def _evaluate(attempt: Attempt, base: Recogniser, candidate: Recogniser, clips: Sequence[UsableClip], name: str) -> Evaluation:
    evaluation = evaluate(base, candidate, clips, name, attempt.progress)
    hear = attempt.deps.hear_base
    if hear is None:
        return evaluation
    texts = (hear(clip.path) for clip in clips)
    rows = tuple(row.model_copy(update={"base_hypothesis": text}) for row, text in zip(evaluation.rows, texts, strict=True))
    return replace(evaluation, rows=rows)


def _store_evaluation(attempt: Attempt, name: str, evaluation: Evaluation) -> EvaluationRef:
    """Store what both models hear; the name holds a digest, so that two attempts never write the same object."""
    data = lines_bytes(evaluation.rows)
    key = keys.evaluation(attempt.cycle, f"{name}-{sha256_hex(data)[:32]}")
    create(attempt.deps.store, key, data, content_type="application/x-ndjson")
    return EvaluationRef(name=name, ref=ObjectRef(key=key, sha256=sha256_hex(data)), rows=len(evaluation.rows))


def _smoke_test(attempt: Attempt, candidate: Recogniser, dataset: Dataset) -> None:
    attempt.progress.enter("smoke test")
    clips = typical_clips(list(chain(*dataset.heard.values(), *dataset.by_role.values())))
    expected = candidate.transcribe([clip.waveform() for clip in clips])
    found = attempt.deps.smoke_test(attempt.candidate_folder, [clip.path for clip in clips])
    check_same_transcripts(expected, found)


def typical_clips(clips: Sequence[UsableClip]) -> list[UsableClip]:
    """Return a few clips of about median length."""
    by_length = sorted(clips, key=lambda clip: clip.samples)
    start = max(0, (len(by_length) - SMOKE_CLIPS) // 2)
    return by_length[start : start + SMOKE_CLIPS]


def _store_model(attempt: Attempt, loaded: LoadedSpec, base: ModelManifest, outcome: TrainingOutcome) -> StoredObject:
    attempt.progress.enter("uploading")
    attempt.check_wanted()
    store, spec = attempt.deps.store, loaded.spec
    files = upload_files(store, attempt.cycle, attempt.candidate_folder, digest_folder(attempt.candidate_folder))
    attempt.check_wanted()  # once more: a process that was stopped for long must not complete what may be collected by now
    manifest = ModelManifest(
        version=attempt.cycle,
        origin="trained",
        created_at=attempt.deps.clock.now(),
        files=files,
        base_version=spec.base.version,
        learned=tuple(sorted({*base.learned, attempt.cycle})),
        dataset_sha256=spec.dataset.sha256,
        spec_sha256=loaded.sha256,
        policy_sha256=spec.policy.sha256 if spec.policy else None,
        normaliser=BASIC.name_version,
        sampling_rate_hz=spec.config.sampling_rate_hz,
        details={
            "attempt": attempt.number,
            "code": code_identity(os.environ),
            "base_manifest_sha256": spec.base.manifest.sha256,
            "config_sha256": config_sha256(outcome.config),
            "outcome": outcome.model_dump(mode="json"),
            "packages": {name: version(name) for name in PACKAGES},
            "python": platform.python_version(),
            "threads": torch.get_num_threads(),
        },
    )
    data = document_bytes(manifest)
    stored = create(store, keys.manifest(attempt.cycle), data)
    if stored.data != data:
        raise RunStopped(f"cycle {attempt.cycle} has a model of another process, which the next attempt takes over")
    return stored
