"""What a clip sounds like to the network does not depend on caches or on what is beside it in the batch."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import torch
from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

from trainer.batching import pad_features
from trainer.features import FeatureCache, conv_features, encode
from trainer.model import AcousticModel, load_model
from trainer.recogniser import Recogniser
from trainer.testing import tones, write_tiny_model

pytestmark = pytest.mark.torch

CLIPS = [tones("hotellet", 1), tones("go", 2), tones("a longer one", 3)]
PUBLISHED_SHAPE: dict[str, Any] = {
    "conv_dim": [16] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_feat_extract_layers": 7,
}


@pytest.fixture(scope="module", params=["layer", "group"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    norm = request.param
    return write_tiny_model(
        tmp_path_factory.mktemp(norm), feat_extract_norm=norm, do_stable_layer_norm=norm == "layer", conv_bias=norm == "layer"
    )


@pytest.fixture(scope="module")
def model(folder: Path) -> AcousticModel:
    return load_model(folder, torch.device("cpu"))


def test_our_forward_equals_that_of_transformers(folder: Path, model: AcousticModel) -> None:
    network = Wav2Vec2ForCTC.from_pretrained(folder, dtype=torch.float32).eval()
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    for clip in CLIPS:
        inputs = extractor(clip, sampling_rate=16_000, return_tensors="pt")
        with torch.inference_mode():
            expected = network(inputs.input_values).logits
            found = encode(model.network, *pad_features([conv_features(model, clip)]))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_cached_features_are_the_computed_ones(model: AcousticModel) -> None:
    waveforms = [partial(np.copy, clip) for clip in CLIPS]
    all_kept, none_kept = FeatureCache(model, waveforms), FeatureCache(model, waveforms, max_bytes=0)
    for index, clip in enumerate(CLIPS):
        direct = conv_features(model, clip)
        for cache in (all_kept, none_kept):
            cache.get(index)
            torch.testing.assert_close(cache.get(index), direct, atol=1e-5, rtol=0)
    assert all_kept.get(0) is all_kept.get(0)
    assert none_kept.get(0) is not none_kept.get(0)


def test_logits_in_a_batch_are_those_of_the_clip_alone(model: AcousticModel) -> None:
    features = [conv_features(model, clip) for clip in CLIPS]
    with torch.inference_mode():
        together = encode(model.network, *pad_features(features))
        for row, clip in enumerate(features):
            alone = encode(model.network, *pad_features([clip]))
            torch.testing.assert_close(together[row, : len(clip)], alone[0], atol=1e-4, rtol=0)


def test_transcripts_do_not_depend_on_the_batch(folder: Path) -> None:
    recogniser = Recogniser.load(folder, "cpu")
    assert recogniser.transcribe(CLIPS) == [recogniser.transcribe([clip])[0] for clip in CLIPS]


def test_clips_of_hardly_any_samples_are_transcribed_too(folder: Path) -> None:
    recogniser = Recogniser.load(folder, "cpu")
    texts = recogniser.transcribe([np.zeros(0, np.float32), np.zeros(50, np.float32), CLIPS[0]])
    assert len(texts) == 3
    assert texts[2] == recogniser.transcribe([CLIPS[0]])[0]


@pytest.mark.parametrize("samples", [400, 401, 719, 720, 16_000, 33_333])
def test_frames_are_counted_as_the_published_convolutions_make_them(tmp_path: Path, samples: int) -> None:
    model = load_model(write_tiny_model(tmp_path, **PUBLISHED_SHAPE), torch.device("cpu"))
    assert model.receptive_field == 400
    assert len(conv_features(model, np.ones(samples, np.float32))) == model.frames_of(samples)


def test_a_clip_is_normalised_over_its_own_samples(model: AcousticModel, folder: Path) -> None:
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    prepared = model.prepare(CLIPS[0])
    assert prepared.dtype == np.float32
    np.testing.assert_allclose(prepared, extractor(CLIPS[0], sampling_rate=16_000).input_values[0], atol=1e-6)
