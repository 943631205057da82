"""The clips that every variant trains on, and the model it starts from: folders that each process reads for itself.

The base and large shapes have random weights and noise that comes and goes as speech does: time and memory do not depend on what is said.
The tiny shape is the demo's baseline with synthetic speech: there the word error rate is real.
"""

import json
import math
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
import soundfile

from infra.local.telephone import pink_noise
from trainer.augment.acoustics import SAMPLE_RATE_HZ, Audio, set_level

Role = Literal["train_errors", "train_replay", "held_out", "held_out_clean"]
MEDIAN_S, SIGMA, SHORTEST_S, LONGEST_S = 4.0, 0.7, 1.0, 20.0
CHARS_PER_S = 12.0
SYLLABLES_HZ = 4.0
VOCABULARY = ("<pad>", "<s>", "</s>", "<unk>", "|", *"'abcdefghijklmnopqrstuvwxyz")


@dataclass(frozen=True)
class Clip:
    """One clip on disk: `file` is its name in the folder, `samples` its length at 16 kHz."""

    file: str
    text: str
    samples: int
    role: Role


def durations_s(count: int, seed: int = 0) -> list[float]:
    """Return `count` durations of a lognormal distribution (median 4 s, sigma 0.7), clipped to 1-20 s, in random order.

    They are its quantiles at equal distances and not draws: with the few clips of a CPU run, draws would move the padding, and with it
    every ratio, from seed to seed.
    """
    quantiles = (NormalDist().inv_cdf((index + 0.5) / count) for index in range(count))
    durations = [min(LONGEST_S, max(SHORTEST_S, MEDIAN_S * math.exp(SIGMA * quantile))) for quantile in quantiles]
    order = np.random.default_rng([seed, count]).permutation(count)
    return [durations[index] for index in order]


def letters(rng: np.random.Generator, duration_s: float) -> str:
    """Return words of random letters, about 12 characters a second: fewer than half of the frames, so CTC can always spell them."""
    size = max(1, round(CHARS_PER_S * duration_s))
    characters = rng.choice(list("abcdefghijklmnopqrstuvwxyz"), size=size)
    position = int(rng.integers(2, 8))
    while position < size - 1:
        characters[position] = " "
        position += int(rng.integers(3, 9))
    return "".join(characters)


def murmur(rng: np.random.Generator, samples: int) -> Audio:
    """Return `(samples,)` float32: pink noise whose loudness comes and goes four times a second."""
    time_s = np.arange(samples) / SAMPLE_RATE_HZ
    envelope = 0.55 + 0.45 * np.sin(2 * np.pi * (SYLLABLES_HZ * time_s + rng.random()))
    return set_level((pink_noise(rng, samples) * envelope).astype(np.float32))


def write_murmurs(folder: Path, count: int, seed: int = 0) -> list[Clip]:
    """Write `count` clips of noise with random transcripts; all of them are errors to train on."""
    clips = []
    for number, duration_s in enumerate(durations_s(count, seed)):
        rng = np.random.default_rng([seed, number])
        text, samples = letters(rng, duration_s), round(duration_s * SAMPLE_RATE_HZ)
        clips.append(_write(folder, f"{number:05d}.wav", murmur(rng, samples), text, "train_errors"))
    _write_list(folder, clips)
    return clips


def read_clips(folder: Path, *roles: Role) -> list[Clip]:
    """Return the clips of a folder that have one of `roles`, in order."""
    lines = (folder / "clips.jsonl").read_text(encoding="utf-8").splitlines()
    return [clip for clip in (Clip(**json.loads(line)) for line in lines) if clip.role in roles]


def read_audio(folder: Path, clip: Clip) -> Audio:
    """Decode one clip: `(samples,)` float32."""
    audio: Audio = soundfile.read(folder / clip.file, dtype="float32")[0]
    return audio


def _write(folder: Path, file: str, audio: Audio, text: str, role: Role) -> Clip:
    soundfile.write(folder / file, audio, SAMPLE_RATE_HZ, subtype="PCM_16")
    return Clip(file, text, audio.size, role)


def _write_list(folder: Path, clips: Iterable[Clip]) -> None:
    (folder / "clips.jsonl").write_text("".join(json.dumps(asdict(clip)) + "\n" for clip in clips), encoding="utf-8")


@dataclass(frozen=True)
class SpeechCounts:
    """Clips of the tiny shape: errors and replay to train on, and what is held out, of callers who are in no training clip."""

    errors: int
    replay: int
    held_out: int
    held_out_clean: int


def write_speech(folder: Path, model: Path, counts: SpeechCounts, seed: int = 0) -> list[Clip]:
    """Write the call centre's utterances that `model` gets wrong, clean ones for replay, and unselected ones of other callers.

    Raises:
        RuntimeError: the model is too good to find so many errors.
    """
    from infra.local.corpus import Domain, callers, make_utterance
    from shared.wer import count_word_errors
    from trainer.recogniser import Recogniser

    everyone = callers()
    order = np.random.default_rng([seed, 1]).permutation(len(everyone))
    calling = [everyone[index] for index in order[: len(order) * 4 // 5]]
    fresh = [everyone[index] for index in order[len(order) * 4 // 5 :]]
    recogniser, rng = Recogniser.load(model, "cpu"), np.random.default_rng([seed, 2])
    clips: list[Clip] = []
    for number in range(counts.errors * 5):
        if len(clips) == counts.errors:
            break
        spoken = make_utterance(rng, Domain.CALL_CENTRE, calling[number % len(calling)])
        if count_word_errors(spoken.text, recogniser.transcribe([spoken.audio])[0]).errors:
            clips.append(_write(folder, f"error-{number:05d}.wav", spoken.audio, spoken.text, "train_errors"))
    if len(clips) < counts.errors:
        raise RuntimeError(f"errors of {model.name}: expected {counts.errors} in {counts.errors * 5} utterances, found {len(clips)}")
    rest: tuple[tuple[Role, int, Domain, Sequence[Any]], ...] = (
        ("train_replay", counts.replay, Domain.CLEAN, calling),
        ("held_out", counts.held_out, Domain.CALL_CENTRE, fresh),
        ("held_out_clean", counts.held_out_clean, Domain.CLEAN, fresh),
    )
    for role, count, domain, people in rest:
        for number in range(count):
            spoken = make_utterance(rng, domain, people[number % len(people)])
            clips.append(_write(folder, f"{role}-{number:05d}.wav", spoken.audio, spoken.text, role))
    _write_list(folder, clips)
    return clips


def write_random_model(folder: Path, shape: dict[str, Any], seed: int = 0) -> None:
    """Write a wav2vec2 CTC model of random weights with the processor that the published ones of this shape have.

    Args:
        folder: to write to.
        shape: arguments of `Wav2Vec2Config`; what is missing is wav2vec2-base.
        seed: of the weights.
    """
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    config = Wav2Vec2Config(**{"vocab_size": len(VOCABULARY), "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2} | shape)
    Wav2Vec2ForCTC(config).save_pretrained(folder)
    # the published models with a group norm were trained without an attention mask, those with layer norms with one
    extractor = {
        "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        "do_normalize": True,
        "sampling_rate": SAMPLE_RATE_HZ,
        "return_attention_mask": config.feat_extract_norm == "layer",
    }
    tokenizer = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "word_delimiter_token": "|"}
    files = {
        "vocab.json": {token: index for index, token in enumerate(VOCABULARY)},
        "tokenizer_config.json": tokenizer,
        "preprocessor_config.json": extractor,
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")


def copy_model(source: Path, folder: Path) -> None:
    """Copy a model folder."""
    shutil.copytree(source, folder)
