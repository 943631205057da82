"""Our trainer beside the usual recipe, in one run, on the same clips, model and number of seen clips.

    python -m tests.benchmarks.trainer [--shapes tiny,base,large] [--quick] [--device auto] [--out bench-results/trainer.json]

Every variant runs in a process of its own, one after another; those that the targets name run again in the same order, since machines
are noisy. Nothing is asserted: targets are printed as met or not met. The whole of it takes an hour and more on two cores.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from transformers.trainer_pt_utils import get_length_grouped_indices

from infra.bundle import ROOT
from infra.local.baseline import MODEL_DIR
from tests.benchmarks.trainer import plan
from tests.benchmarks.trainer.clips import copy_model, durations_s, read_clips, write_murmurs, write_random_model, write_speech
from tests.benchmarks.trainer.figures import Target, at_padding_s, best_of, common_wer, row_of, targets_of, wer_gap_target
from tests.benchmarks.trainer.jobs import BATCH, Job, Outcome, Precision, Variant, outcome_of
from tests.benchmarks.trainer.ours import padding_of
from tests.benchmarks.trainer.report import ShapeReport, as_document, as_markdown, environment, lines_of, targets_table
from trainer.augment.acoustics import SAMPLE_RATE_HZ
from trainer.network.batching import padding_share
from trainer.process import hush_transformers

PROCESS_LIMIT_S = 3600
PADDING_CLIPS = 4000
GREEDY_CLIPS = {"cpu": 16, "cuda": 1000}


class ProcessFailed(Exception):
    """A variant's process ended without an outcome; the text is the end of what it said."""


def start(module: str, out: Path, *arguments: str) -> Any:
    """Run a module of this package in a fresh process and return the JSON that it wrote.

    Raises:
        ProcessFailed: it ended otherwise, for example for want of memory, or not in an hour.
    """
    command = [sys.executable, "-m", f"tests.benchmarks.trainer.{module}", *arguments, "--out", str(out)]
    out.unlink(missing_ok=True)
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=PROCESS_LIMIT_S, check=False)
    except subprocess.TimeoutExpired as expired:
        raise ProcessFailed(f"expected an end within {PROCESS_LIMIT_S} s, found none") from expired
    if done.returncode or not out.exists():
        tail = [line for line in done.stderr.splitlines() if line.strip()][-1:] or [f"exit code {done.returncode}"]
        raise ProcessFailed(tail[0].strip())
    return json.loads(out.read_text(encoding="utf-8"))


class ShapeBench:
    """All variants on one shape."""

    def __init__(self, shape: plan.ShapeName, size: plan.Size, device: plan.Device, folder: Path) -> None:
        self._shape, self._size, self._device, self._folder = shape, size, device, folder
        self._prepare()
        trained = read_clips(folder / "clips", "train_errors", "train_replay")
        audio_s = sum(clip.samples for clip in trained) / SAMPLE_RATE_HZ
        self.report = ShapeReport(shape, len(trained), audio_s, size.epochs)

    def run(self) -> ShapeReport:
        """Measure everything and return the report."""
        report = self.report
        for variant in (plan.A_FULL_FP32, plan.A_FULL_BF16):
            self._measure(variant, 0)
        report.fast = self._faster_precision()
        chosen = plan.variants(self._shape, self._size, report.fast)
        for variant in chosen:
            self._measure(variant, 0)
        for repetition in range(1, self._size.repetitions):
            for variant in plan.repeated(chosen, report.fast):
                self._measure(variant, repetition)
        report.common_wer = common_wer(report.runs)
        report.rows = {name: row_of(outcomes, report.common_wer) for name, outcomes in report.runs.items()}
        report.reference = best_of(report.rows, plan.REFERENCES)
        report.grouped = best_of(report.rows, ["a_grouped_full"])
        return report

    def _prepare(self) -> None:
        (self._folder / "clips").mkdir(parents=True)
        if self._size.speech and self._shape == "tiny":
            copy_model(MODEL_DIR, self._folder / "model")
            write_speech(self._folder / "clips", self._folder / "model", self._size.speech)
        else:
            write_random_model(self._folder / "model", plan.SHAPES[self._shape])
            write_murmurs(self._folder / "clips", self._size.clips)

    def _faster_precision(self) -> Precision:
        found = {name: outcomes[0] for name, outcomes in self.report.runs.items()}
        on_cpu = self._device == "cpu"  # other work on the machine must not decide
        times = {name: mean(outcome.later_epochs_cpu_s if on_cpu else outcome.later_epochs_s) for name, outcome in found.items()}
        return "bf16" if min(times, key=lambda name: times[name], default="") == "a_full_bf16" else "fp32"

    def _measure(self, variant: Variant, repetition: int) -> None:
        report = self.report
        report.variants[variant.name] = variant
        rate = plan.learning_rate(self._shape, variant)
        job = Job(variant, str(self._folder), self._device, self._size.epochs, rate, seed=repetition, scored=self._shape == "tiny")
        started = time.monotonic()
        try:
            outcome = outcome_of(start("variant", self._folder / "outcome.json", "--json", job.dump()))
        except ProcessFailed as failure:
            report.failed[variant.name] = str(failure)
            print(f"{self._shape}.{variant.name}.run_{repetition}: failed, {failure}", flush=True)
            return
        report.runs.setdefault(variant.name, []).append(outcome)
        print(
            f"{self._shape}.{variant.name}.run_{repetition}: {_in_short(outcome)}, process {time.monotonic() - started:.0f} s", flush=True
        )


def _in_short(outcome: Outcome) -> str:
    later = " ".join(f"{seconds:.1f}" for seconds in outcome.later_epochs_s)
    wer = f", WER {outcome.scores[0].call_centre:.1%} to {outcome.scores[-1].call_centre:.1%}" if outcome.scores else ""
    return f"epochs {outcome.first_epoch_s:.1f} {later} s, peak {outcome.peak_bytes >> 20} MiB{wer}"


def greedy(folder: Path, model: Path, device: plan.Device, clips: int) -> dict[str, float]:
    """Return how many times faster than real time a model transcribes `clips` files, in each precision."""
    (folder / "greedy").mkdir()
    write_murmurs(folder / "greedy", clips, seed=1)
    found = {}
    for precision in ("fp32", "bf16"):
        where = ("--model", str(model), "--clips", str(folder / "greedy"), "--device", device, "--precision", precision)
        try:
            result = start("greedy", folder / "greedy.json", *where)
        except ProcessFailed as failure:
            print(f"greedy.{precision}: failed, {failure}", flush=True)
            continue
        found[f"greedy_large_{precision}_{clips}_clips_times_real_time"] = float(result["times_real_time"])
    return found


def padding_shares(clips: int = PADDING_CLIPS) -> dict[str, float]:
    """Return the padding of each way to make batches over a corpus of `clips` clips of the same distribution: a run here has too few."""
    lengths = [round(100 * duration_s) for duration_s in durations_s(clips)]
    order = np.random.default_rng(0).permutation(clips).tolist()
    torch.manual_seed(0)
    grouped = get_length_grouped_indices(lengths, BATCH)
    ways: dict[str, Sequence[Sequence[int]]] = {"random": _batches(order), "grouped_by_length": _batches(grouped)}
    shares = {f"padding_share_{name}_{clips}_clips": padding_share(lengths, batches) for name, batches in ways.items()}
    return shares | {f"padding_share_ours_{clips}_clips": padding_of(lengths)}


def _batches(order: Sequence[int]) -> list[Sequence[int]]:
    return [order[start : start + BATCH] for start in range(0, len(order), BATCH)]


def grouped_at_scale(reports: Sequence[ShapeReport], extra: Mapping[str, float]) -> dict[str, float]:
    """Return what (a') would take with a large corpus's padding, computed: among the few clips of a run no eight are of like length."""
    padding = extra[f"padding_share_grouped_by_length_{PADDING_CLIPS}_clips"]
    found = {}
    for report in reports:
        grouped = report.rows.get("a_grouped_full")
        if grouped is None or report.shape == "tiny":
            continue
        name = f"{report.shape}_grouped_recipe_at_a_corpus_padding"
        seconds = found[f"{name}_computed_s"] = at_padding_s(grouped, padding)
        found |= {
            f"{report.shape}_{variant}_later_epoch_faster_than_that": seconds / report.rows[variant].later_epoch_s
            for variant in ("b", "c", "d")
            if variant in report.rows
        }
    return found


def all_targets(reports: Sequence[ShapeReport], device: plan.Device, extra: dict[str, float]) -> list[Target]:
    """Return every target with what was measured."""
    targets = []
    for report in reports:
        if report.shape == "tiny":
            ends = {name: [run.scores[-1].call_centre for run in report.runs.get(name, ())] for name in ("b", "c")}
            targets.append(wer_gap_target(ends["b"], ends["c"]))
        else:
            targets += targets_of(report.shape, report.rows, report.reference, device)
    rates = [value for name, value in extra.items() if name.startswith("greedy_large")]
    if rates and device == "cuda":
        targets.append(Target("greedy evaluation, large shape, files on disk", "2000x real time", f"{max(rates):.0f}x", max(rates) >= 2000))
    return targets


def main() -> None:
    """Measure, print and store."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.trainer", description=main.__doc__)
    parser.add_argument("--shapes", default="tiny,base,large", help="of tiny, base, large")
    parser.add_argument("--quick", action="store_true", help="few clips and variants, in a few minutes")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--out", type=Path, default=Path("bench-results/trainer.json"))
    arguments = parser.parse_args()
    shapes = [shape for shape in plan.SHAPES if shape in arguments.shapes.split(",")]
    device: plan.Device = ("cuda" if torch.cuda.is_available() else "cpu") if arguments.device == "auto" else arguments.device
    hush_transformers()
    started, surroundings, extra = time.monotonic(), environment(device), padding_shares()
    reports: list[ShapeReport] = []
    for shape in shapes:
        with TemporaryDirectory(prefix="bench-trainer-") as folder:
            size = plan.size_of(shape, device, quick=arguments.quick)
            reports.append(ShapeBench(shape, size, device, Path(folder) / shape).run())
            if shape == "large":
                clips = 4 if arguments.quick else GREEDY_CLIPS[device]
                extra |= greedy(Path(folder), Path(folder) / shape / "model", device, clips)
        extra["duration_s"] = time.monotonic() - started
        found = extra | grouped_at_scale(reports, extra)
        store(arguments.out, surroundings, reports, all_targets(reports, device, found), found)  # what comes later may fail
    for report in reports:
        print("\n".join(lines_of(report)))
    print("\n".join(f"{name}: {value:.4g} {_unit(name)}" for name, value in found.items()))
    print(targets_table(all_targets(reports, device, found)))
    print(arguments.out.with_suffix(".md").read_text(encoding="utf-8"))


def store(
    out: Path, surroundings: dict[str, Any], reports: Sequence[ShapeReport], targets: Sequence[Target], extra: dict[str, float]
) -> None:
    """Write what is known so far as JSON, and beside it as Markdown."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(as_document(surroundings, reports, targets, extra), indent=2) + "\n", encoding="utf-8")
    out.with_suffix(".md").write_text(as_markdown(surroundings, reports, targets, extra), encoding="utf-8")


def _unit(name: str) -> str:
    if name.startswith("padding"):
        return "of_samples"
    return "s" if name.endswith("_s") else "x_real_time" if name.startswith("greedy") else "x"


if __name__ == "__main__":
    main()
