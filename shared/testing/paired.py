"""The gate's tests on utterances one by one, as tests and benchmarks hold them; the validator has them counted in columns."""

from collections.abc import Iterable, Sequence

import numpy as np

from shared.wer_compare import NonInferiority, NotTestable, Sampling, Superiority, compare_totals, non_inferiority_of_totals
from shared.wer_stats import ClusterTotals, PairedUtterance, cluster_totals


def compare(utterances: Sequence[PairedUtterance], *, alpha: float, seed: int, wanted_gain: float = 0.0) -> Superiority | NotTestable:
    """Compare two models on paired utterances; see `shared.wer_compare.compare_totals`."""
    changes = [abs(row.candidate_errors - row.base_errors) for row in utterances if row.candidate_errors != row.base_errors]
    sampling = Sampling(
        utterances=len(utterances),
        largest_weight=max((row.weight for row in utterances), default=0.0),
        mean_change=float(np.mean(changes)) if changes else 0.0,
    )
    return compare_totals(cluster_totals(utterances), sampling, alpha=alpha, seed=seed, wanted_gain=wanted_gain)


def non_inferiority(utterances: Sequence[PairedUtterance], *, margin: float, alpha: float) -> NonInferiority | NotTestable:
    """Compare two models on a suite's paired utterances; see `shared.wer_compare.non_inferiority_of_totals`."""
    return non_inferiority_of_totals(cluster_totals(utterances), len(utterances), margin=margin, alpha=alpha)


def utterance_totals(utterances: Iterable[PairedUtterance]) -> ClusterTotals:
    """Return the weighted words and errors of each utterance, as if each were a cluster of its own, in the given order."""
    rows = [(row.weight * row.words, row.weight * row.base_errors, row.weight * row.candidate_errors) for row in utterances]
    table = np.array(rows, dtype=np.float64).reshape(-1, 3)
    return ClusterTotals(words=table[:, 0], base_errors=table[:, 1], candidate_errors=table[:, 2])
