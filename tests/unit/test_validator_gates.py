"""Failures of speech models, slices and serving: what each gate lets through and what it refuses."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.validator.counting import longest_insertion, loops, most_repeats, occurrences
from functions.validator.evidence import Serving
from functions.validator.gates import judge_failures
from functions.validator.judged_set import JudgedSet, judge_set
from functions.validator.rules import GatePolicy
from functions.validator.serving import judge_serving
from functions.validator.slices import judge_slices
from shared.audio_source import AudioPin
from shared.normalisation import BASIC
from shared.training import Clip, EvaluationRow, ServingFigures
from shared.verdict import GateNumbers, SliceNumbers
from shared.wer import count_char_errors_batch, count_word_errors_batch
from shared.wer_align import align_words

AUDIO = AudioPin(uri="gs://calls/u.wav", generation=1, crc32c="AAAAAA==", size_bytes=1)
SAID = "please send the parcel to the old mill road"
POLICY = GatePolicy()


def judged(heard: Sequence[tuple[str, str, str]], *, speakers: int = 12, terms: Sequence[str] = (), **fields: Any) -> JudgedSet:
    """A holdout of (reference, heard before, heard after), speaker i modulo `speakers`; a field may be a function of i."""
    clips, rows = [], []
    for number, (reference, before, after) in enumerate(heard):
        known = {name: value(number) if callable(value) else value for name, value in fields.items()}
        clip = Clip.model_validate(
            {
                "utterance_id": f"u{number}",
                "cluster": f"s{number % speakers:02}",
                "stratum": "errors",
                "audio": AUDIO,
                "reference": reference,
                "provenance": "human",
                **known,
            }
        )
        clips.append(clip)
        rows.append(
            EvaluationRow(
                utterance_id=clip.utterance_id,
                cluster=clip.cluster,
                stratum=clip.stratum,
                reference=reference,
                base_hypothesis=before,
                candidate_hypothesis=after,
            )
        )
    return judge_set("holdout", clips, rows, [], BASIC, [tuple(term.split()) for term in terms])


def gates(holdout: JudgedSet, *, terms: Sequence[str] = (), policy: GatePolicy = POLICY) -> dict[str, GateNumbers]:
    policy = replace(policy, critical_terms=tuple(tuple(term.split()) for term in terms))
    found = list(judge_failures([holdout], policy, seed=1))
    for numbers, finding in found:
        assert (finding is not None) == (numbers.result == "failed")
        assert finding is None or (finding.kind, finding.text) == ("rejects", numbers.finding)
    return {numbers.gate: numbers for numbers, _ in found}


def failed(holdout: JudgedSet, **known: Any) -> set[str]:
    return {name for name, numbers in gates(holdout, **known).items() if numbers.result == "failed"}


@pytest.mark.parametrize(
    ("words", "most"),
    [
        ("", 0),
        ("a", 1),
        ("a b c", 1),
        ("a a", 2),
        ("a b a b", 2),
        ("x a b c a b c a b c y", 3),
        ("no no no no", 4),
        ("a b c d e a b c d e", 1),
    ],
)
def test_repeats_of_a_phrase_of_up_to_four_words_are_counted(words: str, most: int) -> None:
    assert most_repeats(words.split()) == most


def test_a_loop_is_what_the_speaker_did_not_say() -> None:
    assert loops("the parcel", "the parcel the parcel the parcel")
    assert not loops("five five five", "five five five")
    assert not loops("the parcel", "the parcel the parcel")


def test_a_run_of_insertions_is_measured_in_words() -> None:
    assert longest_insertion(align_words("a b", "a x y z b")) == 3
    assert longest_insertion(align_words("a b c", "x a y b z c")) == 1
    assert longest_insertion(align_words("a b", "a b")) == 0


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.lists(st.sampled_from(["a", "b", "ab", "ba"]), max_size=6).map(" ".join)] * 3), max_size=8))
def test_what_is_counted_is_what_the_one_way_to_count_counts(heard: list[tuple[str, str, str]]) -> None:
    rows = judged(heard).rows
    references = [reference for reference, _, _ in heard]
    for model, texts in (("base", [before for _, before, _ in heard]), ("candidate", [after for _, _, after in heard])):
        words = count_word_errors_batch(references, texts)
        assert rows["words"].tolist() == [one.reference_words for one in words]
        for kind in ("substitutions", "deletions", "insertions"):
            assert rows[f"{model}_{kind}"].tolist() == [getattr(one, kind) for one in words]
        chars = count_char_errors_batch(references, texts)
        assert rows["chars"].tolist() == [one.reference_words for one in chars]
        assert rows[f"{model}_char_errors"].tolist() == [one.errors for one in chars]


def test_a_term_of_several_words_is_found_as_a_whole() -> None:
    assert occurrences(["old", "mill", "road", "old", "mill"], ("old", "mill")) == 2
    assert occurrences(["old", "and", "mill"], ("old", "mill")) == 0


def test_alike_models_pass_every_gate() -> None:
    found = gates(judged([(SAID, "please send a parcel", "please send a parcel")] * 48))
    assert {numbers.result for name, numbers in found.items() if name != "words on silence"} == {"passed"}
    assert found["words on silence"].result == "not measured"


@pytest.mark.parametrize(
    ("gate", "reference", "before", "after"),
    [
        ("empty output", SAID, SAID, ""),
        ("loops", SAID, SAID, f"{SAID} road road road"),
        ("invented words", SAID, SAID, f"{SAID} thank you for watching"),
        ("words on silence", "", "", "thank you"),
        ("deletions", SAID, SAID, "please send the parcel"),
        ("insertions", SAID, SAID, f"well {SAID}"),
        ("character errors", SAID, SAID, "pls snd th prcl to th ld mll rd"),
    ],
)
def test_a_failure_that_spreads_over_the_speakers_is_refused_by_its_gate(gate: str, reference: str, before: str, after: str) -> None:
    # every second speaker of 24: twelve differ
    holdout = judged([(reference, before, after if number % 2 else before) for number in range(96)], speakers=24)
    assert gate in failed(holdout)


def test_a_rise_within_what_the_policy_bears_is_no_failure() -> None:
    silent = judged([(SAID, SAID, "" if number < 24 else SAID) for number in range(48)], speakers=24)
    assert "empty output" in failed(silent)
    assert "empty output" not in failed(silent, policy=GatePolicy(max_failure_rise=0.5))


def test_a_failure_of_too_few_speakers_is_told_and_not_refused() -> None:
    numbers = gates(judged([(SAID, SAID, "" if number % 12 < 4 else SAID) for number in range(48)]))["empty output"]
    assert numbers.result == "not testable"
    assert "returns nothing for 33.3%" in numbers.finding
    assert "too few speakers or calls differ to be sure" in numbers.finding


def test_many_kinds_at_once_are_held_to_one_level_together() -> None:
    # Six of twelve speakers lose a word: p = 2^-6 = 0.0156. Deletions and characters could reach alpha, so that 0.025 suffices for the first.
    two = judged([(SAID, SAID, SAID[:-5] if number < 6 else SAID) for number in range(12)])
    assert failed(two) == {"deletions", "character errors"}
    # Five speakers: 0.031 would do for one kind alone, and exceeds 0.05 / 2.
    few = judged([(SAID, SAID, SAID[:-5] if number < 5 else SAID) for number in range(12)])
    assert failed(few) == set()


def test_where_production_is_its_own_reference_a_change_is_no_failure() -> None:
    changed = [(SAID, SAID, "please send the parcel")] * 48
    assert "deletions" in failed(judged(changed))
    assert failed(judged(changed, provenance="champion", stratum="traffic")) == set()


def test_a_critical_term_must_not_be_heard_less_often() -> None:
    heard = [(SAID, SAID, SAID.replace("mill", "mild") if number < 6 else SAID) for number in range(48)]
    holdout = judged(heard, terms=("old mill", "parcel"))
    found = gates(holdout, terms=("old mill", "parcel"))
    assert (found["critical term old mill"].base, found["critical term old mill"].candidate) == (0.0, 6 / 48)
    # p = 2^-6 of six speakers; of the three tests only those of the term itself and of all terms together could reach alpha
    assert {name for name, one in found.items() if one.result == "failed" and "term" in name} == {
        "critical term old mill",
        "critical terms",
    }
    assert found["critical term parcel"].result == "passed"


def test_a_term_that_nobody_says_is_not_tested() -> None:
    found = gates(judged([(SAID, SAID, SAID)] * 12, terms=("invoice",)), terms=("invoice",))
    assert "critical term invoice" not in found


# slices


def cut(holdout: JudgedSet, policy: GatePolicy = POLICY) -> tuple[dict[str, SliceNumbers], list[str]]:
    numbers, findings = judge_slices(holdout, policy, seed=1)
    return {f"{each.dimension} {each.value}": each for each in numbers}, [finding.text for finding in findings]


def test_a_slice_that_gets_worse_on_every_speaker_blocks() -> None:
    # telephone calls lose a word on each of 24 speakers, all others win one
    def phone(number: int) -> str:
        return "telephone" if number < 24 else "headset"

    lost, won = (SAID, SAID, SAID[:-5]), (SAID, SAID[:-5], SAID)
    found, reasons = cut(judged([lost if number < 24 else won for number in range(72)], speakers=24, device=phone))
    assert {name: one.worse for name, one in found.items()} == {"device telephone": True, "device headset": False}
    # one of nine words lost in each utterance
    assert found["device telephone"].candidate_wer == pytest.approx(1 / 9)
    assert found["device telephone"].base_wer == 0.0
    assert len(reasons) == 1
    assert "worse on a part of the holdout, device telephone" in reasons[0]


def test_slices_are_cut_by_what_the_service_told_and_by_length_and_noise() -> None:
    def known(number: int) -> dict[str, Any]:
        return {
            "error_type": ("name", "number")[number % 2],
            "language": ("de", "en")[number % 2],
            "noise": (3.0, 20.0, "street")[number % 3],
            "duration_s": (1.0, 7.0)[number % 2],
        }

    fields: dict[str, Any] = {name: (lambda number, name=name: known(number)[name]) for name in known(0)}
    found, reasons = cut(judged([(SAID, SAID, SAID)] * 60, speakers=10, **fields))
    assert reasons == []
    assert set(found) == {
        *("error type name", "error type number", "language de", "language en", "duration under 2 s", "duration 5 to 15 s"),
        *("noise below 5 dB", "noise 15 dB and more", "noise street"),
    }
    assert {one.p_value for one in found.values()} == {1.0}


def test_a_slice_of_too_few_speakers_is_listed_and_not_tested() -> None:
    spoilt = [(SAID, SAID, "please" if number % 12 < 4 else SAID) for number in range(48)]
    found, reasons = cut(judged(spoilt, language=lambda number: "de" if number % 12 < 4 else "en"))
    assert found["language de"].clusters == 4
    assert found["language de"].p_value is None
    assert found["language en"].p_value == 1.0
    assert reasons == []


def test_one_slice_of_twenty_needs_more_than_the_level_of_one() -> None:
    # five speakers lose a word: p = 2^-5, below 0.05 and far above 0.05 / 20
    heard = [(SAID, SAID, SAID[:-5] if number < 5 else SAID) for number in range(100)]
    _, alone = cut(judged(heard, speakers=100, device=lambda number: "d0" if number < 5 else None))
    _, among = cut(judged(heard, speakers=100, device=lambda number: f"d{number // 5}"))
    assert (len(alone), len(among)) == (1, 0)


def test_what_nobody_corrected_blocks_no_slice() -> None:
    changed = [(SAID, SAID, SAID[:-5])] * 48
    device: dict[str, Any] = {"device": lambda number: ("telephone", "headset")[number % 2]}
    assert cut(judged(changed, speakers=24, **device))[1]
    assert cut(judged(changed, speakers=24, provenance="champion", stratum="traffic", **device)) == ({}, [])


# serving


def served(figures: ServingFigures | None = None, *, candidate_bytes: int = 100 * 2**20) -> dict[str, str]:
    serving = Serving(base_bytes=100 * 2**20, candidate_bytes=candidate_bytes, figures=figures)
    found = list(judge_serving(serving, POLICY))
    assert all((finding is not None) == (numbers.result == "failed") for numbers, finding in found)
    return {numbers.gate: numbers.result for numbers, _ in found}


def figures(*, base: float = 0.1, candidate: float = 0.1, audio_s: float = 600.0, passed: bool = True) -> ServingFigures:
    return ServingFigures(audio_s=audio_s, base_rtf=base, candidate_rtf=candidate, smoke_test_passed=passed)


def test_a_candidate_that_costs_what_production_costs_passes() -> None:
    assert set(served(figures()).values()) == {"passed"}


def test_a_slower_or_larger_candidate_than_the_policy_bears_is_refused() -> None:
    assert served(figures(candidate=0.15))["seconds for a second of audio"] == "passed"
    assert served(figures(candidate=0.151))["seconds for a second of audio"] == "failed"
    assert served(figures(), candidate_bytes=250 * 2**20)["model size in MiB"] == "passed"
    assert served(figures(), candidate_bytes=251 * 2**20)["model size in MiB"] == "failed"


def test_a_candidate_that_does_not_load_is_refused() -> None:
    assert served(figures(passed=False))["loads and transcribes"] == "failed"


def test_times_too_short_to_mean_anything_and_times_that_nobody_took_are_not_measured() -> None:
    assert served(figures(candidate=9.0, audio_s=9.0))["seconds for a second of audio"] == "not measured"
    assert served(None) == {
        "model size in MiB": "passed",
        "seconds for a second of audio": "not measured",
        "loads and transcribes": "not measured",
    }
