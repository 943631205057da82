"""What goes wrong when a sentence of the storage protocols is left out; one test a trace, by its number there.

Elsewhere: 1, 5, 11, 12, 13 and parts of 14 in `tests/unit/test_loop_in_memory.py`; 2, 8, 12 (two deployers) and 15 as
interleavings in `test_interleavings.py`.
"""

import pytest

from functions.deployer.checks import check_state
from functions.launcher.handler import handle as launch
from functions.launcher.trainers import TrainerRun
from functions.launcher.window import find_dataset
from functions.sweeper.handler import sweep
from shared import keys, ledger
from shared.cas import apply_with_cas, commit, find
from shared.compaction import collect_garbage, compact
from shared.cycle import Status
from shared.errors import Conflict, InvariantBroken, RetuneError
from shared.events import FinetuneCancelled, FinetuneRequested
from shared.head import KnownHead, read_head
from shared.objectstore import ABSENT
from shared.registry import CODEC, Command, decide_promote, decide_rollback
from shared.retention import decide_withdraw
from shared.testing import builders
from shared.testing.clock import START
from shared.testing.memory_store import MemoryStore
from tests.world import POLICY, World

GONE = "v7 was collected: its files are deleted, nothing brings it back"


class Killed(RetuneError):
    """The process died here."""


def die_at(store: MemoryStore, operation: str, key: str) -> None:
    """Let the process die right before its next such call."""

    def before(found_operation: str, found_key: str) -> None:
        if found_operation == operation and found_key.startswith(key):
            store.before = lambda _operation, _key: None
            raise Killed(f"{operation} {key}")

    store.before = before


def ready(**policy: object) -> World:
    world = World(POLICY.model_copy(update={"min_error_cases": 1000, **policy}))
    world.install_model()
    world.record_calls(range(100))
    world.publish(*(builders.error(n) for n in range(20)))
    world.settle()
    return world


def force(world: World, number: int = 1) -> str:
    return launch(builders.message(FinetuneRequested(event_id=f"force{number}", occurred_at=START)), world.deps)


def cancel(world: World) -> str:
    return launch(builders.message(FinetuneCancelled(event_id="cancel1", occurred_at=START)), world.deps)


def trainable(world: World, cycle: int) -> set[str]:
    sealed = find_dataset(world.ports, cycle)
    return {row.event_id for row in sealed.rows if row.split != "holdout"} if sealed else set()


def held_out(world: World, cycle: int) -> set[str]:
    sealed = find_dataset(world.ports, cycle)
    return {row.event_id for row in sealed.rows if row.split == "holdout"} if sealed else set()


def seeded(count: int) -> MemoryStore:
    store = MemoryStore()
    for number in range(count):
        ledger.append(store, [builders.error(number)], f"seed{number}")
    return store


def test_trace_3_a_cancel_that_dies_between_state_and_head_is_finished_by_its_redelivery() -> None:
    world = ready(auto_approve_finetuning=False, min_error_cases=20)
    world.publish(builders.error(20))
    world.settle()
    assert world.state(1).status == Status.AWAITING_APPROVAL
    die_at(world.store, "put", keys.HEAD)
    with pytest.raises(Killed):
        cancel(world)
    assert world.state(1).status == Status.CANCELLED
    assert read_head(world.store) == 1
    cancel(world)
    assert read_head(world.store) == 2


def test_trace_3_a_new_request_also_moves_the_head_past_a_cancelled_cycle() -> None:
    world = ready(auto_approve_finetuning=False, min_error_cases=20)
    world.publish(builders.error(20))
    world.settle()
    die_at(world.store, "put", keys.HEAD)
    with pytest.raises(Killed):
        cancel(world)
    assert "cycle 2 opened" in force(world)
    assert trainable(world, 1) | held_out(world, 1) == {f"e{n}" for n in range(21)}
    assert trainable(world, 2) == trainable(world, 1)


def test_two_cycles_cancelled_in_a_row_leave_both_ledgers_to_the_third() -> None:
    world = ready(auto_approve_finetuning=False, min_error_cases=20)
    world.publish(builders.error(20))
    world.settle()
    cancel(world)
    world.publish(*(builders.error(n) for n in range(30, 55)))
    world.settle()
    launch(builders.message(FinetuneCancelled(event_id="cancel2", occurred_at=START)), world.deps)
    assert world.state(2).status == Status.CANCELLED
    world.publish(builders.error(60))
    world.settle()
    force(world)
    sealed = find_dataset(world.ports, 3)
    assert sealed is not None
    held = held_out(world, 1) | held_out(world, 2) | held_out(world, 3)
    assert trainable(world, 3) | held == {*(f"e{n}" for n in (*range(21), *range(30, 55), 60))}
    judged = world.store.get(keys.clips(3, "holdout")).data.decode()
    assert all(f'"utterance_id":"u{event_id[1:]}"' in judged for event_id in held)
    assert [row.event_id for row in sealed.rows if row.origin == "fresh"] == ["e60"]


def test_a_flush_that_knew_the_head_before_a_cancelled_cycle_is_consumed_once() -> None:
    world = ready(auto_approve_finetuning=False, min_error_cases=20)
    head = KnownHead()
    assert head.read(world.store) == 1
    world.publish(builders.error(20))
    world.settle()
    cancel(world)
    assert ledger.append(world.store, [builders.error(60)], "late", head) == 2
    assert [any(event.event_id == "e60" for event in ledger.read_events(world.store, cycle)) for cycle in (1, 2)] == [True, True]
    assert "cycle 2 opened" in force(world)
    datasets = [find_dataset(world.ports, cycle) for cycle in (1, 2)]
    rows = [row for sealed in datasets if sealed is not None for row in sealed.rows if row.event_id == "e60"]
    assert [row.origin for row in rows] == ["fresh", "carried"], "of the cancelled cycle, and so the next one's to learn"
    assert "e60" in trainable(world, 2) | held_out(world, 1) | held_out(world, 2)


def test_trace_4_a_launcher_that_dies_after_moving_the_head_is_carried_on() -> None:
    world = ready()
    die_at(world.store, "list", keys.ledger(1))
    with pytest.raises(Killed):
        force(world)
    die_at(world.store, "put", keys.dataset(1))
    with pytest.raises(Killed):
        force(world)
    assert read_head(world.store) == 2
    assert find_dataset(world.ports, 1) is None
    force(world)
    assert find_dataset(world.ports, 1) is not None
    assert world.trainers.list_names() == ["retune-trainer-000001-1"]


def test_trace_6_a_dead_lettered_launch_is_carried_on_by_the_sweeper() -> None:
    world = ready()
    die_at(world.store, "put", keys.spec(1))
    with pytest.raises(Killed):
        force(world)
    assert world.state(1).status == Status.PREPARING
    assert "carry on" not in sweep(world.deps)
    world.clock.advance(POLICY.preparing_lease_s)
    assert "carry on" in sweep(world.deps)
    assert world.trainers.list_names() == ["retune-trainer-000001-1"]


def test_trace_7_a_compactor_that_dies_before_its_deletes_then_two_more_compactions() -> None:
    store = seeded(3)
    die_at(store, "delete", keys.ledger(1))
    with pytest.raises(Killed):
        compact(store, 1)
    assert ledger.count(store, 1).errors == 3
    for number in (3, 4):
        ledger.append(store, [builders.error(number)], f"later{number}")
    assert compact(store, 1) == 2  # at once, not at the tick after
    for number in (5, 6):
        ledger.append(store, [builders.error(number)], f"last{number}")
    assert compact(store, 1) == 2
    assert ledger.count(store, 1).errors == 7
    assert len(ledger.read_events(store, 1)) == 7


def test_trace_8_a_second_try_of_a_compaction_writes_a_part_of_another_name() -> None:
    store = seeded(3)
    die_at(store, "put", keys.ledger_index(1))
    with pytest.raises(Killed):
        compact(store, 1)
    orphan = {info.key for info in store.list(keys.ledger(1)) if "/part-" in info.key}
    compact(store, 1)
    parts = {info.key for info in store.list(keys.ledger(1)) if "/part-" in info.key}
    assert len(orphan) == 1
    assert len(parts) == 2
    assert len(ledger.read_events(store, 1)) == 3


def test_trace_9_no_part_is_garbage_before_its_dataset_exists() -> None:
    store = seeded(3)
    compact(store, 1)
    with pytest.raises(InvariantBroken, match=r"expected cycles/000001/dataset\.jsonl"):
        collect_garbage(store, 1)
    assert len(ledger.read_events(store, 1)) == 3


def test_trace_10_a_model_is_garbage_only_after_a_swap_that_a_promotion_would_see() -> None:
    world = ready()
    world.write_model(7, base=0, learned=(7,))
    now = world.clock.now()
    command = Command(cause="c", at=now, by="test", reason="test")
    apply_with_cas(world.store, keys.PRODUCTION, CODEC, lambda found: decide_withdraw(found, 7, command, collect=True))
    other = command.model_copy(update={"cause": "d"})
    assert decide_promote(world.production(), 7, other, champion=0).reason == GONE
    assert decide_promote(world.production(), 7, other, champion=None, override=True).reason == GONE
    assert decide_withdraw(world.production(), 0, other, collect=True).reason == "v0 is live: roll it back"


def test_a_rollback_without_a_good_version_before_it_is_refused() -> None:
    world = ready()
    command = Command(cause="c", at=world.clock.now(), by="test", reason="test")
    assert "no good version before it" in decide_rollback(world.production(), None, command).reason


def test_trace_14_a_slow_duplicate_that_starts_an_old_attempt_again_deletes_it() -> None:
    world = ready()
    force(world)
    (run,) = world.trainers.runs.values()
    world.begin(run)
    world.trainers.delete(run.name)  # preempted
    sweep(world.deps)
    assert world.state(1).attempt == 2
    world.trainers.start(run)  # the slow duplicate of the first launch
    assert world.work(run) == "attempt 2 is at work, not 1"
    world.trainers.start(run)
    sweep(world.deps)
    assert world.trainers.list_names() == ["retune-trainer-000001-2"]


def test_trace_14_a_trainer_started_after_the_result_does_nothing() -> None:
    world = ready()
    force(world)
    (run,) = world.trainers.runs.values()
    world.work(run)
    assert world.work(run) == "result.json exists"


def test_trace_14_a_completion_before_the_launch_was_recorded_is_validated() -> None:
    world = ready()
    finished: list[str] = []
    start = world.trainers.start

    def start_and_finish(run: TrainerRun) -> object:
        outcome = start(run)
        finished.append(world.work(run))
        world.settle()
        return outcome

    world.trainers.start = start_and_finish  # type: ignore[assignment,method-assign]
    force(world)
    assert finished == ["completed"]
    assert world.state(1).ended
    assert world.trainers.list_names() == []


def test_trace_16_a_reaper_lists_trainers_before_it_reads_states() -> None:
    world = ready()
    force(world)
    (run,) = world.trainers.runs.values()
    calls: list[str] = []
    listing = world.trainers.list_names
    world.trainers.list_names = lambda: (calls.append("list"), listing())[1]  # type: ignore[method-assign,func-returns-value]
    world.store.before = lambda operation, key: calls.append(key) if key == keys.state(run.cycle) else None
    sweep(world.deps)
    state = keys.state(run.cycle)
    assert calls == [state, "list", state], "before it to tell whether one is gone; after it whether one is wanted"
    assert world.trainers.list_names() == [run.name]


def test_trace_16_a_trainer_of_a_cycle_that_opened_after_the_states_were_read_is_wanted() -> None:
    world = ready()
    listing = world.trainers.list_names
    world.trainers.list_names = lambda: (force(world), listing())[1]  # type: ignore[method-assign]
    sweep(world.deps)
    assert listing() == [TrainerRun(1, 1).name]


def test_an_acceptance_of_a_cancelled_cycle_promotes_nothing() -> None:
    world = ready(auto_deploy=False)
    force(world)
    cancel(world)
    assert check_state(1, world.state(1)) == "v1: expected an accepted cycle, found it cancelled"


def test_a_lost_reply_is_known_as_ours() -> None:
    store = MemoryStore()
    lost = iter([True])

    def lose_once(operation: str, _key: str) -> None:
        if operation == "put" and next(lost, False):
            raise Conflict("the client tried again after the reply was lost, and met its own write")

    store.after = lose_once
    written = commit(store, "x", b"mine", if_generation_match=ABSENT)
    assert find(store, "x") is not None
    assert written.generation == store.stat("x").generation
    with pytest.raises(Conflict):
        commit(store, "x", b"other", if_generation_match=ABSENT)
