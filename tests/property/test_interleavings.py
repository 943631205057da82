"""Two writers at once, every order of their store calls: nothing is lost, nothing happens twice."""

from collections.abc import Callable
from functools import partial

from hypothesis import given, settings
from hypothesis import strategies as st

from functions.deployer.handler import handle as deploy
from functions.launcher.handler import handle as launch
from functions.launcher.window import find_dataset
from functions.sweeper.handler import sweep
from shared import keys, ledger
from shared.cas import apply_with_cas, commit, find
from shared.compaction import compact
from shared.errors import Conflict
from shared.events import FinetuneRequested, RollbackRequested
from shared.head import KnownHead, begin_head, move_head
from shared.objectstore import ABSENT
from shared.registry import CODEC, Command, decide_promote
from shared.testing import builders
from shared.testing.clock import START
from shared.testing.memory_store import MemoryStore
from tests.interleave import interleave
from tests.world import POLICY, World, wrong

schedules = st.lists(st.integers(0, 1), max_size=60)
Every = settings(max_examples=150, deadline=None)
Some = settings(max_examples=60, deadline=None)


def filled(count: int = 4) -> MemoryStore:
    store = MemoryStore()
    for number in range(count):
        ledger.append(store, [builders.error(number)], f"seed{number}")
    return store


def ids(store: MemoryStore, cycle: int = 1) -> set[str]:
    return {event.event_id for event in ledger.read_events(store, cycle)}


def forced(number: int = 1) -> Callable[[World], object]:
    event = FinetuneRequested(event_id=f"force{number}", occurred_at=START)
    return lambda world: launch(builders.message(event), world.deps)


@Every
@given(schedules, st.booleans())
def test_an_acknowledged_event_is_in_the_sealed_ledger_or_in_the_next(schedule: list[int], knows_the_head: bool) -> None:
    store, head = filled(), KnownHead()
    if knows_the_head:
        begin_head(store)
        head.read(store)

    def seal() -> set[str]:
        move_head(store, 1)
        return ids(store)

    appended, sealed = interleave(store, schedule, lambda: ledger.append(store, [builders.error(9)], "late", head), seal)
    assert appended in {1, 2}
    assert isinstance(sealed, set)
    assert "e9" in sealed | ids(store, 2)


@Every
@given(st.lists(st.integers(0, 2), max_size=60), st.integers(1, 4))
def test_flushes_that_know_an_old_head_are_acknowledged_where_it_stands(schedule: list[int], moves: int) -> None:
    store, head = filled(), KnownHead()
    begin_head(store)
    head.read(store)

    def flush(number: int) -> int:
        return ledger.append(store, [builders.error(number)], f"flush{number}", head)

    def move() -> None:
        for past in range(1, moves + 1):
            move_head(store, past)

    first, second, _ = interleave(store, schedule, lambda: flush(8), lambda: flush(9), move)
    for number, cycle in ((8, first), (9, second)):
        assert isinstance(cycle, int)
        assert f"e{number}" in ids(store, cycle)
    assert flush(7) == moves + 1


@Every
@given(schedules)
def test_a_reader_beside_a_compactor_sees_every_event_once(schedule: list[int]) -> None:
    store = filled(6)
    compact(store, 1)
    ledger.append(store, [builders.error(6), builders.error(7)], "more")
    ledger.append(store, [builders.error(8)], "more2")
    read, _ = interleave(store, schedule, lambda: ids(store), lambda: (compact(store, 1), compact(store, 1)))
    assert read == {f"e{n}" for n in range(9)}
    assert ledger.count(store, 1).errors == 9


@Every
@given(schedules)
def test_two_compactors_fold_everything_once(schedule: list[int]) -> None:
    store = filled(6)
    interleave(store, schedule, lambda: compact(store, 1), lambda: compact(store, 1))
    ledger.append(store, [builders.error(7)], "a")
    ledger.append(store, [builders.error(8)], "b")
    compact(store, 1)
    assert ledger.count(store, 1).errors == 8
    assert len(ids(store)) == 8


@Every
@given(schedules)
def test_a_count_beside_a_compactor_is_right(schedule: list[int]) -> None:
    store = filled(5)
    counted, _ = interleave(store, schedule, lambda: ledger.count(store, 1).errors, lambda: compact(store, 1))
    assert counted == 5
    assert ledger.count(store, 1).errors == 5


@Every
@given(schedules)
def test_of_two_creators_one_wins_and_the_other_knows(schedule: list[int]) -> None:
    store = MemoryStore()
    outcomes = interleave(
        store,
        schedule,
        lambda: commit(store, "x", b"a", if_generation_match=ABSENT),
        lambda: commit(store, "x", b"b", if_generation_match=ABSENT),
    )
    assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 1


def ready_world(**policy: object) -> World:
    world = World(POLICY.model_copy(update={"min_error_cases": 1000, **policy}))
    world.install_model()
    world.record_calls(range(40))
    world.publish(*(builders.error(n) for n in range(20)))
    world.settle()
    return world


@Some
@given(schedules)
def test_two_forced_requests_at_once_open_one_cycle_and_one_trainer(schedule: list[int]) -> None:
    world = ready_world()
    outcomes = interleave(world.store, schedule, lambda: forced(1)(world), lambda: forced(2)(world))
    assert not any(isinstance(outcome, Exception) for outcome in outcomes), outcomes
    assert world.trainers.list_names() == ["retune-trainer-000001-1"]
    assert find(world.store, keys.state(2)) is None


@Some
@given(schedules)
def test_a_cancel_during_a_seal_puts_no_event_into_two_datasets(schedule: list[int]) -> None:
    world = ready_world()

    def cancel_and_start_again() -> object:
        world.type("finetune-triggers", '{"cancel": true}')
        cancel = world.bus.published("finetune-triggers")[-1]
        launch(cancel, world.deps)
        return forced(2)(world)

    interleave(world.store, schedule, lambda: forced(1)(world), cancel_and_start_again)
    fresh: list[str] = []
    for cycle in (1, 2, 3):
        sealed = find_dataset(world.ports, cycle)
        fresh += [row.event_id for row in sealed.rows if row.origin == "fresh"] if sealed else []
    assert len(fresh) == len(set(fresh))
    running = [cycle for cycle in (1, 2, 3) if find(world.store, keys.state(cycle)) and not world.state(cycle).ended]
    assert len(running) <= 1
    assert len(world.trainers.list_names()) <= 1


@Some
@given(schedules)
def test_one_rollback_by_two_deployers_happens_once(schedule: list[int]) -> None:
    world = ready_world()
    for version in (1, 2):
        world.write_model(version, base=0, learned=(version,))
        command = Command(cause=f"p{version}", at=world.clock.now(), by="test", reason="test")
        promote = partial(decide_promote, version=version, command=command, champion=None, override=True)
        apply_with_cas(world.store, keys.PRODUCTION, CODEC, promote)
    rollback = builders.message(RollbackRequested(event_id="r1", occurred_at=world.clock.now()))
    outcomes = interleave(world.store, schedule, lambda: deploy(rollback, world.ports), lambda: deploy(rollback, world.ports))
    assert not any(isinstance(outcome, Exception) for outcome in outcomes), outcomes
    assert world.production().stable == 1
    assert world.production().withdrawn == (2,)
    assert world.production().previous == (0,)


@Some
@given(schedules)
def test_a_trainer_beside_a_sweeper_works_or_is_followed_never_both(schedule: list[int]) -> None:
    world = ready_world()
    forced(1)(world)
    (run,) = world.trainers.runs.values()
    world.begin(run)
    world.trainers.delete(run.name)  # preempted
    interleave(world.store, schedule, lambda: sweep(world.deps), lambda: world.work(run, candidate=wrong))
    world.settle()
    state = world.state(1)
    assert (state.attempt == 1) != (world.trainers.list_names() == ["retune-trainer-000001-2"])
