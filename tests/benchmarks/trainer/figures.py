"""From what the processes found to the figures of the table: medians, ratios, targets. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from tests.benchmarks.trainer.jobs import Outcome, Score

AMORTISED_OVER = 12
"""Epochs of the amortised figure: the trainer's default."""


@dataclass(frozen=True)
class Row:
    """A variant's figures: medians over its repetitions.

    Attributes:
        later_epoch_s: median of all epochs but the first of each repetition.
        amortised_s: seconds for each of `AMORTISED_OVER` epochs, computed from the other two.
        amortised_cpu_s: the same in seconds of processor time.
        call_centre_wer, clean_wer: after the last epoch; None where the clips are noise.
        to_common_s: seconds of training until the common held-out WER; None where it was not reached or not looked for.
    """

    repetitions: int
    first_epoch_s: float
    later_epoch_s: float
    amortised_s: float
    amortised_cpu_s: float
    peak_bytes: float
    padding_share: float
    clips_per_step: float
    trained_parameters: int
    call_centre_wer: float | None
    clean_wer: float | None
    to_common_s: float | None


@dataclass(frozen=True)
class Target:
    """A promise and what was measured; `met` is None where it could not be measured."""

    name: str
    wanted: str
    found: str
    met: bool | None

    @property
    def verdict(self) -> str:
        """In words."""
        return {True: "met", False: "not met", None: "not measured"}[self.met]


def amortised_s(first_s: float, later_s: float, epochs: int = AMORTISED_OVER) -> float:
    """Return the seconds for each of `epochs` epochs of which the first takes `first_s` and every other `later_s`."""
    return (first_s + (epochs - 1) * later_s) / epochs


def common_wer(runs: Mapping[str, Sequence[Outcome]]) -> float | None:
    """Return the call-centre WER that every variant reaches in each of its repetitions: the worst of their best."""
    bests = [min(score.call_centre for score in outcome.scores) for outcomes in runs.values() for outcome in outcomes if outcome.scores]
    return max(bests, default=None)


def reached_s(scores: Sequence[Score], wer: float | None) -> float | None:
    """Return after how many seconds of training the first epoch ended with a call-centre WER of at most `wer`."""
    return next((score.trained_s for score in scores if wer is not None and score.call_centre <= wer), None)


def row_of(outcomes: Sequence[Outcome], wer: float | None = None) -> Row:
    """Return the medians of a variant's repetitions.

    Args:
        outcomes: at least one, each of two epochs or more.
        wer: the common held-out WER.
    """
    first_s = median(outcome.first_epoch_s for outcome in outcomes)
    later_s = median(seconds for outcome in outcomes for seconds in outcome.later_epochs_s)
    first_cpu_s = median(outcome.first_epoch_cpu_s for outcome in outcomes)
    later_cpu_s = median(seconds for outcome in outcomes for seconds in outcome.later_epochs_cpu_s)
    ends = [outcome.scores[-1] for outcome in outcomes if outcome.scores]
    reached = [seconds for outcome in outcomes if (seconds := reached_s(outcome.scores, wer)) is not None]
    return Row(
        repetitions=len(outcomes),
        first_epoch_s=first_s,
        later_epoch_s=later_s,
        amortised_s=amortised_s(first_s, later_s),
        amortised_cpu_s=amortised_s(first_cpu_s, later_cpu_s),
        peak_bytes=median(outcome.peak_bytes for outcome in outcomes),
        padding_share=median(outcome.padding_share for outcome in outcomes),
        clips_per_step=median(outcome.clips_per_step for outcome in outcomes),
        trained_parameters=outcomes[0].trained_parameters,
        call_centre_wer=median(end.call_centre for end in ends) if ends else None,
        clean_wer=median(end.clean for end in ends) if ends else None,
        to_common_s=median(reached) if reached and len(reached) == len(outcomes) else None,
    )


def best_of(rows: Mapping[str, Row], names: Sequence[str]) -> str | None:
    """Return which of `names` has the shortest amortised epoch; None if none of them was measured."""
    return min((name for name in names if name in rows), key=lambda name: rows[name].amortised_s, default=None)


def times_faster(row: Row, reference: Row) -> float:
    """Return how many of `row`'s epochs fit into one of `reference`, both amortised."""
    return reference.amortised_s / row.amortised_s


def times_less_cpu(row: Row, reference: Row) -> float:
    """Return `times_faster` in processor time: what remains where other work on the machine disturbs the clock."""
    return reference.amortised_cpu_s / row.amortised_cpu_s


def at_padding_s(row: Row, padding_share: float) -> float:
    """Return a later epoch's seconds if its batches held `padding_share` instead: time goes with what is computed, padding included."""
    return row.later_epoch_s * (1 - row.padding_share) / (1 - padding_share)


def targets_of(shape: str, rows: Mapping[str, Row], reference: str | None, device: Literal["cpu", "cuda"]) -> list[Target]:
    """Return the targets of time and memory for one shape; `reference` is the best full run of the recipe."""
    faster = {"d": ("LoRA on the top half with cache", 3.0 if device == "cuda" else 2.5), "b": ("full", 1.5)}
    found = []
    for variant, (says, wanted) in faster.items():
        row, other = rows.get(variant), rows.get(reference or "")
        ratio = times_faster(row, other) if row and other else None
        in_cpu = f" ({times_less_cpu(row, other):.2f}x in processor time)" if row and other and device == "cpu" else ""
        name = f"{shape}: ({variant}) {says} against the recipe's best full run"
        met = None if ratio is None else ratio >= wanted
        found.append(Target(name, f"at least {wanted:g}x faster an epoch", _number(ratio, "x") + in_cpu, met))
    if device == "cuda":
        share = rows["d"].peak_bytes / rows[reference].peak_bytes if reference and "d" in rows else None
        name = f"{shape}: peak memory of (d) against the recipe's best full run"
        found.append(Target(name, "at most 0.33", _number(share, " of it"), None if share is None else share <= 1 / 3))
    return found


def wer_gap_target(full: Sequence[float], lora: Sequence[float], allowed: float = 0.005) -> Target:
    """Return whether LoRA on all layers comes close enough to full fine-tuning, over pairs of the same seed."""
    name = "tiny: held-out WER of (c) LoRA on all layers less that of (b) full, mean over the seeds"
    wanted = f"at most {100 * allowed:g} points"
    if not full or len(full) != len(lora):
        return Target(name, wanted, "-", None)
    gap = sum(b - a for a, b in zip(full, lora, strict=True)) / len(full)
    return Target(name, wanted, f"{100 * gap:+.2f} points over {len(full)} seeds", gap <= allowed)


def _number(value: float | None, unit: str) -> str:
    return "-" if value is None else f"{value:.2f}{unit}"
