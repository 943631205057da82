"""The demo's telephone line does to speech what a line does."""

from dataclasses import replace

import numpy as np
import pytest

from infra.local.telephone import Line, low_pass, mu_law, pink_noise, through_telephone
from tests.unit.test_acoustics import tone
from trainer.augment.acoustics import SAMPLE_RATE_HZ, rms, set_level


@pytest.mark.parametrize(("frequency_hz", "gain"), [(50, 1.0), (1000, 1.0), (3400, 1.0), (3655, 0.5), (3950, 0.0), (6000, 0.0)])
def test_a_line_sampled_at_8_khz_passes_up_to_3400_hz(frequency_hz: float, gain: float) -> None:
    middle = slice(4000, 12000)  # the ends ring
    passed = low_pass(tone(frequency_hz), 3400)[middle]
    assert rms(passed) / rms(tone(frequency_hz)[middle]) == pytest.approx(gain, abs=0.02)


def test_mu_law_keeps_the_ends_and_the_sign() -> None:
    assert mu_law(np.array([-1, 0, 1], np.float32)).tolist() == [-1, 0, 1]


def test_mu_law_errs_in_proportion_to_the_sample() -> None:
    # half a step of 1/127 of the logarithm: at most (1 + 255)^(1/254) - 1 = 2.2% of (x + 1/255)
    samples = np.linspace(-1, 1, 2001, dtype=np.float32)
    assert (np.abs(mu_law(samples) - samples) <= 0.0222 * (np.abs(samples) + 1 / 255)).all()


def test_pink_noise_falls_three_decibels_an_octave() -> None:
    power = np.square(np.abs(np.fft.rfft(pink_noise(np.random.default_rng(0), 1 << 16))))
    low, high = power[1000:2000].mean(), power[2000:4000].mean()
    assert low / high == pytest.approx(2.0, rel=0.15)


@pytest.mark.parametrize("samples", [1, 399, 16_000, 40_961])
def test_a_telephone_keeps_the_length(samples: int) -> None:
    heard = through_telephone(tone(500, samples / SAMPLE_RATE_HZ), np.random.default_rng(0), Line())
    assert heard.shape == (samples,)
    assert heard.dtype == np.float32
    assert np.abs(heard).max() <= 1.0


def test_the_same_random_stream_gives_the_same_call() -> None:
    first, again, other = (through_telephone(tone(500), np.random.default_rng(seed), Line()) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_a_worse_line_is_noisier() -> None:
    def distortion(snr_db: float) -> float:
        line = replace(Line(), snr_db=(snr_db, snr_db), wet=(0.0, 0.0))
        heard = set_level(through_telephone(tone(1000), np.random.default_rng(0), line))
        return rms(heard - set_level(tone(1000)))

    assert distortion(30) < distortion(10) < distortion(0)
