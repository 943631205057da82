"""The gate: history of two models on a holdout and suites in, verdict out."""

import re
from dataclasses import replace
from math import sqrt
from typing import Any

import pytest

from functions.validator.evidence import Serving
from functions.validator.judged_set import JudgedSet, judge_set
from functions.validator.rules import GatePolicy
from shared.errors import InvalidMessage
from shared.normalisation import BASIC
from shared.training import SetAside
from shared.wer_compare import NonInferiority, NotTestable, Superiority
from shared.wer_power import Spread
from tests.judged_sets import FIXED, HOLDOUT, POLICY, SAMPLE, SPOILT, SUITE, UNCHANGED, WORDS, clip, heard, part, row, together, verdict


def test_a_better_model_whose_suites_stay_good_is_accepted() -> None:
    found = verdict(HOLDOUT, SUITE)
    assert found.outcome == "accepted"
    assert isinstance(found.superiority, Superiority)
    assert isinstance(found.suites["names"], NonInferiority)
    # errors: 48 * 5 + 4 * 48 = 432 of 10 * (48 + 4 * 48) = 2400 words before; candidate 24 * 2 + 24 * 3 + 192 = 312: 120 / 2400 = 5 points less
    assert found.superiority.delta.estimate == pytest.approx(-0.05)
    assert found.reasons[0].startswith("The candidate is better: weighted over traffic, WER changes by -5.00 points")
    assert found.reasons[1].startswith("Suite names stays good")
    assert found.notes == ()


def test_the_tests_that_papers_report_stand_beside_those_that_decide() -> None:
    found = {(test.name, test.unit, test.set_name): test for test in verdict(HOLDOUT, SUITE).classic}
    assert {key[2] for key in found} == {"holdout", "names"}
    (one, two) = (part(FIXED), verdict(part(FIXED)).classic)
    segments, sentences, by_utterance, by_cluster = two
    # each of 48 utterances is one segment of successive errors, of which 2 or 3 of 5 are mended: mean -2.5, sd 0.505, W = -2.5 / (0.505 / sqrt 48)
    assert (segments.name, segments.units) == ("MAPSSWE", one.utterances)
    assert segments.statistic == pytest.approx(-2.5 / (sqrt(48 * 0.25 / 47) / sqrt(48)))
    # nobody gets a sentence wholly right
    assert (sentences.name, sentences.units, sentences.p_value) == ("McNemar", 48, 1.0)
    for test, units in ((by_utterance, 48), (by_cluster, 12)):
        assert test.delta is not None
        assert (test.units, test.improvement) == (units, 1.0)
        assert test.delta.estimate == pytest.approx(-0.25)


def test_identical_models_are_never_accepted() -> None:
    found = verdict(together(part([(5, 5)] * 48), SAMPLE), part([(1, 1)] * 48, stratum="suite", name="names"))
    assert found.outcome == "inconclusive"
    assert "No significant gain" in found.reasons[0]
    assert "p = 1.0000" in found.reasons[0]


def test_a_worse_model_is_rejected() -> None:
    found = verdict(together(part([(3, 5)] * 48), part(SPOILT, stratum="traffic", weight=4.0)), SUITE)
    assert found.outcome == "rejected"
    assert found.reasons[0].startswith("The candidate is worse: weighted over traffic, WER changes by +")


def test_a_gain_on_reported_errors_does_not_outweigh_a_loss_on_the_rest_of_traffic() -> None:
    found = verdict(together(part(FIXED), part([(0, 1)] * 48, stratum="traffic", weight=20.0)), SUITE)
    assert found.outcome == "rejected"
    assert found.strata[0].name == "holdout/errors"
    assert found.strata[0].delta is not None
    assert found.strata[0].delta.high < 0.0  # the stratum alone would have said "better"
    assert not found.strata[0].decides


def test_without_a_sample_of_traffic_nothing_is_accepted() -> None:
    found = verdict(part(FIXED), SUITE)
    assert found.outcome == "inconclusive"
    assert "no sample of the traffic that nobody reported" in found.reasons[0]
    assert found.superiority == NotTestable(found.reasons[0])
    assert found.sets[0].finding == found.reasons[0]
    assert found.failure_reason == "The evidence does not decide because there is no sample of the traffic that nobody reported."
    assert found.sets[0].p_value is None
    assert not found.sets[0].decides


def test_a_loss_on_the_reported_errors_alone_is_a_loss_all_the_more() -> None:
    found = verdict(part(SPOILT), SUITE)
    assert found.outcome == "rejected"
    assert "on the reported errors alone" in found.reasons[0]


def test_suites_may_stand_for_traffic_by_the_policys_leave_with_a_note_at_the_top() -> None:
    policy = GatePolicy(suite_margins={"names": 0.05}, suites_stand_for_traffic=True)
    steady = part([(1, 1)] * 48, stratum="suite", name="names")
    found = verdict(part(FIXED), steady, policy=policy, reported_share=0.5)
    assert found.outcome == "accepted"
    assert found.notes[0].startswith("Suites stand for the traffic that nobody reported")
    # half of the traffic is reported: 48 suite utterances at weight 1; 48 * 5 + 48 = 288 errors of 960 words, candidate 120 + 48 = 168
    assert isinstance(found.superiority, Superiority)
    assert found.superiority.delta.estimate == pytest.approx(-120 / 960)


def test_suites_weigh_as_much_as_the_traffic_they_stand_for() -> None:
    policy = GatePolicy(suite_margins={"names": 0.05}, suites_stand_for_traffic=True)
    steady = part([(1, 1)] * 48, stratum="suite", name="names")
    found = verdict(part(FIXED), steady, policy=policy, reported_share=0.1)
    # nine times as many unreported: 120 / (480 + 9 * 480)
    assert isinstance(found.superiority, Superiority)
    assert found.superiority.delta.estimate == pytest.approx(-120 / 4800)


@pytest.mark.parametrize("share", [None, 0.0, 1.0])
def test_suites_cannot_stand_for_traffic_of_unknown_size(share: float | None) -> None:
    policy = GatePolicy(suite_margins={"names": 0.05}, suites_stand_for_traffic=True)
    found = verdict(part(FIXED), SUITE, policy=policy, reported_share=share)
    assert found.outcome == "inconclusive"
    assert "SttTraffic" in found.reasons[0]
    assert found.sets[0].finding == found.reasons[0]
    assert found.failure_reason == "The evidence does not decide because nobody knows which share of the traffic was reported."


def test_a_suite_that_the_policy_does_not_name_stands_for_nothing() -> None:
    policy = GatePolicy(suite_margins={"names": 0.05}, suites_stand_for_traffic=True)
    other = part([(1, 1)] * 48, stratum="suite", name="digits")
    found = verdict(part(FIXED), other, policy=policy, reported_share=0.5)
    assert found.outcome == "inconclusive"
    assert found.reasons[0].startswith("There is no sample of the traffic that nobody reported")


def test_a_sample_too_thin_for_its_weight_decides_nothing() -> None:
    found = verdict(together(part(FIXED), part([(1, 1)] * 12, stratum="traffic", weight=400.0)), SUITE)
    assert found.outcome == "inconclusive"
    assert "too thin" in found.reasons[0]


def test_speakers_of_whom_one_more_could_undo_the_gain_decide_nothing() -> None:
    # five speakers -6 each, one +3 (worked out in test_wer_stats)
    reported = [(5, 2)] * 5 + [(1, 2)] + [(5, 2)] * 5 + [(1, 2)] + [(1, 1)] * 5 + [(1, 2)]
    found = verdict(together(part(reported, speakers=6), part(UNCHANGED, stratum="traffic", weight=1.5, speakers=6)), SUITE)
    assert found.outcome == "inconclusive"
    assert found.reasons[0].startswith("Too few speakers or calls for how much they differ")
    assert "further speakers or calls" in found.reasons[0] or "was expected to show" in found.reasons[0]


def test_too_few_speakers_decide_nothing_and_the_reason_says_how_many_are_needed() -> None:
    few = together(part(FIXED, speakers=4), part(UNCHANGED, stratum="traffic", weight=4.0, speakers=4))
    found = verdict(few, SUITE)
    assert found.outcome == "inconclusive"
    assert found.reasons[0].startswith("Too few speakers or calls: 4, and a verdict needs at least 5")
    stricter = GatePolicy(suite_margins={"names": 0.05}, min_clusters=20)
    assert "at least 20" in verdict(HOLDOUT, SUITE, policy=stricter).reasons[0]


def test_differences_on_too_few_speakers_decide_nothing() -> None:
    holdout = together(part([(5, 3) if number % 12 < 3 else (5, 5) for number in range(48)]), SAMPLE)
    found = verdict(holdout, SUITE)
    assert found.outcome == "inconclusive"
    assert found.reasons[0].startswith("Too few differences: the models differ on 3 speakers")


def test_one_speaker_permits_no_test() -> None:
    found = verdict(together(part(FIXED, speakers=1), part(UNCHANGED, stratum="traffic", speakers=1)), SUITE)
    assert found.outcome == "inconclusive"
    assert "1 independent speaker" in found.reasons[0]


def test_an_empty_holdout_permits_no_test() -> None:
    found = verdict(judge_set("holdout", [], [], [], BASIC), SUITE)
    assert found.outcome == "inconclusive"
    assert found.sets[0].base.wer is None


def test_without_a_holdout_nothing_is_accepted_and_the_report_states_the_rule() -> None:
    found = verdict(judge_set("holdout", [], [], [], BASIC), SUITE)
    assert found.outcome == "inconclusive"
    assert found.reasons[0].startswith("There is no holdout yet")
    assert found.failure_reason == "The evidence does not decide because there is no holdout yet."
    assert found.notes[0].startswith("There is no holdout yet. Rule: nothing is accepted without one")


def test_without_a_holdout_a_suite_that_gets_worse_rejects_all_the_same() -> None:
    found = verdict(judge_set("holdout", [], [], [], BASIC), part(SPOILT, stratum="suite", name="names"))
    assert found.outcome == "rejected"
    assert found.failure_reason == "The candidate is refused because suite names gets worse by more than its margin."


def test_the_first_candidate_after_an_import_is_judged_like_every_other_and_the_report_states_the_rule() -> None:
    found = verdict(HOLDOUT, SUITE, first=True)
    assert found.outcome == "accepted"
    assert found.failure_reason is None
    assert found.notes[0].startswith("The model in production was imported")


def test_a_suite_beyond_its_margin_rejects_whatever_the_gain() -> None:
    found = verdict(HOLDOUT, part(SPOILT, stratum="suite", name="names"))
    assert found.outcome == "rejected"
    assert found.reasons[0].startswith("Suite names gets worse")


def test_a_suite_that_is_not_shown_to_stay_good_leaves_the_question_open() -> None:
    found = verdict(HOLDOUT, part([(0, 3), (3, 0), (1, 1), (2, 2)] * 3, stratum="suite", name="names"))
    assert found.outcome == "inconclusive"
    assert found.reasons[0].startswith("Suite names is not shown to stay good")
    assert "further utterances" in found.reasons[0]


def test_what_an_open_suite_takes_counts_what_it_has_and_follows_its_own_spread() -> None:
    policy = GatePolicy(suite_margins={"names": 0.01})
    few, more = (part([(0, 3), (3, 0)] * many, stratum="suite", name="names", speakers=2 * many) for many in (6, 24))

    def further(suite: JudgedSet, **known: Any) -> tuple[int, str]:
        (reason, *_) = verdict(HOLDOUT, suite, policy=policy, **known).reasons
        found = re.search(r"^Suite names is not shown .* takes about (\d+) further utterances.*, (by the .*)\.$", reason)
        assert found, reason
        return int(found[1]), found[2]

    assert further(few)[0] > further(more)[0]
    assert further(few, spreads={"names": Spread(sd_d=0.2, rho=0.0, measured=2)})[1] == "by the spread that 2 earlier comparisons measured"


def test_a_named_suite_that_was_not_evaluated_leaves_the_question_open() -> None:
    found = verdict(HOLDOUT)
    assert found.outcome == "inconclusive"
    assert found.reasons[0].startswith("Suite names, which the policy names, was not evaluated. To show that an unchanged WER stays")


def test_a_suite_that_the_policy_does_not_name_is_reported_and_decides_nothing() -> None:
    found = verdict(HOLDOUT, SUITE, part(SPOILT, stratum="suite", name="digits"))
    assert found.outcome == "accepted"
    assert {one.name: one.decides for one in found.sets} == {"holdout": True, "names": True, "digits": False}


def test_without_any_suite_in_the_policy_the_report_says_so() -> None:
    found = verdict(HOLDOUT, policy=GatePolicy())
    assert found.outcome == "accepted"
    assert found.notes[0].startswith("The policy names no regression suite. Rule: the holdout alone decides")


def test_a_gain_surely_smaller_than_the_wanted_one_is_rejected() -> None:
    # the WER falls by 120/432 = 28%; 90% is out of reach
    found = verdict(HOLDOUT, SUITE, policy=GatePolicy(suite_margins={"names": 0.05}, min_relative_gain=0.9))
    assert found.outcome == "rejected"
    assert "short of the wanted gain of 90.0%" in found.reasons[0]


def test_a_model_that_falls_silent_is_rejected() -> None:
    clips = [clip(f"s{number % 12}/t{number}", stratum="traffic") for number in range(48)]
    # better on what it answers, and silent for one utterance of each of six speakers: 6 of 96 utterances
    rows = [row(one, heard(5), "" if number < 6 else heard(1)) for number, one in enumerate(clips)]
    found = verdict(together(part(FIXED), judge_set("holdout", clips, rows, [], BASIC)), SUITE)
    assert found.outcome == "rejected"
    assert "returns nothing for 6.2%" in found.reasons[0]


def test_a_candidate_that_costs_too_much_to_serve_is_rejected_whatever_the_gain() -> None:
    large = Serving(base_bytes=100 * 2**20, candidate_bytes=251 * 2**20, figures=None)
    found = verdict(HOLDOUT, SUITE, serving=large)
    assert found.outcome == "rejected"
    assert found.reasons[0].startswith("The candidate takes 251.0 MiB")
    assert [numbers.gate for numbers in found.gates if numbers.result == "failed"] == ["model size in MiB"]
    assert verdict(HOLDOUT, SUITE, serving=large, policy=replace(POLICY, max_size_ratio=3.0)).outcome == "accepted"


def test_the_same_seed_makes_the_same_verdict_to_the_last_digit() -> None:
    # forty speakers are too many to try every sign: the p-values of the whole, of gates and of slices are sampled
    clips = [clip(f"s{number % 40}/t{number}", stratum="traffic" if number >= 120 else "errors") for number in range(160)]
    clips = [one.model_copy(update={"device": f"d{number // 80}"}) for number, one in enumerate(clips)]
    rows = [row(one, heard(4), heard(6 if number % 2 else 3)) for number, one in enumerate(clips)]
    holdout = judge_set("holdout", clips, rows, [], BASIC)
    found, *again = (verdict(holdout, SUITE) for _ in range(3))
    assert again == [found, found]
    sampled = [one.p_value for one in found.slices if one.p_value is not None]
    assert [one.value for one in found.slices] == ["d0", "d1"]
    assert all(0.0 < p_value < 1.0 for p_value in sampled)
    assert any(0.0 < one.p_value < 1.0 for one in found.gates if one.p_value is not None)


def test_silence_where_nothing_was_said_is_no_fault() -> None:
    clips = [clip(f"s{number % 12}/t{number}", stratum="traffic", reference="") for number in range(48)]
    rows = [row(one, "noise", "") for one in clips]
    found = verdict(together(part(FIXED), SAMPLE, judge_set("holdout", clips, rows, [], BASIC)), SUITE)
    assert found.outcome == "accepted"
    assert found.sets[0].candidate.empty_rate == 0.0


def test_too_much_set_aside_leaves_the_question_open() -> None:
    found = verdict(replace(HOLDOUT, set_aside={"missing": 20}), SUITE)
    assert found.outcome == "inconclusive"
    # 20 of 96 + 20
    assert found.reasons[0].startswith("17.2% of holdout could not be judged")
    assert found.sets[0].set_aside == {"missing": 20}


def test_references_of_a_language_model_judge_only_by_the_policys_leave() -> None:
    holdout = together(part(FIXED, provenance="llm"), SAMPLE)
    assert verdict(holdout, SUITE).outcome == "inconclusive"
    assert "written by a language model" in verdict(holdout, SUITE).reasons[0]
    found = verdict(holdout, SUITE, policy=GatePolicy(suite_margins={"names": 0.05}, judge_on_llm_gold=True))
    assert found.outcome == "accepted"
    assert found.notes[0].startswith("48 of 144 references were written by a language model")


def test_production_stands_for_a_reference_only_where_nobody_reported() -> None:
    sample = part([(0, 0)] * 48, stratum="traffic", weight=4.0, provenance="champion")
    found = verdict(together(part(FIXED), sample), SUITE)
    assert found.outcome == "accepted"
    assert "48 sampled utterances" in found.notes[0]
    own_judge = verdict(together(part(FIXED, provenance="champion"), SAMPLE), SUITE)
    assert own_judge.outcome == "inconclusive"
    assert "production model's own transcripts" in own_judge.reasons[0]


def test_the_holdout_holds_errors_and_traffic_only() -> None:
    with pytest.raises(InvalidMessage, match="found replay"):
        verdict(together(part(FIXED), part(UNCHANGED, stratum="replay")), SUITE)


def test_a_set_that_comes_twice_is_refused() -> None:
    with pytest.raises(InvalidMessage, match="expected each set once"):
        verdict(HOLDOUT, SUITE, SUITE)


def test_numbers_of_a_set_are_weighted_and_its_counts_are_not() -> None:
    holdout = verdict(HOLDOUT, SUITE).sets[0]
    assert (holdout.utterances, holdout.clusters, holdout.words) == (96, 12, 960)
    assert holdout.base.wer is not None
    assert holdout.base.wer.estimate == pytest.approx(432 / 2400)
    assert holdout.base.wer.level == 0.95
    # 48 * 5 + 48 * 1 words heard wrongly, none lost or invented
    assert (holdout.base.substitutions, holdout.base.deletions, holdout.base.insertions) == (288, 0, 0)
    assert holdout.relative_change is not None
    assert holdout.relative_change.estimate == pytest.approx(-120 / 432)
    assert holdout.delta is not None
    assert holdout.delta.level == pytest.approx(0.9)


def test_every_set_stands_with_what_was_found_of_it() -> None:
    found = verdict(HOLDOUT, SUITE, part(SPOILT, stratum="suite", name="digits"))
    assert isinstance(found.superiority, Superiority)
    assert [(one.name, one.finding, one.decides, one.margin, one.p_value) for one in found.sets] == [
        ("holdout", found.reasons[0], True, None, found.superiority.flip.p_value),
        ("names", found.reasons[1], True, 0.05, None),
        ("digits", "Reported only: the policy names no margin for this suite.", False, None, None),
    ]


def test_the_parts_of_the_holdout_are_described_and_decide_nothing() -> None:
    errors, traffic = verdict(HOLDOUT, SUITE).strata
    assert [(one.name, one.utterances, one.decides) for one in (errors, traffic)] == [
        ("holdout/errors", 48, False),
        ("holdout/traffic", 48, False),
    ]
    assert errors.finding.startswith("Never decides: these utterances are here because production failed on them")
    assert traffic.finding.startswith("A random part of what nobody reported")
    assert errors.delta is not None
    assert errors.delta.estimate == pytest.approx(-0.25)
    assert errors.delta.level == pytest.approx(0.9)
    assert [one.name for one in verdict(part(FIXED), SUITE).strata] == ["holdout/errors"]


def test_the_utterances_that_changed_most_are_shown() -> None:
    found = verdict(HOLDOUT, SUITE)
    assert len(found.changes.fixes) == 10
    assert {one.candidate_errors - one.base_errors for one in found.changes.fixes} == {-3}
    assert {one.set_name for one in found.changes.regressions} == {"names"}
    assert all(one.candidate_errors > one.base_errors for one in found.changes.regressions)


ONE, TWO = clip("s1/a"), clip("s2/b")


def test_each_clip_has_both_hypotheses_or_is_set_aside_by_name() -> None:
    aside = SetAside(utterance_id="s2/b", set_name="holdout", reason="changed")
    elsewhere = SetAside(utterance_id="x", set_name="names", reason="missing")
    found = judge_set("holdout", [ONE, TWO], [row(ONE, "a", "b")], [aside, elsewhere], BASIC)
    assert found.utterance_ids == ("s1/a",)
    assert found.set_aside == {"changed": 1}
    assert found.set_aside_share == 0.5


def test_a_missing_utterance_is_an_error_and_not_dropped() -> None:
    with pytest.raises(InvalidMessage, match="found 1 without hypotheses and not set aside: s2/b"):
        judge_set("holdout", [ONE, TWO], [row(ONE, "a", "b")], [], BASIC)


def test_an_utterance_that_nobody_asked_for_is_an_error() -> None:
    with pytest.raises(InvalidMessage, match="that are no clip of the set: s2/b"):
        judge_set("holdout", [ONE], [row(ONE, "a", "b"), row(TWO, "a", "b")], [], BASIC)


def test_an_utterance_that_comes_twice_is_an_error() -> None:
    with pytest.raises(InvalidMessage, match="more than once among the rows"):
        judge_set("holdout", [ONE], [row(ONE, "a", "b"), row(ONE, "a", "c")], [], BASIC)
    with pytest.raises(InvalidMessage, match="more than once among the clips"):
        judge_set("holdout", [ONE, ONE], [row(ONE, "a", "b")], [], BASIC)


def test_an_utterance_both_judged_and_set_aside_is_an_error() -> None:
    aside = SetAside(utterance_id="s1/a", set_name="holdout", reason="silence")
    with pytest.raises(InvalidMessage, match="both judged and set aside"):
        judge_set("holdout", [ONE], [row(ONE, "a", "b")], [aside], BASIC)


@pytest.mark.parametrize(("field", "value"), [("reference", "something easier"), ("cluster", "s9"), ("stratum", "traffic")])
def test_a_row_that_contradicts_the_dataset_is_an_error_that_quotes_no_speech(field: str, value: str) -> None:
    forged = row(ONE, "a", "b").model_copy(update={field: value})
    with pytest.raises(InvalidMessage, match=f"expected the {field} of the dataset") as refused:
        judge_set("holdout", [ONE], [forged], [], BASIC)
    assert "easier" not in str(refused.value)


def test_a_reference_written_otherwise_is_the_same_reference() -> None:
    same = row(ONE, "a", "b").model_copy(update={"reference": WORDS.upper() + "."})
    assert judge_set("holdout", [ONE], [same], [], BASIC).utterances == 1
