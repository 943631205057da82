"""A verified model as a folder in Hugging Face's layout, with a model card: what `from_pretrained` and `pipeline` read [io]."""

from pathlib import Path

from functions.runtime import Ports
from functions.views.production import ModelView
from infra.errors import Refused
from infra.models.stored import show_model
from infra.new_folder import new_folder
from infra.publish.card import TASK, card_body, measured
from shared import keys
from shared.cas import find
from shared.documents import Frozen, parse_document, sha256_hex
from shared.ids import version_name
from shared.manifest import ModelManifest
from shared.training import ObjectRef
from trainer.attempt.spec import fetch_model
from trainer.shell.failures import RunFailed

MANIFEST = "retune-manifest.json"
"""The manifest beside the model's files: what `model.safetensors` was when Retune stored it."""


class ModelFolder(Frozen):
    """What came of an export.

    Attributes:
        files: of the model itself, all verified.
        verdict: the validator's word; None = it was not judged.
    """

    version: int
    folder: str
    files: tuple[str, ...]
    verdict: str | None


def export_folder(ports: Ports, version: int, folder: Path) -> ModelFolder:
    """Write a version to a folder that does not exist yet: all of it, or nothing.

    Raises:
        Refused: there is no such version, a file is not what its manifest says, or the folder holds something.
        Retryable: the store could not be reached.
    """
    view = show_model(ports, version)
    with new_folder(folder) as draft:
        _write(ports, view, draft)
    return ModelFolder(
        version=version,
        folder=str(folder),
        files=tuple(file.name for file in view.manifest.files),
        verdict=view.verdict.verdict if view.verdict else None,
    )


def _write(ports: Ports, view: ModelView, draft: Path) -> None:
    manifest = ports.store.get(keys.manifest(view.version)).data
    try:
        fetch_model(ports.store, ObjectRef(key=keys.manifest(view.version), sha256=sha256_hex(manifest)), draft)
    except RunFailed as error:
        raise Refused(f"{version_name(view.version)} is not exported: {error}; `retune models verify` looks at all of it") from error
    (draft / MANIFEST).write_bytes(manifest)
    (draft / "README.md").write_text(model_card(ports, view), encoding="utf-8")


def model_card(ports: Ports, view: ModelView) -> str:
    """Return the model card, with the header that Hugging Face reads.

    Raises:
        Refused: the package that writes the header is not installed.
    """
    try:
        from huggingface_hub import EvalResult, ModelCardData
    except ModuleNotFoundError as error:
        raise Refused(f"model cards need huggingface_hub: run `pip install 'retune[trainer]'` ({error})") from error
    source = first_source(ports, view.manifest)
    numbers = [
        EvalResult(
            task_type=TASK, dataset_type="private", dataset_name=each.dataset, metric_type="wer", metric_name="WER", metric_value=each.wer
        )
        for each in measured(view.verdict)
    ]
    header = ModelCardData(
        library_name="transformers",
        pipeline_tag=TASK,
        tags=["wav2vec2", "ctc", "retune"],
        base_model=source.name if source and source.kind == "hub" else None,
        model_name=version_name(view.version),
        eval_results=numbers or None,
        ignore_metadata_errors=False,
    )
    return f"---\n{header.to_yaml()}\n---\n\n{card_body(view, source.name if source else None, ports.clock.now())}"


class Source(Frozen):
    """What a first ancestor was imported from.

    Attributes:
        name: on the hub, of a folder, or in an MLflow registry.
        kind: hub, folder or mlflow; empty where an older release imported it.
    """

    name: str
    kind: str


def first_source(ports: Ports, manifest: ModelManifest) -> Source | None:
    """Return what the first ancestor of a model was imported from; None = nobody knows."""
    while manifest.base_version is not None:
        found = find(ports.store, keys.manifest(manifest.base_version))
        if found is None:
            return None
        manifest = parse_document(ModelManifest, found.data, what=found.info.key)
    name = manifest.details.get("source")
    return Source(name=str(name), kind=str(manifest.details.get("source_kind", ""))) if name else None


def render_folder(exported: ModelFolder) -> str:
    """Return what came of an export for people."""
    name = version_name(exported.version)
    return (
        f"{name} is in {exported.folder}: {', '.join(exported.files)}, README.md, {MANIFEST}\n"
        f'  read it with Wav2Vec2ForCTC.from_pretrained("{exported.folder}")'
    )
