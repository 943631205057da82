"""What a clip sounds like to the network does not depend on caches or on what is beside it in the batch."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import torch
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC

from trainer.network.batching import pad_features
from trainer.network.features import FeatureCache, Frontend
from trainer.network.forward import _convolve, bf16_positions_are_wrong, convolve, hold_in_bf16, positions
from trainer.network.model import AcousticModel, Samples, load_model
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
            found = Frontend(model).above(*pad_features(convolve(model, [clip])))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("layer", [None, 0, 1, 2])
def test_kept_values_are_the_computed_ones_wherever_the_network_is_cut(model: AcousticModel, layer: int | None) -> None:
    frontend = Frontend(model, layer)
    waveforms = [partial(np.copy, clip) for clip in CLIPS]
    all_kept, none_kept = FeatureCache(frontend, waveforms), FeatureCache(frontend, waveforms, max_bytes=0)
    expected, lengths = pad_features(frontend.below(CLIPS))
    for cache in (all_kept, none_kept):
        for _ in range(2):
            values, found = cache.batch([0, 1, 2])
            assert torch.equal(values, expected)
            assert torch.equal(found, lengths)
    assert all_kept.kept_bytes == sum(row.nbytes for row in frontend.below(CLIPS))
    assert none_kept.kept_bytes == 0


def test_a_kept_clip_is_decoded_once_and_an_altered_one_is_not_kept(model: AcousticModel) -> None:
    decoded: list[int] = []

    def waveform(index: int) -> Samples:
        decoded.append(index)
        return CLIPS[index]

    cache = FeatureCache(Frontend(model), [partial(waveform, index) for index in range(3)])
    cache.batch([0, 1])
    altered = next(cache.batches([[1, 2]], {2: lambda: CLIPS[0]}))
    assert torch.equal(altered[1][1, : altered[2][1]], convolve(model, [CLIPS[0]])[0])
    own, lengths = cache.batch([2])
    assert torch.equal(own[0], convolve(model, [CLIPS[2]])[0])
    assert lengths.tolist() == [model.frames_of(CLIPS[2].size)]
    assert sorted(decoded) == [0, 1, 2]


def test_what_follows_the_cut_gives_the_same_logits_wherever_it_is(model: AcousticModel) -> None:
    with torch.inference_mode():
        expected = Frontend(model).above(*pad_features(convolve(model, CLIPS)))
        for layer in (0, 1, 2):
            frontend = Frontend(model, layer)
            values, lengths = pad_features(frontend.below(CLIPS))
            found = frontend.above(values, lengths)
            for row, length in enumerate(lengths.tolist()):
                torch.testing.assert_close(found[row, :length], expected[row, :length], atol=1e-4, rtol=0)


def test_a_dropped_cache_keeps_nothing_and_a_trial_measures_both_ways(model: AcousticModel) -> None:
    cache = FeatureCache(Frontend(model), [partial(np.copy, clip) for clip in CLIPS])
    assert cache.trial([0, 1]) is None
    cache.batch([0, 1])
    trial = cache.trial([0, 1])
    assert trial is not None
    assert min(trial.kept_s, trial.computed_s) > 0
    assert trial.wins == (trial.kept_s < trial.computed_s)
    cache.drop()
    cache.batch([0, 1])
    assert cache.kept_bytes == 0


def test_convolutions_of_a_padded_batch_are_those_of_each_clip_alone(model: AcousticModel) -> None:
    together = _convolve(model, [torch.from_numpy(model.prepare(clip)) for clip in CLIPS])  # what a GPU does
    for clip, found in zip(CLIPS, together, strict=True):
        torch.testing.assert_close(found, convolve(model, [clip])[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize("layer", [None, 1])
def test_bf16_values_are_kept_in_bf16_and_change_the_logits_a_little(folder: Path, layer: int | None) -> None:
    exact = load_model(folder, torch.device("cpu"))
    with torch.inference_mode():
        expected = Frontend(exact, layer).above(*pad_features(Frontend(exact, layer).below(CLIPS)))
        hold_in_bf16(exact.network)
        rounded = Frontend(exact, layer, "bf16")
        values, lengths = pad_features(rounded.below(CLIPS))
        found = rounded.above(values, lengths).float()
    assert values.dtype == torch.bfloat16
    error = torch.cat([(found[row, :length] - expected[row, :length]).flatten() for row, length in enumerate(lengths.tolist())])
    spread = torch.cat([expected[row, :length].flatten() for row, length in enumerate(lengths.tolist())]).std()
    assert 0 < error.square().mean().sqrt() < 0.05 * spread


def test_position_embeddings_of_few_channels_a_group_are_never_rounded_to_bf16(model: AcousticModel) -> None:
    hidden = torch.randn(1, 40, model.network.config.hidden_size)
    with torch.inference_mode():
        expected = positions(model.network, hidden)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(positions(model.network, hidden), expected)
    assert bf16_positions_are_wrong(model.network)
    base = Wav2Vec2Config(num_hidden_layers=1, intermediate_size=16)  # of wav2vec2-base as far as its positions go
    assert not bf16_positions_are_wrong(Wav2Vec2ForCTC(base))


def test_logits_in_a_batch_are_those_of_the_clip_alone(model: AcousticModel) -> None:
    features = convolve(model, CLIPS)
    with torch.inference_mode():
        together = Frontend(model).above(*pad_features(features))
        for row, clip in enumerate(features):
            alone = Frontend(model).above(*pad_features([clip]))
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
    assert len(convolve(model, [np.ones(samples, np.float32)])[0]) == model.frames_of(samples)


def test_a_clip_is_normalised_over_its_own_samples(model: AcousticModel, folder: Path) -> None:
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    prepared = model.prepare(CLIPS[0])
    assert prepared.dtype == np.float32
    np.testing.assert_allclose(prepared, extractor(CLIPS[0], sampling_rate=16_000).input_values[0], atol=1e-6)
