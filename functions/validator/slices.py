"""Parts of the holdout by error type, language, device, noise and duration: they block only where they get significantly worse.

False alarms: an unchanged candidate is blocked by any slice in at most alpha of all trials, however many slices there are (Holm). Point
estimates would block it in 97% with five slices.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from functions.validator.counting import DIMENSIONS
from functions.validator.judged_set import JudgedSet
from functions.validator.rules import Finding, GatePolicy
from shared.multiplicity import holm
from shared.verdict import SliceNumbers
from shared.wer_stats import ClusterTotals, cluster_t_interval, sign_flip_test
from shared.wording import interval_in_points

SHOWN_UNTESTED = 20


@dataclass(frozen=True)
class _Slice:
    dimension: str
    value: str
    utterances: int
    totals: ClusterTotals

    @property
    def key(self) -> str:
        return f"{self.dimension} {self.value}"

    @property
    def clusters(self) -> int:
        return len(self.totals.words)

    @property
    def words(self) -> float:
        return float(self.totals.words.sum())


def judge_slices(holdout: JudgedSet, policy: GatePolicy, seed: int) -> tuple[tuple[SliceNumbers, ...], tuple[Finding, ...]]:
    """Test each slice of the weighted holdout for a rise of its WER; those of too few speakers or calls are listed as not testable.

    Test: cluster sign-flip, one-sided, Holm over all slices that are tested; resampling unit the speaker or call. Left out are utterances
    where production's own transcript stands for the reference: there every change, a mended error too, counts as a rise, and a slice
    without errors would block for nothing. A slice that is the whole holdout tells nothing new.

    Returns:
        The tested slices and at most the 20 largest others; a finding for each slice that blocks.
    """
    slices = list(_cut(holdout.where(~holdout.is_reference_of("champion"))))
    tested = [each for each in slices if each.clusters >= policy.fewest_clusters and each.words > 0.0]
    p_values = {each.key: _p_value(each, seed) for each in tested}
    worse = frozenset(holm(p_values, policy.alpha))
    untested = sorted((each for each in slices if each.key not in p_values), key=lambda each: (-each.utterances, each.key))
    numbers = tuple(
        _numbers(each, p_values.get(each.key), policy, worse=each.key in worse) for each in (*tested, *untested[:SHOWN_UNTESTED])
    )
    findings = tuple(_finding(holdout.name, each) for each in numbers if each.worse)
    return numbers, findings


def _cut(judged: JudgedSet) -> Iterator[_Slice]:
    base, candidate = judged.errors("base"), judged.errors("candidate")
    for dimension in DIMENSIONS:
        codes = judged.rows[dimension]
        for code in np.unique(codes[codes >= 0]).tolist():
            inside = codes == code
            if inside.all():
                continue
            part = judged.where(inside)
            totals = part.totals(part.rows["words"], base[inside], candidate[inside])
            yield _Slice(dimension, judged.labels[dimension][code], int(inside.sum()), totals)


def _p_value(each: _Slice, seed: int) -> float:
    deltas = each.totals.deltas
    # A sum on the good side is never refused: 1 stands for what would be above one half, and spares the draws.
    return sign_flip_test(-deltas, seed).p_value if deltas.sum() > 0.0 else 1.0


def _numbers(each: _Slice, p_value: float | None, policy: GatePolicy, *, worse: bool) -> SliceNumbers:
    totals, words = each.totals, each.words
    describable = each.clusters > 1 and words > 0.0
    return SliceNumbers(
        dimension=each.dimension,
        value=each.value,
        utterances=each.utterances,
        clusters=each.clusters,
        base_wer=float(totals.base_errors.sum()) / words if words else None,
        candidate_wer=float(totals.candidate_errors.sum()) / words if words else None,
        delta=cluster_t_interval(totals.deltas, totals.words, 1 - 2 * policy.alpha) if describable else None,
        p_value=p_value,
        worse=worse,
    )


def _finding(set_name: str, each: SliceNumbers) -> Finding:
    name = f"{each.dimension} {each.value}"
    change = interval_in_points(each.delta) if each.delta else "upwards"
    text = (
        f"The candidate is worse on a part of the {set_name}, {name}: WER changes by {change}, p = {each.p_value:.4f} for a rise over "
        f"{each.clusters} speakers or calls (Holm over all parts tested)."
    )
    return Finding("rejects", set_name, text, f"it gets significantly worse on a part of the traffic ({name})")
