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

TEST_CLIPS = 600
PACKAGES = ("espeakng-loader", "numpy", "soxr", "torch", "transformers")


def main() -> None:
    """Train, save, load again and write metrics.json with what the saved model reaches on people it never heard."""
    default = Recipe()
    parser = argparse.ArgumentParser(prog="python -m infra.local.baseline", description=main.__doc__)
    parser.add_argument("--out", type=Path, default=MODEL_DIR, help="folder to write to")
    parser.add_argument("--steps", type=int, default=default.steps)
    parser.add_argument("--seed", type=int, default=default.seed)
    arguments = parser.parse_args()
    recipe = Recipe(steps=arguments.steps, seed=arguments.seed)
    torch.set_num_threads(2)
    started = time.monotonic()
    processor = make_processor(arguments.out)
    save(train(recipe, processor), arguments.out)
    train_s = time.monotonic() - started

    model = Wav2Vec2ForCTC.from_pretrained(arguments.out, dtype=torch.float32)
    processor = Wav2Vec2Processor.from_pretrained(arguments.out)
    people = callers()
    metrics = {
        "clean_wer": word_error_rate(model, processor, make_test_set(Domain.CLEAN, people, TEST_CLIPS, seed=1000)),
        "call_centre_wer": word_error_rate(model, processor, make_test_set(Domain.CALL_CENTRE, people, TEST_CLIPS, seed=1000)),
        "test_clips": TEST_CLIPS,
        "test_callers": len(people),
        "parameters": model.num_parameters(),
        "train_s": round(train_s, 1),
        "recipe": asdict(recipe),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }
    (arguments.out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(metrics, indent=2))


if __name__ == "__main__":
    main()
