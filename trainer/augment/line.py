"""Clean clips made to sound like the errors: their long-term spectrum, their noise and a room, measured on the errors' own audio.

A pair of recordings of the same words is not needed: over many clips the words average out, and what remains in the ratio of
the two spectra is the line.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shared.training import Augmentation
from trainer.augment import acoustics
from trainer.augment.acoustics import Audio

FRAME_S = 0.032
LOWEST_HZ = 62.5
KNOTS_PER_OCTAVE = 6
SMOOTHED_OCTAVES = 1 / 3
"""Speech has harmonics and a line does not: each knot is the mean power over a third of an octave."""
GAIN_DB = (-40.0, 20.0)
"""What a line cuts off may vanish; what clean clips lack cannot be had by raising their hiss."""
QUIET_SHARE = 0.1
"""Of a clip's frames, the quietest are taken for pauses."""
SNR_DB = (0.0, 60.0)
SNR_QUANTILES = 11
WET = (0.01, 0.1)
"""The echo's share of the energy: 10 to 20 dB below the voice, as near a handset."""
MUTED = 1e-12
"""Power of full scale below which a frame is no sound at all: no pause in which a line could be heard."""
FAINT = 1e-6
"""Share of a clip's power that counts as nothing in a band."""

Spectrum = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LineProfile:
    """What the errors sound like, compared with the clips that were right.

    Attributes:
        rate_hz: of the audio it was measured on.
        knots_hz: centres of the bands, rising.
        gains_db: for each band, what makes a clean clip sound like an error; empty = nothing to compare was found.
        noise_db: for each band, power of the errors' noise at equal bandwidth, the loudest band at 0; empty = no error has a sound.
        snr_db: quantiles, 0 to 1 in equal steps, of the errors' signal-to-noise ratios over a whole clip; empty = no error has a sound.
    """

    rate_hz: int
    knots_hz: tuple[float, ...]
    gains_db: tuple[float, ...]
    noise_db: tuple[float, ...]
    snr_db: tuple[float, ...]


@dataclass(frozen=True)
class _Heard:
    """Mean spectra of a set of clips, each brought to a power of 1, and the clips' signal-to-noise ratios."""

    signal: Spectrum
    noise: Spectrum
    snr_db: tuple[float, ...]


def measure(error_waveforms: Iterable[Audio], replay_waveforms: Iterable[Audio], rate_hz: int) -> LineProfile:
    """Measure how the errors' audio differs from that of the clips that were right.

    Clips without a whole frame (32 ms) or without any sound have no say.

    Args:
        error_waveforms: `(samples,)` float32 each, at `rate_hz`; read once, one at a time.
        replay_waveforms: the same of the clips to compare with.
        rate_hz: sampling rate of all.
    """
    knots = _knots(rate_hz)
    errors, replay = _hear(error_waveforms, rate_hz), _hear(replay_waveforms, rate_hz)
    if errors is None:
        return LineProfile(rate_hz, tuple(knots.tolist()), (), (), ())
    level = _decibels(_smooth(errors.noise, rate_hz, knots))
    snr = np.quantile(errors.snr_db, np.linspace(0, 1, SNR_QUANTILES))
    gains: tuple[float, ...] = ()
    if replay is not None:
        line, clean = (_decibels(_smooth(heard.signal, rate_hz, knots)) for heard in (errors, replay))
        gains = tuple(np.clip(line - clean, *GAIN_DB).tolist())
    return LineProfile(rate_hz, tuple(knots.tolist()), gains, tuple((level - level.max()).tolist()), tuple(snr.tolist()))


def apply(profile: LineProfile, samples: Audio, settings: Augmentation, rng: np.random.Generator) -> Audio:
    """Make one clean clip sound like the errors: echo of a room, the line's spectrum, then its noise.

    Noise is added only as far as the clip has less of its own than the errors have; how much these have is drawn from them.

    Args:
        profile: of the errors; what it lacks changes nothing.
        samples: `(samples,)` float32 at the profile's rate.
        settings: which of the three to do.
        rng: draws the room and the noise.

    Returns:
        `(samples,)` float32, as loud as before unless a sample would pass full scale. Silence stays silence.
    """
    loudness = acoustics.rms(samples)
    if loudness == 0.0:
        return samples.astype(np.float32)
    heard = samples.astype(np.float32)
    if settings.reverb_rt60_s is not None:
        heard = acoustics.reverberate(heard, rng, rng.uniform(*settings.reverb_rt60_s), rng.uniform(*WET), profile.rate_hz)
    if settings.equalise and profile.gains_db:
        heard = acoustics.equalise(heard, profile.knots_hz, profile.gains_db, profile.rate_hz)
    if settings.noise and profile.snr_db:
        snr_db = float(np.interp(rng.random(), np.linspace(0, 1, SNR_QUANTILES), profile.snr_db))
        noise = acoustics.equalise(acoustics.white_noise(rng, heard.size), profile.knots_hz, profile.noise_db, profile.rate_hz)
        missing = _missing_noise(heard, profile.rate_hz, snr_db)
        if missing > 0.0:
            heard = acoustics.add_noise(heard, noise, -10.0 * math.log10(missing))
    return acoustics.set_level(heard, loudness)


def _missing_noise(samples: Audio, rate_hz: int, snr_db: float) -> float:
    """Return the power of the noise to add, as a share of the clip's: what is wanted less what the clip's pauses have."""
    heard = _hear([samples], rate_hz)
    own = 0.0 if heard is None else float(heard.noise.sum())  # of a power of 1
    return max(0.0, (1.0 - own) * math.pow(10.0, -snr_db / 10.0) - own)


def _hear(waveforms: Iterable[Audio], rate_hz: int) -> _Heard | None:
    """Return the mean spectra, weighted by length; None where there is no sound."""
    frame = _frame_samples(rate_hz)
    signal, noise = np.zeros(frame // 2 + 1), np.zeros(frame // 2 + 1)
    frames, snrs = 0, []
    for samples in waveforms:
        powers = _frame_spectra(samples, frame)
        if not len(powers):
            continue
        total = powers.sum(axis=1)
        quiet = powers[np.argsort(total, kind="stable")[: max(1, round(QUIET_SHARE * len(powers)))]].mean(axis=0)
        loudness = total.mean()
        signal += powers.sum(axis=0) / loudness
        noise += quiet * (len(powers) / loudness)
        frames += len(powers)
        share = min(float(quiet.sum() / loudness), 1.0)
        snrs.append(float(np.clip(10 * np.log10(max(1.0 - share, FAINT) / max(share, FAINT)), *SNR_DB)))
    if not frames:
        return None
    return _Heard(np.maximum(signal - noise, FAINT * signal) / frames, noise / frames, tuple(snrs))


def _frame_spectra(samples: Audio, frame: int) -> Spectrum:
    """Return `(frames, bins)` power spectra of the frames with any sound, overlapping by half, each without its offset."""
    if samples.size < frame:
        return np.zeros((0, frame // 2 + 1))
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(np.float64), frame)[:: frame // 2]
    centred = frames - frames.mean(axis=1, keepdims=True)
    powers: Spectrum = np.square(np.abs(np.fft.rfft(centred * np.hanning(frame), axis=1)))
    sounding: Spectrum = powers[powers.sum(axis=1) > MUTED * frame * frame]
    return sounding


def _frame_samples(rate_hz: int) -> int:
    return int(2 ** round(np.log2(FRAME_S * rate_hz)))


def _knots(rate_hz: int) -> Spectrum:
    octaves = np.log2(rate_hz / 2 / LOWEST_HZ)
    knots: Spectrum = LOWEST_HZ * 2.0 ** (np.arange(int(octaves * KNOTS_PER_OCTAVE) + 1) / KNOTS_PER_OCTAVE)
    return knots


def _smooth(power: Spectrum, rate_hz: int, knots_hz: Spectrum) -> Spectrum:
    """Return the mean power in a band around each knot, of one bin at least."""
    bins_hz = np.arange(power.size) * (rate_hz / 2 / (power.size - 1))
    half = 2.0 ** (SMOOTHED_OCTAVES / 2)
    low = np.minimum(np.searchsorted(bins_hz, knots_hz / half), power.size - 1)
    high = np.maximum(np.searchsorted(bins_hz, knots_hz * half, side="right"), low + 1)
    total = np.concatenate([[0.0], np.cumsum(power)])
    smooth: Spectrum = (total[high] - total[low]) / (high - low)
    return smooth


def _decibels(power: Spectrum) -> Spectrum:
    """Return decibels; what is fainter than a share `FAINT` of the loudest band counts as so much."""
    decibels: Spectrum = 10.0 * np.log10(np.maximum(power, FAINT * max(float(power.max()), np.finfo(float).tiny)))
    return decibels
