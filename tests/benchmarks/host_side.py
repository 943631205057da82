"""What the host does beside the network: collapsing CTC paths, collating clips, preparing audio; ours and transformers' side by side.

Run as `python -m tests.benchmarks.host_side`. What is compared runs in turns on the same data and gives
the same result; what has no counterpart is timed alone.
"""

import json
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import torch
from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor

from shared.training import SpecAugment
from trainer.augment.spec_augment import time_mask
from trainer.network.batching import pad_features
from trainer.network.decode import greedy_transcripts
from trainer.network.model import load_model
from trainer.testing import write_tiny_model

ROUNDS = 5
CLIPS, FRAMES = 1000, 500
COLLATED, SECONDS = 64, 10


def seconds(work: Callable[[], object]) -> float:
    """Return how long one call takes."""
    started = perf_counter()
    work()
    return perf_counter() - started


def main() -> None:
    """Print and store the medians."""
    rng = np.random.default_rng(0)
    with TemporaryDirectory() as folder:
        model = load_model(write_tiny_model(Path(folder)), torch.device("cpu"))
        tokenizer = Wav2Vec2CTCTokenizer.from_pretrained(folder)
        extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    logits = torch.from_numpy(rng.normal(size=(CLIPS, FRAMES, len(model.vocabulary.tokens))).astype(np.float32))
    lengths, ids = torch.full((CLIPS,), FRAMES), logits.argmax(dim=-1)
    audio = [rng.normal(size=int(SECONDS * 16_000 * rng.uniform(0.9, 1.0))).astype(np.float32) for _ in range(COLLATED)]
    features = [torch.from_numpy(rng.normal(size=(FRAMES - clip, 512)).astype(np.float32)) for clip in range(COLLATED)]
    pairs: dict[str, Callable[[], object]] = {
        "decode_ours": lambda: greedy_transcripts(logits, lengths, model.vocabulary),
        "decode_transformers": lambda: tokenizer.batch_decode(ids),
        "prepare_ours": lambda: [model.prepare(clip) for clip in audio],
        "prepare_transformers": lambda: extractor(audio, sampling_rate=16_000),
        "collate_ours": lambda: pad_features(features),
        "spec_augment_masks_32x500": lambda: time_mask([FRAMES] * 32, SpecAugment(), np.random.default_rng(0)),
    }
    rounds = [{name: seconds(work) for name, work in pairs.items()} for _ in range(ROUNDS)]
    medians = {name: median(times[name] for times in rounds) for name in pairs}
    for name, taken in medians.items():
        print(f"{name}: {1000 * taken:.2f} ms")
    print(f"decode_faster: {medians['decode_transformers'] / medians['decode_ours']:.1f} x")
    print(f"prepare_faster: {medians['prepare_transformers'] / medians['prepare_ours']:.1f} x")
    out = Path("bench-results")
    out.mkdir(exist_ok=True)
    document = {"rounds": ROUNDS, "unit": "s", "clips": CLIPS, "frames": FRAMES, "collated": COLLATED, "median": medians, "each": rounds}
    (out / "host_side.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
