"""Speech that we make: the same in every run, by many callers, in two domains."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("espeakng_loader", reason="the extra `local` is not installed")
soundfile = pytest.importorskip("soundfile")
pytest.importorskip("soxr")

from infra.local.corpus import (  # noqa: E402
    OFFICE_WORDS,
    SLOTS,
    TRAINING_VARIANTS,
    Domain,
    as_caller,
    callers,
    make_text,
    make_utterance,
    training_callers,
    write_corpus,
)
from infra.local.speech import SpeechError, Voice, synthesiser, voices, write_wav  # noqa: E402
from infra.local.telephone import Line  # noqa: E402
from trainer.augment.acoustics import SAMPLE_RATE_HZ  # noqa: E402  after the skip


def test_there_are_ninety_voices_with_ids_of_their_own() -> None:
    assert len({voice.speaker_id for voice in voices()}) == len(voices()) >= 90


def test_no_caller_has_a_voice_of_the_training() -> None:
    heard = {caller.voice.variant for caller in training_callers()}
    assert heard == set(TRAINING_VARIANTS)
    assert heard.isdisjoint(caller.voice.variant for caller in callers())


def test_each_caller_has_a_timbre_of_his_own() -> None:
    assert len({caller.voice.variant for caller in callers(60)}) == 60


def test_more_callers_than_timbres_speak_with_another_accent() -> None:
    assert len({caller.speaker_id for caller in callers(120)}) == 120
    assert {caller.voice.variant for caller in callers(120)} == {caller.voice.variant for caller in callers()}


def test_a_caller_speaks_alike_in_each_run() -> None:
    assert as_caller(Voice("m5", "en-us")) == as_caller(Voice("m5", "en-us"))
    assert len({(caller.speed_wpm, caller.pitch) for caller in callers()}) > 40


@pytest.mark.parametrize("count", [0, 1000])
def test_more_callers_than_there_are_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"found {count}"):
        callers(count)


def test_speech_is_float32_at_16_khz() -> None:
    audio = synthesiser().speak("please check my account", Voice("m5", "en-us"))
    assert audio.dtype == np.float32
    assert audio.ndim == 1
    assert 0.05 < np.abs(audio).max() <= 1.0
    assert 0.8 < audio.size / SAMPLE_RATE_HZ < 2.5


def test_fewer_words_a_minute_take_longer() -> None:
    slow, fast = (synthesiser().speak("please check my account", Voice("m5", "en-us"), speed_wpm=speed) for speed in (120, 220))
    assert slow.size > 1.3 * fast.size


def test_an_unknown_voice_is_refused_by_name() -> None:
    with pytest.raises(SpeechError, match=r"en-nowhere\+m5"):
        synthesiser().speak("hello", Voice("m5", "en-nowhere"))


def test_fresh_processes_speak_alike() -> None:
    program = (
        "import hashlib, numpy as np\n"
        "from infra.local.corpus import Domain, callers, make_utterance\n"
        "rng = np.random.default_rng(3)\n"
        "digest = hashlib.sha256()\n"
        "for caller in callers():\n"
        "    digest.update(make_utterance(rng, Domain.CLEAN, caller).audio.tobytes())\n"
        "print(digest.hexdigest())\n"
    )
    runs = {subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout for _ in range(2)}
    assert len(runs) == 1
    assert len(runs.pop().strip()) == hashlib.sha256().digest_size * 2


def test_texts_are_lower_case_words() -> None:
    rng = np.random.default_rng(0)
    texts = [make_text(rng, domain) for domain in Domain for _ in range(500)]
    assert all(word.isascii() and word.isalpha() and word.islower() for text in texts for word in text.split())


def test_only_the_call_centre_has_the_new_products() -> None:
    rng = np.random.default_rng(0)
    office, call_centre = ({word for _ in range(500) for word in make_text(rng, domain).split()} for domain in Domain)
    assert office <= set(OFFICE_WORDS)
    assert call_centre - set(OFFICE_WORDS) == set(SLOTS["product"])


def test_texts_seldom_repeat() -> None:
    rng = np.random.default_rng(0)
    assert len({make_text(rng, Domain.CALL_CENTRE) for _ in range(1000)}) > 900


def test_a_call_has_no_high_frequencies() -> None:
    caller, edge_hz = callers()[3], Line().cutoff_hz + 600  # the band's edge is no cliff
    clean, call = (make_utterance(np.random.default_rng(0), domain, caller).audio for domain in Domain)

    def treble(audio: np.ndarray[tuple[int], np.dtype[np.float32]]) -> float:
        power = np.square(np.abs(np.fft.rfft(audio)))
        return float(power[np.fft.rfftfreq(audio.size, 1 / SAMPLE_RATE_HZ) > edge_hz].sum() / power.sum())

    assert treble(call) < 1e-3 < treble(clean)


def test_a_wav_file_holds_16_bit_pcm(tmp_path: Path) -> None:
    audio = np.array([0.0, 0.5, -0.5, 0.25], np.float32)
    write_wav(tmp_path / "folder" / "clip.wav", audio)
    info = soundfile.info(tmp_path / "folder" / "clip.wav")
    assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
    assert soundfile.read(tmp_path / "folder" / "clip.wav")[0].tolist() == pytest.approx(audio.tolist(), abs=1 / 32768)


def test_a_corpus_is_a_folder_of_clips_with_transcripts(tmp_path: Path) -> None:
    write_corpus(tmp_path, clean=3, noisy=2, callers_count=5, seed=0)
    rows = [json.loads(line) for line in (tmp_path / "transcripts.jsonl").read_text().splitlines()]
    assert [row["condition"] for row in rows] == ["clean"] * 3 + ["noisy"] * 2
    assert all((tmp_path / row["file"]).is_file() for row in rows)
    assert {row["speaker_id"] for row in rows} <= {caller.speaker_id for caller in callers(5)}
