"""What a telephone line does to speech: noise, filters, codecs and rooms, by hand-worked numbers."""

import numpy as np
import pytest

from trainer.augment.acoustics import (
    SAMPLE_RATE_HZ,
    Audio,
    add_noise,
    equalise,
    reverberate,
    rms,
    set_level,
    white_noise,
)


def tone(frequency_hz: float, seconds: float = 1.0, level: float = 0.5) -> Audio:
    time_s = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (level * np.sin(2 * np.pi * frequency_hz * time_s)).astype(np.float32)


def impulse(samples: int) -> Audio:
    audio = np.zeros(samples, np.float32)
    audio[0] = 1.0
    return audio


def test_rms_of_three_and_minus_three_is_three() -> None:
    assert rms(np.array([3.0, -3.0], np.float32)) == 3.0


def test_rms_of_no_samples_is_zero() -> None:
    assert rms(np.zeros(0, np.float32)) == 0.0


def test_set_level_reaches_the_level() -> None:
    assert rms(set_level(tone(440), level=0.1)) == pytest.approx(0.1, rel=1e-5)


def test_set_level_stops_at_the_peak() -> None:
    # RMS 0.5 would need a gain of 1.2, which would take the one sample to 1.2
    assert set_level(impulse(4), level=0.6, peak=0.9).tolist() == pytest.approx([0.9, 0, 0, 0])


def test_silence_stays_silence() -> None:
    silence = np.zeros(100, np.float32)
    assert not set_level(silence).any()
    assert not add_noise(silence, tone(100, 100 / SAMPLE_RATE_HZ), 10).any()


def test_twenty_decibels_of_noise_have_a_tenth_of_the_amplitude() -> None:
    speech = tone(440)
    noise = white_noise(np.random.default_rng(0), speech.size)
    assert rms(add_noise(speech, noise, 20.0) - speech) == pytest.approx(rms(speech) / 10, rel=1e-4)


def test_a_colour_weakens_the_frequencies_that_it_names() -> None:
    dull = ((500.0, 2000.0), (0.0, -20.0))  # log-linear between: -10 dB at 1000 Hz
    gains = [rms(equalise(tone(frequency_hz), *dull)) / rms(tone(frequency_hz)) for frequency_hz in (250, 1000, 4000)]
    assert gains == pytest.approx([1.0, 10 ** (-10 / 20), 0.1], rel=0.02)


def test_an_echo_has_its_share_of_the_energy() -> None:
    echoed = reverberate(impulse(8000), np.random.default_rng(0), rt60_s=0.2, wet=0.2)
    # a first sample of 1 and an echo of energy 0.2 / 0.8
    assert float(np.square(echoed[1:]).sum()) == pytest.approx(0.25, rel=0.05)


def test_an_echo_falls_by_60_db_within_its_time() -> None:
    echoed = reverberate(impulse(8000), np.random.default_rng(0), rt60_s=0.4, wet=0.5)
    begin, end = rms(echoed[1:321]), rms(echoed[6080:6400])
    assert 20 * np.log10(begin / end) == pytest.approx(60 * 6079 / 6400, abs=2.0)


def test_a_dry_room_changes_nothing() -> None:
    assert (reverberate(tone(440), np.random.default_rng(0), rt60_s=0.3, wet=0.0) == tone(440)).all()
