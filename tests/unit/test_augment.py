"""What a line does to speech is measured on the errors and done to clean clips."""

from collections.abc import Sequence

import numpy as np
import pytest

from infra.local.telephone import pink_noise
from shared.training import Augmentation
from trainer.augment.acoustics import Audio, add_noise, rms, white_noise
from trainer.augment.line import LineProfile, apply, measure

RATE_HZ = 16_000
ALL = Augmentation(share=1.0, reverb_rt60_s=(0.1, 0.3))
LINE = Augmentation(share=1.0)
COLOUR = Augmentation(share=1.0, noise=False)
NOISE = Augmentation(share=1.0, equalise=False)
SPEAKS = np.tile(np.repeat([True, False], RATE_HZ // 4), 4)  # two seconds: a quarter of a second of sound, as much of pause


def bursts(seed: int) -> Audio:
    """Return two seconds of white bursts with pauses, RMS 0.1, with hardly any noise in the pauses."""
    rng = np.random.default_rng(seed)
    return add_noise((white_noise(rng, SPEAKS.size) * SPEAKS * 0.14).astype(np.float32), white_noise(rng, SPEAKS.size), 60.0)


def weaken(samples: Audio, above_hz: float, decibels: float, rate_hz: int = RATE_HZ) -> Audio:
    spectrum = np.fft.rfft(samples)
    spectrum[np.fft.rfftfreq(samples.size, 1 / rate_hz) > above_hz] *= 10 ** (-decibels / 20)
    return np.fft.irfft(spectrum, samples.size).astype(np.float32)


def band_db(samples: Audio, low_hz: float, high_hz: float, rate_hz: int = RATE_HZ) -> float:
    """Return the mean power density of a band in dB."""
    frequency = np.fft.rfftfreq(samples.size, 1 / rate_hz)
    return float(10 * np.log10(np.square(np.abs(np.fft.rfft(samples)))[(frequency > low_hz) & (frequency < high_hz)].mean()))


def fall_db(samples: Audio) -> float:
    """Return by how much the highs are weaker than the lows."""
    return band_db(samples, 300, 3500) - band_db(samples, 4600, 7800)


def snr_db(samples: Audio, at: Sequence[int] = range(8)) -> float:
    """Return the ratio over a whole clip like `bursts`, from the pauses that it is known to have (their edges left out)."""
    pauses = np.concatenate([samples[number * 4000 + 300 : number * 4000 + 3700] for number in at if number % 2])
    return float(20 * np.log10(np.sqrt(rms(samples) ** 2 - rms(pauses) ** 2) / rms(pauses)))


def noisy(seed: int, snr: float) -> Audio:
    return add_noise(bursts(seed), white_noise(np.random.default_rng(seed + 100), SPEAKS.size), snr)


CLEAN = [bursts(seed) for seed in range(8)]
SAME: LineProfile = measure(CLEAN, CLEAN, RATE_HZ)


@pytest.mark.parametrize("loss_db", [6.0, 25.0])
def test_a_white_clip_loses_the_highs_that_a_telephone_cuts_off(loss_db: float) -> None:
    profile = measure([weaken(clip, 4000, loss_db) for clip in CLEAN[:4]], CLEAN[4:], RATE_HZ)
    heard = apply(profile, white_noise(np.random.default_rng(9), 32_000), COLOUR, np.random.default_rng(0))
    assert fall_db(heard) == pytest.approx(loss_db, abs=1.5)
    lows = [gain for knot, gain in zip(profile.knots_hz, profile.gains_db, strict=True) if 300 < knot < 3300]
    assert np.ptp(lows) < 1.5


def test_what_a_line_lets_through_nothing_of_is_lost_by_forty_decibels() -> None:
    profile = measure([weaken(clip, 4000, 200) for clip in CLEAN[:4]], CLEAN[4:], RATE_HZ)
    assert min(profile.gains_db) == -40
    assert fall_db(apply(profile, CLEAN[0], COLOUR, np.random.default_rng(0))) == pytest.approx(40, abs=2)


def test_highs_that_clean_clips_lack_are_raised_by_no_more_than_twenty_decibels() -> None:
    assert max(measure(CLEAN[:4], [weaken(clip, 4000, 60) for clip in CLEAN[4:]], RATE_HZ).gains_db) == 20


def test_noise_on_the_line_is_not_taken_for_the_voice() -> None:
    # the line passes nothing above 4 kHz, but hiss is added behind it: the gain is that of the voice
    errors = [
        add_noise(weaken(clip, 4000, 200), white_noise(np.random.default_rng(50 + number), clip.size), 10.0)
        for number, clip in enumerate(CLEAN[:4])
    ]
    profile = measure(errors, CLEAN[4:], RATE_HZ)
    highs = [gain for knot, gain in zip(profile.knots_hz, profile.gains_db, strict=True) if knot > 4600]
    hiss = [band_db(clip, 4600, 7800) - band_db(clip, 300, 3500) for clip in errors]
    assert max(highs) < np.mean(hiss) - 5


@pytest.mark.parametrize("snr", [5.0, 15.0, 25.0])
@pytest.mark.parametrize("settings", [NOISE, LINE])
def test_a_clean_clip_gets_the_errors_signal_to_noise_ratio(snr: float, settings: Augmentation) -> None:
    errors = [noisy(seed, snr) for seed in range(4)]
    profile = measure(errors, CLEAN[4:], RATE_HZ)
    for seed, clip in enumerate(CLEAN[4:]):
        heard = apply(profile, clip, settings, np.random.default_rng(seed))
        assert snr_db(heard) == pytest.approx(np.mean([snr_db(error) for error in errors]), abs=3)


def test_the_ratio_is_drawn_from_those_of_the_errors() -> None:
    profile = measure([noisy(seed, 5.0 if seed % 2 else 25.0) for seed in range(8)], CLEAN, RATE_HZ)
    drawn = [snr_db(apply(profile, CLEAN[0], NOISE, np.random.default_rng(seed))) for seed in range(20)]
    assert min(drawn) < 8
    assert max(drawn) > 22


def test_the_noise_has_the_spectrum_of_the_errors_pauses() -> None:
    errors = [add_noise(bursts(seed), pink_noise(np.random.default_rng(seed), SPEAKS.size), 5.0) for seed in range(4)]
    heard = apply(measure(errors, CLEAN[4:], RATE_HZ), CLEAN[5], NOISE, np.random.default_rng(0))
    pause = heard[4300:7700]
    # pink: power falls with 1/f, so a band at 4 kHz is 12 dB below one at 250 Hz
    assert band_db(pause, 180, 340) - band_db(pause, 2900, 5500) == pytest.approx(12, abs=3)


def test_a_clip_that_is_as_noisy_as_the_errors_gets_no_more_noise() -> None:
    profile = measure([noisy(seed, 15.0) for seed in range(4)], CLEAN[4:], RATE_HZ)
    clip = noisy(9, 15.0)
    assert snr_db(apply(profile, clip, NOISE, np.random.default_rng(0))) == pytest.approx(snr_db(clip), abs=1)


def test_a_stretch_that_is_muted_is_not_taken_for_a_quiet_line() -> None:
    rest_of_a_filter = white_noise(np.random.default_rng(0), 8000) * np.float32(1e-8)
    profile = measure([np.concatenate([noisy(seed, 15.0), rest_of_a_filter]) for seed in range(4)], CLEAN[4:], RATE_HZ)
    assert snr_db(apply(profile, CLEAN[4], NOISE, np.random.default_rng(0))) == pytest.approx(15, abs=3)


def test_a_loud_clip_weighs_no_more_than_a_faint_one() -> None:
    dull = weaken(CLEAN[0], 4000, 20)
    even, uneven = (measure([dull, CLEAN[1] * np.float32(factor)], CLEAN[2:], RATE_HZ) for factor in (1.0, 9.0))
    np.testing.assert_allclose(even.gains_db, uneven.gains_db, atol=1e-3)


def test_errors_that_sound_like_the_rest_change_the_colour_of_nothing() -> None:
    np.testing.assert_allclose(SAME.gains_db, 0, atol=1e-9)
    np.testing.assert_allclose(apply(SAME, CLEAN[0], COLOUR, np.random.default_rng(0)), CLEAN[0], atol=1e-5)


def test_only_what_is_asked_for_is_done() -> None:
    profile = measure([noisy(1, 5.0)], [weaken(CLEAN[0], 4000, 20)], RATE_HZ)
    nothing = Augmentation(share=1.0, noise=False, equalise=False)
    np.testing.assert_allclose(apply(profile, CLEAN[0], nothing, np.random.default_rng(0)), CLEAN[0], rtol=1e-5)
    room = nothing.model_copy(update={"reverb_rt60_s": (0.3, 0.3)})
    click = np.zeros(8000, np.float32)
    click[100] = 0.5
    echo = apply(profile, click, room, np.random.default_rng(0))
    # 0.3 s are 4800 samples; at the end of the echo it is 60 dB down
    assert rms(echo[:100]) < 1e-6 < rms(echo[4000:4900])
    assert rms(echo[101:2500]) > 5 * rms(echo[2500:4900])
    assert rms(echo[5000:]) < 1e-6


def test_the_same_random_stream_gives_the_same_clip() -> None:
    profile = measure([noisy(1, 5.0)], CLEAN, RATE_HZ)
    first, again, other = (apply(profile, CLEAN[0], ALL, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("samples", [0, 1, 100, 511, 512, 20_001])
def test_length_level_and_type_stay(samples: int) -> None:
    profile = measure([noisy(1, 5.0)], [weaken(CLEAN[0], 4000, 20)], RATE_HZ)
    clip = white_noise(np.random.default_rng(0), samples) * np.float32(0.05)
    heard = apply(profile, clip, ALL, np.random.default_rng(0))
    assert heard.shape == (samples,)
    assert heard.dtype == np.float32
    assert np.isfinite(heard).all()
    assert rms(heard) == pytest.approx(rms(clip), rel=1e-4)


def test_silence_stays_silence() -> None:
    profile = measure([noisy(1, 5.0)], CLEAN, RATE_HZ)
    assert not apply(profile, np.zeros(5000, np.float32), ALL, np.random.default_rng(0)).any()


def test_clipped_audio_stays_within_full_scale() -> None:
    clipped = np.clip(white_noise(np.random.default_rng(0), 16_000), -1, 1).astype(np.float32)
    heard = apply(measure([clipped], CLEAN, RATE_HZ), clipped, ALL, np.random.default_rng(0))
    assert np.abs(heard).max() <= 1.0
    assert rms(heard) > 0.2


NO_SOUND = [np.zeros(0, np.float32), np.zeros(9000, np.float32), np.full(9000, 0.3, np.float32), np.ones(400, np.float32)]


@pytest.mark.parametrize("errors", [[], NO_SOUND])
def test_errors_without_a_sound_teach_nothing(errors: list[Audio]) -> None:
    profile = measure(errors, CLEAN, RATE_HZ)
    np.testing.assert_allclose(apply(profile, CLEAN[0], LINE, np.random.default_rng(0)), CLEAN[0], rtol=1e-5)


def test_without_clips_to_compare_with_only_the_noise_is_learned() -> None:
    profile = measure([noisy(1, 15.0)], NO_SOUND, RATE_HZ)
    heard = apply(profile, CLEAN[0], LINE, np.random.default_rng(0))
    assert profile.gains_db == ()
    assert snr_db(heard) == pytest.approx(15, abs=3)


def test_clips_without_a_sound_have_no_say_beside_others() -> None:
    errors = [noisy(1, 15.0), noisy(2, 15.0)]
    assert measure([*NO_SOUND, *errors], [*CLEAN, *NO_SOUND], RATE_HZ) == measure(errors, CLEAN, RATE_HZ)


def test_audio_at_half_the_rate_is_measured_at_its_own_frequencies() -> None:
    profile = measure([weaken(clip, 2000, 20, rate_hz=8000) for clip in CLEAN[:4]], CLEAN[4:], 8000)
    assert profile.knots_hz[-1] == pytest.approx(4000)
    heard = apply(profile, CLEAN[0], COLOUR, np.random.default_rng(0))
    assert band_db(heard, 150, 1750, 8000) - band_db(heard, 2300, 3900, 8000) == pytest.approx(20, abs=1.5)
