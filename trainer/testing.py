"""Builders for tests: a tiny random model, clips in which every letter is a tone, and a store in which a cycle is ready to train."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

from shared import keys
from shared.audio_source import AudioPin, AudioSource
from shared.bus import Outgoing
from shared.cycle import CODEC, Status, open_cycle
from shared.documents import document_bytes, lines_bytes, sha256_hex
from shared.gold import GoldConfig
from shared.manifest import ModelManifest, digest_folder
from shared.objectstore import ObjectStore
from shared.testing.memory_store import MemoryStore
from shared.training import BaseModelRef, Clip, ClipSet, ObjectRef, SetRole, TrainingConfig, TrainingSpec, UnlabelledClip
from trainer.clips.load import ClipLoader, UsableClip
from trainer.network.model import AcousticModel, Samples

RATE_HZ = 16_000
LETTER_S = 0.12
LETTERS = "'abcdefghijklmnopqrstuvwxyz"
VOCABULARY = {token: index for index, token in enumerate(("<pad>", "<s>", "</s>", "<unk>", "|", *LETTERS))}
AUDIO_STORE = "gs://calls"
DEFAULT_CONFIG = TrainingConfig()
START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


def write_tiny_model(folder: Path, *, seed: int = 0, **overrides: Any) -> Path:
    """Write a random wav2vec2 CTC model of a few thousand weights, as fp16 safetensors, and return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {
        "conv_dim": [16, 24, 24, 32],
        "conv_kernel": [80, 8, 4, 3],
        "conv_stride": [20, 4, 3, 2],
        "num_feat_extract_layers": 4,
        "feat_extract_norm": "layer",
        "do_stable_layer_norm": True,
        "conv_bias": True,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 48,
        "num_conv_pos_embeddings": 8,
        "num_conv_pos_embedding_groups": 4,
        "vocab_size": len(VOCABULARY),
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    torch.manual_seed(seed)
    Wav2Vec2ForCTC(Wav2Vec2Config(**settings | overrides)).half().save_pretrained(folder)
    tokenizer = {"pad_token": "<pad>", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "word_delimiter_token": "|"}
    extractor = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": True, "sampling_rate": RATE_HZ}
    files = {"vocab.json": VOCABULARY, "tokenizer_config.json": tokenizer, "preprocessor_config.json": extractor}
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    return folder


def tones(text: str, seed: int = 0) -> Samples:
    """Return `text` as `(samples,)` float32: a tone of its own for every letter, a pause for a space, and a little noise."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(LETTER_S * RATE_HZ)) / RATE_HZ
    parts = [np.sin(2 * np.pi * (300 + 120 * LETTERS.find(char)) * time_s) * (char != " ") for char in text]
    sound = np.concatenate([*parts, np.zeros(1)]) * 0.3
    noisy: Samples = (sound + rng.normal(scale=0.01, size=sound.size)).astype(np.float32)
    return noisy


def wav_bytes(samples: Samples, rate_hz: int = RATE_HZ) -> bytes:
    """Return a 16-bit WAV file; `samples` is `(samples,)` or `(samples, channels)`."""
    buffer = BytesIO()
    soundfile.write(buffer, samples, rate_hz, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def stored_clip(store: ObjectStore, name: str, text: str, *, audio: bytes | None = None, **fields: Any) -> Clip:
    """Store a clip's audio and return the clip, pinned; the caller's store serves every bucket."""
    data = wav_bytes(tones(text, seed=sum(name.encode()))) if audio is None else audio
    info = store.put(f"{name}.wav", data)
    pin = AudioPin(uri=f"{AUDIO_STORE}/{name}.wav", generation=info.generation, crc32c=info.crc32c, size_bytes=len(data))
    values = {"cluster": f"speaker-{name}", "stratum": "errors", "provenance": "human"}
    return Clip(utterance_id=name, audio=pin, reference=text, **values | fields)


def usable_clips(
    model: AcousticModel,
    folder: Path,
    texts: Mapping[str, str],
    *,
    role: SetRole = "train_errors",
    config: TrainingConfig = DEFAULT_CONFIG,
    audio: Mapping[str, bytes] | None = None,
) -> list[UsableClip]:
    """Return clips as a run's own loader gives them; none may be set aside.

    Args:
        model: that is to hear them.
        folder: for their audio.
        texts: references by the clips' names.
        role: of the set.
        config: of the run.
        audio: WAV files by name; without one a clip's text is spoken in tones.
    """
    store = MemoryStore()
    loader = ClipLoader(AudioSource(lambda _uri: store, (AUDIO_STORE,)), model, config, folder / "audio")
    stored = [stored_clip(store, name, text, audio=(audio or {}).get(name)) for name, text in texts.items()]
    outcomes = list(loader.load(stored, role, role))
    usable = [clip for clip in outcomes if isinstance(clip, UsableClip)]
    if len(usable) < len(outcomes):
        raise AssertionError(f"expected no clip to be set aside, found {[clip for clip in outcomes if clip not in usable]}")
    return usable


class Outbox:
    """A publisher that keeps what it is given."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def publish(self, message: Outgoing) -> str:
        """Keep a message's data."""
        self.events.append(json.loads(message.data))
        return str(len(self.events))


def store_model(store: ObjectStore, version: int, folder: Path, **fields: Any) -> ObjectRef:
    """Store a model folder with its manifest and return a reference to that."""
    files = digest_folder(folder)
    for file in files:
        store.put_file(file.key(keys.model(version)), folder / file.name)
    manifest = ModelManifest(version=version, origin="imported", created_at=START, files=tuple(files), **fields)
    store.put(keys.manifest(version), document_bytes(manifest))
    return ObjectRef(key=keys.manifest(version), sha256=sha256_hex(document_bytes(manifest)))


def store_cycle(
    store: ObjectStore,
    sets: Mapping[tuple[str, SetRole], Sequence[Clip | UnlabelledClip]],
    base: ObjectRef,
    config: TrainingConfig,
    *,
    gold: GoldConfig | None = None,
) -> TrainingSpec:
    """Store the clips, the spec of cycle 1, and a state in which its attempt 1 may begin."""
    stored = []
    for (name, role), clips in sets.items():
        data = lines_bytes(clips)
        store.put(keys.clips(1, name), data)
        stored.append(ClipSet(name=name, role=role, ref=ObjectRef(key=keys.clips(1, name), sha256=sha256_hex(data)), clips=len(clips)))
    spec = TrainingSpec(
        cycle=1,
        created_at=START,
        base=BaseModelRef(version=0, manifest=base),
        dataset=ObjectRef(key=keys.dataset(1), sha256="0" * 64),
        sets=tuple(stored),
        config=config,
        gold=gold,
        audio_prefixes=(AUDIO_STORE,),
        policy=ObjectRef(key=keys.policy(1, "1" * 64), sha256="1" * 64),
    )
    store.put(keys.spec(1), document_bytes(spec))
    state = open_cycle(1, Status.PREPARING, at=START, by="test", cause="test", reason="test")
    store.put(keys.state(1), CODEC.dump(state))
    return spec
