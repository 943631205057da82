"""The deployer under faults: crashes between any two writes, lost replies, a bus that is away, duplicates, disorder, two at once.

Whatever happens, a redelivery ends where an undisturbed delivery would have: one move a cause, each on record, announced and carried
to its cycle; the alias names whole models that nobody withdrew.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.deployer.evidence import check_model
from functions.deployer.handler import handle
from functions.runtime import Ports
from shared import keys
from shared.bus import Message
from shared.cas import find
from shared.cycle import CODEC as STATES
from shared.cycle import CycleState, Status
from shared.documents import parse_document
from shared.errors import Retryable
from shared.registry import CODEC, Move, Production, events_of
from shared.testing import builders
from shared.testing.memory_store import MemoryStore
from tests.faults import INJECTIONS, Sink, dies, heal, outcome_of
from tests.interleave import interleave
from tests.world import World, copy_of, trained_world


@cache
def accepted() -> World:
    """Return the world that each test starts from a copy of: v0 stable, v1 accepted, v5 and v6 imported."""
    made = trained_world(auto_deploy=False)
    made.settle()
    for version in (5, 6):
        made.write_model(version, base=None, learned=())
    assert made.state(1).status == Status.ACCEPTED
    return made


@dataclass
class Desk:
    """One deployer's outside world: a copy of the store, and a publisher."""

    store: MemoryStore
    sink: Sink
    ports: Ports

    def production(self) -> Production:
        return CODEC.parse(self.store.get(keys.PRODUCTION).data)

    def cycle(self) -> CycleState:
        return STATES.parse(self.store.get(keys.state(1)).data)

    def log(self) -> list[Move]:
        stored = (self.store.get(info.key).data for info in self.store.list(keys.REGISTRY_LOG))
        return [parse_document(Move, data, what="audit record") for data in stored]

    def outcome(self) -> tuple[Production, Status, list[Move]]:
        return self.production(), self.cycle().status, self.log()

    def handle(self, message: Message) -> str:
        return handle(message, self.ports)

    def try_to_handle(self, message: Message) -> str | Exception:
        return outcome_of(lambda: self.handle(message))

    def heal(self) -> None:
        heal(self.store)
        self.sink.away_for = 0


def desk(*, moved_by: Sequence[Message] = ()) -> Desk:
    """Return a desk on a copy of the accepted world, after some messages were handled without a fault."""
    world = accepted()
    store, sink = copy_of(world), Sink()
    policy = world.ports.settings.policy.model_copy(update={"auto_deploy": True})
    made = Desk(
        store, sink, replace(world.ports, store=store, publisher=sink, settings=world.ports.settings.model_copy(update={"policy": policy}))
    )
    for message in moved_by:
        made.handle(message)
    return made


def typed(text: str) -> Message:
    return builders.typed(text, message_id=text)


def verdict() -> Message:
    (message,) = accepted().bus.published("validation-events")
    return message


PROMOTE, CANARY = typed('{"promote": 1}'), typed('{"canary": 1, "percent": 20}')
OTHER = typed('{"promote": 5, "override": true, "reason": "imported"}')
ANOTHER = typed('{"promote": 6, "override": true, "reason": "imported"}')
ROLLBACK, BACK_TO_0 = typed('{"rollback": true}'), typed('{"rollback": true, "to": 0}')
WITHDRAW, PIN, UNPIN = typed('{"withdraw": 1}'), typed('{"pin": 5}'), typed('{"unpin": 5}')
COLLECT = typed('{"withdraw": 6, "collect": true}')

CASES: dict[str, tuple[Sequence[Message], Callable[[], Message]]] = {
    "verdict": ((), verdict),
    "promote": ((), lambda: PROMOTE),
    "override": ((), lambda: OTHER),
    "canary": ((), lambda: CANARY),
    "promote the canary": ((CANARY,), lambda: PROMOTE),
    "end a stale canary": ((CANARY, OTHER), lambda: PROMOTE),
    "refuse stale evidence": ((OTHER,), lambda: PROMOTE),
    "roll back": ((PROMOTE,), lambda: ROLLBACK),
    "roll the canary back": ((CANARY,), lambda: ROLLBACK),
    "roll back to": ((OTHER, ANOTHER), lambda: BACK_TO_0),
    "withdraw": ((), lambda: WITHDRAW),
    "collect": ((), lambda: COLLECT),
    "pin": ((), lambda: PIN),
}
cases = pytest.mark.parametrize("case", CASES)


def check(made: Desk) -> None:
    """Check what must hold when every message was handled to its end."""
    production, log = made.production(), made.log()
    assert [move.seq for move in log] == list(range(1, production.seq + 1))
    assert tuple(log) == production.moves
    assert len({move.cause for move in log}) == len(log)
    assert production.stable is not None
    assert production.stable not in production.withdrawn
    assert check_model(made.ports, production.stable) is None
    on_canary = production.canary is not None and production.canary.version == 1
    assert (made.cycle().status == Status.CANARY) == on_canary
    told = made.sink.text
    for move in log[1:]:
        assert all(event.event_id in told for event in events_of(move)), move


@cases
@pytest.mark.parametrize("fault", INJECTIONS)
def test_a_redelivery_ends_where_an_undisturbed_delivery_does(case: str, fault: str) -> None:
    before, message = CASES[case][0], CASES[case][1]()
    undisturbed = desk(moved_by=before)
    undisturbed.handle(message)
    check(undisturbed)
    struck, number = True, 0
    while struck:
        number += 1
        made = desk(moved_by=before)
        fuse = INJECTIONS[fault](made.store, number)
        made.try_to_handle(message)
        struck = fuse.struck
        made.heal()
        made.handle(message)
        check(made)
        assert made.outcome() == undisturbed.outcome()
    assert number >= 2, "the fault never struck"


@cases
def test_while_the_bus_is_away_for_a_minute_every_delivery_fails_and_the_next_one_tells(case: str) -> None:
    before, message = CASES[case][0], CASES[case][1]()
    undisturbed = desk(moved_by=before)
    undisturbed.handle(message)
    made = desk(moved_by=before)
    made.sink.away_for = 6
    silent = not events_of(undisturbed.production().moves[-1])
    outcomes = [made.try_to_handle(message) for _ in range(6)]
    assert silent or sum(isinstance(outcome, Retryable) for outcome in outcomes) == 6, outcomes
    made.heal()
    made.handle(message)
    check(made)
    assert made.outcome() == undisturbed.outcome()


@cases
@pytest.mark.parametrize("later", [ROLLBACK, PIN, OTHER])
def test_a_move_that_was_not_completed_is_completed_by_whatever_comes_next(case: str, later: Message) -> None:
    before, message = CASES[case][0], CASES[case][1]()
    for number in range(1, 4):
        made = desk(moved_by=before)
        dies(made.store, number)
        made.try_to_handle(message)
        made.heal()
        made.handle(later)
        made.handle(message)
        check(made)


faults = st.none() | st.tuples(st.sampled_from(sorted(INJECTIONS)), st.integers(1, 12)) | st.just(("bus", 1))
POOL = (PROMOTE, CANARY, OTHER, ANOTHER, ROLLBACK, BACK_TO_0, WITHDRAW, PIN, UNPIN, COLLECT)


@settings(max_examples=150, deadline=None)
@given(steps=st.lists(st.tuples(st.integers(0, len(POOL)), faults), min_size=1, max_size=12), order=st.randoms(use_true_random=False))
def test_duplicates_disorder_and_faults_leave_one_move_a_cause_and_nothing_half_done(
    steps: list[tuple[int, tuple[str, int] | None]], order: Random
) -> None:
    made = desk()
    pool = (*POOL, verdict())
    seen: list[Message] = []
    for pick, fault in steps:
        if fault is not None and fault[0] == "bus":
            made.sink.away_for = fault[1]
        elif fault is not None:
            INJECTIONS[fault[0]](made.store, fault[1])
        made.try_to_handle(pool[pick])
        made.heal()
        seen.append(pool[pick])
        assert made.production().stable not in made.production().withdrawn
    order.shuffle(seen)
    for message in seen:
        made.handle(message)
    check(made)


schedules = st.lists(st.integers(0, 1), max_size=60)
Some = settings(max_examples=60, deadline=None)


@Some
@given(schedules)
def test_two_deployers_that_promote_the_same_version_promote_it_once(schedule: list[int]) -> None:
    made = desk()
    outcomes = interleave(made.store, schedule, lambda: made.handle(verdict()), lambda: made.handle(PROMOTE))
    assert not any(isinstance(outcome, Exception) for outcome in outcomes), outcomes
    check(made)
    assert (made.production().stable, made.production().previous, made.production().seq) == (1, (0,), 2)
    assert made.cycle().status == Status.DEPLOYED


@Some
@given(schedules)
def test_two_deployers_that_promote_different_versions_do_so_one_after_the_other(schedule: list[int]) -> None:
    made = desk()
    outcomes = interleave(made.store, schedule, lambda: made.handle(OTHER), lambda: made.handle(ANOTHER))
    assert not any(isinstance(outcome, Exception) for outcome in outcomes), outcomes
    check(made)
    assert made.production().seq == 3
    assert {made.production().stable, *made.production().previous} == {0, 5, 6}


@Some
@given(schedules)
def test_evidence_beside_a_change_of_the_champion_is_promoted_before_it_or_inconclusive(schedule: list[int]) -> None:
    made = desk()
    outcomes = interleave(made.store, schedule, lambda: made.handle(verdict()), lambda: made.handle(OTHER))
    assert not any(isinstance(outcome, Exception) for outcome in outcomes), outcomes
    check(made)
    promoted = made.production().previous == (1, 0)
    assert made.production().stable == 5
    assert made.cycle().status == (Status.DEPLOYED if promoted else Status.INCONCLUSIVE)


@Some
@given(schedules)
def test_a_collection_beside_an_override_lets_one_of_them_win(schedule: list[int]) -> None:
    made = desk()
    interleave(made.store, schedule, lambda: made.handle(COLLECT), lambda: made.handle(ANOTHER))
    check(made)
    assert (made.production().stable == 6) != (6 in made.production().collected)


def test_an_alias_that_changes_between_check_and_swap_is_decided_on_again() -> None:
    made = desk()

    def overtake(operation: str, key: str) -> None:
        if (operation, key) == ("put", keys.PRODUCTION):
            made.heal()
            made.handle(OTHER)

    made.store.before = overtake
    assert "validated against v0, but v5 is stable now" in made.handle(verdict())
    check(made)
    assert (made.production().stable, made.cycle().status) == (5, Status.INCONCLUSIVE)


DAMAGES: dict[str, Callable[[MemoryStore, int], object]] = {
    "missing": lambda store, version: store.delete(f"{keys.model(version)}model.safetensors"),
    "truncated": lambda store, version: store.put(f"{keys.model(version)}model.safetensors", b"weights"),
    "altered": lambda store, version: store.put(f"{keys.model(version)}model.safetensors", f"Weights of v{version}".encode()),
    "manifest missing": lambda store, version: store.delete(keys.manifest(version)),
    "manifest truncated": lambda store, version: store.put(keys.manifest(version), store.get(keys.manifest(version)).data[:-20]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_model_is_neither_promoted_nor_rolled_back_to(damage: str) -> None:
    made = desk()
    DAMAGES[damage](made.store, 1)
    for message in (verdict(), PROMOTE, CANARY, typed('{"promote": 1, "override": true, "reason": "x"}')):
        assert "refused: v1" in made.handle(message) or "refused: models/000001" in made.handle(message)
    assert made.production().seq == 1
    made = desk(moved_by=(OTHER, ANOTHER))
    DAMAGES[damage](made.store, 5)
    assert "passed over" in made.handle(ROLLBACK)
    check(made)
    assert (made.production().stable, made.production().withdrawn) == (0, (6,))


def test_a_manifest_that_was_altered_after_the_verdict_carries_nothing() -> None:
    made = desk()
    data = made.store.get(keys.manifest(1)).data
    made.store.put(keys.manifest(1), data.replace(b'"trained"', b'"imported"'))
    assert made.handle(verdict()) == "refused: v1: expected the digests of the stored report and manifest, found others: forged or stale"
    assert made.handle(PROMOTE) == "refused: v1: expected the manifest that was judged, found another"
    assert made.production().seq == 1


def test_a_report_of_another_model_carries_nothing() -> None:
    made = desk()
    made.store.put(keys.report(5), made.store.get(keys.report(1)).data)
    state = made.store.get(keys.state(1)).data.replace(b'"cycle": 1', b'"cycle": 5')
    made.store.put(keys.state(5), state)
    assert made.handle(typed('{"promote": 5}')) == "refused: v5: expected its own report, found the one of v1"
    assert find(made.store, keys.registry_log(2)) is None
