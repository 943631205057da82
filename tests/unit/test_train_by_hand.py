"""`retune train`: starts what the sweeper would start, never a second trainer."""

import json

import pytest

import infra.cli
import infra.train_cli
from functions.launcher.decide import decide_interrupted
from functions.launcher.trainers import NoCapacity, Refused
from infra.train import progress, why_not
from shared import keys
from shared.cas import apply_with_cas
from shared.cycle import CODEC, Status
from shared.documents import document_bytes
from shared.testing import builders
from shared.training import Heartbeat
from tests.command_line import Retune, command_line
from tests.world import POLICY, World, opened_world


def train(world: World, monkeypatch: pytest.MonkeyPatch) -> Retune:
    monkeypatch.setattr(infra.train_cli, "launch_deps", lambda _: world.deps)
    return command_line(world, monkeypatch, "train")


def interrupted_world() -> World:
    """A world whose first trainer was taken away, while no other machine is to be had."""
    world = opened_world()
    run = next(iter(world.trainers.runs.values()))
    assert world.begin(run) == ""
    world.trainers.answer = NoCapacity("no GPU anywhere")
    world.trainer(run).preempt()
    world.settle()
    return world


def test_a_cycle_that_waits_for_a_machine_gets_one(monkeypatch: pytest.MonkeyPatch) -> None:
    world = interrupted_world()
    assert world.state(1).status == Status.WAITING_FOR_CAPACITY
    retune = train(world, monkeypatch)
    answered = retune("--cycle", "1", "--launcher", "local")
    assert answered.exit_code == 1
    assert "cycle 1 is waiting_for_capacity, attempt 2: no GPU anywhere" in answered.stdout
    world.trainers.answer = None
    answered = retune("--cycle", "1", "--launcher", "local", "--json")
    assert answered.exit_code == 0
    answer = json.loads(answered.stdout)
    assert (answer["trainer"], answer["text"]) == (
        "retune-trainer-000001-2",
        "cycle 1, attempt 2: trainer retune-trainer-000001-2 is started",
    )
    assert world.trainers.list_names() == ["retune-trainer-000001-2"]


def test_a_trainer_that_is_there_is_adopted(monkeypatch: pytest.MonkeyPatch) -> None:
    world = opened_world()
    answered = train(world, monkeypatch)("--cycle", "1", "--launcher", "local")
    assert (answered.exit_code, answered.stdout) == (0, "cycle 1, attempt 1: trainer retune-trainer-000001-1 was there already\n")
    assert world.trainers.started == ["retune-trainer-000001-1"]


def test_a_cycle_that_trains_gets_no_second_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    world = opened_world()
    assert world.begin(next(iter(world.trainers.runs.values()))) == ""
    answered = train(world, monkeypatch)("--cycle", "1", "--launcher", "local")
    assert answered.exit_code == 1
    assert "found training: a second trainer would spoil its work" in answered.stderr
    assert world.trainers.started == ["retune-trainer-000001-1"]


def test_another_launcher_than_the_configured_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    world = interrupted_world()
    world.trainers.answer = None
    answered = train(world, monkeypatch)("--cycle", "1", "--launcher", "cloud_run")
    assert answered.exit_code == 1
    assert "launcher cloud_run: expected local, the one in RETUNE_LAUNCHER" in answered.stderr
    assert world.trainers.started == ["retune-trainer-000001-1"]


def test_a_machine_that_is_refused_fails_the_cycle_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    world = interrupted_world()
    world.trainers.answer = Refused("quota GPUS_ALL_REGIONS is 0")
    answered = train(world, monkeypatch)("--cycle", "1", "--launcher", "local")
    assert answered.exit_code == 1
    assert "cycle 1 is failed, attempt 2: the trainer cannot be started: quota GPUS_ALL_REGIONS is 0" in answered.stdout


def test_an_interrupted_cycle_whose_result_stands_needs_no_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    world = opened_world()
    run = next(iter(world.trainers.runs.values()))
    assert world.trainer(run).work() == "completed"
    now = world.clock.now()
    apply_with_cas(world.store, keys.state(1), CODEC, lambda state: decide_interrupted(state, 1, "no heartbeat", now))
    answered = train(world, monkeypatch)("--cycle", "1", "--launcher", "local")
    assert answered.exit_code == 1
    assert "cycle 1 has its result: it needs no trainer, and the validator has been told of it" in answered.stderr
    world.settle()
    assert world.state(1).status == Status.DEPLOYED


def test_a_cycle_that_nobody_opened_cannot_be_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(POLICY)
    answered = train(world, monkeypatch)("--cycle", "3", "--launcher", "local")
    assert answered.exit_code == 1
    assert "cycle 3: expected one that was opened, found none; run `retune trigger` to open one" in answered.stderr


def test_waiting_tells_of_each_phase_until_it_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    world = opened_world()
    run = next(iter(world.trainers.runs.values()))
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1:
            world.begin(run)
        elif len(waits) < 4:
            beat(world, 4 * len(waits) - 5)
        else:
            world.train(1)
            world.settle()

    monkeypatch.setattr("tenacity.nap.time.sleep", sleep)
    answered = train(world, monkeypatch)("--cycle", "1", "--launcher", "local", "--wait")
    assert answered.exit_code == 0
    assert [line for line in answered.stderr.splitlines() if line.startswith("cycle 1, attempt 1: ")][1:] == [
        "cycle 1, attempt 1: preparing",
        "cycle 1, attempt 1: training",
        "cycle 1, attempt 1: epochs 3 of 12",
        "cycle 1, attempt 1: epochs 7 of 12",
        "cycle 1, attempt 1: deployed",
    ]
    assert waits == [5.0] * 4


def beat(world: World, done: int) -> None:
    found = Heartbeat(cycle=1, attempt=1, at=world.clock.now(), phase="epochs", done=done, total=12)
    world.store.put(keys.heartbeat(1), document_bytes(found))


def test_who_does_not_wait_long_enough_is_told_that_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    world = opened_world()
    answered = train(world, monkeypatch)("--cycle", "1", "--launcher", "local", "--wait", "--timeout", "0")
    assert answered.exit_code == 4
    assert "cycle 1 is not trained within 0 s (cycle 1, attempt 1: preparing); it goes on: see `retune status`" in answered.stderr


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (Status.AWAITING_APPROVAL, "run `retune approve 1`"),
        (Status.VALIDATING, "it is trained"),
        (Status.DEPLOYED, "nothing is left to train"),
        (Status.CANCELLED, "nothing is left to train"),
    ],
)
def test_a_refusal_says_what_to_do_instead(status: Status, expected: str) -> None:
    refusal = why_not(builders.cycle_state(status, opened=Status.AWAITING_APPROVAL), 1, "local", "local")
    assert refusal is not None
    assert f"found {status}: " in refusal
    assert expected in refusal


@pytest.mark.parametrize("status", [Status.PREPARING, Status.WAITING_FOR_CAPACITY, Status.INTERRUPTED])
def test_a_cycle_before_its_training_may_be_trained(status: Status) -> None:
    assert why_not(builders.cycle_state(status), 1, "local", "local") is None


def test_the_heartbeat_of_an_earlier_attempt_says_nothing_of_this_one() -> None:
    state = builders.cycle_state(Status.TRAINING, attempt=2)
    old = Heartbeat(cycle=1, attempt=1, at=state.since, phase="epochs", done=3, total=12)
    assert progress(state, old) == "cycle 1, attempt 2: training"
