"""Moves of the production alias: what each changes, when it is refused, and what holds after any of them."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.cas import Decision
from shared.cycle import Status
from shared.errors import CorruptObject
from shared.events import MAX_REASON_CHARS, CanaryEnded, CanaryStarted, ModelDeployed, ModelRolledBack
from shared.registry import (
    CODEC,
    KEEP_PREVIOUS,
    Canary,
    Command,
    Move,
    Production,
    Stale,
    decide_canary,
    decide_promote,
    decide_rollback,
    events_of,
    staleness,
    state_of,
)
from shared.retention import decide_pin, decide_withdraw
from shared.testing.clock import START

LATER = START + timedelta(hours=1)
DAY = timedelta(days=1)


def because(cause: str = "cause", at: datetime = LATER) -> Command:
    return Command(cause=cause, at=at, by="ana (claimed)", reason="as asked")


def canary(version: int, percent: int = 10) -> Canary:
    return Canary(version=version, percent=percent, since=START)


def old_move(seq: int, at: datetime) -> Move:
    return Move(seq=seq, cause=f"old {seq}", kind="promote", version=1, stable_before=0, stable_after=1, at=at, by="x", reason="y")


def because_of_evidence(cause: str = "cause") -> Command:
    return because(cause).model_copy(update={"report_sha256": "a" * 64, "manifest_sha256": "b" * 64})


def made(decision: Decision[Production]) -> Production:
    assert decision.state is not None, decision.reason
    return decision.state


SERVING = Production(seq=4, stable=2, previous=(1, 0), withdrawn=(3,))


# promote


def test_the_first_model_becomes_stable() -> None:
    decision = decide_promote(None, 0, because(), champion=None, override=True)
    state = made(decision)
    assert (state.seq, state.stable, state.previous, state.withdrawn, state.canary) == (1, 0, (), (), None)
    move = Move(
        seq=1,
        cause="cause",
        kind="promote",
        version=0,
        stable_before=None,
        stable_after=0,
        at=LATER,
        by="ana (claimed)",
        reason="as asked",
        override=True,
    )
    assert state.moves == (move,)
    assert state.last == move
    assert decision.reason == "as asked"


def test_a_promotion_puts_the_version_before_it_first_in_line_for_a_rollback() -> None:
    decision = decide_promote(SERVING, 5, because(), champion=2)
    state = made(decision)
    assert (state.seq, state.stable, state.previous, state.withdrawn) == (5, 5, (2, 1, 0), (3,))
    (event,) = decision.events
    assert isinstance(event, ModelDeployed)
    assert (event.seq, event.version, event.stable, event.occurred_at, event.reason) == (5, 5, 5, LATER, "as asked")


def test_a_version_that_comes_back_stands_in_line_once() -> None:
    assert made(decide_promote(SERVING, 1, because(), champion=2)).previous == (2, 0)


def test_the_line_for_a_rollback_keeps_the_newest_twenty() -> None:
    long = Production(stable=50, previous=tuple(range(49, 29, -1)))
    state = made(decide_promote(long, 51, because(), champion=50))
    assert state.previous == tuple(range(50, 30, -1))
    assert len(state.previous) == KEEP_PREVIOUS == 20


def test_a_canary_that_is_promoted_is_no_canary_any_more_and_another_goes_on() -> None:
    assert made(decide_promote(SERVING.model_copy(update={"canary": canary(5)}), 5, because(), champion=2)).canary is None
    assert made(decide_promote(SERVING.model_copy(update={"canary": canary(6)}), 5, because(), champion=2)).canary == canary(6)


@pytest.mark.parametrize(
    ("version", "champion", "refused"),
    [
        (2, 2, Decision(None, reason="v2 is stable already")),
        (3, 2, Stale(None, reason="v3 is withdrawn: promote it with an override and a reason")),
        (5, 1, Stale(None, reason="validated against v1, but v2 is stable now")),
        (5, None, Stale(None, reason="validated against no version, but v2 is stable now")),
    ],
)
def test_a_promotion_is_refused_with_the_reason(version: int, champion: int | None, refused: Decision[Production]) -> None:
    assert decide_promote(SERVING, version, because(), champion=champion) == refused


def test_an_override_brings_a_withdrawn_version_back_whatever_the_champion() -> None:
    state = made(decide_promote(SERVING, 3, because(), champion=None, override=True))
    assert (state.stable, state.previous, state.withdrawn) == (3, (2, 1, 0), ())
    assert state.moves[-1].override
    assert not made(decide_promote(SERVING, 5, because(), champion=2)).moves[-1].override


def test_evidence_is_stale_when_the_version_was_withdrawn_or_the_champion_changed() -> None:
    assert staleness(SERVING, 5, 2) is None
    assert staleness(None, 0, None) is None
    assert staleness(SERVING, 2, 1) is None, "the version serves already: there is nothing to mark"
    assert staleness(SERVING, 3, 2) == "v3 is withdrawn: promote it with an override and a reason"
    assert staleness(None, 5, 2) == "validated against v2, but no version is stable now"


def test_a_move_keeps_the_digests_of_what_carried_it() -> None:
    promoted = made(decide_promote(SERVING, 5, because_of_evidence(), champion=2)).moves[-1]
    started = made(decide_canary(SERVING, 5, 10, because_of_evidence(), champion=2)).moves[-1]
    assert [(move.report_sha256, move.manifest_sha256) for move in (promoted, started)] == [("a" * 64, "b" * 64)] * 2
    forced = made(decide_promote(SERVING, 5, because(), champion=None, override=True)).moves[-1]
    assert (forced.report_sha256, forced.manifest_sha256) == (None, None)


def test_an_alias_of_an_earlier_release_reads_as_one_without_pins_and_digests() -> None:
    stored = json.loads(CODEC.dump(made(decide_promote(SERVING, 5, because(), champion=2))))
    for name in ("pinned", "collected"):
        del stored[name]
    for name in ("report_sha256", "manifest_sha256"):
        del stored["moves"][0][name]
    assert CODEC.parse(json.dumps(stored).encode()) == made(decide_promote(SERVING, 5, because(), champion=2))


# canary


def test_a_canary_serves_beside_the_stable_version() -> None:
    decision = decide_canary(SERVING, 5, 25, because(), champion=2)
    state = made(decision)
    assert (state.seq, state.stable, state.previous) == (5, 2, (1, 0))
    assert state.canary == Canary(version=5, percent=25, since=LATER)
    (event,) = decision.events
    assert isinstance(event, CanaryStarted)
    assert (event.seq, event.version, event.stable, event.percent) == (5, 5, 2, 25)


def test_a_canary_is_told_with_its_share() -> None:
    started = made(decide_canary(SERVING, 5, 25, because(), champion=2)).moves[-1]
    assert started.text == started.audit_text == "canary v5 for 25% of the sessions"


def test_a_canarys_share_can_be_changed() -> None:
    serving = SERVING.model_copy(update={"canary": canary(5, 10)})
    assert made(decide_canary(serving, 5, 50, because(), champion=2)).canary == Canary(version=5, percent=50, since=LATER)


@pytest.mark.parametrize(
    ("production", "version", "champion", "refused"),
    [
        (None, 5, None, Decision(None, reason="no version is stable: a canary needs one beside it")),
        (None, 5, 2, Stale(None, reason="validated against v2, but no version is stable now")),
        (SERVING, 2, 2, Decision(None, reason="v2 is stable already")),
        (SERVING, 3, 2, Stale(None, reason="v3 is withdrawn: promote it with an override and a reason")),
        (SERVING, 5, 1, Stale(None, reason="validated against v1, but v2 is stable now")),
        (SERVING.model_copy(update={"canary": canary(6)}), 5, 2, Decision(None, reason="v6 is on canary already")),
    ],
)
def test_a_canary_is_refused_with_the_reason(
    production: Production | None, version: int, champion: int | None, refused: Decision[Production]
) -> None:
    assert decide_canary(production, version, 10, because(), champion=champion) == refused


@pytest.mark.parametrize("again", ["promote", "canary"])
def test_a_canary_whose_champion_changed_ends_and_is_not_withdrawn(again: str) -> None:
    serving = Production(seq=4, stable=3, previous=(2,), canary=canary(5))
    decision = (
        decide_promote(serving, 5, because_of_evidence(), champion=2)
        if again == "promote"
        else decide_canary(serving, 5, 50, because_of_evidence(), champion=2)
    )
    state = made(decision)
    assert (state.seq, state.stable, state.canary, state.previous, state.withdrawn) == (5, 3, None, (2,), ())
    assert state.moves[-1].kind == "end_canary"
    assert decision.reason == state.moves[-1].reason == "validated against v2, but v3 is stable now"
    (event,) = decision.events
    assert isinstance(event, CanaryEnded)
    assert (event.seq, event.version, event.stable) == (5, 5, 3)
    assert decide_promote(state, 5, because(), champion=2) == Decision(None, decision.events, "already applied")


def test_another_versions_stale_evidence_leaves_the_canary() -> None:
    serving = Production(seq=4, stable=3, canary=canary(5))
    assert decide_promote(serving, 6, because(), champion=2) == Stale(None, (), "validated against v2, but v3 is stable now")


# rollback


def test_a_rollback_goes_to_the_newest_version_before_and_withdraws() -> None:
    decision = decide_rollback(SERVING, None, because())
    state = made(decision)
    assert (state.seq, state.stable, state.previous, state.withdrawn) == (5, 1, (0,), (3, 2))
    move = state.moves[-1]
    assert (move.stable_before, move.stable_after, move.override, move.reason) == (2, 1, False, "as asked")
    (event,) = decision.events
    assert isinstance(event, ModelRolledBack)
    assert (event.seq, event.version, event.stable) == (5, 2, 1)


def test_a_rollback_passes_over_withdrawn_versions() -> None:
    serving = Production(stable=4, previous=(3, 2, 1), withdrawn=(3, 1))
    state = made(decide_rollback(serving, 4, because()))
    assert (state.stable, state.previous) == (2, ())


def test_a_rollback_without_a_version_takes_the_canary_first() -> None:
    serving = SERVING.model_copy(update={"canary": canary(5)})
    state = made(decide_rollback(serving, None, because()))
    assert (state.canary, state.stable, state.previous, state.withdrawn) == (None, 2, (1, 0), (3, 5))
    assert state.moves[-1].stable_after == 2


def test_a_canary_that_is_rolled_back_no_longer_stands_in_line_either() -> None:
    again = SERVING.model_copy(update={"canary": canary(1)})
    state = made(decide_rollback(again, None, because()))
    assert (state.stable, state.previous, state.withdrawn) == (2, (0,), (3, 1))


def test_a_rollback_of_the_stable_version_by_name_leaves_the_canary() -> None:
    serving = SERVING.model_copy(update={"canary": canary(5)})
    state = made(decide_rollback(serving, 2, because()))
    assert (state.stable, state.canary) == (1, canary(5))


def test_a_canary_that_a_rollback_makes_stable_is_no_canary_any_more() -> None:
    serving = Production(stable=0, previous=(1,), canary=canary(1))
    state = made(decide_rollback(serving, 0, because()))
    assert (state.stable, state.canary, state.withdrawn) == (1, None, (0,))


@pytest.mark.parametrize(
    ("production", "version", "reason"),
    [
        (None, None, "no version is not live: stable is no version, canary is no version"),
        (SERVING, 1, "v1 is not live: stable is v2, canary is no version"),
        (SERVING.model_copy(update={"canary": canary(5)}), 3, "v3 is not live: stable is v2, canary is v5"),
        (
            Production(stable=2, previous=(1,), withdrawn=(1,)),
            None,
            "v2 has no good version before it: import or promote another one first",
        ),
    ],
)
def test_a_rollback_is_refused_with_the_reason(production: Production | None, version: int | None, reason: str) -> None:
    assert decide_rollback(production, version, because()) == Decision(None, (), reason)


@pytest.mark.parametrize(("to", "previous"), [(4, (3, 2)), (3, (2,)), (2, ())])
def test_a_rollback_goes_where_it_is_told_and_never_back_to_what_it_skipped(to: int, previous: tuple[int, ...]) -> None:
    serving = Production(stable=5, previous=(4, 3, 2), canary=canary(6))
    state = made(decide_rollback(serving, None, because(), to=to))
    assert (state.stable, state.previous, state.withdrawn) == (to, previous, (5,))
    assert state.canary == canary(6), "a version to go to means the stable version, canary or not"
    again = made(decide_rollback(state, to, because("again"))) if previous else None
    assert again is None or again.stable == previous[0]


@pytest.mark.parametrize(
    ("to", "version", "reason"),
    [
        (3, None, "v3 is withdrawn: promote it with an override and a reason"),
        (7, None, "v7 is not in line for a rollback: expected one of the stable versions before (v4, v2)"),
        (5, None, "v5 is not in line for a rollback: expected one of the stable versions before (v4, v2)"),
        (4, 6, "v6 is on canary: v5 stays stable, expected no version to go to, found v4"),
        (4, 2, "v2 is not live: stable is v5, canary is v6"),
    ],
)
def test_a_rollback_to_what_is_not_in_line_is_refused(to: int, version: int | None, reason: str) -> None:
    serving = Production(stable=5, previous=(4, 3, 2), withdrawn=(3,), canary=canary(6))
    assert decide_rollback(serving, version, because(), to=to) == Decision(None, (), reason)


@pytest.mark.parametrize("to", [None, 4])
def test_a_rollback_passes_over_damaged_models_and_says_so(to: int | None) -> None:
    serving = Production(stable=5, previous=(4, 3, 2, 1), withdrawn=(3,))
    decision = decide_rollback(serving, None, because(), to=to, damaged={4: "v4: expected a.json, found no such object", 9: "v9: gone"})
    state = made(decision)
    assert (state.stable, state.previous, state.withdrawn) == (2, (1,), (3, 5))
    assert state.moves[-1].reason == "v4: expected a.json, found no such object: passed over; as asked"
    (event,) = decision.events
    assert isinstance(event, ModelRolledBack)
    assert event.reason == state.moves[-1].reason


def test_a_rollback_with_nothing_but_damaged_models_before_it_is_refused() -> None:
    decision = decide_rollback(Production(stable=5, previous=(4,)), None, because(), damaged={4: "v4: no weights"})
    reason = "v5 has no good version before it: import or promote another one first (v4: no weights: passed over)"
    assert decision == Decision(None, (), reason)


def test_a_reason_that_became_too_long_is_cut_where_an_event_would_refuse_it() -> None:
    command = because().model_copy(update={"reason": "y" * MAX_REASON_CHARS})
    decision = decide_rollback(Production(stable=5, previous=(4, 3)), None, command, damaged={4: "v4: no weights"})
    assert len(made(decision).moves[-1].reason) == MAX_REASON_CHARS == 2000
    assert decision.reason.startswith("v4: no weights: passed over; yyy")


# withdraw, pin, redelivery, history


def test_only_what_is_neither_live_nor_in_line_for_a_rollback_is_garbage() -> None:
    serving = SERVING.model_copy(update={"canary": canary(5)})
    assert [decide_withdraw(serving, version, because(), collect=True).state for version in (0, 1, 2, 5)] == [None] * 4
    assert decide_withdraw(serving, 1, because(), collect=True).reason == "v1 is in line for a rollback"
    assert [decide_withdraw(serving, version, because()).reason for version in (2, 5)] == [
        "v2 is live: roll it back",
        "v5 is live: roll it back",
    ]
    assert decide_withdraw(serving, 3, because()).reason == "v3 is withdrawn already"
    decision = decide_withdraw(serving, 4, because())
    state = made(decision)
    assert (state.seq, state.stable, state.canary, state.withdrawn, state.collected) == (5, 2, canary(5), (3, 4), ())
    assert (state.moves[-1].kind, state.moves[-1].by, decision.events) == ("withdraw", "ana (claimed)", ())
    assert made(decide_withdraw(None, 4, because())).withdrawn == (4,)


def test_a_person_takes_a_version_out_of_the_line_for_a_rollback() -> None:
    assert SERVING.previous == (1, 0)
    without = made(decide_withdraw(SERVING, 1, because()))
    assert (without.stable, without.previous, without.withdrawn) == (2, (0,), (3, 1))
    assert made(decide_rollback(without, None, because("worse"))).stable == 0
    last = decide_withdraw(without, 0, because("and v0"))
    assert (made(last).previous, last.reason.startswith("a rollback has nowhere to go from now on; ")) == ((), True)
    assert "has no good version before it" in decide_rollback(last.state, None, because("worse")).reason


def test_what_is_collected_was_withdrawn_and_nothing_brings_it_back() -> None:
    gone = "v4 was collected: its files are deleted, nothing brings it back"
    fresh = made(decide_withdraw(SERVING, 4, because(), collect=True))
    assert (fresh.withdrawn, fresh.collected) == ((3, 4), (4,))
    assert made(decide_withdraw(SERVING, 3, because(), collect=True)).withdrawn == (3,)
    assert decide_withdraw(fresh, 4, because("again"), collect=True) == Decision(None, (), "v4 is collected already")
    assert decide_promote(fresh, 4, because("again"), champion=None, override=True) == Decision(None, (), gone)
    assert decide_promote(fresh, 4, because("again"), champion=2) == Stale(None, (), gone)
    assert decide_canary(fresh, 4, 10, because("again"), champion=2) == Stale(None, (), gone)
    assert decide_pin(fresh, 4, because("again"), pinned=True).reason == "v4 was collected: there is nothing left to keep"


def test_a_pin_keeps_a_version_from_being_withdrawn_and_a_rollback_does_not_mind() -> None:
    pinned = made(decide_pin(SERVING, 4, because(), pinned=True))
    assert (pinned.seq, pinned.pinned, pinned.moves[-1].kind) == (5, (4,), "pin")
    assert decide_withdraw(pinned, 4, because("w")).reason == "v4 is pinned: unpin it first"
    assert decide_withdraw(pinned, 4, because("w"), collect=True).reason == "v4 is pinned: unpin it first"
    unpinned = made(decide_pin(pinned, 4, because("u"), pinned=False))
    assert (unpinned.pinned, unpinned.moves[-1].kind) == ((), "unpin")
    assert decide_pin(pinned, 4, because("p"), pinned=True).reason == "v4 is pinned already"
    assert decide_pin(unpinned, 4, because("p"), pinned=False).reason == "v4 is not pinned"
    live = made(decide_pin(SERVING, 2, because(), pinned=True))
    assert made(decide_rollback(live, None, because("r"))).withdrawn == (3, 2)


def test_what_was_applied_is_not_applied_again_and_tells_the_same_event() -> None:
    again: list[tuple[Decision[Production], Callable[[Production], Decision[Production]]]] = [
        (decide_promote(SERVING, 5, because(), champion=2), lambda now: decide_promote(now, 5, because(), champion=2)),
        (decide_canary(SERVING, 5, 10, because(), champion=2), lambda now: decide_canary(now, 5, 10, because(), champion=2)),
        (decide_rollback(SERVING, None, because()), lambda now: decide_rollback(now, None, because())),
        (decide_withdraw(SERVING, 4, because()), lambda now: decide_withdraw(now, 4, because())),
        (decide_pin(SERVING, 4, because(), pinned=True), lambda now: decide_pin(now, 4, because(), pinned=True)),
    ]
    for first, repeat in again:
        moved_on = made(decide_promote(made(first), 9, because("other", LATER + DAY), champion=None, override=True))
        assert repeat(moved_on) == Decision(None, first.events, "already applied")


def test_the_events_of_two_moves_differ_and_name_the_move() -> None:
    first = made(decide_promote(SERVING, 5, because("a"), champion=2)).moves[-1]
    second = made(decide_promote(SERVING, 5, because("b"), champion=2)).moves[-1]
    assert events_of(first) == events_of(first)
    others = [second, first.model_copy(update={"seq": 6}), first.model_copy(update={"kind": "rollback"})]
    assert len({events_of(move)[0].event_id for move in [first, *others]}) == 4


@pytest.mark.parametrize(
    ("kind", "status", "events"),
    [
        ("promote", Status.DEPLOYED, [ModelDeployed]),
        ("canary", Status.CANARY, [CanaryStarted]),
        ("end_canary", Status.INCONCLUSIVE, [CanaryEnded]),
        ("rollback", Status.ROLLED_BACK, [ModelRolledBack]),
        ("withdraw", Status.INCONCLUSIVE, []),
        ("pin", None, []),
        ("unpin", None, []),
    ],
)
def test_what_a_move_does_to_its_cycle_and_who_hears_of_it(kind: str, status: Status | None, events: list[type]) -> None:
    move = old_move(1, LATER).model_copy(update={"kind": kind, "percent": 10})
    assert state_of(move) == status
    assert [type(event) for event in events_of(move)] == events


def test_moves_older_than_31_days_are_dropped_at_the_next_move() -> None:
    moves = (old_move(1, LATER - 40 * DAY), old_move(2, LATER - 31 * DAY - timedelta(seconds=1)), old_move(3, LATER - 31 * DAY))
    state = made(decide_promote(Production(seq=3, stable=1, moves=moves), 5, because(), champion=1))
    assert [move.seq for move in state.moves] == [3, 4]


def test_the_last_move_stays_however_old_it_is() -> None:
    serving = Production(seq=1, stable=1, moves=(old_move(1, LATER - 400 * DAY),))
    assert serving.last == old_move(1, LATER - 400 * DAY)
    assert Production().last is None
    assert [move.seq for move in made(decide_promote(serving, 5, because(), champion=1)).moves] == [2]


def test_the_alias_reads_back_as_it_was_and_an_unknown_field_is_refused() -> None:
    state = made(decide_canary(SERVING, 5, 25, because(), champion=2))
    assert CODEC.parse(CODEC.dump(state)) == state
    with pytest.raises(CorruptObject, match=r"registry/production\.json: expected a valid Production, found surprise"):
        CODEC.parse(b'{"surprise": 1}')


versions = st.integers(0, 2)
steps = st.one_of(
    st.tuples(st.just("promote"), versions, st.just(True)),
    st.tuples(st.just("promote"), versions, st.booleans()),
    st.tuples(st.just("canary"), versions, st.none()),
    st.tuples(st.just("rollback"), st.none() | versions, st.none()),
    st.tuples(st.just("withdraw"), versions, st.booleans()),
    st.tuples(st.just("pin"), versions, st.booleans()),
)


@pytest.mark.parametrize(
    ("now", "override", "said"),
    [
        (None, True, "promote v5 as the first model"),
        (SERVING, True, "promote v5 against or without the evidence"),
        (SERVING, False, "promote v5"),
    ],
)
def test_the_audit_says_what_a_promotion_stands_on(now: Production | None, override: bool, said: str) -> None:
    move = made(decide_promote(now, 5, because(), champion=2, override=override)).moves[-1]
    assert (move.audit_text, move.text) == (said, "promote v5")


def step(now: Production, kind: str, version: Any, flag: Any, command: Command) -> Decision[Production]:
    if kind == "promote":
        return decide_promote(now, version, command, champion=now.stable, override=flag)
    if kind == "canary":
        return decide_canary(now, version, 10, command, champion=now.stable)
    if kind == "pin":
        return decide_pin(now, version, command, pinned=flag)
    return decide_rollback(now, version, command) if kind == "rollback" else decide_withdraw(now, version, command, collect=flag)


@settings(deadline=None, max_examples=500)
@given(st.lists(steps, min_size=1, max_size=25))
def test_whatever_the_moves_the_alias_names_no_withdrawn_version_and_a_place_to_go_back_to(moves: list[tuple[str, Any, Any]]) -> None:
    now = Production()
    for number, (kind, version, flag) in enumerate(moves):
        decision = step(now, kind, version, flag, because(f"cause {number}", START + number * DAY))
        if decision.state is None:
            continue
        before, now = now, decision.state
        assert now.stable not in now.withdrawn
        assert not {now.stable, *now.withdrawn} & set(now.previous)
        assert now.canary is None or now.canary.version not in {now.stable, *now.withdrawn}
        assert len(set(now.previous)) == len(now.previous)
        assert len(set(now.withdrawn)) == len(now.withdrawn)
        assert set(before.withdrawn) - set(now.withdrawn) <= ({version} if kind == "promote" and flag else set())
        assert set(before.collected) <= set(now.collected) <= set(now.withdrawn) - set(now.pinned)
        assert now.seq == before.seq + 1
        assert [move.seq for move in now.moves] == sorted(move.seq for move in now.moves)
        assert now.last is None or (now.last.seq, now.last.stable_after) == (now.seq, now.stable)
