"""Retune's command line. The same commands work on the local stack and on Google Cloud: the environment says which."""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Literal

import typer

import infra.doctor.command
import infra.doctor.google
import infra.doctor.report
import infra.forget.command
import infra.review
import infra.shadow
import infra.status
import infra.watching
from functions.views.status import look, without_time
from infra.acts_cli import approve, canary, cancel, promote, rollback, trigger
from infra.corpora.cli import replay, suite
from infra.dataset.cli import dataset
from infra.dlq.cli import dlq
from infra.errors import EXIT_CODES, OK, REFUSED
from infra.explain.cli import explain
from infra.fsck.cli import registry
from infra.models.cli import models
from infra.options import By, Json, Reason, parse_version
from infra.session import open_session, read_policy
from infra.simulate.cli import simulate
from infra.terminal import answering, show
from infra.trace_cli import trace
from infra.train_cli import train_command
from shared.clock import SystemClock
from shared.forgotten import Kind
from shared.policy import Policy
from shared.terminal import say

LOCAL_STACK, LOOK, ACT, KEEP, ALONE = PANELS = (
    "On this machine",
    "What is going on",
    "What people ask for",
    "What is kept",
    "Without a stack",
)

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, epilog=EXIT_CODES)


Dir = Annotated[Path, typer.Option("--dir", help="The folder of the local stack's state.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 = any free one.")]

LOCAL = Path(".retune")


def main() -> None:
    """Run the command line."""
    app()


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"retune {version('retune')}")
        raise typer.Exit


@app.callback()
def retune(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Retune's command line. The same commands work on the local stack and on Google Cloud: the environment says which."""


@app.command(rich_help_panel=LOCAL_STACK)
def up(  # noqa: PLR0917 - options of a command, given by name
    sample_errors: Annotated[int, typer.Option(min=0, help="Report so many errors of synthetic calls.")] = 0,
    pubsub: Annotated[Literal["embedded", "emulator"], typer.Option(help="Our own Pub/Sub, or Google's emulator.")] = "embedded",
    no_model: Annotated[bool, typer.Option("--no-model", help="Leave an empty bucket without the shipped model.")] = False,
    tick_seconds: Annotated[float, typer.Option(min=0.1, help="Seconds between two ticks of the sweeper.")] = 60.0,
    gcs_port: Port = 0,
    pubsub_port: Port = 0,
    rest_port: Port = 0,
    console_port: Port = 0,
    traces: Annotated[
        bool, typer.Option("--traces", help="Write spans to traces.jsonl in the stack's folder, for `retune trace`.")
    ] = False,
    directory: Dir = LOCAL,
) -> None:
    """Run the local stack until Ctrl-C; the policy is the one in RETUNE_POLICY, if set."""
    from infra.local.baseline import TRAINING
    from infra.local.stack import StackConfig
    from infra.local.up import up as run

    with answering():
        config = StackConfig(
            directory=directory,
            policy=read_policy(Policy(training=TRAINING)),
            pubsub=pubsub,
            tick_s=tick_seconds,
            gcs_port=gcs_port,
            pubsub_port=pubsub_port,
            rest_port=rest_port,
            console_port=console_port,
            traces=traces,
        )
        code = run(config, sample_errors=sample_errors, first_model=not no_model, tell=say)
    raise typer.Exit(code)


@app.command(rich_help_panel=LOCAL_STACK)
def demo(
    out: Annotated[Path, typer.Option(help="A folder for reports and logs; an earlier demo's is replaced.")] = Path("demo-out"),
    seed: Annotated[int, typer.Option(help="Of all draws: calls, callers and the split.")] = 0,
    bad_model: Annotated[bool, typer.Option("--bad-model", help="Then promote a bad model, and see it rolled back by itself.")] = False,
) -> None:
    """Show the whole loop on this machine: errors in, a better model out (exit code 1 if it did not come out better)."""
    from infra.local.demo import run

    with answering():
        code = run(out, seed, bad_model=bad_model)
    raise typer.Exit(code)


@app.command(rich_help_panel=LOCAL_STACK)
def env(directory: Dir = LOCAL, as_json: Json = False) -> None:
    """Print what makes this shell talk to the running local stack: eval "$(retune env)"."""
    from infra.local.state_folder import export_lines, read_env

    with answering():
        variables = read_env(directory)
    print(json.dumps(variables, indent=1) if as_json else "\n".join(export_lines(variables)))


@app.command(rich_help_panel=LOOK)
def status(
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again and again, until Ctrl-C; in a pipe, print each change.")] = False,
    every: Annotated[float, typer.Option(min=0.2, help="Seconds between two looks.")] = infra.watching.EVERY_S,
    as_json: Json = False,
) -> None:
    """Show what is collected, which cycle runs and how far it is, what serves, and how many dead letters wait."""
    with answering(), open_session() as session:
        if watch:
            views = infra.watching.looks(lambda: look(session.ports, backlogs=session.backlogs), every_s=every)
            infra.watching.watch(views, infra.status.render, same=without_time, as_json=as_json)
            return
        report = look(session.ports, backlogs=session.backlogs)
    show(report, infra.status.render(report), as_json=as_json)


@app.command(rich_help_panel=LOOK)
def doctor(
    project: Annotated[str, typer.Option(envvar="GOOGLE_CLOUD_PROJECT", help="Google Cloud project, by its id.")],
    region: Annotated[str, typer.Option(help="Where everything runs and lies, or will.")],
    machine_type: Annotated[list[str] | None, typer.Option(help="Ask about this machine type; repeatable.")] = None,
    as_json: Json = False,
) -> None:
    """Look at a project before and after terraform apply and say what to do for each problem (exit code 1); changes nothing."""
    with answering():
        google = infra.doctor.google.open_google(project)
        diagnosis = infra.doctor.command.diagnose(google, project, region, SystemClock().now(), tuple(machine_type or ()))
    show(diagnosis, infra.doctor.report.render(diagnosis), as_json=as_json)
    raise typer.Exit(REFUSED if diagnosis.problems else OK)


for act in (trigger, approve, cancel, promote, canary):
    app.command(rich_help_panel=ACT)(act)


@app.command(rich_help_panel=LOOK)
def shadow(
    version: Annotated[
        int | None, typer.Argument(parser=parse_version, metavar="VERSION", help="A version, such as v12; by default the one on canary.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a version heard that transcribes beside the stable one: where they agree, and who is right."""
    with answering(), open_session() as session:
        report = infra.shadow.look(session.ports, version)
    show(report, infra.shadow.render(report), as_json=as_json)


app.command(rich_help_panel=ACT)(rollback)


@app.command(rich_help_panel=ACT)
def forget(
    by: By,
    speaker: Annotated[str | None, typer.Option(help="A speaker_id.")] = None,
    session: Annotated[str | None, typer.Option(help="A session_id.")] = None,
    utterance: Annotated[str | None, typer.Option(help="An utterance_id.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: Json = False,
) -> None:
    """Remove a person's audio and text from everywhere, and name the models that learned from them. It can be run again."""
    named: dict[Kind, str | None] = {"speaker": speaker, "session": session, "utterance": utterance}
    chosen = [(kind, identity) for kind, identity in named.items() if identity]
    if len(chosen) != 1:
        raise typer.BadParameter("say who: one of --speaker, --session, --utterance")
    with answering(), open_session() as session_:
        report = infra.forget.command.forget(session_.ports, *chosen[0], by=by, dry_run=dry_run)
    show(report, infra.forget.command.render(report), as_json=as_json)


PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


@app.command(context_settings=PASSED_ON, rich_help_panel=ALONE)
def finetune(context: typer.Context) -> None:
    """Fine-tune a model on a folder of audio, no cloud needed: see `retune finetune --help`."""
    from infra.finetune import run

    raise typer.Exit(run(context.args))


@app.command("llm-check", context_settings=PASSED_ON, rich_help_panel=ALONE)
def llm_check(context: typer.Context) -> None:
    """Try the endpoint that gold transcripts come from, and say what is wrong with it: see `retune llm-check --help`."""
    from infra.finetune import check_llm

    raise typer.Exit(check_llm(context.args))


@app.command(rich_help_panel=ACT)
def review(
    by: By,
    utterance: Annotated[str | None, typer.Argument(help="An utterance to answer; without it, list what waits.")] = None,
    text: Annotated[str | None, typer.Option(help="What you hear in it.")] = None,
    accept: Annotated[bool, typer.Option("--accept", help="What was proposed is what you hear.")] = False,
    cycle: Annotated[int | None, typer.Option(min=1, help="A cycle, whose gold; by default the newest that made any.")] = None,
    run: Annotated[Path | None, typer.Option(help="Output folder of `retune finetune`; instead of a cycle.")] = None,
    reason: Reason = None,
    as_json: Json = False,
) -> None:
    """List gold transcripts that a person must decide, and take the answers."""
    if utterance is None and (text is not None or accept):
        raise typer.BadParameter("say which utterance is meant")
    if utterance is not None and (text is not None) == accept:
        raise typer.BadParameter("say what you hear: --text WORDS, or --accept what was proposed")
    with answering():
        if run is not None:
            source: infra.review.ReviewSource = infra.review.FolderReview(run)
            _review(source, utterance, text, as_json=as_json)
            return
        with open_session() as session:
            _review(infra.review.CycleReview(session.ports, cycle, by, reason), utterance, text, as_json=as_json)


def _review(source: infra.review.ReviewSource, utterance: str | None, text: str | None, *, as_json: bool) -> None:
    if utterance is not None:
        answer = source.answer(utterance, text)
        show(answer, answer.text, as_json=as_json)
        return
    items = source.waiting()
    show(items, infra.review.render(items, source.name), as_json=as_json)


app.command(rich_help_panel=LOOK)(explain)
app.command(rich_help_panel=LOOK)(trace)
app.command("train", rich_help_panel=ACT)(train_command)
app.command(rich_help_panel=ALONE)(simulate)
app.add_typer(models, name="models", rich_help_panel=KEEP)
app.add_typer(registry, name="registry", rich_help_panel=KEEP)
app.add_typer(dataset, name="dataset", rich_help_panel=KEEP)
app.add_typer(suite, name="suite", rich_help_panel=KEEP)
app.add_typer(replay, name="replay", rich_help_panel=KEEP)
app.add_typer(dlq, name="dlq", rich_help_panel=KEEP)


if __name__ == "__main__":
    main()
