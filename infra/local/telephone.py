"""The demo's telephone line, in samples: a room, noise, a band limit, 8-bit quantisation; the randomness is an argument."""

from dataclasses import dataclass

import numpy as np

from trainer.augment.acoustics import SAMPLE_RATE_HZ, Audio, add_noise, fast_size, reverberate, rms, set_level, white_noise

MU_LAW = 255.0
EDGE = 0.15
"""Of the cutoff frequency: over this share above it a low pass fades out."""


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


def through_telephone(audio: Audio, rng: np.random.Generator, line: Line) -> Audio:
    """Carry a clip from a room over a telephone line: echo, noise, band limit, 8-bit quantisation. (samples,) to (samples,)."""
    in_room = reverberate(audio, rng, rng.uniform(*line.rt60_s), rng.uniform(*line.wet))
    noise = pink_noise(rng, audio.size) + white_noise(rng, audio.size)
    noisy = add_noise(in_room, noise, rng.uniform(*line.snr_db))
    return mu_law(set_level(low_pass(noisy, line.cutoff_hz)))


def pink_noise(rng: np.random.Generator, samples: int) -> Audio:
    """Return (samples,) noise of RMS 1 whose power falls with 1/f, as traffic and ventilation do."""
    size = fast_size(samples)
    spectrum = np.fft.rfft(rng.standard_normal(size))
    spectrum /= np.sqrt(np.maximum(np.arange(spectrum.size), 1))
    spectrum[0] = 0.0
    noise: Audio = np.fft.irfft(spectrum, size)[:samples].astype(np.float32)
    noise /= np.float32(max(rms(noise), 1e-12))
    return noise


def low_pass(audio: Audio, cutoff_hz: float) -> Audio:
    """Keep what lies below `cutoff_hz`; above, the gain falls to 0 as a squared sine within the share `EDGE`. Same shape, 16 kHz."""
    size = fast_size(audio.size)
    frequency = np.fft.rfftfreq(size, 1.0 / SAMPLE_RATE_HZ)
    fall = np.clip((1.0 - frequency / cutoff_hz) / EDGE + 1.0, 0.0, 1.0)
    passed: Audio = np.fft.irfft(np.fft.rfft(audio, size) * np.square(np.sin(np.pi / 2 * fall)), size)[: audio.size].astype(np.float32)
    return passed


def mu_law(audio: Audio) -> Audio:
    """Quantise to 256 levels as a telephone exchange does. Source: ITU-T G.711, the continuous mu-law curve with mu = 255."""
    compressed = np.sign(audio) * np.log1p(MU_LAW * np.minimum(np.abs(audio), 1.0)) / np.log1p(MU_LAW)
    level = np.round(compressed * 127.0) / 127.0
    expanded: Audio = (np.sign(level) * np.expm1(np.abs(level) * np.log1p(MU_LAW)) / MU_LAW).astype(np.float32)
    return expanded
