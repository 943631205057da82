"""A folder of audio with transcripts: what is in it, and what about it does not add up.

DIR/clean/*.wav, DIR/noisy/*.wav        .wav .flac .mp3 .ogg, sub-folders included; one of the two may be absent, or both: all is noisy then
DIR/transcripts.jsonl, .csv or .tsv     columns file and text, and speaker_id where it is known
DIR/noisy/call.txt                      or a text beside each file
"""

import csv
import json
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import file_digest
from io import StringIO
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from shared.documents import sha256_hex
from shared.errors import RetuneError
from shared.normalisation import normalise

Condition = Literal["clean", "noisy"]
CONDITIONS: tuple[Condition, ...] = get_args(Condition)
AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".mp3", ".ogg"})
TABLES = ("transcripts.jsonl", "transcripts.csv", "transcripts.tsv")
FILE_COLUMNS = ("file", "path", "audio")
TEXT_COLUMNS = ("text", "transcript", "reference", "sentence")
SPEAKER_COLUMNS = ("speaker_id", "speaker")
SHOWN = 3
"""Of a list of names in a message."""


class BadFolder(RetuneError):
    """The folder cannot be used as it is; the text says what to mend, one problem a line."""


@dataclass(frozen=True)
class FolderClip:
    """One audio file.

    Attributes:
        utterance_id: its path inside the folder, with slashes.
        transcript: what a person wrote that it says; None where nobody did.
        speaker: who speaks; None where nobody says.
    """

    utterance_id: str
    path: Path
    condition: Condition
    transcript: str | None = None
    speaker: str | None = None


@dataclass(frozen=True)
class AudioFolder:
    """What a folder holds, in the order of the names, and what is odd about it."""

    clips: tuple[FolderClip, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Row:
    line: int
    text: str | None
    speaker: str | None


@dataclass
class _Findings:
    """What was met on the way: errors stop the run, warnings are listed."""

    errors: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def read_folder(folder: Path, *, anywhere: bool = False) -> AudioFolder:
    """Return the clips of a folder with their transcripts.

    Args:
        folder: of the form above.
        anywhere: conditions do not matter: audio is read wherever it lies, and nothing is said where it lies in neither of their folders.

    Raises:
        BadFolder: there is no audio, a table cannot be read, or two sources contradict each other.
    """
    if not folder.is_dir():
        raise BadFolder(f"audio folder {folder}: expected a folder, found {'a file' if folder.exists() else 'none'}")
    found = _Findings()
    audio, texts = _list_files(folder, [folder] if anywhere else _conditions(folder, found), found)
    table = _read_table(folder, found)
    rows = _match_rows(table, audio, found)
    beside = _texts_beside(texts, audio, found)
    clips = tuple(_clip(name, path, rows.get(name), beside.get(name), found) for name, path in audio.items())
    if found.errors:
        raise BadFolder("\n".join(found.errors))
    if without := [clip.utterance_id for clip in clips if clip.transcript is None]:
        found.warnings.append(f"{len(without)} of {len(clips)} files have no transcript: {some(without)}")
    if any(clip.speaker for clip in clips) and (nameless := [clip.utterance_id for clip in clips if clip.speaker is None]):
        found.warnings.append(f"{len(nameless)} files have no speaker_id, each is taken for a speaker of its own: {some(nameless)}")
    return AudioFolder(clips, tuple(found.warnings))


def digest_of(clips: Iterable[FolderClip], audio_sha256: Mapping[str, str]) -> str:
    """Return the SHA-256 of what the clips are, in any order: names, audio, transcripts and speakers.

    Args:
        clips: of the folder.
        audio_sha256: of the audio files that were hashed already, by utterance; the others are read.
    """
    rows = sorted(
        (clip.utterance_id, audio_sha256.get(clip.utterance_id) or _hash_audio(clip.path), clip.transcript or "", clip.speaker or "")
        for clip in clips
    )
    return sha256_hex(json.dumps(rows).encode())


def _hash_audio(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"unreadable: {error.strerror}"


def some(names: Sequence[str]) -> str:
    """Return the first few names."""
    return ", ".join(names[:SHOWN]) + (" ..." if len(names) > SHOWN else "")


def _conditions(folder: Path, found: _Findings) -> list[Path]:
    """Return the folders of the conditions; where there is none, all is one condition."""
    present = [folder / condition for condition in CONDITIONS if (folder / condition).is_dir()]
    if not present:
        found.warnings.append(
            "there are no folders clean and noisy: all files are taken for noisy. What lies in clean is guarded against forgetting"
        )
    return present or [folder]


def _list_files(folder: Path, roots: Sequence[Path], found: _Findings) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return audio files and texts under `roots` by their path inside the folder."""
    audio: dict[str, Path] = {}
    texts: dict[str, Path] = {}
    others: list[str] = []
    tables = {folder / name for name in TABLES}
    for path in sorted(path for root in roots for path in _walk(root, found) if path not in tables):
        name = _name(path.relative_to(folder).as_posix())
        suffix = path.suffix.lower()
        if suffix in AUDIO_SUFFIXES and not path.name.startswith("."):
            if audio.setdefault(name, path) != path:
                found.errors.append(f"{name}: expected one file of this name, found two that differ only in how accents are written")
        elif suffix == ".txt":
            texts[name] = path
        else:
            others.append(name)
    if others:
        kinds = Counter(PurePosixPath(name).suffix or "none" for name in others)
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        found.warnings.append(f"{len(others)} files are no {' '.join(sorted(AUDIO_SUFFIXES))} and are not read ({listed}): {some(others)}")
    if not audio:
        where = " and ".join(root.name for root in roots if root != folder) or "it"
        raise BadFolder(f"audio folder {folder}: expected {' '.join(sorted(AUDIO_SUFFIXES))} files in {where}, found none")
    return audio, texts


def _walk(folder: Path, found: _Findings) -> Iterator[Path]:
    for root, folders, files in os.walk(folder, onerror=_raise_unreadable):
        linked = sorted(name for name in folders if (Path(root) / name).is_symlink())
        if linked:
            found.warnings.append(f"links to folders are not followed: {some([str(Path(root) / name) for name in linked])}")
        yield from (Path(root) / name for name in files)


def _raise_unreadable(error: OSError) -> None:
    raise BadFolder(f"audio folder {error.filename}: expected a folder that can be read, found {error.strerror}") from error


def _name(text: str) -> str:
    """Return a path as it is compared: accents in one form, whatever the file system does with them."""
    return unicodedata.normalize("NFC", text)


def _read_table(folder: Path, found: _Findings) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield number and content of each row of the one table, if there is one."""
    tables = [name for name in TABLES if (folder / name).is_file()]
    if len(tables) > 1:
        raise BadFolder(f"audio folder {folder}: expected one table of transcripts, found {', '.join(tables)}; leave one")
    if not tables:
        return
    text = _read_text(folder / tables[0])
    rows = _json_rows(text, tables[0]) if tables[0].endswith(".jsonl") else _csv_rows(text, tables[0])
    for line, row in rows:
        if isinstance(row, str):
            found.errors.append(row)
        else:
            yield line, row


def _read_text(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = error.object[: error.start].count(b"\n") + 1, error.object[error.start]
        raise BadFolder(f"{path.name} line {line}: expected UTF-8, found byte 0x{byte:02x}; save it as UTF-8") from error
    except OSError as error:
        raise BadFolder(f"{path}: expected a file that can be read, found {error.strerror}") from error


def _json_rows(text: str, table: str) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            yield number, f"{table} line {number}: expected a JSON object, found {error}"
            continue
        yield number, row if isinstance(row, dict) else f"{table} line {number}: expected a JSON object, found {line.strip()[:40]}"


def _csv_rows(text: str, table: str) -> Iterator[tuple[int, Mapping[str, Any] | str]]:
    tabs = table.endswith(".tsv")
    # Quotation marks in a table of tabs are part of the text: read as quoting, an odd one would swallow the lines that follow.
    lines = StringIO(text, newline="")
    reader = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE) if tabs else csv.reader(lines, strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if header is None:
                header = [cell.strip().lower() for cell in cells]
                if not set(header) & set(FILE_COLUMNS) or not set(header) & {*TEXT_COLUMNS, *SPEAKER_COLUMNS}:
                    raise BadFolder(f"{table} line {reader.line_num}: expected a header with file and text, found {', '.join(cells)}")
            elif len(cells) != len(header):
                hint = "" if tabs else "; a text with a comma needs quotation marks"
                yield reader.line_num, f"{table} line {reader.line_num}: expected {len(header)} columns, found {len(cells)}{hint}"
            else:
                yield reader.line_num, dict(zip(header, cells, strict=True))
    except csv.Error as error:
        raise BadFolder(f"{table} line {reader.line_num}: expected a row, found {error}") from error


def _match_rows(table: Iterable[tuple[int, Mapping[str, Any]]], audio: Mapping[str, Path], found: _Findings) -> dict[str, _Row]:
    """Return the rows by utterance; a row whose file is not there is listed."""
    rows: dict[str, _Row] = {}
    lost: list[str] = []
    repeated: list[str] = []
    total = 0
    for line, content in table:
        total += 1
        file, text, speaker = (_first(content, names) for names in (FILE_COLUMNS, TEXT_COLUMNS, SPEAKER_COLUMNS))
        if file is None:
            found.errors.append(f"transcripts line {line}: expected a file, found {', '.join(content) or 'nothing'}")
            continue
        name = _name(PurePosixPath(file.replace("\\", "/")).as_posix())
        row = _Row(line, text, speaker)
        if name not in audio:
            lost.append(file)
        elif name not in rows:
            rows[name] = row
        elif (rows[name].text, rows[name].speaker) == (text, speaker):
            repeated.append(f"{name} (line {line})")
        else:
            found.errors.append(f"{name}: expected one transcript, found others in lines {rows[name].line} and {line}; leave one")
    if lost and not rows:
        found.errors.append(f"transcripts: expected files such as {next(iter(audio))}, found none of {total} there: {some(lost)}")
    elif lost:
        found.warnings.append(f"{len(lost)} rows of the transcripts name files that are not there: {some(lost)}")
    if repeated:
        found.warnings.append(f"{len(repeated)} rows of the transcripts say the same again: {some(repeated)}")
    return rows


def _first(row: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """Return the first cell that says something."""
    values = (row.get(name) for name in names)
    return next((str(value).strip() for value in values if value is not None and str(value).strip()), None)


def _texts_beside(texts: Mapping[str, Path], audio: Mapping[str, Path], found: _Findings) -> dict[str, str]:
    """Return what the .txt files say, by utterance."""
    by_stem: dict[str, list[str]] = {}
    for name in audio:
        by_stem.setdefault(str(PurePosixPath(name).with_suffix("")), []).append(name)
    beside: dict[str, str] = {}
    alone: list[str] = []
    for name, path in texts.items():
        owners = by_stem.get(str(PurePosixPath(name).with_suffix("")), [])
        if len(owners) > 1:
            found.errors.append(f"{name}: expected one audio file that it belongs to, found {' and '.join(owners)}")
        elif owners:
            beside[owners[0]] = " ".join(_read_text(path).split())
        else:
            alone.append(name)
    if alone:
        found.warnings.append(f"{len(alone)} texts have no audio beside them: {some(alone)}")
    return beside


def _clip(name: str, path: Path, row: _Row | None, beside: str | None, found: _Findings) -> FolderClip:
    condition: Condition = "clean" if name.startswith("clean/") else "noisy"
    said = [text for text in (row.text if row else None, beside) if text and normalise(text)]
    if len(said) == 2 and normalise(said[0]) != normalise(said[1]):
        line = row.line if row else 0
        found.errors.append(f"{name}: expected one transcript, found {said[0]!r} in line {line} of the table and {said[1]!r} beside it")
    return FolderClip(name, path, condition, said[0] if said else None, row.speaker if row else None)
