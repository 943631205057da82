"""A model in an MLflow registry: a run with the numbers, a registered version, an alias [io].

The same version is registered once: its manifest's digest is a tag by which it is found again.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from functions.runtime import Ports
from functions.views.production import ModelView
from infra.models.stored import show_model
from infra.publish.card import lineage
from infra.publish.folder import export_folder, first_source
from infra.publish.mlflow_client import mlflow_client
from shared import keys
from shared.cas import find
from shared.documents import Frozen, sha256_hex
from shared.ids import version_name
from shared.verdict import SetNumbers, ValidationReport

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

EXPERIMENT = "retune"
VERSION_TAG, DIGEST_TAG = "retune.version", "retune.manifest_sha256"
ALIASES = frozenset({"stable", "canary"})


class Registered(Frozen):
    """What came of publishing a version.

    Attributes:
        model_version: the registry's own number for it.
        new: it was not there before.
        alias: that names it now; None = it serves nobody.
        moved: aliases that named it and do not serve any more.
    """

    version: int
    tracking_uri: str
    name: str
    model_version: str
    run_id: str
    new: bool
    alias: str | None
    moved: tuple[str, ...] = ()


def publish(ports: Ports, version: int, tracking_uri: str, name: str) -> Registered:
    """Bring a version, its numbers and its alias into an MLflow registry; again, it only sets the alias right.

    Raises:
        Refused: there is no such version, it is damaged, or the registry refuses it.
        Unreachable: MLflow's client is not installed, or the server does not answer.
    """
    view = show_model(ports, version)
    digest = sha256_hex(ports.store.get(keys.manifest(version)).data)
    with mlflow_client(tracking_uri) as client:
        known = _find(client, name, digest)
        entry = known or _register(client, ports, view, name, digest)
        alias = view.role if view.role in ALIASES else None
        moved = _set_alias(client, name, entry, alias)
    return Registered(
        version=version,
        tracking_uri=tracking_uri,
        name=name,
        model_version=str(entry.version),
        run_id=entry.run_id or "",
        new=known is None,
        alias=alias,
        moved=moved,
    )


def _find(client: "MlflowClient", name: str, digest: str) -> "ModelVersion | None":
    found = client.search_model_versions(f"name = '{name}' and tags.`{DIGEST_TAG}` = '{digest}'")
    return next(iter(sorted(found, key=lambda each: int(each.version))), None)


def _register(client: "MlflowClient", ports: Ports, view: ModelView, name: str, digest: str) -> "ModelVersion":
    """Upload first and register last: a run that died on the way is no version."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    experiment_id = experiment.experiment_id if experiment else client.create_experiment(EXPERIMENT)
    tags = {VERSION_TAG: version_name(view.version), DIGEST_TAG: digest}
    run = client.create_run(experiment_id, run_name=f"{name} {version_name(view.version)}", tags=tags)
    run_id = run.info.run_id
    try:
        source = first_source(ports, view.manifest)
        for key, value in lineage(view.manifest, source.name if source else None).items():
            client.log_param(run_id, key.replace(" ", "_"), value[:500])
        for key, number in metrics(view.verdict).items():
            client.log_metric(run_id, key, number)
        with TemporaryDirectory(prefix="retune-mlflow-") as scratch:
            _upload(client, ports, view, run_id, Path(scratch))
        if not client.search_registered_models(f"name = '{name}'"):
            client.create_registered_model(name, description="Speech models that Retune keeps.")
        entry = client.create_model_version(
            name,
            source=f"{run.info.artifact_uri}/model",
            run_id=run_id,
            tags={**tags, "retune.verdict": view.verdict.outcome if view.verdict else "not judged"},
            description=_why(view.verdict),
        )
    except BaseException:
        client.set_terminated(run_id, status="FAILED")
        raise
    client.set_terminated(run_id)
    return entry


def _upload(client: "MlflowClient", ports: Ports, view: ModelView, run_id: str, scratch: Path) -> None:
    export_folder(ports, view.version, scratch / "model")
    client.log_artifacts(run_id, str(scratch / "model"), "model")
    for key in (keys.report(view.version), keys.report_html(view.version)):
        if (found := find(ports.store, key)) is not None:
            path = scratch / key.rpartition("/")[2]
            path.write_bytes(found.data)
            client.log_artifact(run_id, str(path), "verdict")


def metrics(report: ValidationReport | None) -> dict[str, float]:
    """Return the numbers of a report by the names that they get in MLflow; what was not measured has none."""
    found: dict[str, float | None] = {}
    for each in report.sets if report else ():
        found.update({f"{each.name}/{key}": value for key, value in _numbers(each).items()})
    return {key: value for key, value in found.items() if value is not None}


def _numbers(each: SetNumbers) -> dict[str, float | None]:
    base, candidate, delta = each.base.wer, each.candidate.wer, each.delta
    return {
        "wer_base": base.estimate if base else None,
        "wer": candidate.estimate if candidate else None,
        "wer_low": candidate.low if candidate else None,
        "wer_high": candidate.high if candidate else None,
        "wer_change": delta.estimate if delta else None,
        "wer_change_low": delta.low if delta else None,
        "wer_change_high": delta.high if delta else None,
        "cer": each.candidate.cer,
        "utterances": float(each.utterances),
        "clusters": float(each.clusters),
    }


def _why(report: ValidationReport | None) -> str:
    return "No validator has judged it." if report is None else f"{report.verdict}: {' '.join(report.reasons)}"[:4000]


def _set_alias(client: "MlflowClient", name: str, entry: "ModelVersion", alias: str | None) -> tuple[str, ...]:
    """Give a version the alias that it has in production; one that it has no more is taken from it, never from another version."""
    present = client.get_registered_model(name).aliases
    old = tuple(sorted(each for each, number in present.items() if str(number) == str(entry.version) and each in ALIASES and each != alias))
    for each in old:
        client.delete_registered_model_alias(name, each)
    if alias is not None:
        client.set_registered_model_alias(name, alias, entry.version)
    return old


def render_registered(done: Registered) -> str:
    """Return what came of publishing for people."""
    what = "is registered" if done.new else "was registered already"
    named = f", alias {done.alias}" if done.alias else ""
    lines = [f"{version_name(done.version)} {what} as {done.name} version {done.model_version}{named} at {done.tracking_uri}"]
    lines += [f"  alias {alias} was taken from it: it does not serve as that any more" for alias in done.moved]
    return "\n".join(lines)
