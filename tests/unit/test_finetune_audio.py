"""Audio of any rate, channel count and format, brought to what the model hears."""

import io
import struct
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import soundfile

from shared.audio_source import AudioSource
from shared.training import SetAside
from trainer.clips.fetch import ClipRefused
from trainer.finetune.audio import DecodedClip, decode_any, load_audio
from trainer.finetune.folder import FolderClip
from trainer.network.model import Samples

pytestmark = pytest.mark.torch

RATE_HZ = 16_000


def tone(seconds: float, rate_hz: int = RATE_HZ, hz: float = 440.0) -> Samples:
    time_s = np.arange(int(seconds * rate_hz)) / rate_hz
    samples: Samples = (0.3 * np.sin(2 * np.pi * hz * time_s)).astype(np.float32)
    return samples


def encoded(samples: Samples, rate_hz: int = RATE_HZ, form: str = "WAV", subtype: str | None = None) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate_hz, format=form, subtype=subtype)
    return buffer.getvalue()


def reason(data: bytes) -> str:
    with pytest.raises(ClipRefused) as caught:
        decode_any(data, RATE_HZ)
    return caught.value.reason


def heard_hz(samples: Samples) -> float:
    """Return the loudest frequency."""
    spectrum = np.abs(np.fft.rfft(samples))
    return float(np.fft.rfftfreq(samples.size, 1 / RATE_HZ)[spectrum.argmax()])


def power_db(samples: Samples) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2)))


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG"])
def test_any_rate_becomes_the_models(form: str, rate_hz: int) -> None:
    samples = decode_any(encoded(tone(2.0, rate_hz), rate_hz, form), RATE_HZ)
    assert samples.dtype == np.float32
    assert samples.size == pytest.approx(2 * RATE_HZ, abs=2)
    assert heard_hz(samples) == pytest.approx(440, abs=1)
    assert power_db(samples) == pytest.approx(power_db(tone(2.0)), abs=0.3)


@pytest.mark.parametrize(("rate_hz", "hz"), [(100, 10.0), (1_000, 220.0), (3_999, 440.0), (192_000, 440.0)])
@pytest.mark.parametrize("form", ["WAV", "FLAC"])
def test_rates_that_no_telephone_has_are_resampled_as_well(form: str, rate_hz: int, hz: float) -> None:
    samples = decode_any(encoded(tone(2.0, rate_hz, hz), rate_hz, form), RATE_HZ)
    assert samples.size == pytest.approx(2 * RATE_HZ, abs=4)
    assert heard_hz(samples) == pytest.approx(hz, abs=1)
    assert power_db(samples) == pytest.approx(power_db(tone(2.0)), abs=0.3)


def test_the_models_own_rate_is_not_touched() -> None:
    np.testing.assert_array_equal(decode_any(encoded(tone(1.0), subtype="FLOAT"), RATE_HZ), tone(1.0))


def test_channels_are_mixed_down() -> None:
    left, right = tone(1.0), tone(1.0, hz=1000.0)
    mixed = decode_any(encoded(np.stack([left, right], axis=1), subtype="FLOAT"), RATE_HZ)
    np.testing.assert_allclose(mixed, (left + right) / 2, atol=1e-6)


def mp3(seconds: float = 15.0) -> bytes:
    """Return an MP3 of variable bit rate: a tone, silence, noise."""
    third = int(seconds / 3 * RATE_HZ)
    noise = 0.3 * np.random.default_rng(0).normal(size=third)
    return encoded(np.concatenate([tone(seconds / 3), np.zeros(third), noise]).astype(np.float32), form="MP3")


def with_length(data: bytes, frames: int | None) -> bytes:
    """Return an MP3 whose first frame says that it has so many; None: it says nothing."""
    at = data.find(b"Xing") if b"Xing" in data else data.find(b"Info")
    assert at > 0
    return (
        data[:at]
        + (bytes(4) if frames is None else data[at : at + 4])
        + data[at + 4 : at + 8]
        + (data[at + 8 : at + 12] if frames is None else struct.pack(">I", frames))
        + data[at + 12 :]
    )


@pytest.mark.parametrize("frames", [None, 0, 5, 10_000_000])
def test_an_mp3_is_read_to_its_end_whatever_it_says_of_its_length(frames: int | None) -> None:
    whole = decode_any(mp3(), RATE_HZ)
    assert whole.size == pytest.approx(15 * RATE_HZ, abs=2 * 1152)
    np.testing.assert_array_equal(decode_any(with_length(mp3(), frames), RATE_HZ), whole)
    tag = b"ID3\x04\x00\x00" + bytes([0, 0, 8, 0]) + bytes(1024)  # 8 * 128 bytes
    np.testing.assert_array_equal(decode_any(tag + with_length(mp3(), frames), RATE_HZ), whole)


def test_two_mp3s_in_one_file_are_read_both() -> None:
    assert decode_any(mp3() + mp3(), RATE_HZ).size == pytest.approx(30 * RATE_HZ, abs=4 * 1152)


def test_an_mp3_that_breaks_off_is_read_as_far_as_it_goes() -> None:
    data = mp3()
    samples = decode_any(data[: len(data) // 2], RATE_HZ)
    assert 0.2 * 15 * RATE_HZ < samples.size < 0.9 * 15 * RATE_HZ


@pytest.mark.parametrize(
    ("expected", "data"),
    [
        ("empty", b""),
        ("empty", encoded(tone(0.0))),
        ("not_audio", b"<html>404 not found</html>"),
        ("not_audio", b"\xff\xfb\x90\x00" + bytes(500)),
        ("not_audio", encoded(tone(1.0))[:20]),
        ("not_audio", encoded(np.full(RATE_HZ, np.nan, np.float32), subtype="FLOAT")),
        ("wrong_rate", encoded(tone(1.0, 99, hz=10), 99)),
        ("too_short", encoded(tone(0.05))),
        ("too_long", encoded(np.zeros(601 * 4_000, np.float32), 4_000)),
        ("silence", encoded(np.zeros(RATE_HZ, np.float32))),
        ("silence", encoded(np.stack([tone(1.0), -tone(1.0)], axis=1))),
    ],
)
def test_what_cannot_be_heard_is_refused_with_its_reason(expected: str, data: bytes) -> None:
    assert reason(data) == expected


def written(folder: Path, **contents: bytes) -> list[FolderClip]:
    folder.mkdir(exist_ok=True)
    clips = []
    for name, data in contents.items():
        path = folder / f"{name}.wav"
        path.write_bytes(data)
        clips.append(FolderClip(f"clean/{name}.wav", path, "clean", "hello", None))
    return clips


def test_outcomes_come_in_order_and_the_converted_file_is_what_a_pin_names(tmp_path: Path) -> None:
    data = encoded(tone(1.0, 8_000), 8_000)
    clips = written(tmp_path / "in", a=data, b=b"no audio", c=encoded(tone(2.0)))
    first, second, third = load_audio(clips, RATE_HZ, tmp_path / "out")
    assert isinstance(first, DecodedClip)
    assert isinstance(second, SetAside)
    assert isinstance(third, DecodedClip)
    assert (second.utterance_id, second.set_name, second.reason) == ("clean/b.wav", "clean", "not_audio")
    assert (first.sha256, first.path.name, first.samples) == (sha256(data).hexdigest(), f"{sha256(data).hexdigest()}.wav", RATE_HZ)
    fetched = AudioSource(allowed_prefixes=((tmp_path / "out").as_uri(),)).fetch(first.pin)
    samples, rate_hz = soundfile.read(io.BytesIO(fetched), dtype="float32")
    assert rate_hz == RATE_HZ
    np.testing.assert_array_equal(samples, decode_any(data, RATE_HZ))


def test_a_clip_becomes_what_evaluation_takes(tmp_path: Path) -> None:
    source = FolderClip("noisy/a.wav", written(tmp_path / "in", a=encoded(tone(1.0)))[0].path, "noisy", "hello", "anna")
    (decoded,) = load_audio([source], RATE_HZ, tmp_path / "out")
    assert isinstance(decoded, DecodedClip)
    clip = decoded.with_reference("hello", "human", "errors")
    assert (clip.clip.utterance_id, clip.clip.cluster, clip.clip.reference) == ("noisy/a.wav", "anna", "hello")
    assert (clip.clip.duration_s, clip.labels, clip.samples) == (1.0, (), RATE_HZ)
    np.testing.assert_allclose(clip.waveform(), tone(1.0), atol=1e-4)


def test_the_same_audio_under_a_second_name_is_set_aside(tmp_path: Path) -> None:
    clips = written(tmp_path / "in", a=encoded(tone(1.0)), b=encoded(tone(1.0)))
    first, second = load_audio(clips, RATE_HZ, tmp_path / "out")
    assert isinstance(first, DecodedClip)
    assert isinstance(second, SetAside)
    assert second.reason == "duplicate"
    assert "clean/a.wav" in second.detail


def test_a_file_is_converted_once(tmp_path: Path) -> None:
    clips = written(tmp_path / "in", a=encoded(tone(1.0, 8_000), 8_000))
    (before,) = load_audio(clips, RATE_HZ, tmp_path / "out")
    assert isinstance(before, DecodedClip)
    changed = before.path.stat().st_mtime_ns
    assert list(load_audio(clips, RATE_HZ, tmp_path / "out")) == [before]
    assert before.path.stat().st_mtime_ns == changed
    assert list((tmp_path / "out").iterdir()) == [before.path]


def test_a_file_that_is_gone_is_set_aside(tmp_path: Path) -> None:
    (outcome,) = load_audio([FolderClip("clean/a.wav", tmp_path / "a.wav", "clean")], RATE_HZ, tmp_path / "out")
    assert isinstance(outcome, SetAside)
    assert outcome.reason == "missing"
