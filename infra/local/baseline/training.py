"""Trains the baseline: 0.74 million parameters, from nothing to about 6% word error rate, on two CPU cores in a quarter of an hour.

The first convolution starts as a bank of Gabor filters, so that it hears frequencies from the first step. Half of the texts are
random words: a model that sees only templates learns the templates. The same recipe gives the same weights in a fresh process on
the same machine, with the same packages and number of threads: the synthesiser's noise depends on what it said before.
"""

import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from transformers import Wav2Vec2Config, Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor, Wav2Vec2ForCTC, Wav2Vec2Processor

from infra.local.corpus import OFFICE_WORDS, Caller, Domain, Utterance, make_text, training_callers
from infra.local.speech import synthesiser
from trainer.augment.acoustics import SAMPLE_RATE_HZ, Audio, add_noise, equalise, set_level, white_noise

SPECIAL_TOKENS = ("<pad>", "<s>", "</s>", "<unk>")
VOCABULARY = (*SPECIAL_TOKENS, "|", *"abcdefghijklmnopqrstuvwxyz", "'")
COLOUR_KNOTS_HZ = (100.0, 300.0, 900.0, 2000.0, 4000.0, 8000.0)
IGNORED = -100  # what the loss takes for padding
POOL_BATCHES = 8  # batches are cut from pools of this many, sorted by length, so that little is padding


@dataclass(frozen=True)
class Recipe:
    """How to train; the defaults made the shipped model."""

    steps: int = 4800
    batch_size: int = 8
    utterances: int = 6000
    learning_rate: float = 3e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.01
    warmup_steps: int = 100
    clip_norm: float = 1.0
    short_first: float = 0.2  # share of the steps that see only the shorter half
    random_text: float = 0.5  # share of the utterances
    noisy: float = 0.6  # share of the clips, anew in each epoch
    snr_db: tuple[float, float] = (15.0, 40.0)
    colour_db: float = 10.0  # gains drawn from -10 to 10 dB at COLOUR_KNOTS_HZ, anew in each epoch
    stretch: tuple[float, float] = (0.9, 1.12)  # played slower or faster: moves the formants as other throats do
    seed: int = 0


def config() -> Wav2Vec2Config:
    """Return the shape of the model: one frame each 30 ms, two layers of width 160."""
    return Wav2Vec2Config(
        conv_dim=[64, 96, 128, 160],
        conv_kernel=[80, 8, 4, 3],
        conv_stride=[20, 4, 3, 2],
        conv_bias=True,
        feat_extract_norm="layer",
        do_stable_layer_norm=True,
        feat_extract_activation="relu",
        hidden_act="relu",
        hidden_size=160,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=480,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=16,
        vocab_size=len(VOCABULARY),
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
        hidden_dropout=0.0,
        attention_dropout=0.0,
        activation_dropout=0.0,
        feat_proj_dropout=0.0,
        final_dropout=0.0,
        layerdrop=0.0,
        mask_time_prob=0.0,
        mask_feature_prob=0.0,
        ctc_loss_reduction="mean",
        ctc_zero_infinity=True,
    )


def make_processor(folder: Path) -> Wav2Vec2Processor:
    """Write the tokenizer and the feature extractor to `folder` and return the processor that uses them."""
    tokenizer_class: Any = Wav2Vec2CTCTokenizer  # transformers leaves its constructors without annotations
    extractor_class: Any = Wav2Vec2FeatureExtractor
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(VOCABULARY)}), encoding="utf-8")
    tokenizer = tokenizer_class(str(folder / "vocab.json"))  # its default names are those of VOCABULARY
    extractor = extractor_class(
        feature_size=1, sampling_rate=SAMPLE_RATE_HZ, padding_value=0.0, do_normalize=True, return_attention_mask=True
    )
    tokenizer.save_pretrained(folder)
    extractor.save_pretrained(folder)
    return Wav2Vec2Processor.from_pretrained(folder)


def gabor_filters(count: int, width: int) -> torch.Tensor:
    """Return (count, 1, width) filters of unit norm: cosines and sines under a Hann window, 80 to 7200 Hz evenly in mel."""
    lowest, highest = 1127.0 * np.log1p(np.array([80.0, 7200.0]) / 700.0)
    mel = np.linspace(float(lowest), float(highest), count // 2)
    frequency_hz = 700.0 * np.expm1(mel / 1127.0)
    time_s = (np.arange(width) - (width - 1) / 2) / SAMPLE_RATE_HZ
    angle = 2.0 * np.pi * frequency_hz[:, None] * time_s
    filters = np.concatenate([np.cos(angle), np.sin(angle)]) * np.hanning(width)
    filters /= np.linalg.norm(filters, axis=1, keepdims=True)
    return torch.from_numpy(filters[:, None, :].astype(np.float32))


def new_model() -> Wav2Vec2ForCTC:
    """Return an untrained model whose first convolution hears frequencies."""
    model = Wav2Vec2ForCTC(config())
    first = model.get_submodule("wav2vec2.feature_extractor.conv_layers.0.conv")
    with torch.no_grad():
        weight, bias = first.get_parameter("weight"), first.get_parameter("bias")  # weight: (filters, 1, width)
        weight.copy_(gabor_filters(weight.shape[0], weight.shape[2]))
        bias.zero_()
    return model


def make_training_set(recipe: Recipe) -> list[Utterance]:
    """Return clean utterances of the training callers, half of them random words, each stretched a little."""
    rng = np.random.default_rng(recipe.seed)
    people = training_callers()
    return [_training_utterance(rng, people[index % len(people)], recipe) for index in range(recipe.utterances)]


def _training_utterance(rng: np.random.Generator, caller: Caller, recipe: Recipe) -> Utterance:
    text = make_text(rng, Domain.CLEAN)
    if rng.random() < recipe.random_text:
        text = " ".join(rng.choice(OFFICE_WORDS, size=int(rng.integers(3, 8))))
    speech = synthesiser().speak(
        text, caller.voice, caller.speed_wpm + int(rng.integers(-10, 11)), caller.pitch + int(rng.integers(-10, 11))
    )
    factor = float(rng.uniform(*recipe.stretch))
    return Utterance(text, set_level(soxr.resample(speech, SAMPLE_RATE_HZ * factor, SAMPLE_RATE_HZ)), caller, Domain.CLEAN)


def batches(utterances: Sequence[Utterance], recipe: Recipe) -> Iterator[list[Utterance]]:
    """Yield `recipe.steps` batches of clips of like length; the shorter half of the set comes first."""
    rng = np.random.default_rng([recipe.seed, 1])
    order = np.argsort([utterance.audio.size for utterance in utterances], kind="stable")
    step = 0
    while step < recipe.steps:
        early = step < recipe.short_first * recipe.steps
        shuffled = rng.permutation(order[: order.size // 2] if early else order)
        pool = recipe.batch_size * POOL_BATCHES
        for start in range(0, shuffled.size - pool + 1, pool):
            by_length = sorted(shuffled[start : start + pool], key=lambda index: utterances[index].audio.size)
            for row in rng.permutation(POOL_BATCHES):
                if step == recipe.steps:
                    return
                yield [utterances[index] for index in by_length[row * recipe.batch_size : (row + 1) * recipe.batch_size]]
                step += 1


def _disturb(rng: np.random.Generator, audio: Audio, recipe: Recipe) -> Audio:
    coloured = equalise(audio, COLOUR_KNOTS_HZ, rng.uniform(-recipe.colour_db, recipe.colour_db, len(COLOUR_KNOTS_HZ)).tolist())
    if rng.random() >= recipe.noisy:
        return coloured
    return add_noise(coloured, white_noise(rng, audio.size), rng.uniform(*recipe.snr_db))


def train(recipe: Recipe, processor: Wav2Vec2Processor) -> Wav2Vec2ForCTC:
    """Return the trained model."""
    torch.manual_seed(recipe.seed)
    torch.use_deterministic_algorithms(mode=True)
    model = new_model()
    model.train()
    rng = np.random.default_rng([recipe.seed, 2])
    optimiser = torch.optim.AdamW(model.parameters(), recipe.learning_rate, betas=recipe.betas, weight_decay=recipe.weight_decay)

    def rate(step: int) -> float:
        progress = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
        return min(1.0, (step + 1) / recipe.warmup_steps) * (0.5 + 0.5 * math.cos(math.pi * max(0.0, progress)))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, rate)
    started = time.monotonic()
    for step, batch in enumerate(batches(make_training_set(recipe), recipe), start=1):
        clips = [_disturb(rng, utterance.audio, recipe) for utterance in batch]
        inputs = processor(clips, sampling_rate=SAMPLE_RATE_HZ, padding=True, return_tensors="pt")  # (batch, samples)
        labels = processor.tokenizer([utterance.text for utterance in batch], padding=True, return_tensors="pt")
        targets = labels.input_ids.masked_fill(labels.attention_mask == 0, IGNORED)  # (batch, characters)
        loss = model(inputs.input_values, attention_mask=inputs.attention_mask, labels=targets).loss
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), recipe.clip_norm)
        optimiser.step()
        schedule.step()
        if step % 50 == 0 or step == recipe.steps:
            print(f"step {step}/{recipe.steps} loss {loss.item():.3f} {time.monotonic() - started:.0f} s", flush=True)
    return model


def save(model: Wav2Vec2ForCTC, folder: Path) -> None:
    """Write the weights in half precision, which leaves the word error rate as it is, and the configuration."""
    torch.nn.Module.half(model)
    model.save_pretrained(folder)
