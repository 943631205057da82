"""Audio files: decoded, and refused where they cannot be heard; a wrong one is never mended in silence."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
import soundfile

from shared.training import TrainingConfig
from trainer.clips.fetch import ClipRefused
from trainer.clips.flac import HEAD_BYTES, MAX_S, has_no_length, with_length
from trainer.network.model import Samples

MAX_PEAK = float(2**31)
"""Full scale is 1, and that of integers which somebody stored as floats no more than this."""
SILENCE_PEAK = 2e-4
"""No sample above -74 dB of full scale, six steps of 16 bits: a muted line, whatever the reference says."""


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
