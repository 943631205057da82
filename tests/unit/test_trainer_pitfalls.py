"""The known traps of fine-tuning wav2vec2 with a CTC head: each has a test that shows the safe behaviour or the clear error.

Traps whose test is elsewhere (the file is `test_trainer_<name>.py` where no other is given):

- a group norm hears padding: features, `test_logits_in_a_batch_are_those_of_the_clip_alone` and
  `test_convolutions_of_a_padded_batch_are_those_of_each_clip_alone`, both for either norm
- kept features equal computed ones: features, `test_kept_values_are_the_computed_ones_wherever_the_network_is_cut`
- fewer samples than one frame needs: features, `test_clips_of_hardly_any_samples_are_transcribed_too`; in training: data,
  `test_bad_audio_is_set_aside_with_its_reason`
- an empty label: data, `test_a_reference_that_the_model_cannot_spell_is_no_label`; nothing said and nothing heard:
  `test_silence_is_fine_where_nothing_was_said`
- normalisation over a clip's own samples: features, `test_a_clip_is_normalised_over_its_own_samples`
- another sampling rate: data, `test_bad_audio_is_set_aside_with_its_reason`; importing,
  `test_parts_that_do_not_belong_together_are_refused`
- padding within labels: batching, `test_features_are_padded_with_zeros_and_labels_are_not_padded`
- digits and diacritics: decode, `test_a_reference_outside_the_vocabulary_is_refused`
- repeated letters, unknown outputs: decode, `test_collapse_equals_the_tokenizers_batch_decode` and
  `test_a_double_letter_with_a_blank_between_stays_double`
- SpecAugment's masks on short clips, and that they need lengths alone: test_spec_augment.py
- loss over each clip's labels, and not over padding: train, `test_each_clips_loss_is_over_its_labels` and
  `test_what_is_past_the_end_of_a_clip_does_not_move_its_loss`
- adapters: train, `test_scale_zero_is_the_base_to_the_last_bit_and_one_what_was_trained`, `test_the_exported_model_is_the_adapted_one`,
  `test_every_adapter_gets_a_gradient_and_nothing_else_does`, `test_an_adapter_without_a_gradient_is_refused` and
  `test_only_the_adapters_dropout_is_active_in_training`
"""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import torch
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from transformers import Wav2Vec2ForCTC

from shared.errors import CorruptObject
from shared.testing.clock import FakeClock
from shared.testing.memory_store import MemoryStore
from shared.training import Clip, LoraConfig, SpecAugment, TrainingConfig
from trainer.clips.fetch import ClipRefused
from trainer.clips.load import UsableClip, check_labels
from trainer.clips.sets import TrainingSets
from trainer.importing import check_and_convert
from trainer.learning.adapted import LoraAdapted, adapt
from trainer.learning.export import export
from trainer.learning.loss import ctc_loss
from trainer.learning.settings import resolve
from trainer.learning.train import TrainingRun, train
from trainer.network.batching import pad_features
from trainer.network.features import Frontend
from trainer.network.forward import convolve
from trainer.network.model import AcousticModel, Samples, load_model
from trainer.shell.progress import Progress
from trainer.testing import RATE_HZ, VOCABULARY, stored_clip, tones, usable_clips, wav_bytes, write_tiny_model

pytestmark = pytest.mark.torch

CPU = torch.device("cpu")
CONFIG = TrainingConfig(epochs=1, batch_size=2, learning_rate=1e-3, min_duration_s=0.1, lora=LoraConfig(rank=4, alpha=8, dropout=0.1))
TEXTS = ("hotellet", "gob", "jak lom")
SHORT_S = 0.2
"""3200 samples, where transformers' SpecAugment needs 3280 of a published model."""
PUBLISHED_SHAPE: dict[str, Any] = {
    "conv_dim": [16] * 7,
    "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
    "conv_stride": [5, 2, 2, 2, 2, 2, 2],
    "num_feat_extract_layers": 7,
}
GROUP_NORM: dict[str, Any] = {"feat_extract_norm": "group", "do_stable_layer_norm": False, "conv_bias": False}
ROUGH: dict[str, Any] = {
    "layerdrop": 0.5,
    "hidden_dropout": 0.5,
    "attention_dropout": 0.5,
    "activation_dropout": 0.5,
    "feat_proj_dropout": 0.5,
    "final_dropout": 0.5,
    "mask_time_prob": 0.5,
    "mask_feature_prob": 0.5,
    "ctc_loss_reduction": "sum",
    "ctc_zero_infinity": False,
}
SMOOTH: dict[str, Any] = {name: 0.0 for name in ROUGH if name not in {"ctc_loss_reduction", "ctc_zero_infinity"}} | {
    "mask_time_prob": 0.01,  # at 0 the network has no mask embedding, and the weights after it are drawn differently
    "ctc_loss_reduction": "mean",
    "ctc_zero_infinity": True,
}


def load_clips(model: AcousticModel, folder: Path, clips: dict[str, bytes], config: TrainingConfig) -> list[UsableClip]:
    texts = {f"clip-{number}": text for number, text in enumerate(clips)}
    return usable_clips(model, folder, texts, config=config, audio={name: clips[text] for name, text in texts.items()})


def trained(base: Path, folder: Path, config: TrainingConfig = CONFIG, clips: dict[str, bytes] | None = None) -> dict[str, torch.Tensor]:
    """Return the trained weights."""
    torch.set_num_threads(1)
    folder.mkdir(exist_ok=True)
    model = load_model(base, CPU)
    sounds = clips or {text: wav_bytes(tones(text)) for text in TEXTS}
    sets = TrainingSets(load_clips(model, folder, sounds, config))
    return train(model, sets, config, TrainingRun(Progress(folder / "log.jsonl", FakeClock()))).adapted.weights()


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def logits_of(model: AcousticModel, clips: list[Samples]) -> tuple[torch.Tensor, torch.Tensor]:
    values, lengths = pad_features(convolve(model, clips))
    with torch.inference_mode():
        return Frontend(model).above(values, lengths), lengths


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def drop_weight(folder: Path, name: str) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights[name]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


# padding and lengths


@pytest.mark.parametrize("overrides", [{}, GROUP_NORM])
def test_a_clips_loss_is_the_same_alone_and_beside_a_longer_one_without_an_attention_mask(
    tmp_path: Path, overrides: dict[str, Any]
) -> None:
    folder = write_tiny_model(tmp_path, **overrides)
    edit(folder / "preprocessor_config.json", return_attention_mask=False)  # as the published group-norm models have it
    model = load_model(folder, CPU)
    clips, labels = [tones("go"), tones("a longer one")], [model.vocabulary.encode(text) for text in ("go", "a longer one")]
    together = ctc_loss(*logits_of(model, clips), labels, model.vocabulary.blank)
    for row, clip in enumerate(clips):
        alone = ctc_loss(*logits_of(model, [clip]), labels[row : row + 1], model.vocabulary.blank)
        torch.testing.assert_close(alone[0], together[row], atol=1e-4, rtol=0)


@pytest.mark.parametrize("samples", [0, 1, 399, 400])
def test_fewer_samples_than_a_frame_of_a_published_model_are_one_frame(tmp_path: Path, samples: int) -> None:
    model = load_model(write_tiny_model(tmp_path, **PUBLISHED_SHAPE), CPU)
    short = tones("go")[:samples]
    alone, lengths = logits_of(model, [short])
    assert lengths.tolist() == [1]
    assert torch.isfinite(alone).all()
    beside, lengths = logits_of(model, [short, tones("go")])
    assert lengths.tolist()[0] == 1
    torch.testing.assert_close(beside[0, :1], alone[0], atol=1e-4, rtol=0)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_clips_too_short_for_the_masks_of_transformers_are_trained_on(tmp_path: Path, method: Any) -> None:
    base = write_tiny_model(tmp_path / "base", **PUBLISHED_SHAPE, mask_time_prob=0.05)
    clip = wav_bytes(tones("go")[: int(SHORT_S * RATE_HZ)])
    theirs: Any = Wav2Vec2ForCTC.from_pretrained(base, dtype=torch.float32)
    with pytest.raises(ValueError, match="mask_length"):
        theirs.train()(torch.zeros(1, int(SHORT_S * RATE_HZ)))
    for settings in (None, SpecAugment(time_share=0.05), SpecAugment(time_share=0.9, time_frames=2, channel_share=0.5)):
        config = CONFIG.model_copy(update={"method": method, "spec_augment": settings})
        weights = trained(base, tmp_path / "run", config, {"go": clip})
        assert all(torch.isfinite(weight).all() for weight in weights.values())


def test_a_label_may_be_as_long_as_its_frames_allow_and_not_longer(tmp_path: Path) -> None:
    model = load_model(write_tiny_model(tmp_path), CPU)
    config = TrainingConfig(max_chars_per_s=1000)
    samples = next(number for number in range(RATE_HZ) if model.frames_of(number) == 6)

    def labels(reference: str) -> tuple[int, ...]:
        clip: Clip = stored_clip(MemoryStore(), "clip", reference)
        return check_labels(clip, samples, model, config)

    assert len(labels("abcdef")) == 6
    assert len(labels("abccd")) == 5  # and a blank between the equal ones
    for reference, needed in (("abcdefg", 7), ("abccde", 7), ("aaaa", 7)):
        with pytest.raises(ClipRefused, match=f"expected at most 6 CTC frames, found labels that need {needed}"):
            labels(reference)


def test_the_longest_label_that_is_let_through_has_a_finite_loss_and_one_more_has_not() -> None:
    logits, frames = torch.zeros(1, 6, 5), torch.tensor([6])
    assert ctc_loss(logits, frames, [[1, 2, 2, 3, 4]], 0).isfinite().all()  # 5 labels and one repetition
    assert ctc_loss(logits, frames, [[1, 2, 2, 3, 3]], 0).isinf().all()  # what is refused above; nothing hides it as a loss of 0


# the checkpoint's own settings


@pytest.mark.parametrize("method", ["lora", "full"])
def test_dropouts_layerdrop_masks_and_loss_of_a_checkpoints_config_do_not_reach_training(tmp_path: Path, method: Any) -> None:
    config = CONFIG.model_copy(update={"method": method})
    rough, smooth = (write_tiny_model(tmp_path / name, **overrides) for name, overrides in (("rough", ROUGH), ("smooth", SMOOTH)))
    assert_same(load_file(rough / "model.safetensors"), load_file(smooth / "model.safetensors"))
    first, again = (trained(rough, tmp_path / name, config) for name in ("first", "again"))
    assert_same(first, again)
    assert_same(first, trained(smooth, tmp_path / "other", config))


def test_a_checkpoint_in_half_precision_is_loaded_and_trained_in_float32(tmp_path: Path) -> None:
    base = write_tiny_model(tmp_path / "base")
    theirs: Any = Wav2Vec2ForCTC.from_pretrained(base)
    assert theirs.lm_head.weight.dtype == torch.float16  # what transformers makes of it unless told otherwise
    network = load_model(base, CPU).network
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    assert torch.equal(network.lm_head.weight, theirs.lm_head.weight.float())
    assert {weight.dtype for weight in trained(base, tmp_path / "run").values()} == {torch.float32}


def test_the_loss_of_bf16_logits_is_computed_in_float32(tmp_path: Path) -> None:
    model = load_model(write_tiny_model(tmp_path), CPU)
    labels = [model.vocabulary.encode(text) for text in TEXTS]
    adapted = adapt(model, resolve(CONFIG.model_copy(update={"precision": "bf16"}), model))
    values, lengths = pad_features(adapted.frontend.below([tones(text) for text in TEXTS]))
    logits = adapted.frontend.above(values, lengths)
    assert logits.dtype == torch.bfloat16
    loss = ctc_loss(logits, lengths, labels, model.vocabulary.blank)
    assert loss.dtype == torch.float32
    assert torch.equal(loss, ctc_loss(logits.float(), lengths, labels, model.vocabulary.blank))
    loss.sum().backward()
    assert all(weight.grad is None or torch.isfinite(weight.grad).all() for weight in adapted.trained.values())


def test_logits_of_half_precision_that_overflow_its_softmax_have_a_finite_loss() -> None:
    logits = torch.full((1, 4, 5), -60_000.0, dtype=torch.float16)
    logits[:, :, 1] = 60_000.0
    loss = ctc_loss(logits, torch.tensor([4]), [[2]], 0)
    # label 1 is in no path, so that each of the four frames costs 120,000
    assert loss.tolist() == pytest.approx([480_000], rel=1e-3)
    assert torch.nn.functional.log_softmax(logits, dim=-1).isinf().any()  # in half precision


def test_an_empty_label_costs_its_blanks_alone() -> None:
    logits = torch.zeros(1, 7, 4)
    assert ctc_loss(logits, torch.tensor([7]), [[]], 0).tolist() == pytest.approx([7 * np.log(4)])


# audio and text


def test_a_clip_is_heard_the_same_at_a_tenth_of_its_loudness_where_the_preprocessor_normalises(tmp_path: Path) -> None:
    base = write_tiny_model(tmp_path)
    clip = tones("hello")
    normalising = load_model(base, CPU)
    np.testing.assert_allclose(normalising.prepare(clip * np.float32(0.1)), normalising.prepare(clip), atol=1e-3)
    edit(base / "preprocessor_config.json", do_normalize=False)
    assert np.array_equal(load_model(base, CPU).prepare(clip), clip)


def respell(folder: Path, tokens: list[str], **tokenizer: object) -> Path:
    """Give a model another vocabulary."""
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    edit(folder / "tokenizer_config.json", **tokenizer)
    return folder


@pytest.mark.parametrize(
    ("tokens", "blank", "heard"),
    [
        (list(VOCABULARY), 0, "don't go"),
        ([token.upper() if len(token) == 1 else token for token in VOCABULARY], 0, "DON'T GO"),
        ([token for token in VOCABULARY if token != "<pad>"] + ["<pad>"], len(VOCABULARY) - 1, "don't go"),
    ],
)
def test_a_vocabulary_of_either_case_and_order_spells_what_it_hears(tmp_path: Path, tokens: list[str], blank: int, heard: str) -> None:
    vocabulary = load_model(respell(write_tiny_model(tmp_path, pad_token_id=blank), tokens), CPU).vocabulary
    labels = vocabulary.encode("Don't  GO!")
    assert tokens.index("<unk>") not in labels
    assert vocabulary.blank == blank
    assert vocabulary.join(np.array(labels), np.array([len(labels)])) == [heard]


def test_a_tokenizer_that_lower_cases_still_trains_on_its_upper_case_letters(tmp_path: Path) -> None:
    upper = [token.upper() if len(token) == 1 else token for token in VOCABULARY]
    vocabulary = load_model(respell(write_tiny_model(tmp_path), upper, do_lower_case=True), CPU).vocabulary
    labels = vocabulary.encode("go")
    assert [upper[label] for label in labels] == ["G", "O"]
    assert vocabulary.join(np.array(labels), np.array([2])) == ["go"]


def test_a_vocabulary_without_letters_is_refused(tmp_path: Path) -> None:
    words = [token if len(token) > 1 or token == "|" else f"word-{token}" for token in VOCABULARY]
    with pytest.raises(CorruptObject, match="expected letters and the word delimiter"):
        load_model(respell(write_tiny_model(tmp_path), words), CPU)


# the mask embedding


MASKED = CONFIG.model_copy(update={"spec_augment": SpecAugment(time_share=0.4, time_frames=3)})


def without_mask_embedding(folder: Path, kind: str) -> Path:
    """Return a model that lacks it: in the file, or in the network too, as its config asks for no masks."""
    if kind == "file":
        drop_weight(write_tiny_model(folder), "wav2vec2.masked_spec_embed")
        return folder
    return write_tiny_model(folder, mask_time_prob=0.0, mask_feature_prob=0.0)


@pytest.mark.parametrize("kind", ["file", "network"])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_masks_of_a_checkpoint_without_a_mask_embedding_are_nothing_random(tmp_path: Path, kind: str, method: Any) -> None:
    base = without_mask_embedding(tmp_path / "base", kind)
    config = MASKED.model_copy(update={"method": method})
    runs = []
    for number in range(2):
        torch.manual_seed(number)  # transformers draws what is missing from here
        weights = trained(base, tmp_path / str(number), config)
        runs.append({name: weight for name, weight in weights.items() if "masked_spec_embed" not in name})
    assert_same(*runs)


@pytest.mark.parametrize("kind", ["file", "network"])
def test_an_imported_model_does_not_get_a_mask_embedding_that_it_never_had(tmp_path: Path, kind: str) -> None:
    theirs = without_mask_embedding(tmp_path / "theirs", kind)
    check_and_convert(str(theirs), tmp_path / "ours")
    assert not load_model(tmp_path / "ours", CPU).has_mask_embedding


@pytest.mark.parametrize("kind", ["file", "network"])
def test_a_model_without_a_mask_embedding_is_the_same_in_every_process_and_after_training(tmp_path: Path, kind: str) -> None:
    base = without_mask_embedding(tmp_path / "base", kind)
    models = []
    for seed in range(2):
        torch.manual_seed(seed)
        models.append(load_model(base, CPU))
    assert_same(*(model.network.state_dict() for model in models))
    config = resolve(CONFIG, models[0])
    export(adapt(models[0], config), 1.0, base, tmp_path / "out")
    assert not load_model(tmp_path / "out", CPU).has_mask_embedding


def test_a_mask_embedding_that_is_there_is_used(tmp_path: Path) -> None:
    base = write_tiny_model(tmp_path / "base")
    assert load_model(base, CPU).has_mask_embedding
    other = shutil.copytree(base, tmp_path / "other")
    weights = load_file(base / "model.safetensors")
    save_file(weights | {"wav2vec2.masked_spec_embed": torch.full((32,), 3.0)}, other / "model.safetensors", {"format": "pt"})
    one, two = (trained(folder, tmp_path / f"run-{folder.name}", MASKED) for folder in (base, other))
    assert any(not torch.equal(one[name], two[name]) for name in one)


# adapters


def test_every_linear_layer_of_the_network_is_adapted_and_nothing_else(tmp_path: Path) -> None:
    model = load_model(write_tiny_model(tmp_path), CPU)
    linear = {name for name, module in model.network.named_modules() if isinstance(module, torch.nn.Linear)}
    assert len(linear) == 2 * 6 + 2  # two layers, the projection and the head
    adapted = LoraAdapted(model, resolve(CONFIG, model))
    found = {name.removeprefix("base_model.model.") for name, module in adapted.wrapper.named_modules() if isinstance(module, LoraLayer)}
    assert found == linear


def test_adapters_of_the_topmost_layers_alone_are_in_those(tmp_path: Path) -> None:
    model = load_model(write_tiny_model(tmp_path, num_hidden_layers=12), CPU)
    config = CONFIG.model_copy(update={"lora": LoraConfig(rank=2, top_layers=2)})
    names = adapt(model, resolve(config, model)).trained
    layers = {name.split(".layers.")[1].split(".")[0] for name in names if ".layers." in name}
    assert layers == {"10", "11"}  # and not 1, whose name begins like theirs
    assert {name for name in names if ".layers." not in name and "lm_head" not in name} == set()


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_frozen_base_gives_the_same_logits_twice_in_training(tmp_path: Path, method: Any) -> None:
    model = load_model(write_tiny_model(tmp_path, **ROUGH), CPU)
    config = CONFIG.model_copy(update={"method": method, "lora": LoraConfig(rank=4, dropout=0.0)})
    adapted = adapt(model, resolve(config, model))
    adapted.training_mode(active=True)
    values, lengths = pad_features(adapted.frontend.below([tones(text) for text in TEXTS]))
    assert torch.equal(adapted.frontend.above(values, lengths), adapted.frontend.above(values, lengths))


@pytest.mark.parametrize(("method", "top"), [("lora", None), ("lora", 1), ("full", None)])
def test_activations_that_are_computed_twice_give_the_same_gradients(tmp_path: Path, method: Any, top: int | None) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = load_model(write_tiny_model(tmp_path), CPU)
        config = CONFIG.model_copy(update={"method": method, "lora": LoraConfig(rank=4, dropout=0.3, top_layers=top)})
        adapted = adapt(model, resolve(config, model))
        adapted.training_mode(active=True)
        values, lengths = pad_features(adapted.frontend.below([tones(text) for text in TEXTS]))
        labels = [model.vocabulary.encode(text) for text in TEXTS]
        torch.manual_seed(1)  # of the adapters' dropout, which must be the same the second time
        logits = adapted.frontend.above(values, lengths, gradient_checkpointing=checkpointing)
        ctc_loss(logits, lengths, labels, model.vocabulary.blank).sum().backward()
        gradients.append({name: weight.grad for name, weight in adapted.trained.items() if weight.grad is not None})
    plain, twice = gradients
    assert plain.keys() == twice.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(twice[name], gradient, atol=1e-6, rtol=1e-5)
    assert any(gradient.any() for gradient in plain.values())
