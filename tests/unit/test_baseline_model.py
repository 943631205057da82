"""The shipped model: its files, its digests, and how well it hears."""

import json
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra `trainer` is not installed")
pytest.importorskip("transformers")
pytest.importorskip("espeakng_loader", reason="the extra `local` is not installed")

from transformers import Wav2Vec2ForCTC, Wav2Vec2Processor  # noqa: E402  after the skips

from infra.local.baseline import MODEL_DIR  # noqa: E402
from infra.local.baseline.evaluation import make_test_set, transcribe, word_error_rate  # noqa: E402
from infra.local.baseline.training import VOCABULARY, Recipe, batches, gabor_filters  # noqa: E402
from infra.local.corpus import Domain, Utterance, callers  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def model() -> Wav2Vec2ForCTC:
    return Wav2Vec2ForCTC.from_pretrained(MODEL_DIR, dtype=torch.float32)


@pytest.fixture(scope="module")
def processor() -> Wav2Vec2Processor:
    return Wav2Vec2Processor.from_pretrained(MODEL_DIR)


def test_no_weight_is_missing_or_left_over() -> None:
    loaded: Any = Wav2Vec2ForCTC.from_pretrained(MODEL_DIR, dtype=torch.float32, output_loading_info=True)
    model, info = loaded
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_the_folder_is_small_enough_to_ship() -> None:
    assert sum(path.stat().st_size for path in MODEL_DIR.iterdir()) < 2_000_000


def test_every_letter_has_a_token(processor: Wav2Vec2Processor) -> None:
    ids = processor.tokenizer("it's the quick brown fox jumping over a lazy dog").input_ids
    assert processor.tokenizer.unk_token_id not in ids
    assert processor.tokenizer.get_vocab() == {token: index for index, token in enumerate(VOCABULARY)}


def test_people_it_never_heard_are_understood(model: Wav2Vec2ForCTC, processor: Wav2Vec2Processor) -> None:
    assert word_error_rate(model, processor, make_test_set(Domain.CLEAN, callers(30), 30, seed=5)) < 0.2


def test_the_call_centre_is_not(model: Wav2Vec2ForCTC, processor: Wav2Vec2Processor) -> None:
    assert 0.35 < word_error_rate(model, processor, make_test_set(Domain.CALL_CENTRE, callers(30), 30, seed=5)) < 0.85


def test_batches_are_heard_as_single_clips_are(model: Wav2Vec2ForCTC, processor: Wav2Vec2Processor) -> None:
    clips = [utterance.audio for utterance in make_test_set(Domain.CLEAN, callers(6), 6, seed=6)]
    assert transcribe(model, processor, clips, batch_size=6) == transcribe(model, processor, clips, batch_size=1)


def test_the_metrics_name_what_was_measured() -> None:
    metrics = json.loads((MODEL_DIR / "metrics.json").read_text())
    assert metrics["clean_wer"] < 0.1 < metrics["call_centre_wer"]
    assert metrics["packages"]["transformers"]


def test_the_first_filters_are_tuned_from_low_to_high() -> None:
    filters = gabor_filters(64, 80)[:32, 0].numpy()
    peaks = np.abs(np.fft.rfft(filters, 16_000, axis=1)).argmax(axis=1)  # one bin is 1 Hz
    assert filters.shape == (32, 80)
    assert (np.diff(peaks[8:]) > 0).all()  # below, one period is longer than the window
    assert peaks[-1] == pytest.approx(7200, abs=20)


def test_training_starts_with_the_shorter_half() -> None:
    caller = callers()[0]
    clips = [Utterance("", np.zeros(length, np.float32), caller, Domain.CLEAN) for length in range(1, 257)]
    drawn = list(batches(clips, Recipe(steps=40, batch_size=8, short_first=0.5)))
    assert len(drawn) == 40
    assert {len(batch) for batch in drawn} == {8}
    assert max(clip.audio.size for batch in drawn[:16] for clip in batch) <= 128
    assert max(clip.audio.size for batch in drawn[16:] for clip in batch) > 128
