"""The loop in memory with trainers on Cloud Run: what launcher and sweeper make of executions that end, wait or stay."""

from collections.abc import Iterator

import pytest

from shared.cycle import Status
from tests.google_api.run import CloudRun, JobFate, jobs_on, run_server
from tests.google_api.settings import google_settings
from tests.google_api.world import CloudWorld
from tests.world import POLICY


@pytest.fixture
def jobs() -> CloudRun:
    return CloudRun()


@pytest.fixture
def world(jobs: CloudRun) -> Iterator[CloudWorld]:
    with run_server(jobs) as server:
        made = CloudWorld(server, jobs_on, google_settings(launcher="cloud_run"))
        jobs.clock = made.clock
        yield made


def test_a_crossing_ends_in_a_job_and_a_model(world: CloudWorld, jobs: CloudRun) -> None:
    run = world.open_first_cycle()
    assert list(jobs.jobs) == [run.name]
    assert world.trainer(run).work() == "completed"
    jobs.finish(run.name, "EXECUTION_SUCCEEDED")
    world.settle()
    assert world.state(1).status in {Status.ACCEPTED, Status.DEPLOYED, Status.CANARY}


def test_an_execution_that_was_ended_is_an_interruption_at_the_next_tick(world: CloudWorld, jobs: CloudRun) -> None:
    run = world.open_first_cycle()
    assert world.begin(run) == ""
    world.tick()
    assert world.state(1).status == Status.TRAINING
    jobs.finish(run.name)
    world.tick()
    assert (world.state(1).status, world.state(1).attempt) == (Status.PREPARING, 2)
    assert list(jobs.jobs) == ["retune-trainer-000001-2"]


def test_a_trainer_that_fell_silent_is_cancelled_and_followed(world: CloudWorld, jobs: CloudRun) -> None:
    run = world.open_first_cycle()
    assert world.begin(run) == ""
    world.tick(POLICY.heartbeat_timeout_s + 1)
    assert jobs.cancelled == [run.name]
    assert list(jobs.jobs) == ["retune-trainer-000001-2"]


def test_an_image_that_cannot_even_begin_uses_its_attempts_up(world: CloudWorld, jobs: CloudRun) -> None:
    world.open_first_cycle()
    for _ in range(int(3 * 2 * POLICY.preparing_lease_s / 300) + 3):
        for name in jobs.jobs:
            jobs.finish(name)
        world.tick(300)
    assert world.state(1).status == Status.FAILED
    assert "3 attempts of 3 are used up" in world.state(1).reason


def test_no_gpu_is_waited_for(world: CloudWorld, jobs: CloudRun) -> None:
    jobs.script = [JobFate(error=(8, "not enough GPUs available now"))]
    world.open_first_cycle()
    assert world.state(1).status == Status.WAITING_FOR_CAPACITY
    world.tick(60)
    assert world.state(1).status == Status.PREPARING
    assert list(jobs.jobs) == ["retune-trainer-000001-1"]
