"""`retune models`: what is in the registry, and what becomes of it."""

from pathlib import Path
from typing import Annotated

import typer

import infra.models.check
import infra.models.diff
import infra.models.gc
import infra.models.importing
import infra.publish.mlflow_registry
from functions.acts import people
from infra.acts_cli import asked
from infra.errors import OK, REFUSED
from infra.models.tables import render_check, render_diff, render_gc, render_model, render_models
from infra.options import By, Json, Reason, Timeout, VersionArgument, Wait, person
from infra.people import TIMEOUT_S
from infra.publish.folder import export_folder, render_folder
from infra.session import open_session
from infra.terminal import answer_with, answering, show
from shared.terminal import say

models = typer.Typer(no_args_is_help=True, help="Models in the registry.")


@models.command("list")
def models_list(as_json: Json = False) -> None:
    """List the models: role, origin, verdict, overrides and pins."""
    with answering(), open_session() as session:
        views = infra.models.stored.list_models(session.ports)
    show(views, render_models(views), as_json=as_json)


@models.command("show")
def models_show(version: VersionArgument, as_json: Json = False) -> None:
    """Show a model: its lineage, verdict, overrides and files."""
    with answering(), open_session() as session:
        view = infra.models.stored.show_model(session.ports, version)
    show(view, render_model(view), as_json=as_json)


@models.command("import")
def models_import(
    by: By,
    source: Annotated[
        str, typer.Argument(help="A folder with a Wav2Vec2ForCTC, its name on Hugging Face's hub, or MLflow's models:/NAME@ALIAS.")
    ],
    make_stable: Annotated[
        bool | None, typer.Option("--promote/--no-promote", help="Make it stable; by default only the first one.")
    ] = None,
    reason: Reason = None,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Check a model, convert it to safetensors and bring it in: the first is v0, a later one takes the next cycle's number."""
    with answering(), open_session() as session:
        asking = person(by, reason, True, timeout)
        imported = infra.models.importing.import_model(
            session.ports, source, asking, make_stable=make_stable, tell=lambda line: say(line, err=True)
        )
    promotion, name = imported.promotion, f"v{imported.version}"
    next_step = promotion.text if promotion else f"make it stable with `retune promote {name} --override --reason WHY`"
    show(imported, f"{name} is imported; {next_step}", as_json=as_json)
    raise typer.Exit(REFUSED if promotion is not None and promotion.outcome == "refused" else OK)


@models.command("withdraw")
def models_withdraw(
    by: By, version: VersionArgument, reason: Reason = None, wait: Wait = True, timeout: Timeout = TIMEOUT_S, as_json: Json = False
) -> None:
    """Mark a version that serves nobody as one that comes back only by an override."""
    answer_with(asked(person(by, reason, wait, timeout), people.withdraw, version), as_json=as_json)


@models.command("pin")
def models_pin(
    by: By, version: VersionArgument, reason: Reason = None, wait: Wait = True, timeout: Timeout = TIMEOUT_S, as_json: Json = False
) -> None:
    """Keep a version's files, whatever the retention says."""
    answer_with(asked(person(by, reason, wait, timeout), people.pin, version, pinned=True), as_json=as_json)


@models.command("unpin")
def models_unpin(
    by: By, version: VersionArgument, reason: Reason = None, wait: Wait = True, timeout: Timeout = TIMEOUT_S, as_json: Json = False
) -> None:
    """Leave a version's files to the retention again."""
    answer_with(asked(person(by, reason, wait, timeout), people.pin, version, pinned=False), as_json=as_json)


@models.command("verify")
def models_verify(version: VersionArgument, as_json: Json = False) -> None:
    """Download a model and check every file: size, CRC32C, SHA-256, suffix (exit code 1 if it is damaged)."""
    with answering(), open_session() as session:
        check = infra.models.check.check_stored_model(session.ports, version)
    show(check, render_check(check), as_json=as_json)
    raise typer.Exit(OK if check.whole else REFUSED)


@models.command("diff")
def models_diff(a: VersionArgument, b: VersionArgument, as_json: Json = False) -> None:
    """Compare two models: configuration, lineage, files, validation."""
    with answering(), open_session() as session:
        diff = infra.models.diff.diff_models(session.ports, a, b)
    show(diff, render_diff(diff), as_json=as_json)


@models.command("export")
def models_export(
    version: VersionArgument,
    hf: Annotated[Path | None, typer.Option("--hf", help="A new folder in Hugging Face's layout, with a model card.")] = None,
    mlflow: Annotated[str | None, typer.Option(envvar="MLFLOW_TRACKING_URI", help="An MLflow server; registers the version there.")] = None,
    name: Annotated[str, typer.Option(help="The registered model's name in MLflow.")] = "retune",
    as_json: Json = False,
) -> None:
    """Bring a version, verified, to where other tools look: a Hugging Face folder (--hf), or else an MLflow registry (--mlflow)."""
    if hf is None and not mlflow:
        raise typer.BadParameter("say where to: --hf FOLDER or --mlflow ADDRESS")
    with answering(), open_session() as session:
        if hf is not None:
            exported = export_folder(session.ports, version, hf)
            show(exported, render_folder(exported), as_json=as_json)
            return
        done = infra.publish.mlflow_registry.publish(session.ports, version, mlflow or "", name)
    show(done, infra.publish.mlflow_registry.render_registered(done), as_json=as_json)


@models.command("gc")
def models_gc(
    by: By,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go, and why the others stay.")] = False,
    reason: Reason = None,
    timeout: Timeout = TIMEOUT_S,
    as_json: Json = False,
) -> None:
    """Delete the files of models that nothing needs any more; manifests stay (exit code 1 if one had to be left)."""
    with answering(), open_session() as session:
        report = infra.models.gc.collect_models(session.ports, person(by, reason, True, timeout), dry_run=dry_run)
    show(report, render_gc(report), as_json=as_json)
    raise typer.Exit(REFUSED if report.left else OK)
