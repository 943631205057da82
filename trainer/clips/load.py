"""Audio and references of a cycle's clips: fetched, decoded and checked; what cannot be used is set aside with a reason."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import soundfile
import torch

from shared.audio_source import AudioPin
from shared.errors import CorruptObject, InvalidMessage, NotFound
from shared.normalisation import normalise
from shared.training import HEARD_ROLES, AnyClip, Clip, SetAside, SetAsideReason, SetRole, TrainingConfig, UnlabelledClip
from shared.whole_file import put_whole
from trainer.clips.flac import HEAD_BYTES, MAX_S, has_no_length, with_length
from trainer.clips.verbalise import Unreadable, as_spoken
from trainer.network.align import LogProbs
from trainer.network.batching import pad_features
from trainer.network.decode import Unspellable, ctc_frames_needed
from trainer.network.forward import convolve, encode
from trainer.network.model import AcousticModel, Samples

Loaded = TypeVar("Loaded")

DOWNLOADS = 16
MAX_PEAK = float(2**31)
"""Full scale is 1, and that of integers which somebody stored as floats no more than this."""
SILENCE_PEAK = 2e-4
"""No sample above -74 dB of full scale, six steps of 16 bits: a muted line, whatever the reference says."""


class AudioFetcher(Protocol):
    """What we need of `shared.audio_source.AudioSource`."""

    def fetch(self, pin: AudioPin) -> bytes:
        """Return the very bytes that were pinned.

        Raises:
            NotFound: they are gone.
            CorruptObject: other bytes stand there.
            InvalidMessage: the address lies under no allowed prefix.
        """
        ...


class ClipRefused(Exception):  # noqa: N818 - says the fact, as the taxonomy does
    """One clip cannot be used."""

    def __init__(self, reason: SetAsideReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason: SetAsideReason = reason
        self.detail = detail

    def set_aside(self, utterance_id: str, set_name: str) -> SetAside:
        """Return the record of the clip that was refused."""
        return SetAside(utterance_id=utterance_id, set_name=set_name, reason=self.reason, detail=self.detail)


@dataclass(frozen=True)
class Bounds:
    """How long a clip may be, in seconds, and for what."""

    min_s: float
    max_s: float
    purpose: str


JUDGED = Bounds(0.1, MAX_S, "to be heard")
"""What a set that judges may hold; training and dev clips have narrower bounds."""


def training_bounds(config: TrainingConfig) -> Bounds:
    """Return how long a clip of train or dev may be."""
    return Bounds(config.min_duration_s, config.max_duration_s, "to train on")


@dataclass(frozen=True)
class UsableClip:
    """A checked clip; its audio waits on the local disk.

    Attributes:
        path: the audio file as fetched.
        samples: its length.
        labels: what CTC is to spell; empty in a set that judges.
    """

    clip: Clip
    path: Path
    samples: int
    labels: tuple[int, ...]

    def waveform(self) -> Samples:
        """Decode the audio: `(samples,)` float32 in [-1, 1]."""
        return read_waveform(self.path)


@dataclass(frozen=True)
class UnlabelledOnDisk:
    """A checked clip whose text nobody knows yet; its audio waits on the local disk, under its SHA-256."""

    clip: UnlabelledClip
    set_name: str
    path: Path
    samples: int

    def waveform(self) -> Samples:
        """Decode the audio: `(samples,)` float32 in [-1, 1]."""
        return read_waveform(self.path)


def read_waveform(path: Path) -> Samples:
    """Decode a checked audio file: `(samples,)` float32 in [-1, 1]."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    source = BytesIO(with_length(path.read_bytes())) if has_no_length(head) else path
    samples: Samples
    samples, _ = soundfile.read(source, dtype="float32")
    return samples


def decode_audio(data: bytes, rate_hz: int, bounds: Bounds) -> Samples:
    """Decode one mono audio file (anything libsndfile reads).

    Raises:
        ClipRefused: empty, not_audio, wrong_rate, too_short or too_long. A wrong rate is never resampled in silence: the
            service that served the clip did not, either.
    """
    with open_audio(data) as file:
        if file.samplerate != rate_hz:
            raise ClipRefused("wrong_rate", f"expected {rate_hz} Hz, found {file.samplerate}")
        if file.channels != 1:
            raise ClipRefused("not_audio", f"expected one channel, found {file.channels}")
        # a header may claim any length: never read more than one sample past the limit
        samples: Samples = file.read(int(bounds.max_s * rate_hz) + 1, dtype="float32")
    check_length(samples.size, rate_hz, bounds)
    check_finite(samples)
    return samples


@contextmanager
def open_audio(data: bytes) -> Iterator[soundfile.SoundFile]:
    """Yield the file that `data` are, to be read inside the block.

    Raises:
        ClipRefused: empty, or not_audio: opened or read, libsndfile can make nothing of it.
    """
    if not data:
        raise ClipRefused("empty", "expected audio, found 0 bytes")
    try:
        with soundfile.SoundFile(BytesIO(with_length(data))) as file:
            yield file
    except soundfile.SoundFileError as error:
        raise ClipRefused("not_audio", f"expected an audio file, found {len(data)} bytes that are none: {error}") from error


def check_length(samples: int, rate_hz: int, bounds: Bounds) -> None:
    """Refuse a clip that is outside the bounds.

    Raises:
        ClipRefused: empty, too_long or too_short.
    """
    if not samples:
        raise ClipRefused("empty", "expected samples, found a header alone")
    if samples > bounds.max_s * rate_hz:  # how much longer, nobody has read
        raise ClipRefused("too_long", f"expected at most {bounds.max_s:g} s {bounds.purpose}, found more")
    if samples < bounds.min_s * rate_hz:
        raise ClipRefused("too_short", f"expected at least {bounds.min_s:g} s {bounds.purpose}, found {samples / rate_hz:.3f}")


def check_finite(samples: Samples) -> None:
    """Refuse samples that are no numbers, or so large that their variance is none.

    Raises:
        ClipRefused: not_audio.
    """
    if not np.isfinite(samples).all():
        raise ClipRefused("not_audio", "expected finite samples, found NaN or infinity")
    if samples.size and (peak := float(np.abs(samples).max())) > MAX_PEAK:
        raise ClipRefused("not_audio", f"expected samples of at most {MAX_PEAK:g}, found {peak:g}")


def check_sound(samples: Samples, channels: int = 1) -> None:
    """Refuse `(samples,)`, the mix of so many channels, in which nothing is heard.

    Raises:
        ClipRefused: silence.
    """
    if float(np.abs(samples).max()) < SILENCE_PEAK:
        mixed = f" in the mix of {channels} channels" if channels > 1 else ""
        raise ClipRefused("silence", f"expected speech, found no sample above {SILENCE_PEAK:g} of full scale{mixed}")


def check_labels(clip: Clip, samples: int, model: AcousticModel, config: TrainingConfig) -> tuple[int, ...]:
    """Return the labels of a training clip.

    Raises:
        ClipRefused: bad_reference (empty, or characters that the vocabulary cannot spell), or too_dense: CTC has fewer
            frames than the labels need, so that its loss is infinite, or nobody speaks that fast.
    """
    try:
        labels = model.vocabulary.encode(clip.reference)
    except Unspellable as error:
        raise ClipRefused("bad_reference", str(error)) from error
    if not labels:
        raise ClipRefused("bad_reference", "expected words, found none")
    frames, needed = model.frames_of(samples), ctc_frames_needed(labels)
    if frames < needed:
        raise ClipRefused("too_dense", f"expected at most {frames} CTC frames, found labels that need {needed}")
    rate = len(labels) * model.sampling_rate_hz / samples
    if rate > config.max_chars_per_s:
        raise ClipRefused("too_dense", f"expected at most {config.max_chars_per_s:g} characters a second, found {rate:.1f}")
    return tuple(labels)


class ClipLoader:
    """Fetches clips into a folder, many at a time, and checks each."""

    def __init__(self, audio: AudioFetcher, model: AcousticModel, config: TrainingConfig, folder: Path) -> None:
        self._audio = audio
        self._model = model
        self._config = config
        self._bounds = training_bounds(config)
        self._folder = folder
        self._hearing = threading.Lock()
        self._kept: dict[AudioPin, Path] = {}  # a clip may be in several sets: its audio is fetched once
        folder.mkdir(parents=True, exist_ok=True)

    def load(self, clips: Sequence[Clip], set_name: str, role: SetRole) -> Iterator[UsableClip | SetAside]:
        """Yield for each clip, in order, what became of it.

        Raises:
            Retryable: a store could not be reached.
        """
        return self._load_each(clips, set_name, lambda clip: self._load_one(clip, role))

    def load_unlabelled(self, clips: Sequence[UnlabelledClip], set_name: str) -> Iterator[UnlabelledOnDisk | SetAside]:
        """Yield for each clip without a text, in order, what became of it; see `load`."""
        return self._load_each(
            clips, set_name, lambda clip: UnlabelledOnDisk(clip, set_name, *self._load_audio(clip.audio, self._bounds, spoken=True))
        )

    def _load_each(self, clips: Sequence[AnyClip], set_name: str, load: Callable[[AnyClip], Loaded]) -> Iterator[Loaded | SetAside]:
        def load_or_set_aside(clip: AnyClip) -> Loaded | SetAside:
            try:
                return load(clip)
            except ClipRefused as refusal:
                return refusal.set_aside(clip.utterance_id, set_name)

        with ThreadPoolExecutor(DOWNLOADS) as pool:
            yield from pool.map(load_or_set_aside, clips)

    def _load_one(self, clip: Clip, role: SetRole) -> UsableClip:
        bounds = JUDGED if role == "judge" else self._bounds  # what no model may learn from need not be heard again either
        path, samples = self._load_audio(clip.audio, bounds, spoken=bool(normalise(clip.reference)))
        if role in HEARD_ROLES:
            return UsableClip(clip, path, samples, ())
        clip = self._written_out(clip, path)
        return UsableClip(clip, path, samples, check_labels(clip, samples, self._model, self._config))

    def _load_audio(self, pin: AudioPin, bounds: Bounds, *, spoken: bool) -> tuple[Path, int]:
        """Return where a clip's audio lies and its length; `spoken` audio must not be silent."""
        known = self._kept.get(pin)
        data = known.read_bytes() if known else self._fetch(pin)
        samples = decode_audio(data, self._model.sampling_rate_hz, bounds)
        if spoken:
            check_sound(samples)
        self._kept[pin] = path = known or self._keep(data)
        return path, samples.size

    def _written_out(self, clip: Clip, path: Path) -> Clip:
        """Return the clip with the numbers in its reference written out; of several readings the one that the model hears best."""
        try:
            spoken = as_spoken(clip.reference, self._config.language, lambda: self._hear(path), self._model.vocabulary)
        except Unreadable as error:
            raise ClipRefused("bad_reference", str(error)) from error
        return clip.model_copy(update={"reference": spoken})

    def _hear(self, path: Path) -> LogProbs:
        with self._hearing, torch.inference_mode():  # one at a time: such clips are rare, and the network takes all cores
            logits = encode(self._model.network, *pad_features(convolve(self._model, [read_waveform(path)])))[0]
        log_probs: LogProbs = logits.float().log_softmax(dim=-1).cpu().numpy()
        return log_probs

    def _fetch(self, pin: AudioPin) -> bytes:
        try:
            return self._audio.fetch(pin)
        except NotFound as error:
            raise ClipRefused("missing", str(error)) from error
        except CorruptObject as error:
            raise ClipRefused("changed", str(error)) from error
        except InvalidMessage as error:
            raise ClipRefused("not_allowed", str(error)) from error

    def _keep(self, data: bytes) -> Path:
        path = self._folder / sha256(data).hexdigest()
        if not path.exists():
            put_whole(path, with_length(data))  # for readers that only know files with a length
        return path


def drop_repeated(clips: Sequence[AnyClip], set_name: str) -> tuple[list[AnyClip], list[SetAside]]:
    """Keep the first clip of each utterance: a repeated one would weigh twice in training."""
    first: dict[str, AnyClip] = {}
    repeated = [clip for clip in clips if first.setdefault(clip.utterance_id, clip) is not clip]
    aside = [SetAside(utterance_id=clip.utterance_id, set_name=set_name, reason="duplicate") for clip in repeated]
    return list(first.values()), aside


def leaked(by_role: Mapping[SetRole, Sequence[Clip | UnlabelledClip]]) -> list[str]:
    """Return the utterances that are trained or tuned on and also judge: there must be none."""
    judging = {clip.utterance_id for clip in by_role.get("judge", ())}
    return sorted({clip.utterance_id for role, clips in by_role.items() if role not in HEARD_ROLES for clip in clips} & judging)
