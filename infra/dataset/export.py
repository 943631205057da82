"""A dataset as a folder for other tools, each file verified against its pin.

DIR/train/000001.wav ...     our train
DIR/validation/...           our dev
DIR/test/...                 our holdout
`manifests` writes what the tool reads beside them. A split without clips has no folder. DIR/provenance.json says where it is from.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from infra.dataset.manifests import MEASURED, Form, Line, how_to_read, measured_s, write_manifests
from infra.errors import Refused
from infra.new_folder import new_folder
from shared.audio_source import AudioPin, AudioSource
from shared.dataset import Row
from shared.documents import Frozen, lines_bytes, sha256_hex
from shared.errors import CorruptObject, InvalidMessage, NotFound
from shared.splits import Split

FOLDERS: Mapping[Split, str] = {"train": "train", "dev": "validation", "holdout": "test"}
SUFFIXES = frozenset({".wav", ".flac", ".mp3", ".ogg", ".opus"})
_MAGIC = ((b"RIFF", ".wav"), (b"fLaC", ".flac"), (b"OggS", ".ogg"), (b"ID3", ".mp3"), (b"\xff\xfb", ".mp3"))


class LeftOut(Frozen):
    """A clip that is not in the export, and why."""

    utterance_id: str
    reason: str


class Exported(Frozen):
    """What came of an export.

    Attributes:
        clips: by folder.
        left_out: usable clips whose audio could not be had as it was pinned.
        without_reference: rows that nobody transcribed.
        set_aside: rows that nobody can use.
    """

    folder: str
    form: Form
    source: str
    clips: dict[str, int]
    left_out: tuple[LeftOut, ...]
    without_reference: int
    set_aside: int


def export(folder: Path, form: Form, source: str, rows: Iterable[Row], audio: AudioSource, copies: Mapping[str, AudioPin]) -> Exported:
    """Write the usable rows of a dataset, each file verified against its pin; all of it, or nothing.

    Args:
        folder: must not exist, or be empty.
        form: for which tool.
        source: where the dataset is from, in words.
        rows: of the dataset; they are read several times.
        audio: reads pinned audio.
        copies: by utterance, where the holdout's audio was copied to.

    Raises:
        Refused: the folder holds something, or there is nothing to export.
        Retryable: a store could not be reached.
    """
    usable = (row for row in rows if row.usable and row.kind in {"error", "sample"})
    with new_folder(folder) as draft:
        lines, left_out = _place_all(draft, source, usable, audio, copies, measure=form in MEASURED)
        write_manifests(form, draft, folder.resolve(), lines)
        exported = Exported(
            folder=str(folder),
            form=form,
            source=source,
            clips={name: len(found) for name, found in sorted(lines.items())},
            left_out=tuple(left_out),
            without_reference=sum(row.kind in {"error", "sample"} and row.set_aside is None and row.reference is None for row in rows),
            set_aside=sum(row.set_aside is not None for row in rows),
        )
        provenance = {**exported.model_dump(exclude={"folder"}), "dataset_sha256": _digest(rows)}
        (draft / "provenance.json").write_text(json.dumps(provenance, indent=1), encoding="utf-8")
    return exported


def _digest(rows: Iterable[Row]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        digest.update(lines_bytes([row]))
    return digest.hexdigest()


def _place_all(
    draft: Path, source: str, usable: Iterable[Row], audio: AudioSource, copies: Mapping[str, AudioPin], *, measure: bool
) -> tuple[Mapping[str, Sequence[Line]], Sequence[LeftOut]]:
    lines: dict[str, list[Line]] = {}
    left_out: list[LeftOut] = []
    for row in usable:
        name = FOLDERS[row.split or "train"]
        line = _place(draft / name, len(lines.get(name, ())) + 1, row, audio, copies, measure=measure)
        if isinstance(line, LeftOut):
            left_out.append(line)
        else:
            lines.setdefault(name, []).append(line)
    if not lines:
        why = f"; {left_out[0].utterance_id}: {left_out[0].reason}" if left_out else ""
        raise Refused(f"{source}: expected clips with audio and a reference, found none{why}")
    return lines, left_out


def _place(folder: Path, number: int, row: Row, audio: AudioSource, copies: Mapping[str, AudioPin], *, measure: bool) -> Line | LeftOut:
    utterance = row.utterance_id or row.event_id
    pin = copies.get(utterance, row.audio)
    if pin is None or row.reference is None:
        return LeftOut(utterance_id=utterance, reason="no audio")
    try:
        data = audio.fetch(pin)
    except (NotFound, CorruptObject, InvalidMessage) as error:
        return LeftOut(utterance_id=utterance, reason=str(error))
    suffix = audio_suffix(data, pin.uri if row.audio is None else row.audio.uri)
    if suffix is None:
        return LeftOut(utterance_id=utterance, reason=f"{pin.uri}: expected one of {', '.join(sorted(SUFFIXES))}, found no such audio")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{number:06d}{suffix}"
    path.write_bytes(data)
    length_s = measured_s(path) if measure else row.duration_s
    if measure and length_s is None:
        path.unlink()
        return LeftOut(
            utterance_id=utterance, reason=f"{pin.uri}: expected audio whose length can be told, found other; --hf takes it as it is"
        )
    return Line(
        file_name=path.name,
        transcription=row.reference,
        speaker=row.cluster or "",
        utterance_id=utterance,
        provenance=row.reference_provenance or "human",
        kind="sample" if row.kind == "sample" else "error",
        hypothesis=row.hypothesis or "",
        language=row.language or "",
        sha256=sha256_hex(data),
        duration_s=length_s,
        weight=row.weight,
    )


def audio_suffix(data: bytes, uri: str) -> str | None:
    """Return the suffix that audio needs for a loader to take it: by its first bytes, else by its address; None = it is no audio."""
    magic = next((suffix for start, suffix in _MAGIC if data.startswith(start)), None)
    told = PurePosixPath(uri).suffix.lower()
    return magic or (told if told in SUFFIXES else None)


def render_exported(exported: Exported) -> str:
    """Return what came of an export for people."""
    clips = ", ".join(f"{count} {name}" for name, count in exported.clips.items())
    lines = [
        f"{exported.source} is in {exported.folder}: {clips}",
        f"  {how_to_read(exported.form, exported.folder)}",
        f"  not in it: {exported.without_reference} rows that nobody transcribed, {exported.set_aside} set aside",
    ]
    return "\n".join([*lines, *(f"  left out {item.utterance_id}: {item.reason}" for item in exported.left_out)])
