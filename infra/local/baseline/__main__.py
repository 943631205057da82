"""Train the demo's baseline and measure it.

python -m infra.local.baseline [--out DIR] [--steps N] [--seed 0]
"""

import argparse
import importlib.metadata
import json
import time
from dataclasses import asdict
from pathlib import Path

import torch
from transformers import Wav2Vec2ForCTC, Wav2Vec2Processor

from infra.local.baseline import MODEL_DIR
from infra.local.baseline.evaluation import make_test_set, word_error_rate
from infra.local.baseline.training import Recipe, make_processor, save, train
from infra.local.corpus import Domain, callers

THREADS = 2  # another number adds floats in another order: other weights
TEST_CLIPS = 600
TEST_SEED = 1000
PACKAGES = ("espeakng-loader", "numpy", "soxr", "torch", "transformers")


def measure(folder: Path) -> dict[str, float | int]:
    """Return what the saved model reaches on people and sentences that it never heard."""
    model = Wav2Vec2ForCTC.from_pretrained(folder, dtype=torch.float32)
    processor = Wav2Vec2Processor.from_pretrained(folder)
    people = callers()
    clean, call_centre = (
        word_error_rate(model, processor, make_test_set(domain, people, TEST_CLIPS, TEST_SEED))
        for domain in (Domain.CLEAN, Domain.CALL_CENTRE)
    )
    return {
        "clean_wer": round(clean, 4),
        "call_centre_wer": round(call_centre, 4),
        "test_clips": TEST_CLIPS,
        "test_callers": len(people),
        "parameters": model.num_parameters(),
    }


def write_metrics(folder: Path, recipe: Recipe, train_s: float) -> None:
    """Write `folder`/metrics.json: the word error rates, how the model was made, with which packages and in which time."""
    metrics = measure(folder) | {
        "train_s": round(train_s, 1),
        "recipe": asdict(recipe),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    text = json.dumps(metrics, indent=2)
    (folder / "metrics.json").write_text(text + "\n", encoding="utf-8")
    print(text)


def main() -> None:
    """Train from nothing, save a folder that `from_pretrained` reads, and measure it."""
    default = Recipe()
    parser = argparse.ArgumentParser(prog="python -m infra.local.baseline", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=MODEL_DIR, help="folder to write to")
    parser.add_argument("--steps", type=int, default=default.steps)
    parser.add_argument("--seed", type=int, default=default.seed)
    arguments = parser.parse_args()
    recipe = Recipe(steps=arguments.steps, seed=arguments.seed)
    torch.set_num_threads(THREADS)
    started = time.monotonic()
    save(train(recipe, make_processor(arguments.out)), arguments.out)
    write_metrics(arguments.out, recipe, time.monotonic() - started)


if __name__ == "__main__":
    main()
