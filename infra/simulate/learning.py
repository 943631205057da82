"""What training does to the WER and how long it takes, as a simulation models it; and both read off cycles that really ran. Pure.

WER(n) = WER(0) * (1 - curable * n / (n + half_clips)), n = clips with references that a model and its ancestors have learned.
A curve that saturates: the first hundred clips help more than the next. What half_clips is for a service, only its own cycles tell.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

from infra.simulate.assumptions import Assumptions
from shared.training import TrainingConfig

SMALLEST_HALF, LARGEST_HALF, STEPS = 10.0, 1e6, 400


@dataclass(frozen=True)
class Work:
    """What a run has to do, in seconds of audio.

    Attributes:
        train_s: trained on in one epoch, replay included.
        dev_s, heard_s: tuned with; transcribed by both models at the end.
        epochs: of the policy.
    """

    train_s: float
    dev_s: float
    heard_s: float
    epochs: int


@dataclass(frozen=True)
class Earlier:
    """A cycle that was trained and judged.

    Attributes:
        before, learned: clips learned by its base in all, and by its candidate in all.
        ratio: WER of the candidate over that of the base, on the holdout.
        utterances: of that holdout.
        run_s: time of its machine; None = not recorded.
        work: what it had to do; None = the lengths of its clips are unknown.
    """

    before: int
    learned: int
    ratio: float
    utterances: int
    run_s: float | None = None
    work: Work | None = None


def remaining(learned: float, curable: float, half_clips: float) -> float:
    """Return the share of the first model's WER that is left after `learned` clips."""
    return 1.0 - curable * learned / (learned + half_clips)


def mended(before: int, after: int, assumptions: Assumptions) -> float:
    """Return the share of its base's word errors that a candidate mends."""
    curable, half = assumptions.curable, assumptions.half_clips
    return 1.0 - remaining(after, curable, half) / remaining(before, curable, half)


def replay_clips(errors: float, available: float, config: TrainingConfig) -> float:
    """Return the replay that an epoch mixes in: `replay_ratio` for each error, as far as there is any."""
    return min(available, config.replay_ratio * errors)


def run_seconds(work: Work, assumptions: Assumptions, config: TrainingConfig) -> float:
    """Return how long a run takes: training and tuning for each epoch, then both models on what judges."""
    epochs = max(1.0, work.epochs * assumptions.epochs_run)
    training = epochs * (work.train_s * assumptions.train_rtf + work.dev_s * assumptions.transcribe_rtf)
    capped = training if config.max_train_s is None else min(training, config.max_train_s)
    return capped + 2 * work.heard_s * assumptions.transcribe_rtf


def fit_half_clips(cycles: Sequence[Earlier], curable: float) -> float | None:
    """Return the `half_clips` under which the cycles' ratios of WER fit best; None = no cycle learned anything that can be fitted.

    Least squares over a logarithmic grid, each cycle weighed by its holdout's utterances: a hundred cycles are few numbers.
    """
    usable = [cycle for cycle in cycles if cycle.learned > cycle.before and cycle.utterances]
    if not usable:
        return None

    def loss(half: float) -> float:
        expected = [remaining(each.learned, curable, half) / remaining(each.before, curable, half) for each in usable]
        return sum(each.utterances * (each.ratio - ratio) ** 2 for each, ratio in zip(usable, expected, strict=True))

    return min((SMALLEST_HALF * (LARGEST_HALF / SMALLEST_HALF) ** (step / STEPS) for step in range(STEPS + 1)), key=loss)


def fit_speed(cycles: Iterable[Earlier], assumptions: Assumptions, config: TrainingConfig) -> float | None:
    """Return by what factor the machine is slower than assumed: the median over the cycles; None = no cycle tells."""
    factors: list[float] = [
        cycle.run_s / expected
        for cycle in cycles
        if cycle.run_s is not None and cycle.work is not None and (expected := run_seconds(cycle.work, assumptions, config)) > 0
    ]
    return float(median(factors)) if factors else None
