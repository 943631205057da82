"""Every way in which a clip can be unusable, and what it is called."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import soundfile
import torch

from shared.audio_source import AudioSource
from shared.documents import sha256_hex
from shared.errors import Retryable
from shared.testing.memory_store import MemoryStore
from shared.training import Clip, SetAside, SetRole, TrainingConfig
from trainer.clips.load import ClipLoader, UnlabelledOnDisk, UsableClip
from trainer.network.model import AcousticModel, load_model
from trainer.testing import AUDIO_STORE, RATE_HZ, stored_clip, tones, wav_bytes, write_tiny_model

pytestmark = pytest.mark.torch

GOOD = tones("hello")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> AcousticModel:
    return load_model(write_tiny_model(tmp_path_factory.mktemp("model")), torch.device("cpu"))


class Bench:
    """A store of audio and a loader that reads it."""

    def __init__(self, model: AcousticModel, folder: Path, config: TrainingConfig | None = None) -> None:
        self.store = MemoryStore()
        audio = AudioSource(lambda _uri: self.store, (AUDIO_STORE,))
        self.loader = ClipLoader(audio, model, config or TrainingConfig(), folder)

    def outcome(self, clip: Clip, role: SetRole = "train_errors") -> UsableClip | SetAside:
        (only,) = self.loader.load([clip], "a-set", role)
        assert not isinstance(only, UnlabelledOnDisk)
        return only

    def reason(self, audio: bytes, reference: str = "hello", role: SetRole = "train_errors") -> str:
        outcome = self.outcome(stored_clip(self.store, "clip", reference, audio=audio), role)
        return outcome.reason if isinstance(outcome, SetAside) else "usable"


@pytest.fixture
def bench(model: AcousticModel, tmp_path: Path) -> Bench:
    return Bench(model, tmp_path)


def test_a_good_clip_keeps_its_samples_and_labels(bench: Bench, model: AcousticModel) -> None:
    outcome = bench.outcome(stored_clip(bench.store, "clip", "Hello!", audio=wav_bytes(GOOD)))
    assert isinstance(outcome, UsableClip)
    assert outcome.labels == tuple(model.vocabulary.encode("hello"))
    assert outcome.samples == GOOD.size
    np.testing.assert_allclose(outcome.waveform(), GOOD, atol=1e-4)


def piped() -> bytes:
    """Return the good clip as FLAC whose header does not tell its length."""
    buffer = BytesIO()
    soundfile.write(buffer, GOOD, RATE_HZ, format="FLAC", subtype="PCM_16")
    data = bytearray(buffer.getvalue())
    data[18:26] = (int.from_bytes(data[18:26], "big") >> 36 << 36).to_bytes(8, "big")
    return bytes(data)


def test_a_clip_that_a_pipe_wrote_lies_on_disk_with_its_length(bench: Bench) -> None:
    data = piped()
    outcome = bench.outcome(stored_clip(bench.store, "clip", "hello", audio=data))
    assert isinstance(outcome, UsableClip)
    assert outcome.samples == GOOD.size
    assert soundfile.info(outcome.path).frames == GOOD.size
    again = bench.outcome(stored_clip(bench.store, "clip", "hello", audio=data))
    assert isinstance(again, UsableClip)
    np.testing.assert_allclose(again.waveform(), GOOD, atol=1e-4)


@pytest.mark.parametrize("audio", [wav_bytes(GOOD), piped()], ids=["wav", "piped flac"])
def test_a_file_bears_the_digest_of_its_own_bytes_by_which_gold_is_asked_for(bench: Bench, audio: bytes) -> None:
    outcome = bench.outcome(stored_clip(bench.store, "clip", "hello", audio=audio))
    assert isinstance(outcome, UsableClip)
    assert outcome.path.name == sha256_hex(outcome.path.read_bytes())


def test_a_number_is_written_out_where_the_language_is_known_and_refused_where_it_is_not(
    bench: Bench, model: AcousticModel, tmp_path: Path
) -> None:
    audio = wav_bytes(tones("room twelve"))
    refused = bench.outcome(stored_clip(bench.store, "clip", "Room 12", audio=audio))
    assert isinstance(refused, SetAside)
    assert (refused.reason, "found '12'" in refused.detail) == ("bad_reference", True)
    english = Bench(model, tmp_path, TrainingConfig(language="en"))
    outcome = english.outcome(stored_clip(english.store, "clip", "Room 12", audio=audio))
    assert isinstance(outcome, UsableClip)
    assert outcome.clip.reference in {"Room twelve", "Room one two"}  # the one that the random model hears better
    assert outcome.labels == tuple(model.vocabulary.encode(outcome.clip.reference))


def test_a_number_that_nobody_can_read_and_a_set_that_judges_stay_as_they_are(model: AcousticModel, tmp_path: Path) -> None:
    english = Bench(model, tmp_path, TrainingConfig(language="en"))
    audio = wav_bytes(tones("four by four"))
    assert english.reason(audio, "part 4x4b7") == "bad_reference"
    judged = english.outcome(stored_clip(english.store, "judge", "Room 12", audio=audio), "judge")
    assert isinstance(judged, UsableClip)
    assert judged.clip.reference == "Room 12"


@pytest.mark.parametrize(
    ("reason", "audio"),
    [
        ("empty", b""),
        ("empty", wav_bytes(GOOD[:0])),
        ("not_audio", b"<html>404 not found</html>"),
        ("not_audio", wav_bytes(np.stack([GOOD, GOOD], axis=1))),
        ("wrong_rate", wav_bytes(GOOD, 8_000)),
        ("too_short", wav_bytes(GOOD[: int(0.24 * RATE_HZ)])),
        ("too_long", wav_bytes(np.tile(GOOD, 51))),
        ("silence", wav_bytes(np.zeros(RATE_HZ, np.float32))),
        ("too_dense", wav_bytes(GOOD[: int(0.26 * RATE_HZ)])),
        ("usable", wav_bytes(GOOD)),
    ],
)
def test_bad_audio_is_set_aside_with_its_reason(bench: Bench, reason: str, audio: bytes) -> None:
    reference = "hello how are you" if reason == "too_dense" else "hello"
    assert bench.reason(audio, reference) == reason


def test_a_truncated_file_is_used_as_far_as_it_goes_or_set_aside(bench: Bench) -> None:
    whole = wav_bytes(GOOD)
    assert bench.reason(whole[: len(whole) // 2]) == "usable"
    assert bench.reason(whole[:20]) == "not_audio"


def test_audio_that_is_not_a_number_is_set_aside(bench: Bench) -> None:
    import io

    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.full(RATE_HZ, np.nan, np.float32), RATE_HZ, format="WAV", subtype="FLOAT")
    assert bench.reason(buffer.getvalue()) == "not_audio"


@pytest.mark.parametrize("reference", ["", "...", "room 5", "caf\u00e9"])
def test_a_reference_that_the_model_cannot_spell_is_no_label(bench: Bench, reference: str) -> None:
    assert bench.reason(wav_bytes(GOOD), reference) == "bad_reference"


@pytest.mark.parametrize("reference", ["room 5", "", "hello hello hello hello hello"])
def test_a_set_that_judges_takes_any_reference(bench: Bench, reference: str) -> None:
    assert bench.reason(wav_bytes(GOOD), reference, "judge") == "usable"


def test_a_set_that_judges_takes_clips_that_training_does_not(bench: Bench) -> None:
    assert bench.reason(wav_bytes(GOOD[: int(0.15 * RATE_HZ)]), role="judge") == "usable"
    assert bench.reason(wav_bytes(np.tile(GOOD, 51)), role="judge") == "usable"
    assert bench.reason(wav_bytes(GOOD[: int(0.05 * RATE_HZ)]), role="judge") == "too_short"


def test_what_is_heard_again_is_no_longer_than_what_is_trained_on_and_takes_any_reference(bench: Bench) -> None:
    """Ten minutes of audio take minutes to transcribe: a holdout may hold them, a memory check need not."""
    assert bench.reason(wav_bytes(np.tile(GOOD, 51)), role="recheck") == "too_long"
    assert bench.reason(wav_bytes(GOOD), "Room 12", "recheck") == "usable"


def test_silence_is_fine_where_nothing_was_said(bench: Bench) -> None:
    assert bench.reason(wav_bytes(np.zeros(RATE_HZ, np.float32)), "", "judge") == "usable"


def test_audio_that_is_gone_changed_or_not_allowed_is_set_aside(bench: Bench) -> None:
    clip = stored_clip(bench.store, "clip", "hello")
    evil = clip.model_copy(update={"audio": clip.audio.model_copy(update={"uri": "gs://calls-evil/clip.wav"})})
    other = clip.model_copy(update={"audio": clip.audio.model_copy(update={"crc32c": "AAAAAA=="})})
    outcomes = [bench.outcome(changed) for changed in (evil, other)]
    bench.store.delete("clip.wav")
    outcomes.append(bench.outcome(clip))
    assert [outcome.reason for outcome in outcomes if isinstance(outcome, SetAside)] == ["not_allowed", "changed", "missing"]


def test_a_store_that_is_away_fails_the_run_and_not_the_clip(bench: Bench) -> None:
    clip = stored_clip(bench.store, "clip", "hello")

    def away(_operation: str, _key: str) -> None:
        raise Retryable("away")

    bench.store.before = away
    with pytest.raises(Retryable):
        bench.outcome(clip)
