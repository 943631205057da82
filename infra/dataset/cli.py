"""`retune dataset`: what a cycle trains and is judged on, before, after, and elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from functions.runtime import Ports
from functions.views.dataset import view
from infra.corpora.cli import AudioDir, Manifest, SpeakerFolders
from infra.corpora.source import read_offer
from infra.dataset.build import build_from, build_next, read_cycle, read_rows
from infra.dataset.export import export, render_exported
from infra.dataset.manifests import Form
from infra.dataset.view import render
from infra.errors import OK, REFUSED, Refused
from infra.options import Json
from infra.session import open_session, read_policy
from infra.terminal import answering, show
from shared import keys
from shared.audio_source import AudioPin, AudioSource
from shared.cas import find
from shared.clock import SystemClock
from shared.dataset import Row
from shared.documents import parse_document, parse_lines
from shared.policy import Policy
from shared.spool import Spool
from shared.training import Clip, TrainingResult

dataset = typer.Typer(no_args_is_help=True, help="What cycles train and are judged on.")

CycleOrNone = Annotated[int | None, typer.Argument(min=1, help="A cycle, whose dataset.")]
File = Annotated[Path | None, typer.Option("--file", help="A file that `dataset build --out` wrote; instead of a cycle.")]


@dataset.command("build")
def dataset_build(
    audio_dir: AudioDir = None,
    manifest: Manifest = None,
    speaker_folders: SpeakerFolders = False,
    out: Annotated[Path | None, typer.Option(help="A new file for the rows, for `dataset export --file`.")] = None,
    as_json: Json = False,
) -> None:
    """Prepare a dataset as the seal would, of what is collected or of recordings, and say what is set aside; changes no cycle."""
    if audio_dir is not None and manifest is not None:
        raise typer.BadParameter("expected --audio-dir or --manifest, found both")
    with answering():
        if out is not None and out.exists():
            raise Refused(f"--out {out}: expected a file that does not exist yet, found one; name another")
        source, rows, warnings = _built(audio_dir, manifest, speaker_folders=speaker_folders)
        if out is not None:
            _write(out, rows)
    found = view(source, rows, warnings=warnings)
    show(found, render(found), as_json=as_json)


def _write(out: Path, rows: Spool[Row]) -> None:
    try:
        with out.open("xb") as file:
            file.writelines(line + b"\n" for line in rows.lines())
    except OSError as error:
        raise Refused(f"--out {out}: expected a place to write to, found {error.strerror}") from error


def _built(audio_dir: Path | None, manifest: Path | None, *, speaker_folders: bool) -> tuple[str, Spool[Row], tuple[str, ...]]:
    if audio_dir is not None or manifest is not None:
        offer = read_offer(audio_dir, manifest, speaker_folders=speaker_folders)
        return f"recordings of {offer.source}", build_from(offer, read_policy(Policy()), SystemClock()), offer.warnings
    with open_session() as session:
        cycle, rows = build_next(session.ports, audio_of(session.ports))
    return f"cycle {cycle}, as it would be sealed now", rows, ()


@dataset.command("show")
def dataset_show(cycle: CycleOrNone = None, file: File = None, as_json: Json = False) -> None:
    """Show a dataset: splits, speakers, audio, whose word the references are, and what is set aside and why."""
    _one_of(cycle, file)
    with answering():
        if file is not None:
            found = view(str(file), read_rows(file))
        else:
            with open_session() as session:
                rows = read_cycle(session.ports, cycle or 0)
                stored = find(session.ports.store, keys.result(cycle or 0))
                aside = parse_document(TrainingResult, stored.data, what=stored.info.key).set_aside if stored else ()
            found = view(f"cycle {cycle}", rows, aside)
    show(found, render(found), as_json=as_json)


@dataset.command("export")
def dataset_export(
    cycle: CycleOrNone = None,
    hf: Annotated[Path | None, typer.Option("--hf", help="A new folder, in the form of Hugging Face's audiofolder.")] = None,
    nemo: Annotated[Path | None, typer.Option("--nemo", help="A new folder, with a NeMo manifest for each split.")] = None,
    lhotse: Annotated[Path | None, typer.Option("--lhotse", help="A new folder, with lhotse cuts for each split.")] = None,
    file: File = None,
    as_json: Json = False,
) -> None:
    """Copy a dataset's audio and transcripts for other tools, each file verified; speakers leave as hashes (exit code 1: some left out)."""
    _one_of(cycle, file)
    form, folder = _form(hf, nemo, lhotse)
    with answering():
        if file is not None:
            rows = read_rows(file)
            folders = tuple({row.audio.uri.rpartition("/")[0] for row in rows if row.audio is not None})
            if not folders:
                raise Refused(f"{file}: expected rows with audio, found none")
            exported = export(folder, form, str(file), rows, AudioSource(allowed_prefixes=folders), {})
        else:
            with open_session() as session:
                ports, number = session.ports, cycle or 0
                stored = find(ports.store, keys.holdout(number))
                held = parse_lines(Clip, stored.data, what=stored.info.key) if stored else []
                copies: dict[str, AudioPin] = {item.utterance_id: item.audio for item in held}
                exported = export(folder, form, f"cycle {number}", read_cycle(ports, number), audio_of(ports), copies)
    show(exported, render_exported(exported), as_json=as_json)
    raise typer.Exit(REFUSED if exported.left_out else OK)


def _form(hf: Path | None, nemo: Path | None, lhotse: Path | None) -> tuple[Form, Path]:
    named: tuple[tuple[Form, Path | None], ...] = (("hf", hf), ("nemo", nemo), ("lhotse", lhotse))
    chosen = [(form, folder) for form, folder in named if folder is not None]
    if len(chosen) != 1:
        raise typer.BadParameter("say for which tool: one of --hf, --nemo, --lhotse, with a new folder")
    return chosen[0]


def audio_of(ports: Ports) -> AudioSource:
    """Return the audio that the functions may read."""
    return AudioSource(allowed_prefixes=ports.audio_prefixes)


def _one_of(cycle: int | None, file: Path | None) -> None:
    if (cycle is None) == (file is None):
        raise typer.BadParameter("say which dataset: a cycle's number, or --file FILE")
