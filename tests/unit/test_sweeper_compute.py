"""The loop in memory with trainers on Compute Engine: what launcher and sweeper make of machines that come late, vanish, hang or stay."""

from collections.abc import Iterator
from typing import Any

import pytest

from functions.launcher.trainers import TrainerRun
from functions.sweeper.handler import sweep
from shared.cycle import Status
from shared.errors import Retryable
from shared.events import TrainingFailed
from shared.testing import builders
from tests.google_api.compute import Compute, compute_server, failed, launcher_on
from tests.google_api.server import ApiError, GoogleApi
from tests.google_api.settings import google_settings
from tests.google_api.world import CloudWorld
from tests.world import POLICY

STOCK_OUT = failed("ZONE_RESOURCE_POOL_EXHAUSTED")
A = "europe-west4-a"


class VmWorld(CloudWorld):
    """With trainers on Compute Engine."""

    def __init__(self, compute: Compute, server: GoogleApi, **settings: Any) -> None:
        super().__init__(server, launcher_on, google_settings(**settings))
        compute.clock = self.clock
        self.compute, self.server = compute, server

    def machines(self) -> list[str]:
        return [name for _, name in self.compute.names()]

    def models(self) -> list[str]:
        """Return the provisioning of each machine that was asked for."""
        return [request.body["scheduling"]["provisioningModel"] for request in self.server.record.of("compute.instances.insert")]


@pytest.fixture
def compute() -> Compute:
    return Compute()


@pytest.fixture
def server(compute: Compute) -> Iterator[GoogleApi]:
    with compute_server(compute) as running:
        yield running


@pytest.fixture
def world(compute: Compute, server: GoogleApi) -> VmWorld:
    return VmWorld(compute, server)


def test_a_crossing_ends_in_a_machine_and_a_model(world: VmWorld) -> None:
    run = world.open_first_cycle()
    assert world.machines() == [run.name]
    assert world.trainer(run).work() == "completed"
    world.settle()
    assert world.state(1).status in {Status.ACCEPTED, Status.DEPLOYED, Status.CANARY}


def test_a_tick_asks_once_which_machines_there_are(world: VmWorld) -> None:
    assert world.begin(world.open_first_cycle()) == ""
    before = len(world.server.record.requests)
    world.tick()
    assert [len(request.query.get("pageToken", [])) for request in world.server.record.requests[before:]] == [0, 1], "one list of two pages"
    assert world.state(1).status == Status.TRAINING


def test_no_capacity_anywhere_is_a_state_with_the_time_of_the_next_try(world: VmWorld, compute: Compute) -> None:
    for zone in compute.zones:
        compute.script[zone] = [STOCK_OUT] * 4
    world.open_first_cycle()
    assert world.state(1).status == Status.WAITING_FOR_CAPACITY
    assert "; next try at 2026-01-05T" in world.state(1).reason
    world.tick(30)
    assert len(world.models()) == 6
    world.tick(60)
    assert (len(world.models()), world.state(1).status) == (12, Status.WAITING_FOR_CAPACITY)
    world.tick(60)
    assert len(world.models()) == 12
    world.tick(90)
    assert world.machines() == ["retune-trainer-000001-1"]
    assert world.state(1).status == Status.PREPARING


def test_a_machine_that_vanished_is_an_interruption_and_the_next_attempt_gets_its_own(world: VmWorld, compute: Compute) -> None:
    run = world.open_first_cycle()
    assert world.begin(run) == ""
    compute.vms.clear()
    world.tick()
    assert (world.state(1).status, world.state(1).attempt) == (Status.PREPARING, 2)
    assert world.machines() == ["retune-trainer-000001-2"]


def test_a_machine_that_stopped_is_noticed_by_its_heartbeat_and_goes_before_the_next(world: VmWorld, compute: Compute) -> None:
    run = world.open_first_cycle()
    assert world.begin(run) == ""
    world.trainer(run).beat()
    compute.vms[A, run.name]["status"] = "TERMINATED"
    world.tick(POLICY.heartbeat_timeout_s - 10)
    assert world.state(1).status == Status.TRAINING
    world.tick(60)
    assert (world.state(1).status, world.state(1).attempt) == (Status.PREPARING, 2)
    assert world.machines() == ["retune-trainer-000001-2"]


def test_a_machine_that_never_comes_to_work_counts_as_an_attempt(world: VmWorld) -> None:
    world.open_first_cycle()
    world.tick(2 * POLICY.preparing_lease_s + 1)
    assert (world.state(1).status, world.state(1).attempt) == (Status.PREPARING, 2)
    assert world.machines() == ["retune-trainer-000001-2"]


def test_machines_that_are_gone_each_time_end_in_a_failed_cycle(world: VmWorld, compute: Compute) -> None:
    world.open_first_cycle()
    for _ in range(int(3 * 2 * POLICY.preparing_lease_s / 300) + 3):
        compute.vms.clear()
        world.tick(300)
    assert world.state(1).status == Status.FAILED
    assert "3 attempts of 3 are used up" in world.state(1).reason


def test_a_machine_that_could_not_be_prepared_says_so_and_the_next_is_started_at_once(world: VmWorld) -> None:
    run = world.open_first_cycle()
    told = {"event_id": "machine-1", "occurred_at": world.clock.now(), "cycle": 1, "attempt": 1, "reason": "machine_failed"}
    world.publish(TrainingFailed.model_validate({**told, "detail": "the driver of the GPU could not be installed"}))
    world.settle()
    assert world.state(1).attempt == 2
    assert world.machines() == [TrainerRun(1, 2).name] != [run.name]


def test_after_two_preemptions_the_third_attempt_runs_on_demand(world: VmWorld) -> None:
    world.open_first_cycle()
    for attempt in (1, 2):
        run = TrainerRun(1, attempt)
        assert world.begin(run) == ""
        world.trainer(run).preempt()
        world.settle()
    assert world.models() == ["SPOT", "SPOT", "STANDARD"]
    assert world.machines() == ["retune-trainer-000001-3"]


def test_machines_that_outlived_their_cycle_are_ended_others_are_not(world: VmWorld, compute: Compute) -> None:
    run = world.open_first_cycle()
    compute.add(A, "retune-trainer-000007-1")
    compute.add(A, "somebody-elses")
    world.tick()
    assert world.machines() == [run.name, "somebody-elses"]
    world.type("finetune-triggers", '{"cancel": true, "by": "ana"}')
    world.settle()
    assert world.machines() == ["somebody-elses"]


def test_a_quota_that_never_suffices_ends_the_cycle_with_what_to_do(world: VmWorld, compute: Compute) -> None:
    for zone in compute.zones:
        compute.script[zone] = [failed("QUOTA_EXCEEDED", "Quota 'NVIDIA_L4_GPUS' exceeded.  Limit: 0.0 in region europe-west4.")] * 2
    world.open_first_cycle()
    assert world.state(1).status == Status.FAILED
    assert "iam-admin/quotas?project=speech-1" in world.state(1).reason


def test_while_the_api_is_away_everything_else_is_done_and_the_tick_comes_again(world: VmWorld, compute: Compute) -> None:
    world.open_first_cycle()
    compute.broken["compute.instances.aggregatedList"] = ApiError(503, "backendError", "away")
    world.publish(*(builders.error(n) for n in range(100, 160)))
    world.settle()
    assert next(iter(world.store.list("ledger/000002/index")), None) is None
    with pytest.raises(Retryable, match="away"):
        sweep(world.cloud)
    assert next(iter(world.store.list("ledger/000002/index")), None) is not None
    compute.broken.clear()
    assert sweep(world.cloud) == "cycle 2 crossed: 60 errors, at least 60 wanted"


def test_without_an_image_no_cycle_is_opened_and_nothing_collected_is_used_up(compute: Compute, server: GoogleApi) -> None:
    made = VmWorld(compute, server, image="")
    made.open_first_cycle()
    assert next(iter(made.store.list("cycles/000001/state.json")), None) is None
    assert any("gcloud builds submit" in outcome for outcome in made.outcomes)
    made.type("finetune-triggers", '{"force": true, "by": "ana"}')
    made.settle()
    assert made.outcomes[-1].startswith("launcher: cycle 1 declined: no trainer image is set")
    assert server.record.requests == []
