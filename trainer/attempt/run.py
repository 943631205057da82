"""One attempt of one cycle: the work from the spec to `result.json`, within `trainer.shell`.

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
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from shared import keys
from shared.cas import find
from shared.documents import Frozen, parse_document, sha256_hex
from shared.errors import CorruptObject, InvalidMessage
from shared.gold import GoldConfig
from shared.manifest import ModelManifest
from shared.objectstore import StoredObject
from shared.training import LambdaTrial, ObjectRef, TrainingConfig, TrainingResult, TrainingSpec
from trainer.attempt.dataset import Dataset, check_trainable, load_dataset
from trainer.attempt.follow import Followers
from trainer.attempt.labelling import Labelling
from trainer.attempt.smoke import check_same_transcripts, transcribe_in_fresh_process
from trainer.attempt.spec import LoadedSpec, fetch_model, load_spec
from trainer.attempt.store import store_evaluation, store_model, store_result
from trainer.clips.fetch import AudioFetcher
from trainer.clips.load import ClipLoader, UsableClip
from trainer.clips.sets import training_sets
from trainer.gold.question import GoldTranscriber
from trainer.gold.transcribers import open_transcriber
from trainer.learning.checkpoint import Checkpoints
from trainer.learning.evaluate import Evaluation, evaluate, serving_figures
from trainer.learning.export import export
from trainer.learning.identity import config_sha256, package_versions
from trainer.learning.sweep import decide_scale, sweep
from trainer.learning.train import TrainingRun, train
from trainer.network.model import AcousticModel, default_device, load_model
from trainer.recogniser import Recogniser
from trainer.shell.attempt import Attempt
from trainer.shell.carry import Ending, carry
from trainer.shell.failures import RunFailed

SMOKE_CLIPS = 4


@dataclass(frozen=True)
class Dependencies:
    """What the work takes, beside what its shell does.

    Attributes:
        work_dir: an empty local folder for the base model, audio and export.
        audio: makes the source of clips from the spec's allowed prefixes.
        smoke_test: transcribes audio files with a model folder, elsewhere.
        followers: processes that train along, if torchrun started several.
        open_transcriber: from a gold config to whom it names.
        hear_base: transcribes an audio file as production does now; None = the base model does, as it would be served.
    """

    work_dir: Path
    audio: Callable[[tuple[str, ...]], AudioFetcher]
    smoke_test: Callable[[Path, Sequence[Path]], list[str]] = transcribe_in_fresh_process
    device: torch.device = field(default_factory=default_device)
    followers: Followers = field(default_factory=Followers)
    open_transcriber: Callable[[GoldConfig], GoldTranscriber] = lambda config: open_transcriber(config, os.environ)
    hear_base: Callable[[Path], str] | None = None

    @property
    def base_folder(self) -> Path:
        """Where the verified base model lies."""
        return self.work_dir / "base"

    @property
    def candidate_folder(self) -> Path:
        """Where the candidate lies, exported or downloaded."""
        return self.work_dir / "candidate"


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


def run(attempt: Attempt, deps: Dependencies) -> Ending:
    """Carry out one attempt; its events are published, its end is returned.

    Raises:
        Retryable: a failure could not be published; the stale heartbeat will tell.
    """
    return carry(attempt, lambda: carry_out(attempt, deps))


def carry_out(attempt: Attempt, deps: Dependencies) -> TrainingResult:
    """Do the work and write `result.json`.

    Raises:
        RunFailed: with a typed reason.
        RunStopped: the cycle no longer wants this attempt, or another process of it was faster.
    """
    store, progress = attempt.store, attempt.progress
    progress.enter("loading the base model")
    loaded = load_spec(store, attempt.cycle)
    base_manifest = fetch_model(store, loaded.spec.base.manifest, deps.base_folder)
    model = _load_base(deps, loaded.spec, base_manifest)
    loader = ClipLoader(_audio_source(deps, loaded.spec), model, loaded.spec.config, deps.work_dir / "audio")
    base = Recogniser.load(deps.base_folder, deps.device)
    dataset = _label(attempt, deps, loaded.spec, base, load_dataset(loaded.spec, store, loader, progress))

    standing = find(store, keys.manifest(attempt.cycle))
    outcome = _adopt(attempt, deps, loaded, standing) if standing else _train(attempt, deps, loaded.spec, model, dataset)
    candidate = _load_candidate(deps)
    evaluated = {name: _evaluate(attempt, deps, base, candidate, clips, name) for name, clips in dataset.heard.items()}
    evaluations = [store_evaluation(attempt, name, each.rows) for name, each in evaluated.items()]
    if standing is None:
        _smoke_test(attempt, deps, candidate, dataset)
        progress.enter("uploading")
        standing = store_model(attempt, loaded, base_manifest, deps.candidate_folder, _details(outcome))
    return store_result(
        attempt,
        loaded,
        standing,
        evaluations=evaluations,
        set_aside=dataset.set_aside,
        scale=outcome.scale,
        trials=outcome.trials,
        train={**outcome.figures, "scale_reason": outcome.scale_reason},
        hear_base=deps.hear_base,
        serving=serving_figures(evaluated.values()),
    )


def _load_base(deps: Dependencies, spec: TrainingSpec, manifest: ModelManifest) -> AcousticModel:
    try:
        model = load_model(deps.base_folder, deps.device)
    except CorruptObject as error:
        raise RunFailed("bad_base_model", str(error)) from error
    expected = (spec.base.version, spec.config.sampling_rate_hz, spec.config.sampling_rate_hz)
    found = (manifest.version, manifest.sampling_rate_hz, model.sampling_rate_hz)
    if found != expected:
        raise RunFailed("bad_base_model", f"version, rate in manifest and preprocessor (Hz): expected {expected}, found {found}")
    return model


def _audio_source(deps: Dependencies, spec: TrainingSpec) -> AudioFetcher:
    try:
        return deps.audio(spec.audio_prefixes)
    except InvalidMessage as error:
        raise RunFailed("bad_spec", str(error)) from error


def _label(attempt: Attempt, deps: Dependencies, spec: TrainingSpec, base: Recogniser, dataset: Dataset) -> Dataset:
    """Make gold for the errors that have no reference, where the spec says whom to ask."""
    labelling = Labelling(attempt.store, attempt.cycle, base, deps.open_transcriber, spec.config, attempt.progress)
    labelled = labelling.label(dataset, spec.gold)
    attempt.progress.log("dataset", **labelled.figures())
    check_trainable(labelled)
    return labelled


def _train(attempt: Attempt, deps: Dependencies, spec: TrainingSpec, model: AcousticModel, dataset: Dataset) -> TrainingOutcome:
    """Fine-tune, choose the scale on dev and leave the candidate in its folder."""
    progress = attempt.progress
    sets = training_sets(dataset.by_role, spec.config)
    deps.followers.hand_over(deps.base_folder, spec.base.manifest.sha256, spec.config, sets)
    surroundings = TrainingRun(
        progress=progress,
        checkpoints=Checkpoints(attempt.store, keys.checkpoints(attempt.cycle), deps.work_dir),
        preemption=attempt.preemption,
        group=deps.followers.group,
        base_digest=spec.base.manifest.sha256,
    )
    tuned = train(model, sets, spec.config, surroundings)
    trials = sweep(tuned, progress)
    choice = decide_scale(trials, spec.config.clean_margin)
    progress.log("chosen", scale=choice.scale, reason=choice.reason)
    progress.enter("exporting")
    export(tuned.adapted, choice.scale, deps.base_folder, deps.candidate_folder)
    figures = {**tuned.figures, **dataset.figures()}
    return TrainingOutcome(config=tuned.config, scale=choice.scale, scale_reason=choice.reason, trials=tuple(trials), figures=figures)


def _adopt(attempt: Attempt, deps: Dependencies, loaded: LoadedSpec, standing: StoredObject) -> TrainingOutcome:
    """Take over the complete model of an attempt that died before its result: the manifest's name is taken for ever."""
    manifest = parse_document(ModelManifest, standing.data, what=standing.info.key)
    if manifest.spec_sha256 != loaded.sha256:
        raise RunFailed("internal", f"{standing.info.key}: expected a model of spec {loaded.sha256}, found {manifest.spec_sha256}")
    attempt.progress.enter("taking over a complete model")
    fetch_model(attempt.store, ObjectRef(key=standing.info.key, sha256=sha256_hex(standing.data)), deps.candidate_folder)
    return TrainingOutcome.model_validate(manifest.details["outcome"])


def _load_candidate(deps: Dependencies) -> Recogniser:
    try:
        return Recogniser.load(deps.candidate_folder, deps.device)
    except CorruptObject as error:
        raise RunFailed("smoke_test_failed", str(error)) from error


def _evaluate(
    attempt: Attempt, deps: Dependencies, base: Recogniser, candidate: Recogniser, clips: Sequence[UsableClip], name: str
) -> Evaluation:
    evaluation = evaluate(base, candidate, clips, name, attempt.progress)
    return evaluation if deps.hear_base is None else evaluation.with_base([deps.hear_base(clip.path) for clip in clips])


def _smoke_test(attempt: Attempt, deps: Dependencies, candidate: Recogniser, dataset: Dataset) -> None:
    attempt.progress.enter("smoke test")
    clips = _typical(list(chain(*dataset.heard.values(), *dataset.by_role.values())))
    expected = candidate.transcribe([clip.waveform() for clip in clips])
    found = deps.smoke_test(deps.candidate_folder, [clip.path for clip in clips])
    check_same_transcripts(expected, found)


def _typical(clips: Sequence[UsableClip]) -> list[UsableClip]:
    """Return a few clips of about median length."""
    by_length = sorted(clips, key=lambda clip: clip.samples)
    start = max(0, (len(by_length) - SMOKE_CLIPS) // 2)
    return by_length[start : start + SMOKE_CLIPS]


def _details(outcome: TrainingOutcome) -> dict[str, Any]:
    """Return what the model's manifest says of its making."""
    return {
        "config_sha256": config_sha256(outcome.config),
        "outcome": outcome.model_dump(mode="json"),
        "packages": package_versions(),
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }
