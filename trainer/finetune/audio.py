"""Audio of any rate and channel count, brought to what the model hears: mono, its rate, float32, once for each file."""

import os
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile
import soxr

from shared.audio_source import AudioPin
from shared.objectstore import crc32c_base64
from shared.training import Clip, ClipProvenance, SetAside, Stratum
from shared.whole_file import put_whole
from trainer.clips.audio import JUDGED, check_finite, check_length, check_sound, open_audio, read_waveform
from trainer.clips.fetch import ClipRefused
from trainer.clips.flac import MAX_RATE_HZ
from trainer.clips.load import UsableClip
from trainer.finetune.folder import FolderClip
from trainer.network.model import Samples

MIN_RATE_HZ = 100
"""Two samples for each frame of 20 ms: with fewer, a frame would be made of nothing but interpolation."""
MAX_FILE_BYTES = 1 << 30
"""Ten minutes of 192 kHz, 24 bits and two channels have 0.7 GB."""
BLOCK_VALUES = 1 << 20
"""Decoded at a time, over all channels: a few hundred kilobytes of FLAC can hold 12 GB of silence in eight channels."""
MP3_SAMPLES_PER_BYTE = 24
"""At most, for each channel: 8 kbit/s at 24 kHz, the lowest rate of the format."""
MP3_FRAME = 1_152
LENGTH_TAGS = (b"Xing", b"Info", b"VBRI")
LENGTH_TAG_BYTES = 4_096
"""How far behind the ID3 tag the first frame may hold them."""


@dataclass(frozen=True)
class DecodedClip:
    """A clip that can be heard.

    Attributes:
        source: where it came from.
        sha256: of the source's bytes.
        pin: the converted file.
        path: the same, mono float32 WAV at the model's rate.
        samples: its length.
        rate_hz: the model's rate.
    """

    source: FolderClip
    sha256: str
    pin: AudioPin
    path: Path
    samples: int
    rate_hz: int

    def waveform(self) -> Samples:
        """Return the audio: `(samples,)` float32 at the model's rate."""
        return read_waveform(self.path)

    def with_reference(self, reference: str, provenance: ClipProvenance, stratum: Stratum) -> UsableClip:
        """Return the clip as evaluation takes it, without labels; the cluster is the speaker, else the clip."""
        clip = Clip(
            utterance_id=self.source.utterance_id,
            cluster=self.source.speaker or self.source.utterance_id,
            stratum=stratum,
            audio=self.pin,
            reference=reference,
            provenance=provenance,
            duration_s=self.samples / self.rate_hz,
        )
        return UsableClip(clip, self.path, self.samples, labels=())


def load_audio(clips: Sequence[FolderClip], rate_hz: int, folder: Path) -> Iterator[DecodedClip | SetAside]:
    """Convert every clip into `folder`, many at a time, and yield for each, in order, what became of it.

    A file that was converted before is taken as it is. The same bytes under a second name are set aside: on both sides of a split they
    would train and judge.
    """
    folder.mkdir(parents=True, exist_ok=True)
    first: dict[str, str] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for source, outcome in zip(clips, pool.map(lambda clip: _load_or_set_aside(clip, rate_hz, folder), clips), strict=True):
            if isinstance(outcome, DecodedClip) and (same := first.setdefault(outcome.sha256, source.utterance_id)) != source.utterance_id:
                yield _aside(source, ClipRefused("duplicate", f"expected audio of its own, found that of {same}"))
            else:
                yield outcome


def decode_any(data: bytes, rate_hz: int) -> Samples:
    """Decode one audio file, mix it down and resample it: `(samples,)` float32 at `rate_hz`.

    Raises:
        ClipRefused: empty, not_audio, wrong_rate (not within `MIN_RATE_HZ` and `MAX_RATE_HZ`), too_short, too_long or silence.
    """
    mono, channels, found_hz = _read(data)
    check_length(len(mono), found_hz, JUDGED)
    check_sound(mono, channels=channels)
    resampled: Samples = mono if found_hz == rate_hz else soxr.resample(mono, found_hz, rate_hz)
    return resampled


def _read(data: bytes) -> tuple[Samples, int, int]:
    """Return the mix `(samples,)`, one more than a clip may have where there are more, the number of channels, and the rate."""
    with open_audio(data) as file:
        rate_hz, channels = int(file.samplerate), int(file.channels)
        if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
            raise ClipRefused("wrong_rate", f"expected {MIN_RATE_HZ}-{MAX_RATE_HZ} Hz, found {rate_hz}")
        limit = int(JUDGED.max_s * rate_hz) + 1
        if file.format != "MP3":
            return _mix_blocks(file, min(limit, file.frames)), channels, rate_hz
        limit = min(limit, MP3_SAMPLES_PER_BYTE * len(data) + 2 * MP3_FRAME)
        try:
            return _mix(_read_mp3(data, limit)), channels, rate_hz
        except soundfile.SoundFileError:  # it ends inside a frame: as far as it goes
            return _mix(_fill(file, limit)), channels, rate_hz


def _mix_blocks(file: soundfile.SoundFile, frames: int) -> Samples:
    """Read at most so many frames and mix them down, a block at a time; memory that is not filled is never touched."""
    mono, done, step = np.empty(frames, dtype=np.float32), 0, max(1, BLOCK_VALUES // file.channels)
    while done < frames and len(block := file.read(min(step, frames - done), dtype="float32", always_2d=True)):
        mono[done : done + len(block)] = _mix(block)
        done += len(block)
    return mono[:done]


def _mix(samples: Samples) -> Samples:
    """Return the mean over the channels of `(samples, channels)`. Raises ClipRefused (not_audio) where they are no numbers."""
    check_finite(samples)
    mono: Samples = samples.mean(axis=1, dtype=np.float32)
    return mono


def _read_mp3(data: bytes, limit: int) -> Samples:
    """Read an MP3 to its end.

    libsndfile believes the length in the first frame of a seekable MP3, or guesses one from the bit rate, and stops there; and reading it
    in pieces, it seeks to wrong places. From a pipe it reads on.
    """
    with _pipe(_without_length(data)) as descriptor, soundfile.SoundFile(descriptor, closefd=False) as file:
        return _fill(file, limit)


def _fill(file: soundfile.SoundFile, frames: int) -> Samples:
    """Read at most so many frames in one piece; memory that is not filled is never touched."""
    buffer = np.empty((frames, file.channels), dtype=np.float32)
    samples: Samples = file.read(out=buffer) if frames else buffer
    return samples


def _without_length(data: bytes) -> bytes:
    """Return an MP3 without what its first frame says about its length."""
    start = 0
    if data[:3] == b"ID3":  # its size: four bytes of seven bits
        start = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(data[6:10], (21, 14, 7, 0), strict=True))
    head = data[start : start + LENGTH_TAG_BYTES]
    for tag in LENGTH_TAGS:
        head = head.replace(tag, bytes(len(tag)), 1)
    return data[:start] + head + data[start + LENGTH_TAG_BYTES :]


@contextmanager
def _pipe(data: bytes) -> Iterator[int]:
    """Yield a descriptor from which `data` can be read once."""
    reader, writer = os.pipe()

    def write() -> None:
        with suppress(BrokenPipeError), os.fdopen(writer, "wb") as file:
            file.write(data)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        yield reader
    finally:
        os.close(reader)
        thread.join()


def _load_or_set_aside(source: FolderClip, rate_hz: int, folder: Path) -> DecodedClip | SetAside:
    try:
        data = _read_file(source.path)
    except OSError as error:
        return _aside(source, ClipRefused("missing", f"expected a file that can be read, found {error.strerror}"))
    except ClipRefused as refusal:
        return _aside(source, refusal)
    digest = sha256(data).hexdigest()
    path = folder / f"{digest}.wav"
    try:
        if not path.exists():
            _write(path, decode_any(data, rate_hz), rate_hz)
    except ClipRefused as refusal:
        return _aside(source, refusal)
    converted = path.read_bytes()
    pin = AudioPin(uri=path.resolve().as_uri(), crc32c=crc32c_base64(converted), size_bytes=len(converted))
    return DecodedClip(source, digest, pin, path, soundfile.info(path).frames, rate_hz)


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        data = file.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ClipRefused("too_long", f"expected at most {MAX_FILE_BYTES} bytes, found more")
    return data


def _write(path: Path, samples: Samples, rate_hz: int) -> None:
    buffer = BytesIO()
    soundfile.write(buffer, samples, rate_hz, format="WAV", subtype="FLOAT")
    put_whole(path, buffer.getvalue())


def _aside(source: FolderClip, refusal: ClipRefused) -> SetAside:
    return refusal.set_aside(source.utterance_id, source.condition)
