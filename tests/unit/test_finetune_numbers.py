"""Error rates of a folder, their intervals, and what may be said of a change."""

from math import sqrt

import numpy as np
import pytest
from scipy import stats

from trainer.finetune.numbers import ScoredClip, decide_verdict, measure, measure_sets


def clip(number: int, before: str, after: str | None = None, reference: str = "a b c d", **fields: str) -> ScoredClip:
    values = {"condition": "clean", "cluster": f"s{number}", "provenance": "human"} | fields
    return ScoredClip(f"clip-{number}", reference=reference, before=before, after=after, **values)  # type: ignore[arg-type]


# Of four words each: s0 has one error in two clips, s1 four in two, s2 none in one.
BEFORE = [clip(0, "a b c d"), clip(0, "a b c x"), clip(1, "a b"), clip(1, "x b c d e"), clip(2, "a b c d")]


def test_rates_are_pooled_and_kinds_are_counted() -> None:
    found = measure("all", BEFORE, seed=0)
    assert (found.clips, found.clusters, found.words) == (5, 3, 20)
    assert found.before.wer.value == pytest.approx(5 / 20)
    assert (found.before.substitutions, found.before.deletions, found.before.insertions) == (2, 2, 1)
    # characters of "a b c d": 7 each; one replaced, " c d" missing (4), one replaced and " e" added (3)
    assert found.before.cer.value == pytest.approx(8 / 35)
    assert found.after is None
    assert found.change is None


def test_the_interval_of_a_rate_is_the_ratio_estimators_over_speakers() -> None:
    errors, words = np.array([1.0, 4.0, 0.0]), np.array([8.0, 8.0, 4.0])
    residuals = errors - 0.25 * words
    half = stats.t.ppf(0.975, 2) * sqrt(3 / 2 * float(residuals @ residuals)) / 20
    interval = measure("all", BEFORE, seed=0).before.wer.interval
    assert interval is not None
    assert interval.high == pytest.approx(0.25 + half)
    assert interval.low == 0.0
    assert interval.clusters == 3


def test_one_speaker_gives_a_rate_and_the_reason_why_there_is_no_interval() -> None:
    rate = measure("all", [clip(1, "a b c x"), clip(1, "a b c d")], seed=0).before.wer
    assert rate.value == pytest.approx(1 / 8)
    assert rate.interval is None
    assert rate.note == "one speaker or clip: an interval needs at least 2"


def test_without_reference_words_there_is_no_rate() -> None:
    rate = measure("all", [clip(1, "a", reference="..."), clip(2, "", reference="")], seed=0).before.wer
    assert rate.value is None
    assert rate.note is not None
    assert "no reference words" in rate.note


def test_a_transcript_without_a_word_is_counted() -> None:
    assert measure("all", [clip(1, ""), clip(2, "..."), clip(3, "a")], seed=0).before.empty == 2


def paired(changes: list[int], condition: str = "clean", start: int = 0) -> list[ScoredClip]:
    """Return a clip of ten words for each speaker; a change of -2: two errors before, none after."""
    words = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]
    found = []
    for number, change in enumerate(changes, start):
        wrong = " ".join(["x"] * abs(change) + words[abs(change) :])
        right = " ".join(words)
        before, after = (wrong, right) if change < 0 else (right, wrong)
        found.append(clip(number, before, after, reference=right, condition=condition))
    return found


def test_the_change_is_paired_over_speakers() -> None:
    deltas = np.array([-2.0, -1.0, -3.0, 1.0, -2.0, -1.0])
    change = measure("all", paired([-2, -1, -3, 1, -2, -1]), seed=0).change
    assert change is not None
    interval = change.wer.interval
    assert interval is not None
    assert interval.estimate == pytest.approx(-8 / 60)
    half = stats.t.ppf(0.975, 5) * deltas.std(ddof=1) * sqrt(6) / 60
    assert interval.low == pytest.approx(-8 / 60 - half)
    assert interval.high == pytest.approx(-8 / 60 + half)
    # of 64 sign patterns four are as low: all below zero (-10), and one of the three ones turned (-8)
    assert change.p_better == pytest.approx(4 / 64)


def test_a_change_is_better_only_when_test_and_interval_say_so() -> None:
    better = measure("all", paired([-2, -1, -3, -2, -2, -1]), seed=0).change
    assert better is not None
    assert better.p_better == pytest.approx(1 / 64)
    assert better.better
    assert not better.worse
    worse = measure("all", paired([2, 1, 3, 2, 2, 1]), seed=0).change
    assert worse is not None
    assert worse.worse
    assert not worse.better


def test_few_speakers_cannot_make_a_test_succeed_and_that_is_said() -> None:
    change = measure("all", paired([-2, -2, -2]), seed=0).change
    assert change is not None
    assert change.p_better == pytest.approx(1 / 8)
    assert not change.better
    assert change.note == "only 3 speakers or clips differ: a test needs 6"


def test_models_that_hear_the_same_are_no_different() -> None:
    change = measure("all", paired([0] * 8), seed=0).change
    assert change is not None
    assert change.p_better == change.p_worse == 1.0
    assert change.note is None
    assert decide_verdict(measure_sets(paired([0] * 8), seed=0))[0] == "no_clear_difference"


def test_both_kinds_of_references_are_shown_apart() -> None:
    rows = [clip(1, "a"), clip(2, "a", provenance="llm"), clip(3, "a", condition="noisy")]
    found = {each.name: (each.clips, each.human, each.llm) for each in measure_sets(rows, seed=0)}
    assert found == {
        "clean": (2, 1, 1),
        "noisy": (1, 1, 0),
        "all": (3, 2, 1),
        "all, human references": (2, 2, 0),
        "all, LLM references": (1, 0, 1),
    }


def test_references_of_one_kind_have_no_rows_of_their_own() -> None:
    assert [each.name for each in measure_sets(BEFORE, seed=0)] == ["clean", "all"]


GAIN, LOSS, NOTHING = [-3, -4, -3, -4, -3, -4, -3, -4], [1, 2, 1, 2, 1, 2, 1, 2], [1, -1, 1, -1, 1, -1, 1, -1]


@pytest.mark.parametrize(
    ("clean", "noisy", "verdict"),
    [
        (NOTHING, GAIN, "improved"),
        (LOSS, GAIN, "mixed"),
        (LOSS, [-1, -2, -1, -2, -1, -2, -1, -2], "mixed"),
        (NOTHING, NOTHING, "no_clear_difference"),
        (LOSS, LOSS, "worse"),
    ],
)
def test_a_condition_that_got_worse_is_not_hidden_by_the_sum(clean: list[int], noisy: list[int], verdict: str) -> None:
    rows = [*paired(clean), *paired(noisy, condition="noisy", start=100)]
    assert decide_verdict(measure_sets(rows, seed=0))[0] == verdict


EITHER_WAY = [6, -6, 6, -6, 6, -6, 6, -6]


def test_a_condition_may_improve_although_the_sum_does_not_show_it() -> None:
    verdict, said = decide_verdict(measure_sets([*paired(EITHER_WAY), *paired([-1] * 8, condition="noisy", start=100)], seed=0))
    assert verdict == "improved"
    assert said.startswith("noisy -10.0 points of WER (-10.0 to -10.0), p = 0.0039")  # 2^-8 <= 0.025 / 3


def test_what_one_of_three_tests_shows_by_chance_is_not_named() -> None:
    rows = [*paired(EITHER_WAY), *paired([-1] * 6, condition="noisy", start=100)]
    noisy = measure_sets(rows, seed=0)[1].change
    assert noisy is not None
    assert noisy.better  # 2^-6 <= 0.025, but not 0.025 / 3
    assert decide_verdict(measure_sets(rows, seed=0))[0] == "no_clear_difference"


def test_a_single_condition_is_tested_once() -> None:
    verdict, said = decide_verdict(measure_sets(paired([-1] * 6), seed=0))
    assert verdict == "improved"
    assert said.startswith("all -10.0")


def test_one_speaker_is_not_tested() -> None:
    rows = [ScoredClip("u", "clean", "s", "human", "a b", "a x", "a b")]
    assert decide_verdict(measure_sets(rows, seed=0)) == (
        "not_testable",
        "no test was possible: one speaker or clip: an interval needs at least 2",
    )
