"""Audio that people bring, as the models will hear it."""

from io import BytesIO

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import soundfile

from infra.corpora.source import UnusableAudio, convert_with_trainer

pytestmark = pytest.mark.torch


def tone(rate_hz: int, channels: int = 1, *, form: str = "WAV", amplitude: float = 0.5) -> bytes:
    """Return a second of 440 Hz."""
    wave = amplitude * np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz)
    file = BytesIO()
    soundfile.write(file, np.stack([wave] * channels, axis=1), rate_hz, format=form)
    return file.getvalue()


@pytest.mark.parametrize(("rate_hz", "channels"), [(8_000, 1), (16_000, 2), (44_100, 2)])
def test_any_rate_and_channels_come_out_as_the_models_hear_them(rate_hz: int, channels: int) -> None:
    converted = convert_with_trainer(tone(rate_hz, channels))
    found = soundfile.info(BytesIO(converted.data))
    assert (found.samplerate, found.channels, found.format) == (16_000, 1, "WAV")
    assert converted.duration_s == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_what_is_right_already_is_kept_to_the_byte(form: str) -> None:
    data = tone(16_000, form=form)
    assert convert_with_trainer(data).data == data


@pytest.mark.parametrize(("data", "reason"), [(b"", "0 bytes"), (b"no audio", "that are none"), (tone(16_000, amplitude=0.0), "speech")])
def test_what_cannot_be_heard_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(UnusableAudio, match=reason):
        convert_with_trainer(data)
