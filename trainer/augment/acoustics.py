"""What a room and a line do to clean speech: pure functions of samples, with the randomness as an argument."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

SAMPLE_RATE_HZ = 16_000
SPEED_OF_DECAY = math.log(1000.0)
"""60 dB is a factor of 1000 in amplitude."""

Audio = npt.NDArray[np.float32]


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


def fast_size(samples: int) -> int:
    """Return the next multiple of 4096: the Fourier transform of a length with a large prime factor takes ten times as long."""
    return max(1, -(-samples // 4096)) * 4096


def white_noise(rng: np.random.Generator, samples: int) -> Audio:
    """Return (samples,) white noise of RMS 1."""
    return rng.standard_normal(samples).astype(np.float32)


def add_noise(audio: Audio, noise: Audio, snr_db: float) -> Audio:
    """Add `noise` of the same shape at a signal-to-noise ratio of `snr_db` over the whole clip; silence stays as it is."""
    signal, disturbance = rms(audio), rms(noise)
    if signal == 0.0 or disturbance == 0.0:
        return audio.astype(np.float32)
    gain = signal / disturbance * math.pow(10.0, -snr_db / 20.0)
    return (audio + noise * gain).astype(np.float32)


def equalise(audio: Audio, knots_hz: Sequence[float], gains_db: Sequence[float], rate_hz: int = SAMPLE_RATE_HZ) -> Audio:
    """Colour a clip as a throat, a microphone or a handset does: gains at `knots_hz`, linear over log frequency between them."""
    size = fast_size(audio.size)
    frequency = np.maximum(np.fft.rfftfreq(size, 1.0 / rate_hz), 1.0)
    gain = np.power(10.0, np.interp(np.log(frequency), np.log(knots_hz), gains_db) / 20.0)
    coloured: Audio = np.fft.irfft(np.fft.rfft(audio, size) * gain, size)[: audio.size].astype(np.float32)
    return coloured


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
    size = fast_size(audio.size + length - 1)
    heard: Audio = np.fft.irfft(np.fft.rfft(audio, size) * np.fft.rfft(response, size), size)[: audio.size].astype(np.float32)
    return heard
