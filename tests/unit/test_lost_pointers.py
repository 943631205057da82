"""A lost head or a lost alias: nobody goes on as if the bucket were new, and what must be done is said."""

from collections.abc import Callable

import pytest
from typer.testing import Result

from infra.fsck.command import fsck
from shared import keys, ledger
from shared.alias import find_production
from shared.cycle import Status
from shared.documents import document_bytes
from shared.errors import InvariantBroken
from shared.head import Head, begin_head, move_head, read_head
from shared.objectstore import StoredObject
from shared.testing import builders
from shared.testing.memory_store import MemoryStore
from tests.command_line import command_line
from tests.world import POLICY, World

CYCLES = 2


@pytest.fixture
def world() -> World:
    """Return a world in which v1 and v2 were promoted, and cycle 3 collects."""
    made = World(POLICY.model_copy(update={"min_error_cases": 12, "holdout_share": 0.5}))
    made.install_model()
    made.record_calls(range(200))
    for cycle in range(1, CYCLES + 1):
        numbers = range(20 * cycle, 20 * cycle + 12)
        made.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in numbers), *(builders.error(n) for n in numbers))
        made.settle()
        made.train(cycle)
        made.settle()
    assert read_head(made.store) == CYCLES + 1
    assert fsck(made.store).clean
    return made


def lose(world: World, key: str) -> StoredObject:
    lost = world.store.get(key)
    world.store.delete(key)
    return lost


def retune(world: World, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    return command_line(world, monkeypatch, "registry")(*arguments)


def calls_of(store: MemoryStore, act: Callable[[], object]) -> list[str]:
    """Return the store's operations that something takes."""
    made: list[str] = []
    store.before = lambda operation, _: made.append(operation)
    act()
    store.before = lambda _operation, _key: None
    return made


# the head


def test_without_its_head_no_event_is_acknowledged_and_none_is_lost(world: World) -> None:
    head = lose(world, keys.HEAD)
    sealed = [info.key for info in world.store.list("ledger/")]
    world.publish(builders.error(190))
    world.settle()
    assert "e190" not in world.acknowledged
    assert [info.key for info in world.store.list("ledger/")] == sealed
    assert world.quarantined == []

    world.store.put(keys.HEAD, head.data)
    world.clock.advance(700)
    world.settle()
    assert "e190" in world.acknowledged
    assert [event.event_id for event in ledger.read_events(world.store, CYCLES + 1)] == ["e190"]
    assert fsck(world.store).clean


def test_the_refusal_says_what_tells_of_the_head_and_what_to_run(world: World) -> None:
    lose(world, keys.HEAD)
    for refused in (read_head, begin_head, lambda store: move_head(store, 1)):
        with pytest.raises(InvariantBroken) as caught:
            refused(world.store)
        text = str(caught.value)
        assert text.startswith("cycles/head.json: expected the cycle that is collecting, since cycles/000001/")
        assert "`retune registry rebuild-head`" in text
        assert "docs/guides/operations.md" in text


def test_a_ledger_of_a_later_cycle_alone_tells_of_a_lost_head() -> None:
    store = MemoryStore()
    ledger.append(store, [builders.error(1)], "a")
    assert read_head(store) == 1
    store.put(keys.segment(2, "b"), b"")
    with pytest.raises(InvariantBroken, match=r"since ledger/000002/segment-b\.jsonl is there"):
        read_head(store)


@pytest.mark.parametrize("key", [keys.declined(1), keys.watch(0), keys.watch(1), keys.segment(1, "a"), keys.ledger_index(1)])
def test_what_a_bucket_may_hold_before_its_first_cycle_tells_of_no_head(key: str) -> None:
    store = MemoryStore()
    store.put(key, b"{}")
    assert read_head(store) == 1


def test_a_look_at_the_head_costs_one_call_and_three_in_a_new_bucket() -> None:
    store = MemoryStore()
    assert calls_of(store, lambda: read_head(store)) == ["get", "list", "list"]
    assert begin_head(store) == 1
    assert calls_of(store, lambda: read_head(store)) == ["get"]
    assert calls_of(store, lambda: begin_head(store)) == ["get"]


def test_the_first_tick_writes_the_head_of_a_new_bucket() -> None:
    world = World()
    world.tick()
    assert world.store.get(keys.HEAD).data == document_bytes(Head(cycle=1))


def test_a_first_cycle_that_waited_for_an_approval_before_there_was_a_head_goes_on() -> None:
    made = World(POLICY.model_copy(update={"min_error_cases": 12, "auto_approve_finetuning": False}))
    made.install_model()
    made.record_calls(range(20))
    made.publish(*(builders.error(n) for n in range(12)))
    made.settle()
    assert made.state(1).status == "awaiting_approval"
    made.store.delete(keys.HEAD)  # 0.1.0 wrote it later
    made.publish(builders.error(14))
    made.settle()
    assert "e14" in made.acknowledged
    made.type("finetune-triggers", '{"approve": true}')
    made.settle()
    assert (made.state(1).status, read_head(made.store)) == ("preparing", 2)


def test_two_that_begin_at_once_take_no_beginning_for_a_loss() -> None:
    store = MemoryStore()

    def begin_meanwhile(operation: str, _key: str) -> None:
        if operation == "list":
            store.before = lambda _operation, _key: None
            begin_head(store)
            move_head(store, 1)
            store.put(keys.state(1), document_bytes(builders.cycle_state(Status.PREPARING, cycle=1)))

    store.before = begin_meanwhile
    assert read_head(store) == 2


def test_fsck_names_the_head_alone(world: World) -> None:
    lose(world, keys.HEAD)
    (finding,) = fsck(world.store).findings
    assert finding.where == keys.HEAD
    assert finding.found == "none"
    assert "`retune registry rebuild-head`" in finding.advice


def test_a_lost_head_is_rebuilt_from_the_states(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    head = lose(world, keys.HEAD)
    answered = retune(world, monkeypatch, "rebuild-head")
    assert (answered.exit_code, answered.stdout) == (0, "cycle 3 is collecting: the newest state is of cycle 2\n")
    assert world.store.get(keys.HEAD).data == head.data
    assert fsck(world.store).clean
    again = retune(world, monkeypatch, "rebuild-head")
    assert (again.exit_code, again.stderr) == (1, "cycles/head.json: expected none, found cycle 3: there is nothing to rebuild\n")


def test_a_torn_head_is_rebuilt_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    head = world.store.get(keys.HEAD)
    world.store.put(keys.HEAD, head.data[:3])
    assert retune(world, monkeypatch, "rebuild-head").exit_code == 0
    assert world.store.get(keys.HEAD).data == head.data


@pytest.mark.parametrize("lost", [keys.state(1), keys.state(2), keys.dataset(1)])
def test_a_head_is_not_rebuilt_where_the_states_do_not_say_it(world: World, monkeypatch: pytest.MonkeyPatch, lost: str) -> None:
    lose(world, keys.HEAD)
    lose(world, lost)
    answered = retune(world, monkeypatch, "rebuild-head")
    assert answered.exit_code == 1
    assert "restore the bucket instead" in answered.stderr
    assert keys.HEAD not in {info.key for info in world.store.list(keys.CYCLES)}


# the alias


def test_without_the_alias_nothing_moves_and_the_command_waits(world: World) -> None:
    alias = lose(world, keys.PRODUCTION)
    log = [info.key for info in world.store.list(keys.REGISTRY_LOG)]
    world.type("model-commands", '{"promote": 0, "override": true, "reason": "we need one"}')
    world.settle()
    assert keys.PRODUCTION not in {info.key for info in world.store.list("registry/")}
    assert [info.key for info in world.store.list(keys.REGISTRY_LOG)] == log
    assert isinstance(world.bus.failures[-1].error, InvariantBroken)
    assert "restore its newest noncurrent generation" in str(world.bus.failures[-1].error)

    world.store.put(keys.PRODUCTION, alias.data)
    world.clock.advance(700)
    world.settle()
    assert (world.production().stable, world.production().seq) == (0, len(log) + 1)
    assert fsck(world.store).clean


def test_without_the_alias_events_are_collected_and_no_cycle_starts(world: World) -> None:
    alias = lose(world, keys.PRODUCTION)
    world.publish(*(builders.error(n) for n in range(100, 112)))
    world.settle()
    assert {f"e{n}" for n in range(100, 112)} <= world.acknowledged
    assert keys.state(CYCLES + 1) not in {info.key for info in world.store.list(keys.CYCLES)}
    world.store.put(keys.PRODUCTION, alias.data)
    world.tick(1000)
    world.settle()
    assert world.state(CYCLES + 1).status == "preparing"


def test_before_the_first_promotion_there_is_no_alias_and_nothing_is_wrong() -> None:
    store = MemoryStore()
    assert find_production(store) is None
    assert fsck(store).clean


def test_an_alias_that_came_between_two_looks_is_read() -> None:
    world = World()

    def promote_meanwhile(operation: str, _key: str) -> None:
        if operation == "list":
            world.store.before = lambda _operation, _key: None
            world.install_model()

    world.store.before = promote_meanwhile
    found = find_production(world.store)
    assert found is not None
    assert found.stable == 0


def test_fsck_names_the_alias(world: World) -> None:
    lose(world, keys.PRODUCTION)
    finding = next(each for each in fsck(world.store).findings if each.where == keys.PRODUCTION)
    assert (finding.expected, finding.found) == ("the alias after move 3 or a later one", "none")
    assert "restore its newest noncurrent generation" in finding.advice
