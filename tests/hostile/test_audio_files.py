"""Audio whose header lies, and audio that is a bomb: one clip is set aside, and no memory is taken for what is not there."""

import struct
import tracemalloc
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import soundfile

from shared.training import SetAside
from trainer.clips.audio import JUDGED, decode_audio, read_waveform
from trainer.clips.fetch import ClipRefused
from trainer.clips.flac import MAX_RATE_HZ
from trainer.finetune.audio import decode_any, load_audio
from trainer.finetune.folder import FolderClip
from trainer.testing import RATE_HZ

pytestmark = pytest.mark.torch

SECOND = (np.sin(np.arange(RATE_HZ) / 7) * 8_000).astype("<i2").tobytes()
Decoder = Callable[[bytes], npt.NDArray[np.float32]]
DECODERS: dict[str, Decoder] = {
    "trainer": lambda data: decode_audio(data, RATE_HZ, JUDGED),
    "any": lambda data: decode_any(data, RATE_HZ),
}
DECODED_BOUND = 64 << 20
"""What decoding ten minutes of 16 kHz may take: their samples, in float32, are 37 MiB."""


def wav(
    data: bytes = SECOND, *, rate: int = RATE_HZ, channels: int = 1, claimed: int | None = None, bits: int = 16, kind: int = 1
) -> bytes:
    claimed = len(data) if claimed is None else claimed
    width = channels * bits // 8 & 0xFFFF
    form = struct.pack("<IHHIIHH", 16, kind, channels, rate, rate * width & 0xFFFFFFFF, width, bits)
    return b"RIFF" + struct.pack("<I", 36 + claimed & 0xFFFFFFFF) + b"WAVEfmt " + form + b"data" + struct.pack("<I", claimed) + data


def flac(frames: int, *, rate: int = RATE_HZ, channels: int = 1, claimed: int | None = None) -> bytes:
    """Return a constant tone, which FLAC stores in next to nothing; `claimed` goes into the header's count of samples (36 bits)."""
    buffer, block = BytesIO(), np.full((RATE_HZ, channels), 8_000, np.int16)
    with soundfile.SoundFile(buffer, "w", rate, channels, "PCM_16", format="FLAC") as file:
        for start in range(0, frames, len(block)):
            file.write(block[: frames - start])
    data = bytearray(buffer.getvalue())
    if claimed is not None:
        data[18:26] = (int.from_bytes(data[18:26], "big") >> 36 << 36 | claimed).to_bytes(8, "big")
    return bytes(data)


def outcome(decode: Decoder, data: bytes) -> str:
    """Return how many samples there are, or the reason why the clip is refused; and check what it took."""
    tracemalloc.start()
    try:
        return str(decode(data).size)
    except ClipRefused as refusal:
        return refusal.reason
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < DECODED_BOUND


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(
    ("expected", "data"),
    [
        ("16000", wav(claimed=0x7FFFFFFF)),
        ("16000", wav(claimed=0xFFFFFFFF)),
        ("not_audio", wav(rate=0)),
        ("not_audio", wav(rate=0xFFFFFFFF)),
        ("not_audio", wav(channels=0)),
        ("not_audio", wav(channels=65_535)),
        ("not_audio", wav(bits=0)),
        ("not_audio", flac(RATE_HZ, claimed=2**36 - 1)),
        ("not_audio", flac(RATE_HZ, claimed=2 * RATE_HZ)),
        ("8000", flac(RATE_HZ, claimed=RATE_HZ // 2)),
        ("too_long", flac(3600 * RATE_HZ)),
        ("not_audio", wav(np.full(RATE_HZ, np.inf, "<f4").tobytes(), bits=32, kind=3)),
        ("not_audio", wav(np.full(RATE_HZ, 3e38, "<f4").tobytes(), bits=32, kind=3)),
        ("not_audio", b"RIFF" + b"\xff" * 1_000),
        ("not_audio", b"fLaC" + b"\xff" * 1_000),
        ("not_audio", b"OggS" + b"\x00" * 1_000),
        ("not_audio", b"PK\x03\x04" + b"\x00" * 1_000),
    ],
    ids=[
        *("promises 2 GiB", "promises 4 GiB", "no rate", "rate of 4 GHz", "no channel", "65535 channels", "no bits"),
        *("64 billion samples", "twice its samples", "half its samples", "an hour in 180 KB", "infinite", "too loud for a variance"),
        *("garbage in RIFF", "garbage in FLAC", "garbage in Ogg", "a zip file"),
    ],
)
def test_a_header_that_lies_costs_its_own_clip(decoder: str, expected: str, data: bytes) -> None:
    assert outcome(DECODERS[decoder], data) == expected


SPEECH = np.random.default_rng(1).normal(scale=0.1, size=3 * RATE_HZ + 17)


def piped(samples: npt.NDArray[np.float64] = SPEECH, *, rate: int = RATE_HZ) -> bytes:
    """Return FLAC as an encoder writes it into a pipe: without what is known only at the end."""
    buffer = BytesIO()
    soundfile.write(buffer, samples, rate, format="FLAC", subtype="PCM_16")
    data = bytearray(buffer.getvalue())
    data[12:18] = bytes(6)  # nor the sizes of frames
    data[18:26] = (int.from_bytes(data[18:26], "big") >> 36 << 36).to_bytes(8, "big")
    data[26:42] = bytes(16)  # nor the MD5
    return bytes(data)


@pytest.mark.parametrize("decoder", DECODERS)
def test_flac_that_a_pipe_wrote_is_heard_to_its_end(decoder: str, tmp_path: Path) -> None:
    data = piped()
    with pytest.raises(soundfile.SoundFileError):
        soundfile.read(BytesIO(data), frames=len(SPEECH) + 1)
    samples = DECODERS[decoder](data)
    assert samples.size == SPEECH.size
    assert np.abs(samples - SPEECH).max() < 1e-4
    path = tmp_path / "clip"
    path.write_bytes(data)
    assert np.array_equal(read_waveform(path), samples)


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize(
    ("expected", "data"),
    [
        ("too_long", flac(3600 * RATE_HZ, claimed=0)),
        ("too_short", piped(SPEECH[:100])),
        ("not_audio", piped()[:-1000]),
        ("not_audio", piped()[:42]),
        ("not_audio", piped()[:26]),
    ],
    ids=["an hour", "too short", "cut off", "a header alone", "half a header"],
)
def test_flac_without_a_length_has_the_same_bounds(decoder: str, expected: str, data: bytes) -> None:
    assert outcome(DECODERS[decoder], data) == expected


def test_flac_without_a_length_is_mixed_a_block_at_a_time_and_refused_for_its_rate_undecoded() -> None:
    frames = 3_000_000
    assert outcome(DECODERS["any"], flac(frames, rate=MAX_RATE_HZ, channels=8, claimed=0)) == str(frames * RATE_HZ // MAX_RATE_HZ)
    assert outcome(DECODERS["any"], flac(RATE_HZ, rate=MAX_RATE_HZ + 1000, channels=8, claimed=0)) == "wrong_rate"


def test_a_thousand_channels_are_no_clip() -> None:
    assert outcome(DECODERS["trainer"], wav(SECOND * 64, channels=1024)) == "not_audio"
    assert outcome(DECODERS["any"], wav(SECOND * 64, channels=1024)) == "too_short"


def test_channels_of_silence_are_mixed_a_block_at_a_time() -> None:
    frames = 3_000_000
    bomb = flac(frames, rate=MAX_RATE_HZ, channels=8)
    assert len(bomb) < 100_000  # decoded at once it has 96 MB
    assert outcome(DECODERS["any"], bomb) == str(frames * RATE_HZ // MAX_RATE_HZ)


def test_a_rate_above_any_microphone_is_refused_before_it_is_decoded() -> None:
    assert outcome(DECODERS["any"], flac(RATE_HZ, rate=MAX_RATE_HZ + 1000, channels=8)) == "wrong_rate"


def test_blocks_are_mixed_as_the_whole_is() -> None:
    samples = np.random.default_rng(0).normal(scale=0.1, size=(300_001, 7)).astype(np.float32)
    buffer = BytesIO()
    soundfile.write(buffer, samples, RATE_HZ, format="WAV", subtype="FLOAT")
    assert np.array_equal(decode_any(buffer.getvalue(), RATE_HZ), samples.mean(axis=1, dtype=np.float32))


def test_a_file_too_large_to_be_a_clip_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainer.finetune.audio.MAX_FILE_BYTES", 1_000)
    (tmp_path / "a.wav").write_bytes(wav())
    (aside,) = load_audio([FolderClip("a.wav", tmp_path / "a.wav", "clean")], RATE_HZ, tmp_path / "made")
    assert isinstance(aside, SetAside)
    assert (aside.reason, aside.detail) == ("too_long", "expected at most 1000 bytes, found more")


VALID = {"wav": wav(), "flac": flac(4_000), "float": wav(np.zeros(4_000, "<f4").tobytes(), bits=32, kind=3)}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    form=st.sampled_from(sorted(VALID)),
    changes=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), min_size=1, max_size=6),
    length=st.integers(0, 33_000),
)
def test_any_header_is_a_clip_or_refused(form: str, changes: list[tuple[int, int]], length: int, tmp_path: Path) -> None:
    data = bytearray(VALID[form])
    for at, value in changes:
        data[at] = value
    path = tmp_path / "clip"
    path.write_bytes(data[:length])
    for decode in DECODERS.values():
        found = outcome(decode, bytes(data[:length]))
        if decode is DECODERS["trainer"] and found.isdigit():
            assert read_waveform(path).size == int(found)  # what is heard later is what was checked
