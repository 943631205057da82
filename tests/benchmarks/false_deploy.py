"""How often the gate would deploy a model that is no better, and how often one that is; beside it what others decide by.

Two models of equal traffic WER (14.6%): the candidate decides anew on a share of the words. Utterances are reported because the model in
production failed on them, so a test on those alone sees an improvement that is not there (regression to the mean); the gate's weighted test
does not. Where a thin sample stands for much traffic the weighted sign-flip and t tests alone fail as well; the gate's third condition is
what holds. Others decide by the bare estimate, by a bootstrap over utterances (on the same weighted set), or by the errors alone.
Run as `python -m tests.benchmarks.false_deploy [--trials N] [--seed N] [--only ROW ...]`.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from shared.testing.paired import compare, utterance_totals
from shared.testing.two_models import Traffic, simulate
from shared.wer_classic import paired_bootstrap
from shared.wer_compare import NotTestable, Superiority
from shared.wer_power import Holdout, SeenSpread, pool_spreads, smallest_gain
from shared.wer_stats import ClusterTotals, PairedUtterance, cluster_totals, effective_sd

ALPHA = 0.05
TRIALS = 800
BOOTSTRAP_DRAWS = 1000

EQUAL = {
    "redrawn_5_percent": Traffic(speakers=50, utterances=40, redrawn=0.05, report_rate=0.3, sample_rate=0.1),
    "redrawn_10_percent": Traffic(speakers=50, utterances=40, redrawn=0.1, report_rate=0.3, sample_rate=0.1),
    "redrawn_30_percent": Traffic(speakers=50, utterances=40, redrawn=0.3, report_rate=0.3, sample_rate=0.1),
    "speakers_5": Traffic(speakers=5, utterances=80, redrawn=0.3, report_rate=0.3, sample_rate=0.2, interaction=0.2),
    "speakers_10": Traffic(speakers=10, utterances=80, redrawn=0.3, report_rate=0.3, sample_rate=0.2, interaction=0.2),
    "speakers_20": Traffic(speakers=20, utterances=40, redrawn=0.3, report_rate=0.3, sample_rate=0.2, interaction=0.2),
    "speakers_10_many_utterances": Traffic(speakers=10, utterances=250, redrawn=0.3, report_rate=0.3, sample_rate=0.2, interaction=0.2),
    "speakers_10_nothing_reported": Traffic(speakers=10, utterances=100, redrawn=0.3, report_rate=0.0, sample_rate=1.0, interaction=0.2),
    "speakers_10_suited_very_differently": Traffic(10, 100, redrawn=0.3, report_rate=0.0, sample_rate=1.0, interaction=0.3),
    "thin_sample_all_reported": Traffic(speakers=50, utterances=100, redrawn=0.1, report_rate=1.0, sample_rate=0.01),
    "thin_sample_ten_speakers": Traffic(speakers=10, utterances=100, redrawn=0.3, report_rate=1.0, sample_rate=0.02),
}
BETTER = {
    "fixes_20_percent_alike": Traffic(speakers=50, utterances=40, redrawn=0.1, report_rate=0.3, sample_rate=0.1, fixed=0.2),
    "fixes_20_percent": Traffic(speakers=50, utterances=40, redrawn=0.1, report_rate=0.3, sample_rate=0.1, fixed=0.2, interaction=0.2),
    "fixes_20_percent_10_speakers": Traffic(10, 80, redrawn=0.1, report_rate=0.3, sample_rate=0.2, fixed=0.2, interaction=0.2),
    "fixes_20_percent_25_speakers": Traffic(25, 20, redrawn=0.1, report_rate=0.3, sample_rate=0.1, fixed=0.2, interaction=0.2),
    "fixes_30_percent_25_speakers": Traffic(25, 20, redrawn=0.1, report_rate=0.3, sample_rate=0.1, fixed=0.3, interaction=0.2),
    "fixes_10_percent_alike": Traffic(speakers=50, utterances=40, redrawn=0.1, report_rate=0.3, sample_rate=0.1, fixed=0.1),
    "fixes_10_percent": Traffic(speakers=50, utterances=40, redrawn=0.1, report_rate=0.3, sample_rate=0.1, fixed=0.1, interaction=0.2),
    "fixes_10_percent_100_speakers": Traffic(100, 40, redrawn=0.1, report_rate=0.3, sample_rate=0.1, fixed=0.1, interaction=0.2),
}


RULES = ("gate", "weighted_two_tests", "point_estimate", "utterance_bootstrap", "errors_alone")


@dataclass(frozen=True)
class Rates:
    """What came of the trials.

    Attributes:
        gate: share of the trials in which the gate would deploy.
        weighted_two_tests: the same for its sign-flip test and t interval without the third condition.
        point_estimate: for "the weighted WER is lower".
        utterance_bootstrap: for "the upper percentile of the weighted difference is below zero", utterances drawn.
        errors_alone: for the sign-flip test on the reported errors.
        utterances, clusters: mean size of the holdout.
        gain: mean relative fall of the weighted WER.
        smallest_gain: what `shared.wer_power` says that such a holdout shows in 4 of 5 trials, from the spread of all trials, relative.
    """

    gate: float
    weighted_two_tests: float
    point_estimate: float
    utterance_bootstrap: float
    errors_alone: float
    utterances: float
    clusters: float
    gain: float
    smallest_gain: float


def deploy_rates(traffic: Traffic, trials: int, seed: int) -> Rates:
    """Simulate `trials` cycles and count what each rule would have deployed."""
    rng = np.random.default_rng(seed)
    deployed = Counter[str]()
    holdouts: list[ClusterTotals] = []
    spreads: list[SeenSpread] = []
    for trial in range(trials):
        rows = simulate(traffic, rng)
        deployed.update(_rules_that_deploy(rows, trial))
        holdouts.append(totals := cluster_totals(rows))
        spreads.append(SeenSpread(effective_sd(totals.deltas, totals.words, len(rows)), len(rows), len(totals.words)))
    words, base, candidate = (
        float(sum(column))
        for column in zip(*((t.words.sum(), t.base_errors.sum(), t.candidate_errors.sum()) for t in holdouts), strict=True)
    )
    size = Holdout(round(sum(each.utterances for each in spreads) / trials), round(sum(each.clusters for each in spreads) / trials))
    return Rates(
        **{rule: deployed[rule] / trials for rule in RULES},
        utterances=size.utterances,
        clusters=size.clusters,
        gain=1 - candidate / base,
        smallest_gain=smallest_gain(size, pool_spreads(spreads), ALPHA) / (base / words),
    )


def _rules_that_deploy(rows: list[PairedUtterance], seed: int) -> Iterator[str]:
    weighted = compare(rows, alpha=ALPHA, seed=seed)
    alone = compare([row for row in rows if row.stratum == "errors"], alpha=ALPHA, seed=seed)
    if isinstance(alone, Superiority) and alone.flip.p_value <= ALPHA:
        yield "errors_alone"
    if isinstance(weighted, NotTestable):
        return
    if weighted.better:
        yield "gate"
    if weighted.flip.p_value <= ALPHA and weighted.delta.high < 0.0:
        yield "weighted_two_tests"
    if weighted.delta.estimate < 0.0:
        yield "point_estimate"
    if paired_bootstrap(utterance_totals(rows), seed=seed, draws=BOOTSTRAP_DRAWS, level=1 - 2 * ALPHA).delta.high < 0.0:
        yield "utterance_bootstrap"


def main() -> None:
    """Print and store the table."""
    parser = argparse.ArgumentParser(description="False deploys and power of the gate and of other rules.")
    parser.add_argument("--trials", type=int, default=TRIALS, help="cycles simulated in each row")
    parser.add_argument("--only", nargs="+", choices=[*EQUAL, *BETTER], default=[*EQUAL, *BETTER], help="rows to simulate")
    parser.add_argument("--seed", type=int, default=1, help="of the simulated traffic")
    options = parser.parse_args()
    trials = options.trials
    started = time.perf_counter()
    results = {}
    for name in options.only:
        traffic = EQUAL.get(name) or BETTER[name]
        results[name] = rates = deploy_rates(traffic, trials, options.seed)
        print(name, ", ".join(f"{column} {value:.3f}" for column, value in asdict(rates).items()))
    worst = {rule: max((asdict(results[name])[rule] for name in EQUAL if name in results), default=0.0) for rule in RULES}
    print("worst false deploy", ", ".join(f"{rule} {value:.3f}" for rule, value in worst.items()))
    print(f"duration: {time.perf_counter() - started:.1f} s")
    folder = Path("bench-results")
    folder.mkdir(exist_ok=True)
    document = {
        "alpha": ALPHA,
        "trials": trials,
        "seed": options.seed,
        "worst_false_deploy": worst,
        "results": {name: asdict(r) for name, r in results.items()},
    }
    (folder / "false_deploy.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
