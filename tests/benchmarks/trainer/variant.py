"""One variant in a process of its own, so that its memory is its own: `python -m tests.benchmarks.trainer.variant --json JOB --out FILE`."""

import argparse
import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.trainer.clips import read_clips
from tests.benchmarks.trainer.jobs import Job, Outcome, Score, Stopwatch, Trained
from tests.benchmarks.trainer.memory import PeakMemory
from tests.benchmarks.trainer.ours import fine_tune, training_sets
from tests.benchmarks.trainer.recipe import build_network, prepare, seeded, train
from tests.benchmarks.trainer.scoring import HeldOut
from trainer.network.model import AcousticModel, load_model
from trainer.process import prepare_process


def run(job: Job) -> Outcome:
    """Train once and return what it took."""
    seeded(job.seed)
    return _run_ours(job) if job.variant.trainer == "ours" else _run_recipe(job)


def _run_recipe(job: Job) -> Outcome:
    clips, device = read_clips(job.clips, "train_errors", "train_replay"), torch.device(job.device)
    network = build_network(job)
    dataset, collator, processor = prepare(job, clips, network)
    core = network.get_base_model() if job.variant.method == "lora" else network
    acoustic = replace(load_model(job.model, device), network=core) if job.scored else None
    scores, between = _scorer(job, acoustic)
    with PeakMemory(device) as memory:
        stopwatch = Stopwatch(device, between)
        trained = train(job, network, dataset, collator, processor, stopwatch)
    return _outcome(stopwatch, memory, trained, scores)


def _run_ours(job: Job) -> Outcome:
    device = torch.device(job.device)
    model = load_model(job.model, device)
    scores, between = _scorer(job, model if job.scored else None)
    sets = training_sets(job, model)
    with PeakMemory(device) as memory:
        stopwatch = Stopwatch(device, between)
        trained = fine_tune(job, model, sets, stopwatch)
    return _outcome(stopwatch, memory, trained, scores)


def _scorer(job: Job, model: AcousticModel | None) -> tuple[list[Score], Any]:
    scores: list[Score] = []
    if model is None:
        return scores, None
    precision = job.variant.precision or "fp32"
    held_out = HeldOut(model, job.clips, read_clips(job.clips, "held_out", "held_out_clean"), precision)
    scores.append(held_out.score(model, 0.0))
    return scores, lambda trained_s: scores.append(held_out.score(model, trained_s))


def _outcome(stopwatch: Stopwatch, memory: PeakMemory, trained: Trained, scores: list[Score]) -> Outcome:
    return Outcome(
        first_epoch_s=stopwatch.epochs_s[0],
        later_epochs_s=stopwatch.epochs_s[1:],
        first_epoch_cpu_s=stopwatch.epochs_cpu_s[0],
        later_epochs_cpu_s=stopwatch.epochs_cpu_s[1:],
        peak_bytes=memory.bytes,
        padding_share=trained.padding_share,
        clips_per_step=trained.clips / trained.steps,
        trained_parameters=trained.trained_parameters,
        scores=scores,
    )


def main() -> None:
    """Run the job and write its outcome."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--json", required=True, help="the job")
    parser.add_argument("--out", type=Path, required=True, help="file for the outcome")
    arguments = parser.parse_args()
    prepare_process()
    outcome = run(Job.load(arguments.json))
    arguments.out.write_text(json.dumps(asdict(outcome)), encoding="utf-8")


if __name__ == "__main__":
    main()
