"""The numbers a report shows for one set of utterances."""

from typing import Any

from numpy.typing import NDArray

from functions.validator.judged_set import JudgedSet
from shared.rates import Interval
from shared.verdict import SetNumbers, SystemErrors
from shared.wer_stats import cluster_t_interval, effective_sd, relative_change_interval, wer_interval

REPORT_LEVEL = 0.95
"""Two-sided level of the intervals that describe; those that decide have the level that was tested."""


def describe(
    judged: JudgedSet, *, finding: str, decides: bool, level: float, p_value: float | None = None, margin: float | None = None
) -> SetNumbers:
    """Return both models' error rates on a set, weighted as the set is, with the finding of its test; `level` is the difference's."""
    totals = judged.word_totals()
    describable = len(totals.words) > 1 and totals.words.sum() > 0.0
    return SetNumbers(
        name=judged.name,
        decides=decides,
        finding=finding,
        utterances=judged.utterances,
        clusters=len(totals.words),
        words=int(judged.rows["words"].sum()),
        base=_system(judged, "base", wer_interval(totals.base_errors, totals.words, REPORT_LEVEL) if describable else None),
        candidate=_system(judged, "candidate", wer_interval(totals.candidate_errors, totals.words, REPORT_LEVEL) if describable else None),
        delta=cluster_t_interval(totals.deltas, totals.words, level) if describable else None,
        relative_change=relative_change_interval(totals, REPORT_LEVEL) if describable else None,
        p_value=p_value,
        margin=margin,
        set_aside=dict(judged.set_aside),
        sd_d=effective_sd(totals.deltas, totals.words, judged.utterances) if describable else None,
    )


def _system(judged: JudgedSet, model: str, wer: Interval | None) -> SystemErrors:
    rows = judged.rows
    return SystemErrors(
        wer=wer,
        cer=_ratio(rows["weight"], rows[f"{model}_char_errors"], rows["chars"]),
        substitutions=int(rows[f"{model}_substitutions"].sum()),
        deletions=int(rows[f"{model}_deletions"].sum()),
        insertions=int(rows[f"{model}_insertions"].sum()),
        empty_rate=_ratio(rows["weight"], rows[f"{model}_empty"], rows["holds_speech"]),
    )


def _ratio(weights: NDArray[Any], parts: NDArray[Any], wholes: NDArray[Any]) -> float | None:
    whole = float((weights * wholes).sum())
    return float((weights * parts).sum()) / whole if whole else None
