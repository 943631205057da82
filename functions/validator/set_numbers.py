"""The numbers a report shows for one set of utterances, and the utterances that show best what changed."""

from collections.abc import Iterable, Sequence

from functions.validator.evidence import JudgedSet, JudgedUtterance
from shared.rates import Interval
from shared.verdict import SetNumbers, SystemErrors, UtteranceChange
from shared.wer import ErrorCounts
from shared.wer_stats import cluster_t_interval, cluster_totals, effective_sd, relative_change_interval, wer_interval

REPORT_LEVEL = 0.95
"""Two-sided level of the intervals that describe; those that decide have the level that was tested."""
SHOWN_UTTERANCES = 10


def describe(
    judged: JudgedSet, *, finding: str, decides: bool, level: float, p_value: float | None = None, margin: float | None = None
) -> SetNumbers:
    """Return both models' error rates on a set, weighted as the set is, with the finding of its test; `level` is the difference's."""
    rows = judged.utterances
    totals = cluster_totals(row.paired() for row in rows)
    describable = len(totals.words) > 1 and totals.words.sum() > 0.0
    return SetNumbers(
        name=judged.name,
        decides=decides,
        finding=finding,
        utterances=len(rows),
        clusters=len(totals.words),
        words=sum(row.base_words.reference_words for row in rows),
        base=_system(
            rows,
            [row.base_words for row in rows],
            [row.base_chars for row in rows],
            [row.base_empty for row in rows],
            wer_interval(totals.base_errors, totals.words, REPORT_LEVEL) if describable else None,
        ),
        candidate=_system(
            rows,
            [row.candidate_words for row in rows],
            [row.candidate_chars for row in rows],
            [row.candidate_empty for row in rows],
            wer_interval(totals.candidate_errors, totals.words, REPORT_LEVEL) if describable else None,
        ),
        delta=cluster_t_interval(totals.deltas, totals.words, level) if describable else None,
        relative_change=relative_change_interval(totals, REPORT_LEVEL) if describable else None,
        p_value=p_value,
        margin=margin,
        set_aside=dict(judged.set_aside),
        sd_d=effective_sd(totals.deltas, totals.words, len(rows)) if describable else None,
    )


def _system(
    rows: Sequence[JudgedUtterance], words: Sequence[ErrorCounts], chars: Sequence[ErrorCounts], empty: Sequence[bool], wer: Interval | None
) -> SystemErrors:
    total = sum(words, start=ErrorCounts())
    weights = [row.weight for row in rows]
    return SystemErrors(
        wer=wer,
        cer=_ratio(weights, [count.errors for count in chars], [count.reference_words for count in chars]),
        substitutions=total.substitutions,
        deletions=total.deletions,
        insertions=total.insertions,
        empty_rate=_ratio(weights, empty, [row.holds_speech for row in rows]),
    )


def _ratio(weights: Iterable[float], parts: Iterable[int], wholes: Iterable[int]) -> float | None:
    table = list(zip(weights, parts, wholes, strict=True))
    whole = sum(weight * count for weight, _, count in table)
    return sum(weight * count for weight, count, _ in table) / whole if whole else None


def most_changed(sets: Iterable[JudgedSet]) -> tuple[tuple[UtteranceChange, ...], tuple[UtteranceChange, ...]]:
    """Return the utterances that got worse most and those that got better most, by the number of word errors, at most ten of each."""
    changes = sorted(
        (_change(judged.name, row) for judged in sets for row in judged.utterances if row.base_words.errors != row.candidate_words.errors),
        key=lambda change: (change.candidate_errors - change.base_errors, change.set_name, change.utterance_id),
    )
    fixes = tuple(change for change in changes[:SHOWN_UTTERANCES] if change.candidate_errors < change.base_errors)
    regressions = tuple(change for change in changes[: -SHOWN_UTTERANCES - 1 : -1] if change.candidate_errors > change.base_errors)
    return regressions, fixes


def _change(set_name: str, row: JudgedUtterance) -> UtteranceChange:
    return UtteranceChange(
        set_name=set_name,
        utterance_id=row.utterance_id,
        reference=row.reference,
        base_hypothesis=row.base_hypothesis,
        candidate_hypothesis=row.candidate_hypothesis,
        words=row.base_words.reference_words,
        base_errors=row.base_words.errors,
        candidate_errors=row.candidate_words.errors,
    )
