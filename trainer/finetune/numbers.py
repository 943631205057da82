"""Error rates with their intervals, before and after on the same clips, and what may be said of the change.

The resampling unit is the speaker, else the clip. WER and CER are pooled: all errors over all words or characters of the references.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Self

from shared.documents import Frozen
from shared.events import ReferenceProvenance
from shared.multiplicity import holm
from shared.normalisation import normalise
from shared.rates import Interval
from shared.wer import ErrorCounts, count_char_errors_batch, count_word_errors_batch
from shared.wer_stats import (
    Array,
    ClusterTotals,
    PairedUtterance,
    cluster_t_interval,
    cluster_totals,
    minimum_clusters,
    relative_change_interval,
    sign_flip_test,
    wer_interval,
)
from shared.wording import points, range_in_points
from trainer.finetune.folder import CONDITIONS, Condition

LEVEL = 0.95
ALPHA = (1 - LEVEL) / 2
"""Of each one-sided test, so that it agrees with the two-sided interval."""
Verdict = Literal["improved", "mixed", "worse", "no_clear_difference", "not_testable"]

_ONE_CLUSTER = "one speaker or clip: an interval needs at least 2"
_NO_WORDS = "no reference words: there is no error rate"


@dataclass(frozen=True)
class ScoredClip:
    """A clip with its reference and what was heard; `after` is None where the fine-tuned model was not asked."""

    utterance_id: str
    condition: Condition
    cluster: str
    provenance: ReferenceProvenance
    reference: str
    before: str
    after: str | None = None


class Rate(Frozen):
    """One error rate; `note` says why there is no interval."""

    value: float | None
    interval: Interval | None
    note: str | None = None


class SystemNumbers(Frozen):
    """What one model got wrong on a set; the three kinds of errors and `errors` are words, `empty` counts transcripts without a word."""

    wer: Rate
    cer: Rate
    errors: int
    substitutions: int
    deletions: int
    insertions: int
    empty: int


class Change(Frozen):
    """After minus before on the same clips; negative is better.

    Attributes:
        wer, cer: the difference with its interval.
        relative: of the WER to the WER before (-0.2: it fell by a fifth); None where it has no finite ends.
        p_better, p_worse: one-sided sign-flip tests over the clusters' differences.
        better, worse: test and interval both say so.
        note: why there is no test, or why it could not have succeeded.
    """

    wer: Rate
    cer: Rate
    relative: Interval | None = None
    p_better: float | None = None
    p_worse: float | None = None
    better: bool = False
    worse: bool = False
    note: str | None = None


class SetNumbers(Frozen):
    """A set of clips under one or two models; `human` and `llm` count whose references they rest on."""

    name: str
    clips: int
    clusters: int
    words: int
    human: int
    llm: int
    before: SystemNumbers
    after: SystemNumbers | None = None
    change: Change | None = None


def measure_sets(clips: Sequence[ScoredClip], seed: int) -> tuple[SetNumbers, ...]:
    """Return the numbers of each condition, of all clips, and, where both kinds of references occur, of each kind alone."""
    chosen: list[tuple[str, list[ScoredClip]]] = [
        (condition, [clip for clip in clips if clip.condition == condition]) for condition in CONDITIONS
    ]
    chosen.append(("all", list(clips)))
    if len({clip.provenance for clip in clips}) == 2:
        chosen.append(("all, human references", [clip for clip in clips if clip.provenance == "human"]))
        chosen.append(("all, LLM references", [clip for clip in clips if clip.provenance == "llm"]))
    return tuple(measure(name, members, seed) for name, members in chosen if members)


def measure(name: str, clips: Sequence[ScoredClip], seed: int) -> SetNumbers:
    """Return the numbers of one set; after and change where every clip has been heard by both models."""
    references = [clip.reference for clip in clips]
    before = _Heard.count(references, [clip.before for clip in clips])
    texts = [clip.after for clip in clips if clip.after is not None]
    after = _Heard.count(references, texts) if len(texts) == len(clips) else None
    return SetNumbers(
        name=name,
        clips=len(clips),
        clusters=len({clip.cluster for clip in clips}),
        words=sum(count.reference_words for count in before.words),
        human=sum(clip.provenance == "human" for clip in clips),
        llm=sum(clip.provenance == "llm" for clip in clips),
        before=_system(clips, before),
        after=_system(clips, after) if after else None,
        change=_change(clips, before, after, seed) if after else None,
    )


def decide_verdict(sets: Iterable[SetNumbers]) -> tuple[Verdict, str]:
    """Return what the numbers of the holdout allow to say, and in words.

    `improved`: all clips, or those of a condition, got better, and no condition got worse. To name what got better is a claim for each of
    up to three sets: Holm's step-down holds all of them together at one-sided 2.5%. Harm is looked for at 2.5% in each condition.

    Source: S. Holm, Scand. J. Statist. 6 (1979) 65-70.
    """
    by_name = {each.name: each for each in sets}
    conditions = [name for name in CONDITIONS if name in by_name]
    whole = by_name["all"].change
    if whole is None or whole.p_better is None:
        return "not_testable", f"no test was possible: {whole.note if whole else 'nothing was heard twice'}"
    changes = {name: by_name[name].change for name in (["all", *conditions] if len(conditions) > 1 else ["all"])}
    better = _holm({name: change for name, change in changes.items() if change is not None})
    harmed = [name for name in conditions if (change := by_name[name].change) and change.worse]
    said = "; ".join(f"{name} {_in_points(change)}, p = {change.p_better:.4f}" for name, change in better.items())
    if better and not harmed:
        return "improved", f"{said}; on clips that were not trained on"
    if better:
        return "mixed", f"{said}; but {' and '.join(harmed)} got worse"
    if whole.worse:
        return "worse", f"{_in_points(whole)}, p = {whole.p_worse:.4f}"
    chance = f"{_in_points(whole)}, which may be chance"
    if harmed:
        return "mixed", f"{chance}, but {' and '.join(harmed)} got worse"
    return "no_clear_difference", f"{chance} (p = {whole.p_better:.4f}){'; ' + whole.note if whole.note else ''}"


def _holm(changes: Mapping[str, Change]) -> dict[str, Change]:
    """Return the changes for the better, all of them together at one-sided `ALPHA`, in the given order."""
    passed = holm({name: change.p_better for name, change in changes.items() if change.p_better is not None}, ALPHA)
    return {name: change for name, change in changes.items() if name in passed and change.better}


def _in_points(change: Change) -> str:
    interval = change.wer.interval
    ends = f" ({range_in_points(interval)})" if interval else ""
    return f"{points(change.wer.value or 0.0)} points of WER{ends}"


@dataclass(frozen=True)
class _Heard:
    """What one model heard in the clips of a set, and its errors in each."""

    texts: Sequence[str]
    words: Sequence[ErrorCounts]
    chars: Sequence[ErrorCounts]

    @classmethod
    def count(cls, references: Sequence[str], texts: Sequence[str]) -> Self:
        return cls(texts, count_word_errors_batch(references, texts), count_char_errors_batch(references, texts))


def _totals(clips: Sequence[ScoredClip], before: Sequence[ErrorCounts], after: Sequence[ErrorCounts]) -> ClusterTotals:
    """Return the sums of each cluster; every clip weighs the same, for nothing selected it."""
    return cluster_totals(
        PairedUtterance(clip.utterance_id, clip.cluster, clip.condition, 1.0, old.reference_words, old.errors, new.errors)
        for clip, old, new in zip(clips, before, after, strict=True)
    )


def _system(clips: Sequence[ScoredClip], heard: _Heard) -> SystemNumbers:
    total = sum(heard.words, start=ErrorCounts())
    return SystemNumbers(
        wer=_rate(_totals(clips, heard.words, heard.words)),
        cer=_rate(_totals(clips, heard.chars, heard.chars)),
        errors=total.errors,
        substitutions=total.substitutions,
        deletions=total.deletions,
        insertions=total.insertions,
        empty=sum(not normalise(text) for text in heard.texts),
    )


def _rate(totals: ClusterTotals) -> Rate:
    return _ratio(totals.base_errors, totals.words, wer_interval)


def _difference(totals: ClusterTotals) -> Rate:
    return _ratio(totals.deltas, totals.words, cluster_t_interval)


def _ratio(errors: Array, words: Array, interval_of: Callable[[Array, Array, float], Interval]) -> Rate:
    """Return errors over words, of `(clusters,)` each, with the interval where there can be one."""
    length = float(words.sum())
    if not length:
        return Rate(value=None, interval=None, note=_NO_WORDS)
    if len(words) < 2:
        return Rate(value=float(errors.sum()) / length, interval=None, note=_ONE_CLUSTER)
    interval = interval_of(errors, words, LEVEL)
    return Rate(value=interval.estimate, interval=interval)


def _change(clips: Sequence[ScoredClip], before: _Heard, after: _Heard, seed: int) -> Change:
    totals = _totals(clips, before.words, after.words)
    wer, cer = _difference(totals), _difference(_totals(clips, before.chars, after.chars))
    if wer.interval is None:
        return Change(wer=wer, cer=cer, note=wer.note)
    flip, flip_worse = sign_flip_test(totals.deltas, seed), sign_flip_test(-totals.deltas, seed)
    blunt = flip.smallest_p > ALPHA and bool(totals.deltas.any())
    return Change(
        wer=wer,
        cer=cer,
        relative=relative_change_interval(totals, LEVEL),
        p_better=flip.p_value,
        p_worse=flip_worse.p_value,
        better=flip.p_value <= ALPHA and wer.interval.high < 0.0,
        worse=flip_worse.p_value <= ALPHA and wer.interval.low > 0.0,
        note=f"only {flip.clusters} speakers or clips differ: a test needs {minimum_clusters(ALPHA)}" if blunt else None,
    )
