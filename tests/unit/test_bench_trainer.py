"""The trainer's benchmark: its arithmetic, its clips, its table, and the recipe that it measures against."""

import math
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")
pytest.importorskip("accelerate", reason="transformers.Trainer needs it")

import torch

from tests.benchmarks.trainer import plan
from tests.benchmarks.trainer.clips import durations_s, letters, read_audio, read_clips, write_murmurs
from tests.benchmarks.trainer.figures import (
    amortised_s,
    at_padding_s,
    best_of,
    common_wer,
    reached_s,
    row_of,
    targets_of,
    times_faster,
    times_less_cpu,
    wer_gap_target,
)
from tests.benchmarks.trainer.jobs import BATCH, Job, Outcome, Score, Variant
from tests.benchmarks.trainer.memory import PeakMemory
from tests.benchmarks.trainer.ours import budget_s, random_batches
from tests.benchmarks.trainer.report import ShapeReport, lines_of, table_of, targets_table
from tests.benchmarks.trainer.variant import run
from trainer.network.batching import BatchBudget, padding_share, plan_batches
from trainer.testing import write_tiny_model

pytestmark = pytest.mark.torch


def outcome(first: float = 10.0, later: tuple[float, ...] = (4.0,), peak: int = 300, scores: tuple[Score, ...] = ()) -> Outcome:
    return Outcome(first, list(later), 2 * first, [2 * seconds for seconds in later], peak, 0.5, 8.0, 1000, list(scores))


def test_the_amortised_epoch_spreads_the_first_one_over_all() -> None:
    assert amortised_s(15.0, 3.0, epochs=12) == pytest.approx((15 + 11 * 3) / 12)
    assert amortised_s(5.0, 5.0) == pytest.approx(5.0)


def test_a_row_holds_medians_over_the_repetitions() -> None:
    row = row_of([outcome(10.0, (4.0, 6.0), 100), outcome(30.0, (5.0, 50.0), 300), outcome(20.0, (1.0, 2.0), 200)])
    assert (row.repetitions, row.first_epoch_s, row.later_epoch_s, row.peak_bytes) == (3, 20.0, 4.5, 200)
    assert row.amortised_s == pytest.approx((20 + 11 * 4.5) / 12)
    assert row.call_centre_wer is row.to_common_s is None


def test_the_common_wer_is_the_worst_of_the_bests() -> None:
    quick = outcome(scores=(Score(0.0, 0.6, 0.1), Score(5.0, 0.3, 0.1), Score(9.0, 0.35, 0.1)))
    slow = outcome(scores=(Score(0.0, 0.6, 0.1), Score(20.0, 0.5, 0.1), Score(40.0, 0.4, 0.1)))
    wer = common_wer({"quick": [quick], "slow": [slow]})
    assert wer == 0.4
    assert (reached_s(quick.scores, wer), reached_s(slow.scores, wer), reached_s(slow.scores, 0.3)) == (5.0, 40.0, None)
    assert row_of([quick], wer).call_centre_wer == 0.35
    assert common_wer({"noise": [outcome()]}) is None


def test_a_variant_that_once_misses_the_common_wer_has_no_time_to_it() -> None:
    hit, miss = outcome(scores=(Score(5.0, 0.3, 0.1),)), outcome(scores=(Score(5.0, 0.5, 0.1),))
    assert row_of([hit, hit], 0.3).to_common_s == 5.0
    assert row_of([hit, miss], 0.3).to_common_s is None


def test_ratios_compare_amortised_epochs_with_the_fastest_reference() -> None:
    rows = {"a_full_fp32": row_of([outcome(24.0, (24.0,))]), "a_full_bf16": row_of([outcome(12.0, (12.0,))]), "d": row_of([outcome()])}
    assert best_of(rows, plan.REFERENCES) == "a_full_bf16"
    assert best_of({}, plan.REFERENCES) is None
    assert times_faster(rows["d"], rows["a_full_bf16"]) == pytest.approx(12 / 4.5)
    assert times_less_cpu(rows["d"], rows["a_full_fp32"]) == pytest.approx(48 / 9)


def test_less_padding_takes_as_much_less_time_as_there_is_to_compute() -> None:
    assert at_padding_s(row_of([outcome(later=(6.0,))]), 0.25) == pytest.approx(6.0 * 0.5 / 0.75)  # half of it was padding


def test_targets_are_met_at_the_promised_ratio_and_not_below() -> None:
    rows = {
        "a": row_of([outcome(9.0, (9.0,), 300)]),
        "b": row_of([outcome(6.0, (6.0,))]),
        "d": row_of([outcome(3.0, (3.0,), 100)]),
    }
    assert [target.met for target in targets_of("base", rows, "a", "cuda")] == [True, True, True]
    slower = rows | {"d": row_of([outcome(3.3, (3.3,), 101)])}
    assert [target.verdict for target in targets_of("base", slower, "a", "cuda")] == ["not met", "met", "not met"]
    assert [target.met for target in targets_of("base", slower, "a", "cpu")] == [True, True]
    assert [target.verdict for target in targets_of("base", {}, None, "cpu")] == ["not measured", "not measured"]


def test_the_gap_between_lora_and_full_is_the_mean_over_pairs_of_seeds() -> None:
    assert wer_gap_target([0.30, 0.31, 0.32], [0.31, 0.31, 0.32]).found == "+0.33 points over 3 seeds"
    assert wer_gap_target([0.30], [0.304]).met
    assert wer_gap_target([0.30], [0.306]).met is False
    assert wer_gap_target([0.30, 0.31], [0.3]).met is None


def test_durations_are_lognormal_within_their_bounds_and_the_same_each_time() -> None:
    durations = durations_s(1001)
    assert median(durations) == pytest.approx(4.0)
    assert (min(durations), max(durations)) == (1.0, 20.0)
    upper = sorted(durations)[round(0.8413 * 1001)]  # one standard deviation above
    assert upper == pytest.approx(4.0 * math.exp(0.7), rel=0.01)
    assert durations == durations_s(1001)
    assert durations != sorted(durations)


@pytest.mark.parametrize("duration_s", [1.0, 4.0, 20.0])
def test_random_transcripts_can_be_spelled_in_the_frames_of_their_clip(duration_s: float) -> None:
    text = letters(np.random.default_rng(0), duration_s)
    assert len(text) == round(12 * duration_s)
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyz ")
    assert "  " not in text
    assert text == text.strip()
    assert 2 * len(text) < 49 * duration_s  # even if every character needed a blank


def test_our_batches_hold_as_many_clips_on_average_as_the_recipes() -> None:
    lengths = [round(50 * duration) for duration in durations_s(512)]
    budget = BatchBudget(64, round(50 * budget_s(lengths, 50.0)))
    batches = plan_batches(lengths, budget, np.random.default_rng(7))
    assert 512 / len(batches) == pytest.approx(BATCH, rel=0.03)
    assert padding_share(lengths, batches) < 0.05


def test_random_batches_have_eight_clips_each_and_much_padding() -> None:
    lengths = [round(50 * duration) for duration in durations_s(512)]
    batches = random_batches(lengths, BatchBudget(1, 1), np.random.default_rng(0))
    assert {len(batch) for batch in batches} == {BATCH}
    assert sorted(index for batch in batches for index in batch) == list(range(512))
    assert padding_share(lengths, batches) > 0.5


def test_every_variant_has_a_name_of_its_own_and_a_precision() -> None:
    size = plan.size_of("base", "cuda", quick=False)
    chosen = plan.variants("base", size, "bf16")
    assert len({variant.name for variant in chosen}) == len(chosen)
    assert all(variant.precision for variant in chosen)
    assert [variant.name for variant in plan.repeated(chosen, "bf16")] == [
        "a_full_bf16",
        "a_full_arrays",
        "a_grouped_full",
        "b",
        "c",
        "d",
    ]
    assert "d_top_quarter" not in {variant.name for variant in plan.variants("tiny", size, "fp32")}


@pytest.mark.parametrize("shape", ["tiny", "base", "large"])
@pytest.mark.parametrize("quick", [False, True])
def test_every_full_run_of_the_recipe_that_may_be_its_best_is_measured(shape: plan.ShapeName, quick: bool) -> None:
    chosen = plan.variants(shape, plan.size_of(shape, "cpu", quick=quick), "bf16")
    measured = {plan.A_FULL_FP32.name, plan.A_FULL_BF16.name, *(variant.name for variant in chosen)}
    assert set(plan.REFERENCES) <= measured


def test_a_switched_off_part_is_all_that_differs() -> None:
    chosen = {variant.name: variant for variant in plan.variants("base", plan.size_of("base", "cuda", quick=False), "bf16")}
    off: dict[str, dict[str, Any]] = {
        "d_random_batches": {"random_batches": True},
        "d_no_cache": {"cache": "off"},
        "d_all_layers": {"top_share": None},
        "d_top_quarter": {"top_share": 0.25},
        "d_fp32": {"precision": "fp32"},
    }
    for name, change in off.items():
        assert replace(chosen["d"], **change, name=name, says=chosen[name].says) == chosen[name]


def test_the_table_shows_ratios_to_both_references() -> None:
    report = ShapeReport("tiny", 16, 80.0, 2, common_wer=0.4, reference="a_full_fp32", grouped="a_grouped_full")
    scores = (Score(0.0, 0.6, 0.1), Score(5.0, 0.4, 0.1))
    for name, seconds in (("a_full_fp32", 12.0), ("a_grouped_full", 9.0), ("d", 3.0)):
        report.variants[name] = Variant(name, name, "recipe", "full", "fp32")
        report.rows[name] = row_of([outcome(seconds, (seconds,), 1 << 20, scores)], 0.4)
    report.failed["c"] = "killed"
    table = table_of(report).splitlines()
    assert len({line.count("|") for line in table}) == 1
    assert [cell.strip() for cell in table[4].split("|")][7:11] == ["3.0", "4.00", "3.00", "4.00"]
    assert "(a)" in table[2]
    assert "(a')" in table[3]
    assert "failed: killed" in table[5]
    lines = lines_of(report)
    assert "tiny.d.faster_than_recipe: 4.00 x" in lines
    assert "tiny.d.to_common_wer: 5.00 s" in lines
    assert targets_table([wer_gap_target([0.3], [0.3])]).endswith("| at most 0.5 points | +0.00 points over 1 seeds | met |")


def test_memory_that_is_taken_and_given_back_counts_in_the_peak() -> None:
    with PeakMemory(torch.device("cpu")) as memory:
        taken = np.ones(8 << 20)  # 64 MiB
        del taken
    assert (48 << 20) < memory.bytes < (200 << 20)


def test_a_job_survives_its_way_to_another_process() -> None:
    job = Job(plan.D, "folder", "cpu", 3, 1e-3, seed=2, scored=True)
    assert Job.load(job.dump()) == job


@pytest.mark.parametrize("variant", [plan.A_FULL_FP32, replace(plan.A_LORA_BF16, grouped=True)], ids=lambda variant: variant.name)
def test_the_recipe_trains_with_the_real_trainer(tmp_path: Path, variant: Variant) -> None:
    (tmp_path / "clips").mkdir()
    write_tiny_model(tmp_path / "model")
    clips = write_murmurs(tmp_path / "clips", 10)
    assert read_clips(tmp_path / "clips", "train_errors") == clips
    assert read_audio(tmp_path / "clips", clips[0]).size == clips[0].samples
    found = run(Job(variant, str(tmp_path), "cpu", epochs=2, learning_rate=1e-4))
    assert len(found.later_epochs_s) == 1
    assert min(found.first_epoch_s, *found.later_epochs_s) > 0
    assert found.clips_per_step == 5.0  # eight and two
    rates = {"a_full_fp32": (0.3, 0.7), "a_lora_bf16": (0.1, 0.6)}[variant.name]
    assert rates[0] < found.padding_share < rates[1]
    assert (found.trained_parameters > 15_000) == (variant.method == "full")
