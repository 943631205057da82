"""What a room and a telephone line do to clean speech: pure functions of samples, with the randomness as an argument."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SAMPLE_RATE_HZ = 16_000
MU_LAW = 255.0
EDGE = 0.15
"""Of the cutoff frequency: over this share above it a low pass fades out."""
SPEED_OF_DECAY = math.log(1000.0)  # 60 dB is a factor of 1000 in amplitude

Audio = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Line:
    """How bad a telephone line may be; each utterance draws uniformly from the ranges.

    Attributes:
        cutoff_hz: what lies above does not pass; a line that is sampled at 8 kHz carries up to about 3400 Hz.
        snr_db: range of the signal-to-noise ratio in the room, over the whole band.
        rt60_s: range of the room's reverberation time, the time in which the echo falls by 60 dB.
        wet: range of the echo's share of the energy, in [0, 1).
    """

    cutoff_hz: float = 3400.0
    snr_db: tuple[float, float] = (25.0, 40.0)
    rt60_s: tuple[float, float] = (0.1, 0.25)
    wet: tuple[float, float] = (0.01, 0.06)


def rms(audio: Audio) -> float:
    """Return the root mean square of `audio`, (samples,); 0 for silence and for no samples."""
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64)))) if audio.size else 0.0


def set_level(audio: Audio, level: float = 0.08, peak: float = 0.99) -> Audio:
    """Scale to an RMS of `level` of full scale, or less where a sample would otherwise pass `peak`; silence stays silence."""
    loudness = rms(audio)
    if loudness == 0.0:
        return audio.astype(np.float32)
    gain = min(level / loudness, peak / float(np.max(np.abs(audio))))
    return (audio * gain).astype(np.float32)


def _fast_size(samples: int) -> int:
    """Return the next multiple of 4096: the Fourier transform of a length with a large prime factor takes ten times as long."""
    return max(1, -(-samples // 4096)) * 4096


def white_noise(rng: np.random.Generator, samples: int) -> Audio:
    """Return (samples,) white noise of RMS 1."""
    return rng.standard_normal(samples).astype(np.float32)


def pink_noise(rng: np.random.Generator, samples: int) -> Audio:
    """Return (samples,) noise of RMS 1 whose power falls with 1/f, as traffic and ventilation do."""
    size = _fast_size(samples)
    spectrum = np.fft.rfft(rng.standard_normal(size))
    spectrum /= np.sqrt(np.maximum(np.arange(spectrum.size), 1))
    spectrum[0] = 0.0
    noise: Audio = np.fft.irfft(spectrum, size)[:samples].astype(np.float32)
    noise /= np.float32(max(rms(noise), 1e-12))
    return noise


def add_noise(audio: Audio, noise: Audio, snr_db: float) -> Audio:
    """Add `noise` of the same shape at a signal-to-noise ratio of `snr_db` over the whole clip; silence stays as it is."""
    signal, disturbance = rms(audio), rms(noise)
    if signal == 0.0 or disturbance == 0.0:
        return audio.astype(np.float32)
    gain = signal / disturbance * math.pow(10.0, -snr_db / 20.0)
    return (audio + noise * gain).astype(np.float32)


def low_pass(audio: Audio, cutoff_hz: float) -> Audio:
    """Keep what lies below `cutoff_hz`; above, the gain falls to 0 as a squared sine within the share `EDGE`. Same shape, 16 kHz."""
    size = _fast_size(audio.size)
    frequency = np.fft.rfftfreq(size, 1.0 / SAMPLE_RATE_HZ)
    fall = np.clip((1.0 - frequency / cutoff_hz) / EDGE + 1.0, 0.0, 1.0)
    passed: Audio = np.fft.irfft(np.fft.rfft(audio, size) * np.square(np.sin(np.pi / 2 * fall)), size)[: audio.size].astype(np.float32)
    return passed


def equalise(audio: Audio, knots_hz: Sequence[float], gains_db: Sequence[float], rate_hz: int = SAMPLE_RATE_HZ) -> Audio:
    """Colour a clip as a throat, a microphone or a handset does: gains at `knots_hz`, linear over log frequency between them."""
    size = _fast_size(audio.size)
    frequency = np.maximum(np.fft.rfftfreq(size, 1.0 / rate_hz), 1.0)
    gain = np.power(10.0, np.interp(np.log(frequency), np.log(knots_hz), gains_db) / 20.0)
    coloured: Audio = np.fft.irfft(np.fft.rfft(audio, size) * gain, size)[: audio.size].astype(np.float32)
    return coloured


def mu_law(audio: Audio) -> Audio:
    """Quantise to 256 levels as a telephone exchange does. Source: ITU-T G.711, the continuous mu-law curve with mu = 255."""
    compressed = np.sign(audio) * np.log1p(MU_LAW * np.minimum(np.abs(audio), 1.0)) / np.log1p(MU_LAW)
    level = np.round(compressed * 127.0) / 127.0
    expanded: Audio = (np.sign(level) * np.expm1(np.abs(level) * np.log1p(MU_LAW)) / MU_LAW).astype(np.float32)
    return expanded


def reverberate(audio: Audio, rng: np.random.Generator, rt60_s: float, wet: float, rate_hz: int = SAMPLE_RATE_HZ) -> Audio:
    """Add the echo of a room: exponentially decaying noise as impulse response. Same shape; the tail is cut off.

    Args:
        audio: (samples,) at `rate_hz`.
        rng: draws the room.
        rt60_s: time in which the echo falls by 60 dB.
        wet: the echo's share of the energy, in [0, 1); 0 returns the clip unchanged.
        rate_hz: sampling rate.
    """
    length = round(rt60_s * rate_hz)
    if wet == 0.0 or length < 2 or audio.size == 0:
        return audio.astype(np.float32)
    time_s = np.arange(length) / rate_hz
    response = rng.standard_normal(length) * np.exp(-SPEED_OF_DECAY * time_s / rt60_s)
    response *= np.sqrt(wet / (1.0 - wet)) / np.linalg.norm(response)
    response[0] += 1.0
    size = _fast_size(audio.size + length - 1)
    heard: Audio = np.fft.irfft(np.fft.rfft(audio, size) * np.fft.rfft(response, size), size)[: audio.size].astype(np.float32)
    return heard


def through_telephone(audio: Audio, rng: np.random.Generator, line: Line) -> Audio:
    """Carry a clip from a room over a telephone line: echo, noise, band limit, 8-bit quantisation. (samples,) to (samples,)."""
    in_room = reverberate(audio, rng, rng.uniform(*line.rt60_s), rng.uniform(*line.wet))
    noise = pink_noise(rng, audio.size) + white_noise(rng, audio.size)
    noisy = add_noise(in_room, noise, rng.uniform(*line.snr_db))
    return mu_law(set_level(low_pass(noisy, line.cutoff_hz)))
