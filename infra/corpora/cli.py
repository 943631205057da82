"""`retune suite` and `retune replay`: what people bring to judge models and to keep them from forgetting."""

from pathlib import Path
from typing import Annotated

import typer

import infra.corpora.replay
import infra.corpora.suite_history
import infra.corpora.suites
from infra.corpora.admission import Adding
from infra.corpora.replay import render_change, render_replay
from infra.corpora.source import Offer, read_offer
from infra.corpora.suite_tables import render_added, render_suite, render_suites
from infra.options import By, Json
from infra.session import open_session
from infra.terminal import answering, show
from shared.terminal import say

suite = typer.Typer(no_args_is_help=True, help="Regression suites: clips that a model must stay good on.")
replay = typer.Typer(no_args_is_help=True, help="The replay: trusted clips that are trained on beside the errors, against forgetting.")

Name = Annotated[str, typer.Argument(help="A suite.")]
AudioDir = Annotated[Path | None, typer.Option(help="A folder of audio with transcripts.jsonl|csv|tsv, or a .txt beside each file.")]
Manifest = Annotated[Path | None, typer.Option(help="Lines of JSON: audio_uri, reference, and speaker_id or session_id.")]
SpeakerFolders = Annotated[bool, typer.Option("--speaker-folders", help="Each sub-folder holds one speaker, whose name it is.")]
SkipCrossing = Annotated[
    bool, typer.Option("--skip-crossing", help="Leave out clips of speakers on the other side of the wall; without it, nothing is added.")
]
Utterances = Annotated[list[str] | None, typer.Argument(help="Clips, by their utterance_id.")]


@suite.command("add")
def suite_add(
    by: By,
    name: Annotated[str, typer.Argument(help="A suite, new or not.")],
    audio_dir: AudioDir = None,
    manifest: Manifest = None,
    margin: Annotated[
        float | None, typer.Option(min=0.0001, max=1.0, help="Bearable rise of WER, 0.015 = 1.5 points; stored with the suite.")
    ] = None,
    speaker_folders: SpeakerFolders = False,
    skip_crossing: SkipCrossing = False,
    as_json: Json = False,
) -> None:
    """Add clips, in a new version, and say what a test on the suite can show. Nobody who was trained on may be among them."""
    with answering(), open_session() as session:
        offer = _offer(audio_dir, manifest, speaker_folders=speaker_folders)
        added = infra.corpora.suites.add_suite(session.ports, name, offer, Adding(by=by, skip_crossing=skip_crossing), margin)
    show(added, render_added(added), as_json=as_json)


@suite.command("list")
def suite_list(as_json: Json = False) -> None:
    """List the suites, with what each can show and whether the policy names it."""
    with answering(), open_session() as session:
        views = infra.corpora.suites.list_suites(session.ports)
    show(views, render_suites(views), as_json=as_json)


@suite.command("show")
def suite_show(name: Name, as_json: Json = False) -> None:
    """Show a suite: size, versions, and how often it was looked at."""
    with answering(), open_session() as session:
        view = infra.corpora.suites.show_suite(session.ports, name)
    show(view, render_suite(view), as_json=as_json)


@suite.command("clips")
def suite_clips(
    name: Name,
    version: Annotated[str | None, typer.Option(help="An earlier version: the first digits of its digest.")] = None,
    as_json: Json = False,
) -> None:
    """List the clips of a suite, now or in an earlier version."""
    with answering(), open_session() as session:
        clips = infra.corpora.suites.read_clips(session.ports, name, version)
    show(clips, "\n".join(f"{item.utterance_id}\t{item.speaker}\t{item.reference}" for item in clips), as_json=as_json)


@suite.command("remove")
def suite_remove(
    by: By,
    name: Name,
    utterances: Utterances = None,
    everything: Annotated[bool, typer.Option("--all", help="The whole suite; its versions stay.")] = False,
    as_json: Json = False,
) -> None:
    """Take clips out of a suite, or all of it."""
    named = _which(utterances, everything=everything)
    with answering(), open_session() as session:
        view = infra.corpora.suites.remove_suite(session.ports, name, named, by=by)
    show(view, render_suite(view), as_json=as_json)


@suite.command("freeze")
def suite_freeze(name: Name, as_json: Json = False) -> None:
    """Let nobody add to a suite or remove from it any more."""
    with answering(), open_session() as session:
        view = infra.corpora.suites.freeze_suite(session.ports, name)
    show(view, render_suite(view), as_json=as_json)


@suite.command("history")
def suite_history(
    name: Name,
    html: Annotated[Path | None, typer.Option(help="Also write a page with a plot.")] = None,
    as_json: Json = False,
) -> None:
    """Show what each version did on a suite: every verdict that looked at it."""
    with answering(), open_session() as session:
        found = infra.corpora.suite_history.history(session.ports, name)
    if html is not None:
        html.write_text(infra.corpora.suite_history.history_page(found), encoding="utf-8")
        say(f"written to {html}", err=True)
    show(found, infra.corpora.suite_history.render_history(found), as_json=as_json)


@replay.command("add")
def replay_add(
    by: By,
    audio_dir: AudioDir = None,
    manifest: Manifest = None,
    speaker_folders: SpeakerFolders = False,
    skip_crossing: SkipCrossing = False,
    as_json: Json = False,
) -> None:
    """Add trusted clips. Nobody who judges, in a suite or in the holdout, may be among them."""
    with answering(), open_session() as session:
        offer = _offer(audio_dir, manifest, speaker_folders=speaker_folders)
        change = infra.corpora.replay.add_replay(session.ports, offer, Adding(by=by, skip_crossing=skip_crossing))
    show(change, render_change(change), as_json=as_json)


@replay.command("list")
def replay_list(as_json: Json = False) -> None:
    """List who is in the replay, and what for."""
    with answering(), open_session() as session:
        view = infra.corpora.replay.show_replay(session.ports)
    show(view, render_replay(view), as_json=as_json)


@replay.command("remove")
def replay_remove(
    utterances: Utterances = None,
    everything: Annotated[bool, typer.Option("--all", help="All of it.")] = False,
    as_json: Json = False,
) -> None:
    """Take clips out of the replay."""
    named = _which(utterances, everything=everything)
    with answering(), open_session() as session:
        change = infra.corpora.replay.remove_replay(session.ports, named)
    show(change, render_change(change), as_json=as_json)


def _offer(audio_dir: Path | None, manifest: Path | None, *, speaker_folders: bool) -> Offer:
    if (audio_dir is None) == (manifest is None):
        raise typer.BadParameter("say where the clips are: --audio-dir DIR, or --manifest FILE")
    return read_offer(audio_dir, manifest, speaker_folders=speaker_folders)


def _which(utterances: list[str] | None, *, everything: bool) -> list[str]:
    if everything == bool(utterances):
        raise typer.BadParameter("say which: UTTERANCE..., or --all")
    return utterances or []
