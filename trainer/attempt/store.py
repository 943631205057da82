"""What an attempt leaves behind, whoever trained: hypotheses, a model, a result; each is written once.

runs/n/evaluation/holdout-9f2c....jsonl   named by its digest, so that two attempts never write the same object
models/n/...                              the files, then the manifest: from there on the model is complete
runs/n/result.json                        if absent
"""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shared import keys
from shared.cas import create
from shared.code_identity import code_identity
from shared.documents import document_bytes, lines_bytes, sha256_hex
from shared.manifest import ModelManifest, digest_folder, unsafe_files
from shared.normalisation import BASIC
from shared.objectstore import StoredObject
from shared.training import EvaluationRef, EvaluationRow, LambdaTrial, ObjectRef, ServingFigures, SetAside, TrainingResult
from trainer.attempt.spec import LoadedSpec
from trainer.attempt.upload import upload_files
from trainer.shell.attempt import Attempt
from trainer.shell.failures import RunFailed, RunStopped
from trainer.shell.heartbeat import check_wanted


def store_evaluation(attempt: Attempt, name: str, rows: Sequence[EvaluationRow]) -> EvaluationRef:
    """Store what both models hear in the set `name`."""
    data = lines_bytes(rows)
    key = keys.evaluation(attempt.cycle, f"{name}-{sha256_hex(data)[:32]}")
    create(attempt.store, key, data, content_type="application/x-ndjson")
    return EvaluationRef(name=name, ref=ObjectRef(key=key, sha256=sha256_hex(data)), rows=len(rows))


def store_model(attempt: Attempt, loaded: LoadedSpec, base: ModelManifest, folder: Path, details: Mapping[str, Any]) -> StoredObject:
    """Store a model folder as the cycle's version and return its manifest as it stands.

    Args:
        attempt: that made it.
        loaded: the cycle's spec.
        base: the manifest of what was trained from.
        folder: nothing but the model's files.
        details: how it was made, for the manifest.

    Raises:
        RunFailed: (internal) a file could hold code.
        RunStopped: the cycle no longer wants the attempt, or another process has stored a model meanwhile.
        CommitUnknown: nobody can tell whether a file landed.
    """
    check_wanted(attempt)
    store, spec = attempt.store, loaded.spec
    manifest = ModelManifest(
        version=attempt.cycle,
        origin="trained",
        created_at=attempt.clock.now(),
        files=tuple(digest_folder(folder)),
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
            **details,
        },
    )
    if (problem := unsafe_files(manifest)) is not None:
        raise RunFailed("internal", f"model {attempt.cycle}: {problem}")
    files = upload_files(store, attempt.cycle, folder, manifest.files)
    check_wanted(attempt)  # once more: a process that was stopped for long must not complete what may be collected by now
    data = document_bytes(manifest.model_copy(update={"files": files}))
    stored = create(store, keys.manifest(attempt.cycle), data)
    if stored.data != data:
        raise RunStopped(f"cycle {attempt.cycle} has a model of another process, which the next attempt takes over")
    return stored


def store_result(
    attempt: Attempt,
    loaded: LoadedSpec,
    model: StoredObject,
    *,
    evaluations: Sequence[EvaluationRef],
    set_aside: Sequence[SetAside],
    scale: float,
    trials: Sequence[LambdaTrial] = (),
    train: Mapping[str, Any],
    hear_base: Callable[[Path], str] | None,
    serving: ServingFigures | None = None,
) -> TrainingResult:
    """Write `result.json`, which no signal cuts off any more.

    Args:
        attempt: that ends with it.
        loaded: the cycle's spec.
        model: the manifest as it stands.
        evaluations: of every set that was heard.
        set_aside: every clip that was left out.
        scale: of the update that was kept.
        trials: of the scales.
        train: numbers for people.
        hear_base: what heard the base's side, where that was not the base model itself.
        serving: what transcribing costs.

    Raises:
        RunStopped: the cycle no longer wants the attempt, or another process was faster.
    """
    check_wanted(attempt)
    attempt.preemption.disarm()
    result = TrainingResult(
        cycle=attempt.cycle,
        attempt=attempt.number,
        finished_at=attempt.clock.now(),
        spec_sha256=loaded.sha256,
        base=loaded.spec.base,
        manifest=ObjectRef(key=model.info.key, sha256=sha256_hex(model.data)),
        evaluations=tuple(evaluations),
        set_aside=tuple(set_aside),
        lambda_trials=tuple(trials),
        scale=scale,
        train={
            **train,
            "base_heard_by": "the base model" if hear_base is None else "whoever started the run",
            "run_s": round(attempt.progress.elapsed_s, 1),
        },
        serving=serving,
    )
    data = document_bytes(result)
    if create(attempt.store, keys.result(attempt.cycle), data).data != data:
        raise RunStopped(f"cycle {attempt.cycle} has a result of another process")
    return result
