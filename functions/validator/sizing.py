"""How much more evidence an open question takes, by the spread of earlier cycles: power read off a result says nothing but its p-value."""

from collections import Counter
from collections.abc import Iterable, Mapping

from functions.validator.judged_set import JudgedSet
from shared.verdict import SetNumbers, ValidationReport
from shared.wer_power import (
    Holdout,
    MarginSize,
    Power,
    SeenSpread,
    Spread,
    Wanted,
    pool_spreads,
    power_before,
    size_for_margin,
    weights_effect,
)
from shared.wording import percent


def seen_spreads(reports: Iterable[ValidationReport]) -> Mapping[str, Spread]:
    """Return the spread of each set's differences as the reports of earlier cycles measured it; sets that none has measured are absent."""
    seen: dict[str, list[SeenSpread]] = {}
    for report in reports:
        for numbers in report.sets:
            if _measured(numbers):
                seen.setdefault(numbers.name, []).append(SeenSpread(numbers.sd_d or 0.0, numbers.utterances, numbers.clusters))
    return {name: pool_spreads(found) for name, found in seen.items()}


def _measured(numbers: SetNumbers) -> bool:
    return numbers.sd_d is not None and numbers.sd_d > 0.0 and numbers.clusters > 1


def further_needed(judged: JudgedSet, spread: Spread, relative_gain: float, alpha: float) -> str:
    """Say how many further utterances and speakers the wanted gain takes."""
    totals = judged.word_totals()
    base_wer = float(totals.base_errors.sum() / totals.words.sum())
    if base_wer == 0.0:
        return "The model in production makes no error here."
    power = power_before(_holdout(judged), spread, Wanted(base_wer=base_wer, relative_gain=relative_gain, alpha=alpha))
    return _in_words(power, f"a gain of {percent(relative_gain)} of the WER", spread)


def further_needed_for_margin(judged: JudgedSet, spread: Spread, margin: float, alpha: float) -> str:
    """Say how many further utterances and speakers a suite takes to show an unchanged WER to stay within its margin."""
    if margin == 0.0:
        return "No number of utterances can show that it does not rise at all."
    size = size_for_margin(_holdout(judged), spread, margin, alpha)
    return _in_words(size, "that an unchanged WER stays within the margin", spread)


def _holdout(judged: JudgedSet) -> Holdout:
    weights = Counter(judged.rows["weight"].tolist())
    return Holdout(utterances=judged.utterances, clusters=len(set(judged.rows["cluster"].tolist())), weights_effect=weights_effect(weights))


def _in_words(size: Power | MarginSize, what: str, spread: Spread) -> str:
    many = f"{spread.measured} earlier comparison{'s' if spread.measured > 1 else ''}"
    basis = f"by the spread that {many} measured" if spread.measured else "by the stated prior of the spread"
    if size.enough:
        return f"A set of this size was expected to show {what} in 4 of 5 trials, {basis}."
    return (
        f"To show {what} in 4 of 5 trials takes about {size.further_utterances} further utterances, with {size.further_clusters} further "
        f"speakers or calls among them{_of_the_same(size)}, {basis}."
    )


def _of_the_same(size: Power | MarginSize) -> str:
    if isinstance(size, MarginSize):
        return ""
    if size.further_of_the_same is None:
        return " (no number of utterances of the present ones is enough)"
    return f" (of the present ones alone, {size.further_of_the_same})"
