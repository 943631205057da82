"""What the sweeper counts of a canary and a newly promoted version, and what it decides."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from functions.sweeper.verdict import command_of, decide_watch, subjects
from shared.events import PromoteRequested, RollbackRequested
from shared.policy import CanaryPolicy
from shared.registry import Command, Production, decide_canary, decide_promote, decide_rollback
from shared.testing.clock import START
from shared.totals import Totals
from shared.watch import CODEC, MOST_INTERVALS, Four, Subject, Verdict, Watch, advance, begin, counts_of

POLICY = CanaryPolicy(percent=10, session_s=60, min_duration_s=1800, max_duration_s=7200, guard_s=7200)
CANARY = Subject(kind="canary", version=2, against=1, since=START, percent=10)
GUARD = Subject(kind="guard", version=2, against=1, since=START)


def after(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def waiting(subject: Subject, counts: dict[int, Four], at: float = 0) -> Watch:
    return begin(subject, counts, after(at))


def watched(intervals: Sequence[Four], subject: Subject = CANARY, base: tuple[int, int] = (0, 0)) -> Watch:
    """Return a watch that settled for a minute, and then saw these come in, a minute each."""
    verdict = Verdict(action="wait", reason="", at=START)
    ends = after(1 + len(intervals))
    return Watch(subject=subject, base=base, seen={}, began=after(1), looked=ends, intervals=tuple(intervals), filled=1, verdict=verdict)


def decide(watch: Watch, minutes: float, *, policy: CanaryPolicy = POLICY, champion: int | None = 1, auto_deploy: bool = True) -> Verdict:
    return decide_watch(watch, policy, after(minutes), champion=champion, auto_deploy=auto_deploy)


# counting


def test_what_a_ledgers_totals_say_about_a_watch() -> None:
    totals = Totals(errors_by_version={1: 5, 2: 3, 7: 9}, utterances_by_version={1: 50, 2: 30})
    assert counts_of(totals, CANARY) == (3, 30, 5, 50)
    assert counts_of(Totals(), CANARY) == (0, 0, 0, 0)


def test_what_stood_in_the_ledgers_before_is_not_counted() -> None:
    first = waiting(CANARY, {4: (0, 0, 50, 500)})
    assert (first.intervals, first.base) == ((), (0, 0))
    assert advance(first, {4: (1, 10, 60, 600)}, after(2), settle_s=60).intervals == ((1, 10, 10, 100),)


def test_what_comes_in_while_a_version_settles_is_not_counted() -> None:
    watch = advance(waiting(CANARY, {4: (0, 0, 50, 500)}), {4: (0, 10, 60, 600)}, after(1), settle_s=60)
    assert (watch.intervals, watch.began) == ((), after(1))
    assert advance(watch, {4: (2, 20, 61, 690)}, after(2), settle_s=60).intervals == ((2, 10, 1, 90),)


def test_a_new_ledger_and_a_collected_one_lose_nothing_and_count_nothing_twice() -> None:
    watch = advance(waiting(CANARY, {4: (1, 10, 9, 90), 5: (0, 0, 0, 0)}, at=1), {4: (2, 20, 9, 95), 5: (1, 5, 0, 0)}, after(2), settle_s=0)
    assert watch.intervals == ((2, 15, 0, 5),)
    watch = advance(watch, {4: (0, 0, 0, 0), 5: (1, 9, 1, 8)}, after(3), settle_s=0)
    assert watch.intervals[-1] == (0, 4, 1, 8)
    watch = advance(watch, {5: (1, 9, 1, 8), 6: (7, 70, 0, 0)}, after(4), settle_s=0)
    assert watch.intervals[-1] == (7, 70, 0, 0)


def test_a_count_that_was_too_high_for_a_moment_is_made_up_for() -> None:
    watch = waiting(CANARY, {4: (0, 10, 0, 0)}, at=1)
    for minute, seen in enumerate((30, 20, 40), start=2):
        watch = advance(watch, {4: (0, seen, 0, 0)}, after(minute), settle_s=0)
    assert [four[1] for four in watch.intervals] == [20, 0, 10]


def test_a_second_sweeper_at_the_same_time_adds_nothing() -> None:
    once = advance(waiting(CANARY, {4: (0, 0, 0, 0)}), {4: (1, 10, 2, 20)}, after(1), settle_s=0)
    assert advance(once, {4: (1, 10, 2, 20)}, after(1), settle_s=0) == once
    assert advance(once, {4: (1, 10, 2, 20)}, after(1.5), settle_s=0).intervals == ((1, 10, 2, 20), (0, 0, 0, 0))


def test_a_long_watch_stays_small_and_keeps_every_count() -> None:
    watch = waiting(CANARY, {4: (0, 0, 0, 0)})
    looks = 3 * MOST_INTERVALS + 1
    for look in range(1, looks + 1):
        watch = advance(watch, {4: (0, look, 0, 0)}, after(look), settle_s=0)
    assert len(watch.intervals) <= MOST_INTERVALS
    assert watch.width == 4
    assert {four[1] for four in watch.intervals[:-1]} == {4}
    assert sum(four[1] for four in watch.intervals) == looks
    assert watch.interval_s == pytest.approx(240, rel=0.01)
    assert CODEC.parse(CODEC.dump(watch)) == watch


def test_a_guard_remembers_what_the_version_before_showed() -> None:
    assert waiting(GUARD, {3: (0, 0, 5, 50), 4: (1, 2, 7, 70)}).base == (12, 120)


# which versions


def because(cause: str, minutes: float) -> Command:
    return Command(cause=cause, at=after(minutes), by="ana", reason="so")


def test_the_canary_and_a_promoted_version_are_watched_and_nothing_else() -> None:
    assert subjects(None, POLICY) == []
    assert subjects(Production(stable=0), POLICY) == [], "what moved it is not remembered any more"
    first = decide_promote(None, 0, because("a", 0), champion=None, override=True).state
    assert subjects(first, POLICY) == [], "the first model has none before it"
    second = decide_promote(first, 1, because("b", 1), champion=0).state
    guard = Subject(kind="guard", version=1, against=0, since=after(1))
    assert subjects(second, POLICY) == [guard]
    third = decide_canary(second, 2, 25, because("c", 2), champion=1).state
    assert subjects(third, POLICY) == [Subject(kind="canary", version=2, against=1, since=after(2), percent=25), guard]
    assert subjects(third, POLICY.model_copy(update={"guard_s": 0})) == subjects(third, POLICY)[:1]
    back = decide_rollback(decide_rollback(third, None, because("d", 3)).state, 1, because("e", 4)).state
    assert (back.stable if back else None) == 0
    assert subjects(back, POLICY) == [], "nobody guards a version that a rollback brought back"


def test_a_guard_goes_on_while_a_canary_comes_and_goes() -> None:
    promoted = decide_promote(Production(stable=0), 1, because("b", 1), champion=0).state
    begun = decide_canary(promoted, 2, 25, because("c", 2), champion=1).state
    production = decide_rollback(begun, 2, because("d", 3)).state
    assert subjects(production, POLICY) == [Subject(kind="guard", version=1, against=0, since=after(1))]


# the canary's verdict


def test_a_canary_that_is_surely_worse_is_rolled_back_before_any_promotion_could_be() -> None:
    verdict = decide(watched([(20, 50, 50, 500)] * 12), 13)
    assert verdict.action == "rollback"
    assert verdict.reason.startswith(
        "v2 240 errors in 600 utterances (40.00%), v1 600 errors in 6000 utterances (10.00%): surely worse, by at least +"
    )


def test_where_sessions_last_as_long_as_the_watch_a_rise_is_no_more_than_a_burst() -> None:
    # Twelve looks hold no ten sessions of ten looks each, so that the variance may be ten times as large (test_sequential):
    # V = 10 * 0.000415064, r = 0.02^2/V = 0.09637, z = 7.3334, and 0.3 - 7.3334 * 0.0644255 = -0.1725
    verdict = decide(watched([(20, 50, 50, 500)] * 12), 13, policy=POLICY.model_copy(update={"session_s": 600}))
    assert verdict.action == "wait"
    assert "(-17.25 points at least, " in verdict.reason


def test_a_canary_that_is_surely_no_worse_is_promoted_and_not_before_its_time() -> None:
    better = watched([(10, 1000, 100, 1000)] * 28)
    early = decide(better, 29)
    assert (early.action, early.reason[-19:]) == ("wait", "promoted after 1800 s"[-19:])
    verdict = decide(better, 30)
    assert (verdict.action, verdict.at) == ("promote", after(30))
    assert verdict.reason.endswith("surely less than 20% worse")


def test_an_equal_canary_that_saw_little_is_waited_for_with_both_limits() -> None:
    verdict = decide(watched([(3, 50, 60, 500), (7, 50, 40, 500)] * 20), 41)
    assert verdict.action == "wait"
    # Worse at all: the residuals of new and old are 2/2000 and 10/20000, of opposite signs: 40/39 * 40 * 0.0015^2 * (1 + sqrt(2/39)) = 0.000113211,
    # where independent utterances have 0.09/2000 + 0.09/20000 = 0.0000495: the effect is 2.2871. Smoothed rates 200.5/2001 and 2000.5/20001 give
    # V = 2.2871 * 0.0000495807 = 0.000113396, r = 0.02^2/V = 3.5275, z = 2.8047, and 0 - 2.8047 * 0.0106488 = -0.0299.
    # Beyond the margin, with ratio 1.2: 40/39 * 40 * 0.0016^2 * 1.226455 / (0.000045 + 1.44 * 0.0000045) = 2.5021, V = 2.5021 * 0.0000592903,
    # r = 2.6963, z = 2.8506, and 0.1 - 0.12 + 2.8506 * 0.0121800 = 0.0147
    assert verdict.reason == (
        "v2 200 errors in 2000 utterances (10.00%), v1 2000 errors in 20000 utterances (10.00%): "
        "neither surely worse nor surely less than 20% worse (-2.99 points at least, +1.47 points beyond the margin at most)"
    )


def test_ten_looks_and_exactly_the_fewest_utterances_may_decide() -> None:
    assert decide(watched([(18, 20, 50, 500)] * 10), 11).action == "rollback"


def test_beside_a_version_without_errors_one_in_fifty_thousand_is_worse() -> None:
    assert decide(watched([(2, 100_000, 0, 1_000_000)] * 10), 11).action == "rollback"


@pytest.mark.parametrize(("intervals", "wanted"), [([(30, 40, 4, 400)] * 4, 200), ([(100, 500, 4, 500)] * 9, 200)])
def test_few_utterances_or_few_looks_decide_nothing(intervals: list[Four], wanted: int) -> None:
    verdict = decide(watched(intervals), 30)
    assert verdict.action == "wait"
    assert verdict.reason.endswith(f"at least {wanted} utterances of each and 10 looks wanted")


@pytest.mark.parametrize("default", ["promote", "rollback"])
def test_a_deadline_without_a_verdict_takes_the_stated_default(default: str) -> None:
    policy = POLICY.model_copy(update={"on_deadline": default})
    undecided = watched([(5, 50, 50, 500)] * 40)
    assert decide(undecided, 119.9, policy=policy).action == "wait"
    verdict = decide(undecided, 120, policy=policy)
    assert verdict.action == default
    assert verdict.reason.startswith(
        f"no verdict within 2 h, the stated default is to {'promote it' if default == 'promote' else 'roll it back'}; v2"
    )


@pytest.mark.parametrize("default", ["promote", "rollback"])
def test_a_canary_that_serves_nobody_while_its_share_is_due_takes_the_default_of_silence(default: str) -> None:
    policy = POLICY.model_copy(update={"on_silence": default})
    # 10% of the sessions beside 1800 utterances of the others' 90% are 200
    assert decide(watched([(0, 0, 10, 180)] * 9), 20, policy=policy).action == "wait"
    verdict = decide(watched([(0, 0, 10, 180)] * 10), 20, policy=policy)
    assert verdict.action == default
    assert verdict.reason == (
        "v2 0 errors in 0 utterances, v1 100 errors in 1800 utterances (5.56%): nothing was served by the canary, "
        f"the stated default is to {'promote it' if default == 'promote' else 'roll it back'}"
    )


def test_no_traffic_at_all_is_waited_for_until_the_deadline_and_not_longer() -> None:
    policy = POLICY.model_copy(update={"on_silence": "rollback", "on_deadline": "promote"})
    nobody = watched([(0, 0, 0, 0)] * 100)
    assert decide(nobody, 119, policy=policy).action == "wait"
    assert decide(nobody, 120, policy=policy).action == "rollback"


def test_the_default_of_silence_is_for_fewer_utterances_than_the_fewest() -> None:
    policy = POLICY.model_copy(update={"on_silence": "rollback", "on_deadline": "promote"})
    few, just_enough = watched([(0, 0, 5, 50)] * 8 + [(20, 199, 5, 50)]), watched([(0, 0, 5, 50)] * 8 + [(20, 200, 5, 50)])
    assert [decide(watch, 120, policy=policy).action for watch in (few, just_enough)] == ["rollback", "promote"]


def test_a_shadow_serves_nobody_and_ends_by_the_deadline() -> None:
    shadow = watched([(0, 0, 10, 500)] * 100, CANARY.model_copy(update={"percent": 0}))
    assert decide(shadow, 119).reason == "v2 is in shadow and serves nobody: a person decides"
    assert decide(shadow, 120).action == "rollback"
    policy = POLICY.model_copy(update={"on_silence": "promote"})
    assert decide(shadow, 120, policy=policy).reason == "v2 was in shadow for 2 h, the stated default is to promote it"


def test_a_canary_whose_champion_changed_comes_to_nothing() -> None:
    verdict = decide(watched([(1, 100, 100, 1000)] * 40), 60, champion=0)
    assert (verdict.action, verdict.reason) == ("rollback", "v2 was validated against v0, but v1 is stable now")


def test_a_promotion_that_waits_for_a_person_can_still_become_a_rollback_and_nothing_else() -> None:
    promised = watched([(10, 1000, 100, 1000)] * 28)
    promised = promised.model_copy(update={"verdict": decide(promised, 30, auto_deploy=False)})
    assert command_of(promised, auto_deploy=False) is None
    assert decide(promised, 10_000, auto_deploy=False) == promised.verdict, "no deadline takes it back"
    worse = promised.model_copy(update={"intervals": ((40, 100, 100, 1000),) * 40})
    assert decide(worse, 50, auto_deploy=False).action == "rollback"


def test_a_promotion_that_the_deployer_refuses_does_not_stay_for_ever() -> None:
    promised = watched([(10, 1000, 100, 1000)] * 28)
    promised = promised.model_copy(update={"verdict": decide(promised, 30)})
    assert decide(promised, 89) == promised.verdict
    assert decide(promised, 90).reason.startswith("the deployer has not promoted it within 1 h")


def test_a_rollback_is_final() -> None:
    gone = watched([(20, 50, 50, 500)] * 12)
    gone = gone.model_copy(update={"verdict": decide(gone, 13)})
    assert decide(gone.model_copy(update={"intervals": ()}), 500) == gone.verdict


# the guard's verdict


def test_a_promoted_version_that_is_much_worse_than_the_one_before_is_rolled_back() -> None:
    # What is still told of the version before does not count. Residuals 10/2000: 20/19 * 20 * 0.005^2 * (1 + sqrt(2/19)) = 0.00069707, where independent
    # utterances have 0.21/2000 = 0.000105: the effect is 6.6388. Smoothed, 600.5/2001: V = 6.6388 * 0.00010502 = 0.00069721, r = 0.05^2/V = 3.5857,
    # z = 3.1013 at half of 0.05, and 0.3 - 3.1013 * 0.0264047 = 0.2181. Before, 1000.5/10001: 0.10004 + 1.96 * sqrt(6.6388 * 0.090032/10000) = 0.11519,
    # and half as many again are 0.1728
    verdict = decide(watched([(20, 100, 0, 1), (40, 100, 1, 1)] * 10, GUARD, base=(1000, 10_000)), 22)
    assert verdict.action == "rollback"
    assert verdict.reason == (
        "v2 600 errors in 2000 utterances (30.00%), v1 before 1000 errors in 10000 utterances (10.00%): "
        "surely above 21.81%, and 50% more than before is at most 17.28%"
    )


def test_worse_by_less_than_the_margin_is_what_another_hour_may_do() -> None:
    verdict = decide(watched([(14, 100, 0, 0)] * 100, GUARD, base=(1000, 10_000)), 102)
    assert verdict.action == "wait"
    assert verdict.reason.endswith("v1 before 1000 errors in 10000 utterances (10.00%): not surely worse than before")


def test_a_guard_with_little_to_compare_says_what_it_waits_for() -> None:
    verdict = decide(watched([(90, 100, 0, 0)] * 9, GUARD, base=(1000, 10_000)), 22)
    assert verdict.action == "wait"
    assert verdict.reason.endswith("(10.00%): at least 200 utterances of each and 10 looks wanted")


def test_after_a_version_without_errors_one_in_fifty_thousand_is_worse() -> None:
    assert decide(watched([(2, 100_000, 0, 0)] * 10, GUARD, base=(0, 1_000_000)), 12).action == "rollback"


def test_where_sessions_last_as_long_as_the_guard_a_rise_is_no_more_than_a_burst() -> None:
    policy = POLICY.model_copy(update={"session_s": 1200})
    watch = watched([(30, 100, 0, 0)] * 12, GUARD, base=(1000, 10_000))
    assert [decide(watch, 14, policy=each).action for each in (POLICY, policy)] == ["rollback", "wait"]


def test_a_guard_ends_with_its_window_and_says_what_it_saw() -> None:
    good = watched([(9, 100, 0, 0)] * 100, GUARD, base=(1000, 10_000))
    assert decide(good, 119.9).action == "wait"
    verdict = decide(good, 120)
    assert (verdict.action, verdict.reason[-28:]) == ("keep", ": not surely worse than before"[-28:])
    silent = decide(watched([(0, 0, 0, 0)] * 100, GUARD, base=(1000, 10_000)), 120)
    assert silent.action == "keep"
    assert silent.reason.endswith("too little to compare, the stated default is to keep it")


def test_a_version_whose_every_utterance_is_reported_twice_is_rolled_back() -> None:
    assert decide(watched([(100, 50, 50, 500)] * 12), 13).action == "rollback"
    assert decide(watched([(100, 50, 0, 0)] * 12, GUARD, base=(1000, 10_000)), 13).action == "rollback"


# the command


def test_a_verdict_is_sent_as_the_very_same_command_each_time() -> None:
    watch = watched([(20, 50, 50, 500)] * 12)
    watch = watch.model_copy(update={"verdict": decide(watch, 13)})
    command = command_of(watch, auto_deploy=False)
    assert isinstance(command, RollbackRequested)
    assert (command.version, command.by, command.occurred_at, command.reason) == (2, "sweeper", after(13), watch.verdict.reason)
    assert command_of(CODEC.parse(CODEC.dump(watch)), auto_deploy=True) == command
    promote = watch.model_copy(update={"verdict": watch.verdict.model_copy(update={"action": "promote"})})
    sent = command_of(promote, auto_deploy=True)
    assert isinstance(sent, PromoteRequested)
    assert not sent.override
    again = promote.model_copy(update={"subject": CANARY.model_copy(update={"since": after(5)})})
    other = promote.model_copy(update={"subject": CANARY.model_copy(update={"version": 3})})
    ids = {command.event_id, sent.event_id, *(getattr(command_of(each, auto_deploy=True), "event_id", "") for each in (again, other))}
    assert len(ids) == 4


def test_a_policy_whose_deadline_leaves_no_time_is_refused() -> None:
    with pytest.raises(ValueError, match=r"max_duration_s: expected at least min_duration_s \+ session_s = 4200, found 3600"):
        CanaryPolicy(max_duration_s=3600)
