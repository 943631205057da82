"""How much more evidence an open question takes, by the spread of earlier cycles: power read off a result says nothing but its p-value."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

from functions.validator.judged_set import JudgedSet
from shared.sizing import PRIOR_WER
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
    """Say how many further utterances and speakers the wanted gain takes; of a set that was large enough, a part of that gain."""
    totals = judged.word_totals()
    words, errors = float(totals.words.sum()), float(totals.base_errors.sum())
    if words > 0.0 and errors == 0.0:
        return "The model in production makes no error here: no number of utterances can show a gain."
    base_wer = errors / words if words > 0.0 else PRIOR_WER

    def sized(gain: float) -> Power:
        return power_before(_holdout(judged), spread, Wanted(base_wer=base_wer, relative_gain=gain, alpha=alpha))

    unmeasured = "" if words > 0.0 else f", at a WER of {percent(PRIOR_WER)}"
    return _in_words(sized, relative_gain, lambda gain: f"a gain of {percent(gain)} of the WER{unmeasured}", spread)


def sample_needed(spread: Spread, relative_gain: float, alpha: float) -> str:
    """Say how large a sample of traffic shows the wanted gain by itself, at a WER that nobody has measured yet."""
    size = power_before(Holdout(0, 0), spread, Wanted(base_wer=PRIOR_WER, relative_gain=relative_gain, alpha=alpha))
    return (
        f"About {size.further_utterances} sampled utterances of {size.further_clusters} speakers or calls show a gain of "
        f"{percent(relative_gain)} of a WER of {percent(PRIOR_WER)} in 4 of 5 trials, {_basis(spread)}."
    )


def further_needed_for_margin(judged: JudgedSet | None, spread: Spread, margin: float, alpha: float) -> str:
    """Say how many further utterances and speakers a suite takes to show a WER to stay within its margin.

    An unchanged WER; where the suite was expected to show that, one that uses up a part of the margin. A suite that was not evaluated
    (None) takes all of them.
    """
    present = Holdout(0, 0) if judged is None else _holdout(judged)
    if margin == 0.0:
        return "No number of utterances can show that it does not rise at all."

    def sized(room: float) -> MarginSize:
        return size_for_margin(present, spread, room, alpha)

    def what(room: float) -> str:
        used = margin - room
        return f"that {f'a WER risen by {100 * used:.2f} points' if used else 'an unchanged WER'} stays within the margin"

    return _in_words(sized, margin, what, spread)


def _holdout(judged: JudgedSet) -> Holdout:
    weights = Counter(judged.rows["weight"].tolist())
    return Holdout(utterances=judged.utterances, clusters=len(set(judged.rows["cluster"].tolist())), weights_effect=weights_effect(weights))


def _in_words(sized: Callable[[float], Power | MarginSize], wanted: float, what: Callable[[float], str], spread: Spread) -> str:
    """Return what it takes to show what is wanted; where the set was expected to show it, also what a half, a quarter, ... of it takes."""
    expected = ""
    if sized(wanted).enough:
        expected = f"A set of this size was expected to show {what(wanted)} in 4 of 5 trials. "
    while (size := sized(wanted)).enough:
        wanted /= 2
    return (
        f"{expected}To show {what(wanted)} in 4 of 5 trials takes about {size.further_utterances} further utterances, with "
        f"{size.further_clusters} further speakers or calls among them{_of_the_same(size)}, {_basis(spread)}."
    )


def _basis(spread: Spread) -> str:
    many = f"{spread.measured} earlier comparison{'s' if spread.measured > 1 else ''}"
    return f"by the spread that {many} measured" if spread.measured else "by the stated prior of the spread"


def _of_the_same(size: Power | MarginSize) -> str:
    if isinstance(size, MarginSize) or size.holdout.clusters == 0:
        return ""
    if size.further_of_the_same is None:
        return " (no number of utterances of the present ones is enough)"
    return f" (of the present ones alone, {size.further_of_the_same})"
