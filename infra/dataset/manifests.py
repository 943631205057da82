"""What other tools read beside a dataset's audio: Hugging Face's audiofolder, a NeMo manifest, lhotse cuts [io].

hf      DIR/train/metadata.jsonl: `file_name` (relative to it), `transcription`, and the columns of `Line`. Every line of every split has
        the same columns, each of one type and none of them null, since the loader refuses splits whose types differ: a text that is
        unknown is empty, and a number that is unknown for one clip is a column that nobody has.
        Source: https://huggingface.co/docs/datasets/audio_dataset#audiofolder
nemo    DIR/train.json: `audio_filepath` (relative to it), `duration` in seconds, `text`, and what else is known.
        Source: https://docs.nvidia.com/nemo-framework/user-guide/latest/nemotoolkit/asr/datasets.html
lhotse  DIR/train.jsonl.gz: a CutSet of whole recordings, each with one supervision. Paths are absolute, since lhotse takes relative ones
        from where it runs: `CutSet.with_path_prefix` moves them.
        Source: https://lhotse.readthedocs.io/en/latest/cuts.html
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from infra.errors import Refused
from shared.documents import Frozen

Form = Literal["hf", "nemo", "lhotse"]
Lines = Mapping[str, Sequence["Line"]]
"""By split."""
MEASURED: frozenset[Form] = frozenset({"nemo", "lhotse"})
"""Tools that want every clip's length, as its file has it."""
NUMBERS = ("duration_s", "weight")


class Line(Frozen):
    """One clip of an export.

    Attributes:
        file_name: in the folder of its split.
        speaker: keyed hash of the speaker; nobody's name leaves with an export.
        provenance: whose word the transcription is.
        kind: a reported error, or a sample of all traffic.
        weight: utterances of traffic that it stands for.
        language: BCP 47 tag; empty = unknown.
        sha256: of the file.
        duration_s, weight: None = unknown; the length is known where a tool needs it (`MEASURED`).
    """

    file_name: str
    transcription: str
    speaker: str
    utterance_id: str
    provenance: Literal["human", "llm"]
    kind: Literal["error", "sample"]
    hypothesis: str
    language: str
    sha256: str
    duration_s: float | None
    weight: float | None


def write_manifests(form: Form, draft: Path, final: Path, lines: Lines) -> None:
    """Write what a tool reads beside the audio.

    Args:
        form: for which tool.
        draft: the folder with the audio, by split.
        final: what the folder will be called.
        lines: the clips of each split.

    Raises:
        Refused: a package that this takes is not installed.
    """
    _WRITERS[form](draft, final, lines)


def how_to_read(form: Form, folder: str) -> str:
    """Return how a person reads an export."""
    return {
        "hf": f'read it with load_dataset("audiofolder", data_dir="{folder}")',
        "nemo": f"read it with manifest_filepath={folder}/train.json",
        "lhotse": f'read it with CutSet.from_file("{folder}/train.jsonl.gz")',
    }[form]


def _hf(draft: Path, _: Path, lines: Lines) -> None:
    unknown = {name for name in NUMBERS for found in lines.values() for line in found if getattr(line, name) is None}
    for split, found in lines.items():
        _write_lines(draft / split / "metadata.jsonl", [line.model_dump(exclude=unknown) for line in found])


def _nemo(draft: Path, _: Path, lines: Lines) -> None:
    for split, found in lines.items():
        _write_lines(draft / f"{split}.json", [_nemo_line(split, line) for line in found])


def _nemo_line(split: str, line: Line) -> dict[str, object]:
    known = {"speaker": line.speaker, "lang": line.language}
    return {
        "audio_filepath": f"{split}/{line.file_name}",
        "duration": line.duration_s,
        "text": line.transcription,
        "utterance_id": line.utterance_id,
        **{name: value for name, value in known.items() if value},
    }


def _lhotse(draft: Path, final: Path, lines: Lines) -> None:
    try:
        from lhotse import CutSet, Recording, SupervisionSegment
    except ModuleNotFoundError as error:
        raise Refused(f"lhotse cuts need lhotse: run `pip install 'retune[lhotse]'` ({error})") from error
    for split, found in lines.items():
        cuts = []
        for line in found:
            recording = Recording.from_file(draft / split / line.file_name, recording_id=line.utterance_id)
            told = SupervisionSegment(
                id=line.utterance_id,
                recording_id=line.utterance_id,
                start=0.0,
                duration=recording.duration,
                text=line.transcription,
                language=line.language or None,
                speaker=line.speaker or None,
                custom={"provenance": line.provenance, "kind": line.kind, "sha256": line.sha256},
            )
            cut = recording.to_cut()
            cut.supervisions = [told]
            for source in recording.sources:
                source.source = str(final / split / line.file_name)
            cuts.append(cut)
        CutSet.from_cuts(cuts).to_file(draft / f"{split}.jsonl.gz")


def measured_s(path: Path) -> float | None:
    """Return the length of a clip in seconds, from its file; None = it is no audio that can be read.

    Raises:
        Refused: the package that reads audio is not installed.
    """
    try:
        import soundfile
    except ModuleNotFoundError as error:
        raise Refused(f"the length of a clip needs soundfile: run `pip install 'retune[local]'` ({error})") from error
    try:
        return round(float(soundfile.info(path).duration), 6)
    except soundfile.LibsndfileError:
        return None


def _write_lines(path: Path, lines: Sequence[Mapping[str, object]]) -> None:
    path.write_text("".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines), encoding="utf-8")


_WRITERS: Mapping[Form, Callable[[Path, Path, Lines], None]] = {"hf": _hf, "nemo": _nemo, "lhotse": _lhotse}
