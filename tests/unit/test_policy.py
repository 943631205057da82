"""When a cycle starts: every threshold, every brake, and what force skips."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.budget import AttemptCost, BudgetPolicy
from shared.cycle import ENDED, CycleState, Status
from shared.policy import CanaryPolicy, Evidence, Policy, TriggerDecision, decide_trigger
from shared.sizing import Measured
from shared.testing.builders import cycle_state
from shared.testing.clock import START as NOW
from shared.totals import Totals
from shared.wer_power import Holdout

POLICY = Policy(min_error_cases=10, min_corrected_cases=5, cooldown_s=3600, min_trainable_clips=4, min_speakers=2, min_audio=3)
BY_RATE = POLICY.model_copy(update={"trigger_on_error_rate": True, "error_rate_threshold": 0.15})
BY_AGE = POLICY.model_copy(update={"max_age_s": 3600.0})
ENOUGH = Totals(errors=10)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def decide(
    totals: Totals, policy: Policy = POLICY, history: Sequence[CycleState] = (), *, forced: bool = False, **fields: Any
) -> TriggerDecision:
    evidence = Evidence(totals=totals, **{"stable": 0, **fields})
    return decide_trigger(evidence, policy, history, NOW, forced=forced)


def test_nothing_collected_starts_nothing_and_says_so() -> None:
    decision = decide(Totals())
    assert (decision.should_trigger, decision.crossed, decision.held) == (False, (), ("no threshold is reached",))
    assert decide_trigger(Evidence(totals=Totals(), stable=0), POLICY, (), NOW) == decision  # nobody forces by saying nothing


@pytest.mark.parametrize(
    ("one_short", "reached", "reason"),
    [
        (Totals(errors=9), Totals(errors=10), "10 errors, at least 10 wanted"),
        (Totals(corrected=4), Totals(corrected=5), "5 corrected errors, at least 5 wanted"),
    ],
)
def test_a_number_crosses_when_it_is_reached_and_not_one_before(one_short: Totals, reached: Totals, reason: str) -> None:
    assert not decide(one_short).should_trigger
    decision = decide(reached)
    assert decision.should_trigger
    assert (decision.crossed, decision.held) == ((reason,), ())


def by_version(errors: dict[int, int], utterances: dict[int, int]) -> Totals:
    return Totals(errors_by_version=errors, utterances_by_version=utterances)


def test_an_error_rate_crosses_only_when_its_lower_bound_does() -> None:
    # z = 1.644854, z^2 = 2.705543, n = 100, denominator 1.0270554
    # 20 errors: centre 0.2135277, spread 1.644854 * sqrt(0.0016   + 0.0000676386) = 0.0671704; bound 0.142502: 20% proves no 15%
    # 21 errors: centre 0.2235277, spread 1.644854 * sqrt(0.001659 + 0.0000676386) = 0.0683483; bound 0.151092
    below = decide(by_version({0: 20}, {0: 100}), BY_RATE)
    assert below.crossed == ()
    assert below.metrics["error_rate_lower_bound"] == pytest.approx(0.142502, abs=2e-6)
    above = decide(by_version({0: 21}, {0: 100}), BY_RATE)
    assert above.crossed == ("error rate surely above 15.0% (lower 95% bound 15.1%)",)
    assert above.metrics["error_rate"] == 0.21


def test_an_error_rate_crosses_only_where_the_operator_wants_it() -> None:
    assert decide(by_version({0: 90}, {0: 100})).crossed == ()


def test_a_bound_at_the_threshold_is_not_above_it() -> None:
    assert decide(by_version({0: 0}, {0: 100}), BY_RATE.model_copy(update={"error_rate_threshold": 0.0})).crossed == ()


def test_a_stable_model_without_a_reported_error_has_a_rate_of_zero_and_one_utterance_is_traffic() -> None:
    assert decide(by_version({1: 5}, {0: 100})).metrics["error_rate"] == 0.0
    assert decide(by_version({0: 1}, {0: 1})).metrics["error_rate"] == 1.0


def test_the_error_rate_is_that_of_the_stable_model_alone() -> None:
    totals = by_version({0: 90, 1: 1}, {0: 100, 1: 100})
    assert decide(totals, BY_RATE, stable=1).metrics["error_rate"] == 0.01
    assert decide(totals, BY_RATE, stable=1).crossed == ()
    assert decide(totals, BY_RATE, stable=0).crossed != ()


def test_more_errors_than_counted_utterances_are_a_rate_of_one() -> None:
    # the traffic report is late: 12 errors of 10 utterances; bound of 10 in 10: 1 / (1 + 2.705543 / 10) = 0.787058
    decision = decide(by_version({0: 12}, {0: 10}), BY_RATE)
    assert decision.metrics["error_rate"] == 1.0
    assert decision.metrics["error_rate_lower_bound"] == pytest.approx(0.787058, abs=1e-6)
    assert decision.should_trigger


@pytest.mark.parametrize("stable", [0, None])
def test_without_counted_traffic_of_a_stable_model_there_is_no_rate(stable: int | None) -> None:
    decision = decide(by_version({0: 9}, {1: 100}), BY_RATE, stable=stable)
    assert decision.metrics["error_rate"] is None
    assert decision.metrics["error_rate_lower_bound"] is None
    assert decision.crossed == ()


def test_the_oldest_error_crosses_when_it_has_waited_long_enough() -> None:
    assert decide(Totals(oldest=NOW - HOUR), BY_AGE).crossed == ("oldest error has waited 1.0 h, at most 1.0 h wanted",)
    assert decide(Totals(oldest=NOW - HOUR + SECOND), BY_AGE).crossed == ()
    weeks = POLICY.model_copy(update={"max_age_s": 3_600_000.0})
    assert decide(Totals(oldest=NOW - 1000 * HOUR), weeks).crossed == ("oldest error has waited 1000.0 h, at most 1000.0 h wanted",)
    assert decide(Totals(), BY_AGE).crossed == ()
    assert decide(Totals(oldest=NOW - 1000 * HOUR), POLICY).crossed == ()


def test_every_threshold_that_is_reached_is_named() -> None:
    policy = BY_RATE.model_copy(update={"max_age_s": 7200.0})
    totals = by_version({0: 30}, {0: 100}).model_copy(update={"errors": 30, "corrected": 8, "oldest": NOW - 3 * HOUR})
    # 30 of 100: centre 0.3135277, spread 1.644854 * sqrt(0.0021 + 0.0000676386) = 0.0765810; bound 0.230705
    assert decide(totals, policy).crossed == (
        "30 errors, at least 10 wanted",
        "8 corrected errors, at least 5 wanted",
        "error rate surely above 15.0% (lower 95% bound 23.1%)",
        "oldest error has waited 3.0 h, at most 2.0 h wanted",
    )


def test_without_a_stable_model_nothing_starts_and_the_command_is_named() -> None:
    decision = decide(ENOUGH, stable=None)
    assert not decision.should_trigger
    assert decision.held == ("no model is stable yet: run `retune models import DIR|HUB_ID --promote`",)


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("status", sorted(set(Status) - ENDED))
def test_one_cycle_at_a_time_forced_or_not(status: Status, forced: bool) -> None:
    decision = decide(ENOUGH, history=[cycle_state(status, cycle=7)], forced=forced)
    assert not decision.should_trigger
    assert decision.held == (f"cycle 7 is {status}: one cycle at a time",)


@pytest.mark.parametrize("status", sorted(ENDED - {Status.CANCELLED}))
def test_after_a_cycle_has_ended_there_is_a_rest_and_its_end_is_told(status: Status) -> None:
    decision = decide(ENOUGH, history=[cycle_state(status, at=NOW - HOUR + SECOND)])
    assert decision.held == ("cooldown until 2026-01-05T09:00:01+00:00",)
    assert decision.not_before == NOW + SECOND
    rested = decide(ENOUGH, history=[cycle_state(status, at=NOW - HOUR)])
    assert rested.should_trigger
    assert rested.not_before is None


def test_the_rest_is_counted_from_the_cycle_that_ended_last() -> None:
    history = [cycle_state(Status.REJECTED, cycle=2, at=NOW - HOUR / 2), cycle_state(Status.DEPLOYED, cycle=1, at=NOW - 3 * HOUR)]
    assert decide(ENOUGH, history=history).not_before == NOW + HOUR / 2
    assert decide(ENOUGH, history=history[::-1]).not_before == NOW + HOUR / 2


def test_a_cancelled_cycle_and_an_imported_model_need_no_rest() -> None:
    cancelled = cycle_state(Status.CANCELLED, cycle=2)
    imported = cycle_state(Status.INCONCLUSIVE, cycle=1, opened=Status.INCONCLUSIVE)
    withdrawn_import = cycle_state(Status.ROLLED_BACK, cycle=3, opened=Status.INCONCLUSIVE)
    assert decide(ENOUGH, history=[cancelled, imported, withdrawn_import]).should_trigger


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"trainable": 0}, "no clip can be trained on: not one error has a person's reference and readable audio"),
        ({"trainable": 3}, "3 trainable clips, at least 4 wanted"),
        ({"speakers": 1}, "1 speakers, at least 2 wanted"),
        ({"audio": 2}, "2 different recordings, at least 3 wanted"),
    ],
)
def test_too_little_to_learn_from_holds(fields: dict[str, Any], reason: str) -> None:
    decision = decide(ENOUGH, **fields)
    assert not decision.should_trigger
    assert decision.held == (reason,)


def test_what_was_not_counted_holds_nothing_and_exactly_enough_is_enough() -> None:
    assert decide(ENOUGH, trainable=None, speakers=None, audio=None).should_trigger
    assert decide(ENOUGH, trainable=4, speakers=2, audio=3).should_trigger


def test_every_brake_that_holds_is_named() -> None:
    history = [cycle_state(Status.TRAINING, cycle=2), cycle_state(Status.FAILED, cycle=1)]
    decision = decide(Totals(), history=history, stable=None, trainable=1, speakers=0)
    assert [reason.split()[0:3] for reason in decision.held] == [
        ["no", "model", "is"],
        ["cycle", "2", "is"],
        ["cooldown", "until", "2026-01-05T10:00:00+00:00"],
        ["1", "trainable", "clips,"],
        ["0", "speakers,", "at"],
        ["no", "threshold", "is"],
    ]


def test_force_skips_thresholds_cooldown_and_the_minimum_of_clips_recordings_and_speakers() -> None:
    decision = decide(Totals(), history=[cycle_state(Status.REJECTED)], trainable=1, speakers=1, audio=1, forced=True)
    assert decision.should_trigger
    assert (decision.crossed, decision.held, decision.not_before) == (("forced by a person",), (), None)


def test_force_skips_neither_the_stable_model_nor_something_to_train_on() -> None:
    decision = decide(ENOUGH, stable=None, trainable=0, forced=True)
    assert not decision.should_trigger
    assert [reason.split(":")[0] for reason in decision.held] == ["no model is stable yet", "no clip can be trained on"]


# canary


def test_a_canary_lasts_at_least_its_shortest_time_and_a_session() -> None:
    assert CanaryPolicy(min_duration_s=3000, session_s=600, max_duration_s=3600).max_duration_s == 3600
    with pytest.raises(ValidationError, match=r"max_duration_s: expected at least min_duration_s \+ session_s = 3600, found 3599\.5"):
        CanaryPolicy(min_duration_s=3000, session_s=600, max_duration_s=3599.5)


# budget


def spent(hours: float, *, days_ago: float, cycle: int = 1) -> AttemptCost:
    return AttemptCost(cycle=cycle, ended_at=NOW - timedelta(days=days_ago), gpu_s=3600 * hours)


TEN_HOURS = POLICY.model_copy(update={"budget": BudgetPolicy(max_gpu_hours=10)})


@pytest.mark.parametrize("forced", [False, True])
def test_a_cycle_that_would_exceed_the_budget_is_held_forced_or_not_until_the_window_frees(forced: bool) -> None:
    # 6 + 3 spent, the median of both is 4.5: 13.5 of 10; in 20 days the first is out of the window: 3 + 4.5
    costs = (spent(6, days_ago=10), spent(3, days_ago=5, cycle=2))
    decision = decide(ENOUGH, TEN_HOURS, costs=costs, forced=forced)
    assert not decision.should_trigger
    assert [reason.split(";")[0] for reason in decision.held] == [
        "budget of 10.00 GPU-hours in 30 days: 9.00 spent, a cycle takes about 4.50"
    ]
    assert decision.not_before == NOW + timedelta(days=20)
    assert (decision.metrics["gpu_hours_spent"], decision.metrics["gpu_hours_expected"]) == (9.0, 4.5)


def test_within_the_budget_and_without_one_nothing_is_held() -> None:
    assert decide(ENOUGH, TEN_HOURS, costs=(spent(5, days_ago=10),)).should_trigger
    assert decide(ENOUGH, TEN_HOURS, costs=None).should_trigger
    assert decide(ENOUGH, POLICY, costs=(spent(500, days_ago=10),)).should_trigger


def test_where_two_brakes_open_with_time_the_later_one_counts() -> None:
    rests = [cycle_state(Status.REJECTED, at=NOW - HOUR / 2)]
    decision = decide(ENOUGH, TEN_HOURS, rests, costs=(spent(6, days_ago=10),))
    assert len(decision.held) == 2
    assert decision.not_before == NOW + timedelta(days=20)


def test_a_brake_that_no_waiting_opens_leaves_the_other_ones_time() -> None:
    # a cycle takes 11 of 10 hours, whenever it starts
    rests = [cycle_state(Status.REJECTED, at=NOW - HOUR / 2)]
    decision = decide(ENOUGH, TEN_HOURS, rests, costs=(spent(11, days_ago=40),))
    assert len(decision.held) == 2
    assert decision.not_before == NOW + HOUR / 2


def test_money_is_told_where_a_price_is_known() -> None:
    # of 6 + 3 hours in the window and 5 before it, at 2 USD: 18 spent, the median of three cycles is 10
    costs = (spent(6, days_ago=10), spent(3, days_ago=5, cycle=2), spent(5, days_ago=40, cycle=3))
    priced = POLICY.model_copy(update={"budget": BudgetPolicy(usd_per_gpu_hour=2)})

    def usd(policy: Policy, costs: tuple[AttemptCost, ...] | None) -> tuple[float | None, float | None]:
        metrics = decide(ENOUGH, policy, costs=costs).metrics
        return metrics["usd_spent"], metrics["usd_expected"]

    assert usd(priced, costs) == (18.0, 10.0)
    assert usd(priced, ()) == (0.0, None)
    assert usd(priced, None) == (None, None)
    assert usd(POLICY, costs) == (None, None)


# power

SMALL = Holdout(100, 100)
SEEN = Measured(sd_d=0.1, utterances=400, clusters=400, wer=0.04)
"""With it, a holdout of 100 shows 64% of the WER, c * 0.1 / sqrt(100) / 0.04 with quantiles 1.6604 and 0.8452 at 99 degrees of freedom and
one more usual speaker: c = (0.6745 + 1.6604 sqrt(100 + 0.4550) + 8.452) / 10 = 2.5768."""


def test_a_holdout_too_small_for_the_gain_holds_once_two_cycles_have_been_measured() -> None:
    decision = decide(ENOUGH, holdout=SMALL, measured=(SEEN, SEEN))
    assert not decision.should_trigger
    assert len(decision.held) == 1
    assert "shows a fall of the WER by 64%" in decision.held[0]
    assert "to show 25% it takes" in decision.held[0]
    assert decision.notes == ()
    assert decision.metrics["detectable_gain"] == pytest.approx(0.644, abs=1e-3)
    assert decision.metrics["further_holdout_utterances"] == pytest.approx(534, abs=1)


@pytest.mark.parametrize("measured", [(), (SEEN,)])
def test_before_that_it_is_advice_and_the_threshold_fires(measured: tuple[Measured, ...]) -> None:
    decision = decide(ENOUGH, holdout=Holdout(10, 10), measured=measured)
    assert decision.should_trigger
    assert len(decision.notes) == 1
    assert decision.notes[0].startswith("advice until 2 cycles have been measured: a holdout of 10 utterances of 10 speakers or calls")


def test_the_size_of_the_holdout_is_told_and_on_how_many_cycles_the_judgement_of_it_rests() -> None:
    metrics = decide(ENOUGH, holdout=Holdout(10, 7), measured=(SEEN, SEEN)).metrics
    assert (metrics["holdout_utterances"], metrics["holdout_speakers"], metrics["cycles_measured"]) == (10, 7, 2)


def test_force_skips_the_power_and_says_so() -> None:
    decision = decide(ENOUGH, holdout=SMALL, measured=(SEEN, SEEN), forced=True)
    assert decision.should_trigger
    assert len(decision.notes) == 1
    assert decision.notes[0].startswith("skipped by force: a holdout of 100 utterances")


def test_a_large_enough_holdout_or_a_smaller_wish_is_not_spoken_of() -> None:
    assert decide(ENOUGH, holdout=Holdout(700, 700), measured=(SEEN, SEEN)).notes == ()
    bold = POLICY.model_copy(update={"min_detectable_gain": 0.7})
    decision = decide(ENOUGH, bold, holdout=SMALL, measured=(SEEN, SEEN))
    assert (decision.should_trigger, decision.notes) == (True, ())


def test_a_forced_decision_still_names_the_thresholds_that_were_reached() -> None:
    assert decide(ENOUGH, forced=True).crossed == ("forced by a person", "10 errors, at least 10 wanted")


def test_the_metrics_are_told_with_their_limits() -> None:
    totals = Totals(errors=3, corrected=2, samples=7, errors_by_version={0: 3}, utterances_by_version={0: 12})
    metrics = decide(totals, trainable=2, speakers=1).metrics
    # 3 in 12: centre 0.25 + 0.1127310 = 0.3627310; spread 1.644854 * sqrt(0.015625 + 0.0046971) = 0.2344837; / 1.2254619 = 0.104653
    assert metrics.pop("error_rate_lower_bound") == pytest.approx(0.104653, abs=2e-6)
    assert metrics == {
        "errors": 3,
        "min_error_cases": 10,
        "corrected": 2,
        "min_corrected_cases": 5,
        "samples": 7,
        "utterances": 12,
        "error_rate": 0.25,
        "error_rate_threshold": 0.15,
        "trainable": 2,
        "speakers": 1,
        "different_recordings": None,
        "gpu_hours_spent": None,
        "gpu_hours_expected": None,
        "usd_spent": None,
        "usd_expected": None,
        "holdout_utterances": None,
        "holdout_speakers": None,
        "cycles_measured": None,
        "detectable_gain": None,
        "min_detectable_gain": 0.25,
        "further_holdout_utterances": None,
    }


@settings(deadline=None)
@given(
    errors=st.integers(0, 20),
    stable=st.sampled_from([None, 0]),
    trainable=st.sampled_from([None, 0, 1, 9]),
    speakers=st.sampled_from([None, 0, 5]),
    statuses=st.lists(st.sampled_from(sorted(Status)), max_size=3),
)
def test_a_decision_starts_a_cycle_exactly_when_something_crossed_and_nothing_held_and_force_only_adds(
    errors: int, stable: int | None, trainable: int | None, speakers: int | None, statuses: list[Status]
) -> None:
    history = [cycle_state(status, cycle=number) for number, status in enumerate(statuses, 1)]
    totals = Totals(errors=errors)
    plain = decide(totals, history=history, stable=stable, trainable=trainable, speakers=speakers)
    forced = decide(totals, history=history, stable=stable, trainable=trainable, speakers=speakers, forced=True)
    for decision in (plain, forced):
        assert decision.should_trigger == (bool(decision.crossed) and not decision.held)
    assert forced.should_trigger or not plain.should_trigger
    assert set(forced.held) <= set(plain.held)
    if stable is None or trainable == 0 or any(not state.ended for state in history):
        assert not forced.should_trigger
