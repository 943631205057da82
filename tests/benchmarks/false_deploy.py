"""How often the gate would deploy a model that is no better, and how often one that is.

Two models of equal traffic WER (14.6%): the candidate decides anew on a share of the words. Utterances are reported because the model in
production failed on them, so a test on those alone sees an improvement that is not there (regression to the mean); the gate's weighted test
does not. Where a thin sample stands for much traffic the weighted sign-flip and t tests alone fail as well; the gate's third condition is
what holds. Run as `python -m tests.benchmarks.false_deploy`.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from shared.testing.two_models import Traffic, simulate
from shared.wer_compare import Superiority, compare

ALPHA = 0.05
TRIALS = 800

EQUAL = {
    "redrawn_5_percent": Traffic(speakers=50, utterances=40, redrawn=0.05, report_rate=0.3, sample_rate=0.1),
    "redrawn_10_percent": Traffic(speakers=50, utterances=40, redrawn=0.1, report_rate=0.3, sample_rate=0.1),
    "redrawn_30_percent": Traffic(speakers=50, utterances=40, redrawn=0.3, report_rate=0.3, sample_rate=0.1),
    "speakers_5": Traffic(speakers=5, utterances=80, redrawn=0.3, report_rate=0.3, sample_rate=0.2, interaction=0.2),
    "speakers_10": Traffic(speakers=10, utterances=80, redrawn=0.3, report_rate=0.3, sample_rate=0.2, interaction=0.2),
    "speakers_20": Traffic(speakers=20, utterances=40, redrawn=0.3, report_rate=0.3, sample_rate=0.2, interaction=0.2),
    "thin_sample_all_reported": Traffic(speakers=50, utterances=100, redrawn=0.1, report_rate=1.0, sample_rate=0.01),
    "thin_sample_ten_speakers": Traffic(speakers=10, utterances=100, redrawn=0.3, report_rate=1.0, sample_rate=0.02),
}
BETTER = {
    "better_by_20_percent": Traffic(speakers=50, utterances=40, redrawn=0.05, report_rate=0.3, sample_rate=0.1, fixed=0.2),
    "better_by_20_percent_ten_speakers": Traffic(speakers=10, utterances=80, redrawn=0.05, report_rate=0.3, sample_rate=0.2, fixed=0.2),
}


@dataclass(frozen=True)
class Rates:
    """Share of trials in which each rule would deploy, and the mean size of the holdout."""

    errors_alone: float
    weighted_two_tests: float
    gate: float
    utterances: float


def deploy_rates(traffic: Traffic, trials: int, seed: int) -> Rates:
    """Simulate `trials` cycles and count what each rule would have deployed."""
    rng = np.random.default_rng(seed)
    errors_alone = two_tests = gate = utterances = 0
    for trial in range(trials):
        rows = simulate(traffic, rng)
        utterances += len(rows)
        alone = compare([row for row in rows if row.stratum == "errors"], alpha=ALPHA, seed=trial)
        weighted = compare(rows, alpha=ALPHA, seed=trial)
        errors_alone += isinstance(alone, Superiority) and alone.flip.p_value <= ALPHA
        two_tests += isinstance(weighted, Superiority) and weighted.flip.p_value <= ALPHA and weighted.delta.high < 0.0
        gate += isinstance(weighted, Superiority) and weighted.better
    return Rates(
        errors_alone=errors_alone / trials, weighted_two_tests=two_tests / trials, gate=gate / trials, utterances=utterances / trials
    )


def main() -> None:
    """Print and store the table."""
    started = time.perf_counter()
    results = {name: deploy_rates(traffic, TRIALS, seed=1) for name, traffic in {**EQUAL, **BETTER}.items()}
    for name, rates in results.items():
        for rule, value in asdict(rates).items():
            print(f"{name}.{rule}: {value:.3f} {'utterances' if rule == 'utterances' else 'of_trials'}")
    worst = max(results[name].gate for name in EQUAL)
    print(f"worst_false_deploy: {worst:.3f} of_trials")
    print(f"duration: {time.perf_counter() - started:.1f} s")
    folder = Path("bench-results")
    folder.mkdir(exist_ok=True)
    document = {"alpha": ALPHA, "trials": TRIALS, "worst_false_deploy": worst, "results": {name: asdict(r) for name, r in results.items()}}
    (folder / "false_deploy.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
