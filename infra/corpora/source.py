"""Clips that a person offers for a suite or the replay: a folder or a manifest in, audio that the models hear and its digests out [io].

DIR/**/*.wav .flac .mp3 .ogg with DIR/transcripts.jsonl|csv|tsv (file, text, speaker_id) or a .txt beside each file
lines of JSON: audio_uri (gs://, file:// or a path beside the manifest), reference, and speaker_id or session_id where known
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

from pydantic import BaseModel, ConfigDict, Field

from infra.errors import Refused
from shared.audio_source import AudioPin, AudioSource
from shared.corpora import CorpusClip, Newcomer
from shared.documents import parse_lines, sha256_hex
from shared.errors import CorruptObject, InvalidMessage, NotFound, RetuneError
from shared.events import Id, Text
from shared.objectstore import ObjectStore, crc32c_base64
from shared.splits import audio_digest
from shared.stores import open_store

RATE_HZ = 16_000
VERBATIM = frozenset({"WAV", "FLAC"})
"""Kept as they are where rate and channels are right: their digest then is that of the same call in production."""
SHOWN = 5
"""Of a list of names in a message."""


class UnusableAudio(RetuneError):  # noqa: N818 - the taxonomy's names say the fact
    """One recording cannot be used; the text says why."""


@dataclass(frozen=True)
class Offered:
    """A clip that somebody offers.

    Attributes:
        label: its path in the folder, or its name in the manifest.
        uri: where its audio lies.
        reference: what was said, in a person's words.
        speaker, session: their ids; None where nobody says.
    """

    label: str
    uri: str
    reference: str
    speaker: str | None = None
    session: str | None = None


@dataclass(frozen=True)
class Offer:
    """What a folder or a manifest holds, and what is odd about it."""

    source: str
    clips: tuple[Offered, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Converted:
    """Audio that can be judged: one channel at 16 kHz."""

    data: bytes
    duration_s: float


Convert = Callable[[bytes], Converted]


@dataclass(frozen=True)
class Ready:
    """An offered clip whose audio waits on the local disk.

    Attributes:
        path: the converted audio.
        digests: of the recording, as it came and as it is kept.
    """

    offered: Offered
    path: Path
    digests: tuple[str, str]
    duration_s: float

    @property
    def names(self) -> tuple[str, ...]:
        """Every name of the speaker; the first is the one that counts. Without a speaker or session a clip stands alone."""
        told = (("speaker", self.offered.speaker), ("session", self.offered.session))
        return (*(f"{kind}:{value}" for kind, value in told if value), f"audio:{self.digests[1]}")

    def newcomer(self) -> Newcomer:
        """Return what the wall between training and judging looks at."""
        return Newcomer(self.offered.label, self.names, self.digests)

    def clip(self, utterance_id: str, pin: AudioPin) -> CorpusClip:
        """Return the clip as a manifest holds it."""
        return CorpusClip(
            utterance_id=utterance_id,
            audio=pin,
            reference=self.offered.reference,
            speaker=self.names[0],
            session=f"session:{self.offered.session}" if self.offered.session else None,
            duration_s=round(self.duration_s, 3),
        )


class _ManifestLine(BaseModel):
    """One line of a manifest; other fields are ignored, so that an exported event will do."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    audio_uri: str = Field(min_length=1)
    reference: Text
    utterance_id: Id | None = None
    speaker_id: Id | None = None
    session_id: Id | None = None


def read_offer(audio_dir: Path | None, manifest: Path | None, *, speaker_folders: bool = False) -> Offer:
    """Read the folder or the manifest, whichever is given.

    Args:
        audio_dir: a folder of audio with transcripts.
        manifest: lines of JSON.
        speaker_folders: a clip of which nobody tells the speaker is spoken by whom its sub-folder is named for.

    Raises:
        Refused: there is nothing that can be used.
        BadFolder: the folder contradicts itself.
    """
    offer = _read_folder(audio_dir, speaker_folders=speaker_folders) if audio_dir else _read_manifest(manifest or Path())
    if not offer.clips:
        raise Refused(f"{offer.source}: expected audio with references, found none; {'; '.join(offer.warnings)}".rstrip("; "))
    lone = [clip.label for clip in offer.clips if clip.speaker is None and clip.session is None]
    if lone:
        told = f"{len(lone)} of {len(offer.clips)} clips name no speaker, each is taken for a speaker of its own: {some(lone)}"
        offer = Offer(offer.source, offer.clips, (*offer.warnings, told))
    return offer


def _read_folder(folder: Path, *, speaker_folders: bool) -> Offer:
    from trainer.finetune.folder import read_folder  # brings jiwer: not for every command

    found = read_folder(folder, anywhere=True)
    clips = tuple(
        Offered(
            label=clip.utterance_id,
            uri=clip.path.resolve().as_uri(),
            reference=clip.transcript,
            speaker=clip.speaker or (_folder_name(clip.utterance_id) if speaker_folders else None),
        )
        for clip in found.clips
        if clip.transcript is not None
    )
    return Offer(str(folder), clips, tuple(text for text in found.warnings if "speaker_id" not in text))


def _folder_name(label: str) -> str | None:
    return PurePosixPath(label).parent.name or None


def _read_manifest(path: Path) -> Offer:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Refused(f"manifest {path}: expected a file that can be read, found {error.strerror}") from error
    lines = parse_lines(_ManifestLine, data, what=str(path))
    clips = [
        Offered(
            label=line.utterance_id or PurePosixPath(line.audio_uri).name,
            uri=line.audio_uri if "://" in line.audio_uri else (path.parent / line.audio_uri).resolve().as_uri(),
            reference=line.reference,
            speaker=line.speaker_id,
            session=line.session_id,
        )
        for line in lines
    ]
    silent = [clip.label for clip in clips if not clip.reference.split()]
    warnings = [f"{len(silent)} lines have an empty reference and are left out: {some(silent)}"] if silent else []
    return Offer(str(path), tuple(clip for clip in clips if clip.reference.split()), tuple(warnings))


def some(names: Sequence[str]) -> str:
    """Return the first few names."""
    return ", ".join(names[:SHOWN]) + (" ..." if len(names) > SHOWN else "")


def convert_with_trainer(data: bytes) -> Converted:
    """Decode a recording as `retune finetune` does and bring it to 16 kHz and one channel.

    Raises:
        UnusableAudio: it is no audio, too short, too long or silent.
        Refused: the trainer's packages are not installed.
    """
    try:
        import soundfile

        from trainer.clips.fetch import ClipRefused
        from trainer.finetune.audio import decode_any
    except ModuleNotFoundError as error:
        raise Refused(f"audio is converted with the trainer's packages: run `pip install 'retune[trainer]'` ({error})") from error
    try:
        samples = decode_any(data, RATE_HZ)
    except ClipRefused as refusal:
        raise UnusableAudio(refusal.detail) from refusal
    found = soundfile.info(BytesIO(data))
    if found.format not in VERBATIM or (found.samplerate, found.channels) != (RATE_HZ, 1):
        file = BytesIO()
        soundfile.write(file, samples, RATE_HZ, format="WAV", subtype="PCM_16")
        data = file.getvalue()
    return Converted(data, len(samples) / RATE_HZ)


def prepare(
    offer: Offer, scratch: Path, convert: Convert = convert_with_trainer, open_store: Callable[[str], ObjectStore] = open_store
) -> tuple[list[Ready], list[str]]:
    """Fetch and convert every clip into `scratch`; return them in order, and why others were left out.

    Raises:
        Retryable: a store could not be reached.
    """
    folders = tuple({clip.uri.rpartition("/")[0] for clip in offer.clips})
    audio = AudioSource(open_store, folders)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = list(pool.map(lambda clip: _prepare(clip, scratch, audio, convert), offer.clips))
    ready = list(_once([outcome for outcome in outcomes if isinstance(outcome, Ready)]))
    left_out = [outcome for outcome in outcomes if isinstance(outcome, str)]
    repeated = sum(isinstance(outcome, Ready) for outcome in outcomes) - len(ready)
    return ready, [*left_out, *([f"{repeated} recordings come twice"] if repeated else [])]


def _prepare(offered: Offered, scratch: Path, audio: AudioSource, convert: Convert) -> Ready | str:
    try:
        data = audio.fetch(audio.pin(offered.uri))
        converted = convert(data)
    except (UnusableAudio, NotFound, InvalidMessage, CorruptObject) as error:
        return f"{offered.label}: {error}"
    path = scratch / sha256_hex(converted.data)
    path.write_bytes(converted.data)
    return Ready(offered, path, (_digest(data), _digest(converted.data)), converted.duration_s)


def _digest(data: bytes) -> str:
    return audio_digest(AudioPin(uri="-", crc32c=crc32c_base64(data), size_bytes=len(data)))


def _once(ready: Sequence[Ready]) -> Iterator[Ready]:
    seen: set[str] = set()
    for item in ready:
        if item.digests[1] not in seen:
            seen.add(item.digests[1])
            yield item
