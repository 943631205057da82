"""Histories that once went wrong, each cut down to what it takes."""

from dataclasses import replace

import pytest

from functions.crossing import find_declined
from functions.launcher.handler import handle as launch
from functions.launcher.seal import seal
from functions.launcher.trainers import TrainerRun
from functions.sweeper.handler import sweep
from shared import keys
from shared.cycle import Status
from shared.dataset import Row
from shared.errors import Retryable
from shared.events import FinetuneRequested
from shared.line_objects import LinesObject
from shared.testing import builders
from shared.testing.clock import START
from tests.property.test_traces import Killed, die_at, force, ready
from tests.world import POLICY, FakeTrainers, World, right, wrong

SEGMENTS = keys.segment(1, "").removesuffix(".jsonl")


def training(**policy: object) -> tuple[World, TrainerRun]:
    """Return a world in which the trainer of cycle 1 is at work."""
    world = World(POLICY.model_copy(update={"min_error_cases": 1000, "holdout_share": 0.5, **policy}))
    world.install_model()
    world.record_calls(range(200))
    world.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in range(24)), *(builders.error(n) for n in range(24)))
    world.settle()
    launch(builders.message(FinetuneRequested(event_id="force1", occurred_at=START)), world.deps)
    (run,) = world.trainers.runs.values()
    assert world.begin(run) == ""
    return world, run


def test_a_trainer_that_finishes_while_the_sweeper_interrupts_it_is_judged() -> None:
    world, run = training()
    world.clock.advance(POLICY.heartbeat_timeout_s + 1)

    def finish_before_the_interruption(operation: str, key: str) -> None:
        if (operation, key) == ("put", keys.state(1)):
            world.store.before = lambda _operation, _key: None
            assert world.trainer(run).finish(wrong, right) == "completed"

    world.store.before = finish_before_the_interruption
    assert "interrupt" in sweep(world.deps)
    world.settle()
    assert world.state(1).status == Status.DEPLOYED
    assert world.state(1).attempt == 1
    assert world.trainers.list_names() == []


@pytest.mark.parametrize("last_words", ["fail", "preempt"])
@pytest.mark.parametrize("max_attempts", [1, 3])
def test_a_trainer_that_takes_its_result_for_lost_is_judged_on_it(last_words: str, max_attempts: int) -> None:
    world, run = training(max_attempts=max_attempts)
    world.bus.fail_publishes()
    assert world.trainer(run).finish(wrong, right) == "completed"  # the result stands, and nobody was told
    if last_words == "fail":
        world.trainer(run).fail("store_unavailable")
    else:
        world.trainer(run).preempt()
    world.trainers.delete(run.name)
    world.settle()
    assert world.state(1).status == Status.DEPLOYED
    assert world.state(1).attempt == 1


def test_a_result_that_was_written_before_the_interruption_is_found_by_whoever_carries_the_cycle_on() -> None:
    world, run = training()
    world.trainer(run).preempt()
    world.bus.fail_publishes()
    notice = world.bus.published("training-events")[0]

    def finish_then_die(operation: str, key: str) -> None:
        if (operation, key) == ("put", keys.state(1)):
            world.store.before = lambda _operation, _key: None
            world.trainer(run).finish(wrong, right)
            world.store.before = die

    def die(operation: str, _key: str) -> None:
        if operation == "get":  # before the attempt that follows
            world.store.before = lambda _operation, _key: None
            raise Retryable("the process died here")

    world.store.before = finish_then_die
    with pytest.raises(Retryable):
        launch(notice, world.deps)
    assert world.state(1).status == Status.INTERRUPTED
    world.tick()
    assert world.state(1).status == Status.DEPLOYED


def test_a_machine_that_does_not_go_when_its_trainer_is_done_is_ended_while_the_verdict_waits_for_a_person() -> None:
    world, run = training(auto_deploy=False)
    assert world.trainer(run).finish(wrong, right) == "completed"
    world.settle()
    assert world.state(1).status == Status.ACCEPTED
    assert world.trainers.list_names() == [run.name]
    assert f"{run.name} ended" in sweep(world.deps)
    assert world.trainers.list_names() == []


def test_a_launcher_whose_ledger_is_collected_while_it_seals_takes_the_dataset_of_the_faster() -> None:
    world = ready()
    die_at(world.store, "put", keys.dataset(1))
    with pytest.raises(Killed):
        force(world)
    faster: list[LinesObject[Row]] = []

    def collect_it_first(operation: str, key: str) -> None:
        if operation == "get" and key.startswith(SEGMENTS):
            world.store.delete(key)

    def seal_and_collect_it_first(operation: str, key: str) -> None:
        if operation == "get" and key.startswith(SEGMENTS):
            world.store.before = lambda _operation, _key: None
            faster.append(seal(world.ports, world.audio, 1))
            world.store.before = collect_it_first
            collect_it_first(operation, key)

    world.store.before = seal_and_collect_it_first
    assert seal(world.ports, world.audio, 1).sha256 == faster[0].sha256
    assert len(faster[0].rows) == 20


def test_a_forced_request_that_counts_a_ledger_while_it_is_collected_is_told_of_the_cycle_that_runs() -> None:
    world = ready()

    def be_faster(operation: str, key: str) -> None:
        if (operation, key) == ("list", SEGMENTS):
            world.store.before = lambda _operation, _key: None
            assert "opened, preparing" in force(world, 2)
            assert "objects collected" in sweep(world.deps)

    world.store.before = be_faster
    busy = "cycle 1 is preparing: one cycle at a time"
    assert force(world) == busy
    declined = find_declined(world.ports, 2)
    assert declined is not None
    assert (declined.cause, declined.decision.held) == ("force1", (busy,))
    assert find_declined(world.ports, 1) is None


class LateTrainers(FakeTrainers):
    """Lists none, and then the trainer that was started comes to work."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self._world = world

    def list_names(self) -> list[str]:
        (run,) = self._world.trainers.runs.values()
        assert self._world.begin(run) == ""
        return []


def test_a_trainer_that_comes_to_work_after_the_trainers_were_listed_is_not_taken_for_one_that_is_gone() -> None:
    world = ready()
    force(world)
    sweep(replace(world.deps, trainers=LateTrainers(world)))
    assert (world.state(1).status, world.state(1).attempt) == (Status.TRAINING, 1)
