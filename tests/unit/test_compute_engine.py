"""Google's own Compute Engine client against a server that knows Google's own description of the API, through every kind of bad luck."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt

from functions.launcher.compute_engine.launcher import DELETE_S, OPERATION_S, WALK_S, ComputeEngineLauncher
from functions.launcher.trainers import NoCapacity, Refused, Started, TrainerRun
from shared.config import Settings
from shared.errors import Retryable
from shared.testing.clock import START
from tests.google_api.compute import Compute, Fate, compute_server, failed, launcher_on
from tests.google_api.server import ApiError, GoogleApi
from tests.google_api.settings import google_settings, machines

RUN = TrainerRun(12, 1, "gs://speech-1-retune-prod/cycles/000012/spec.json", START)
NAME = RUN.name
STOCK_OUT = failed("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", "The zone does not have enough resources available.")
A, B, C = "europe-west4-a", "europe-west4-b", "europe-west4-c"
INSERT = "compute.instances.insert"
Launch = Callable[..., ComputeEngineLauncher]


@pytest.fixture
def compute() -> Compute:
    return Compute()


@pytest.fixture
def server(compute: Compute) -> Iterator[GoogleApi]:
    with compute_server(compute) as running:
        yield running


@pytest.fixture
def launch(compute: Compute, server: GoogleApi) -> Launch:
    def made(settings: Settings | None = None) -> ComputeEngineLauncher:
        return launcher_on(server, compute.clock, settings or google_settings())

    return made


def asked(server: GoogleApi) -> list[tuple[str, str, str]]:
    """Return (zone's letter, machine, provisioning) of each insert."""
    found = [(request.path["zone"][-1], request.body) for request in server.record.of(INSERT)]
    return [(zone, body["machineType"].rpartition("/")[2], body["scheduling"]["provisioningModel"]) for zone, body in found]


def test_a_machine_is_made_in_the_first_zone(compute: Compute, server: GoogleApi, launch: Launch) -> None:
    outcome = launch().start(RUN)
    assert outcome == Started(f"VM in {A}, g2-standard-8, spot")
    assert compute.names() == [(A, NAME)]
    assert asked(server) == [("a", "g2-standard-8", "SPOT")]


def test_what_is_asked_for_ends_by_itself_and_cannot_be_reached(server: GoogleApi, launch: Launch) -> None:
    launch(google_settings(max_attempt_s=7200)).start(RUN)
    (request,) = server.record.of(INSERT)
    body = request.body
    assert body["scheduling"] == {
        "provisioningModel": "SPOT",
        "instanceTerminationAction": "DELETE",
        "maxRunDuration": {"seconds": "7200"},
        "onHostMaintenance": "TERMINATE",
        "automaticRestart": False,
    }
    (interface,) = body["networkInterfaces"]
    assert "accessConfigs" not in interface
    assert interface["subnetwork"].endswith("/subnetworks/retune-trainer")
    assert body["serviceAccounts"] == [
        {"email": "retune-trainer@speech-1.iam.gserviceaccount.com", "scopes": ["https://www.googleapis.com/auth/cloud-platform"]}
    ]
    assert body["shieldedInstanceConfig"] == {"enableSecureBoot": True, "enableVtpm": True, "enableIntegrityMonitoring": True}
    assert body["labels"] == {"app": "retune", "part": "trainer", "cycle": "12", "attempt": "1"}
    (disk,) = body["disks"]
    assert disk["autoDelete"] is True
    assert disk["initializeParams"]["sourceImage"] == "projects/cos-cloud/global/images/family/cos-stable"
    metadata = {item["key"]: item["value"] for item in body["metadata"]["items"]}
    assert metadata["user-data"].startswith("#cloud-config\n")
    assert "gce-container-declaration" not in metadata


def test_after_stock_outs_in_two_zones_the_third_gives_a_machine(compute: Compute, server: GoogleApi, launch: Launch) -> None:
    compute.script[A], compute.script[B] = [STOCK_OUT], [STOCK_OUT]
    outcome = launch().start(RUN)
    assert outcome == Started(f"VM in {C}, g2-standard-8, spot")
    assert compute.names() == [(C, NAME)]
    assert asked(server) == [(zone, "g2-standard-8", "SPOT") for zone in "abc"]


def test_without_capacity_anywhere_every_candidate_was_asked_and_waiting_is_the_answer(
    compute: Compute, server: GoogleApi, launch: Launch
) -> None:
    for zone in (A, B, C):
        compute.script[zone] = [STOCK_OUT, STOCK_OUT]
    outcome = launch().start(RUN)
    assert isinstance(outcome, NoCapacity)
    assert outcome.detail.count("ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS") == 6
    assert asked(server) == [(zone, "g2-standard-8", model) for model in ("SPOT", "STANDARD") for zone in "abc"]
    assert compute.names() == []


def test_the_next_look_for_capacity_is_a_new_request(compute: Compute, server: GoogleApi, launch: Launch) -> None:
    settings = google_settings(machines=machines("a spot"))
    compute.script[A] = [STOCK_OUT]
    assert isinstance(launch(settings).start(RUN), NoCapacity)
    again = TrainerRun(RUN.cycle, RUN.attempt, RUN.spec_uri, START + timedelta(minutes=1))
    assert isinstance(launch(settings).start(again), Started)
    first, second = (request.one("requestId") for request in server.record.of(INSERT))
    assert first != second


def test_the_same_claim_is_the_same_request(compute: Compute, server: GoogleApi, launch: Launch) -> None:
    settings = google_settings(machines=machines("a spot"))
    compute.script[A] = [STOCK_OUT]
    assert launch(settings).start(RUN) == launch(settings).start(RUN)
    first, second = (request.one("requestId") for request in server.record.of(INSERT))
    assert first == second


@pytest.mark.parametrize(
    "quota",
    [
        failed("QUOTA_EXCEEDED", "Quota 'PREEMPTIBLE_NVIDIA_L4_GPUS' exceeded.  Limit: 0.0 in region europe-west4.", status=403),
        failed(
            "QUOTA_EXCEEDED",
            "exceeded",
            status=403,
            quota={"metricName": "compute.googleapis.com/preemptible_nvidia_l4_gpus", "limit": 0.0, "limitName": "L4"},
        ),
        Fate(http=ApiError(403, "quotaExceeded", "Quota 'PREEMPTIBLE_NVIDIA_L4_GPUS' exceeded.  Limit: 0.0 in region europe-west4.")),
    ],
)
def test_a_quota_of_spot_blocks_its_region_and_leaves_machines_that_stay(
    quota: Fate, compute: Compute, server: GoogleApi, launch: Launch
) -> None:
    compute.script[A] = [quota]
    assert launch().start(RUN) == Started(f"VM in {A}, g2-standard-8, standard")
    assert asked(server) == [("a", "g2-standard-8", "SPOT"), ("a", "g2-standard-8", "STANDARD")]


def test_a_quota_that_never_suffices_is_refused_with_where_to_ask(compute: Compute, launch: Launch) -> None:
    compute.script[A] = [failed("QUOTA_EXCEEDED", "Quota 'GPUS_ALL_REGIONS' exceeded.  Limit: 0.0 globally.", status=403)]
    outcome = launch().start(RUN)
    assert isinstance(outcome, Refused)
    assert "ask for 1 GPU more at https://console.cloud.google.com/iam-admin/quotas?project=speech-1" in outcome.detail
    assert compute.names() == []


def test_a_quota_that_something_else_uses_is_waited_for(compute: Compute, launch: Launch) -> None:
    compute.script[A] = [failed("QUOTA_EXCEEDED", "Quota 'GPUS_ALL_REGIONS' exceeded.  Limit: 1.0 globally.", status=403)]
    outcome = launch().start(RUN)
    assert isinstance(outcome, NoCapacity)
    assert "in use by another machine now" in outcome.detail


def test_a_missing_permission_stops_the_walk_at_once(compute: Compute, server: GoogleApi, launch: Launch) -> None:
    compute.script[A] = [Fate(http=ApiError(403, "forbidden", "Required 'compute.instances.create' permission"))]
    outcome = launch().start(RUN)
    assert isinstance(outcome, Refused)
    assert "compute.instances.create" in outcome.detail
    assert outcome.detail.endswith("run terraform apply, which grants it")
    assert len(asked(server)) == 1


def test_a_project_without_the_api_is_refused_before_anything_is_created(compute: Compute, server: GoogleApi, launch: Launch) -> None:
    compute.broken["compute.instances.aggregatedList"] = ApiError(403, "accessNotConfigured", "Compute Engine API has not been used")
    outcome = launch().start(RUN)
    assert isinstance(outcome, Refused)
    assert outcome.detail.endswith("gcloud services enable compute.googleapis.com --project speech-1")
    assert asked(server) == []


def test_a_second_delivery_adopts_the_first_ones_machine_whatever_its_zone(compute: Compute, server: GoogleApi, launch: Launch) -> None:
    compute.script[A] = [STOCK_OUT]
    assert launch().start(RUN) == Started(f"VM in {B}, g2-standard-8, spot")
    assert launch().start(RUN) == Started(f"VM in {B}, there already")
    assert compute.names() == [(B, NAME)]
    assert len(asked(server)) == 2


def test_a_name_that_appears_between_look_and_insert_is_adopted(compute: Compute, server: GoogleApi, launch: Launch) -> None:
    compute.script[A] = [Fate(http=ApiError(409, "alreadyExists", "The resource already exists"))]
    compute.before_insert = lambda zone: compute.add(zone, NAME, "STAGING")
    assert launch().start(RUN) == Started(f"VM in {A}, there already")
    assert compute.names() == [(A, NAME)]


def test_of_two_deliveries_that_started_one_each_both_keep_the_older(compute: Compute, server: GoogleApi, launch: Launch) -> None:
    """The other one looked first, met a stock-out in zone a, and starts its machine in zone b while this one inserts into zone a."""
    compute.before_insert = lambda zone: compute.add(B, NAME, age_s=5.0)
    assert launch().start(RUN) == Started(f"VM in {B}")
    assert compute.names() == [(B, NAME)]


@pytest.mark.parametrize("stock_outs", range(4))
def test_however_many_deliveries_start_at_once_one_machine_is_left(
    stock_outs: int, compute: Compute, server: GoogleApi, launch: Launch
) -> None:
    compute.script[A] = [STOCK_OUT] * stock_outs
    claims = [replace(RUN, claimed_at=START + timedelta(seconds=number)) for number in range(4)]  # none is spared by its request id

    def delivered(run: TrainerRun) -> Started | NoCapacity | Refused:
        """Start as the bus has it done: what raises Retryable, since another made the name again that it had ended, comes again."""
        again = Retrying(retry=retry_if_exception_type(Retryable), stop=stop_after_attempt(4), reraise=True)
        return again(launch().start, run)

    with ThreadPoolExecutor(len(claims)) as pool:
        outcomes = list(pool.map(delivered, claims))
    assert all(isinstance(outcome, Started) for outcome in outcomes)
    assert len(compute.names()) == 1
    assert launch().list_names() == [NAME]


def test_a_lost_reply_makes_no_second_machine(compute: Compute, server: GoogleApi, launch: Launch) -> None:
    compute.script[A] = [Fate(lost=True)]
    assert launch().start(RUN) == Started(f"VM in {A}, g2-standard-8, spot")
    assert compute.names() == [(A, NAME)]
    first, second = server.record.of(INSERT)
    assert first.one("requestId") == second.one("requestId")


def test_a_machine_taken_away_while_it_is_created_is_asked_for_again_then_elsewhere(
    compute: Compute, server: GoogleApi, launch: Launch
) -> None:
    compute.script[A] = [Fate(stays=False), Fate(stays=False), Fate(stays=False)]
    assert launch().start(RUN) == Started(f"VM in {B}, g2-standard-8, spot")
    lives = [request.one("requestId") for request in server.record.of(INSERT)]
    assert len(set(lives)) == len(lives) == 4
    assert compute.names() == [(B, NAME)]


def test_preempted_while_creating_may_also_be_an_error_of_the_operation(compute: Compute, launch: Launch) -> None:
    compute.script[A] = [failed("UNSUPPORTED_OPERATION", "The instance was preempted while it was being created", status=400)]
    assert launch().start(RUN) == Started(f"VM in {B}, g2-standard-8, spot")


def test_an_operation_that_never_ends_is_left_to_the_sweeper_within_the_time(compute: Compute, launch: Launch) -> None:
    compute.script[A] = [Fate(ends=False)]
    began = compute.clock.now()
    outcome = launch().start(RUN)
    assert outcome == Started(f"VM in {A}: operation operation-1 has not ended yet")
    assert (compute.clock.now() - began).total_seconds() < WALK_S


def test_a_walk_ends_in_time_and_says_what_was_not_tried(compute: Compute, server: GoogleApi, launch: Launch) -> None:
    """Each operation takes most of a machine's share of the time to tell of its error."""
    for zone in (A, B, C):
        compute.script[zone] = [STOCK_OUT, STOCK_OUT]
    compute.looks = 31
    began = compute.clock.now()
    outcome = launch().start(RUN)
    assert isinstance(outcome, NoCapacity)
    assert "no time was left" in outcome.detail
    assert len(asked(server)) == 3
    assert (compute.clock.now() - began).total_seconds() <= WALK_S + OPERATION_S


def test_what_is_left_of_an_earlier_life_goes_before_the_name_is_used_again(compute: Compute, launch: Launch) -> None:
    compute.add(C, NAME, "TERMINATED")
    assert launch().start(RUN) == Started(f"VM in {A}, g2-standard-8, spot")
    assert compute.names() == [(A, NAME)]


def test_a_started_name_can_be_started_again_within_the_hour_in_which_its_request_is_remembered(compute: Compute, launch: Launch) -> None:
    launcher = launch()
    launcher.start(RUN)
    launcher.delete(NAME)
    assert launcher.start(RUN) == Started(f"VM in {A}, g2-standard-8, spot")
    assert compute.names() == [(A, NAME)]


def test_a_zone_that_does_not_have_the_machine_costs_one_question(compute: Compute, server: GoogleApi, launch: Launch) -> None:
    compute.zones = (B,)
    settings = google_settings(machines=machines("a spot", "a standard", "b spot"))
    assert launch(settings).start(RUN) == Started(f"VM in {B}, g2-standard-8, spot")
    assert asked(server) == [("b", "g2-standard-8", "SPOT")]
    assert [request.path["zone"] for request in server.record.of("compute.machineTypes.get")] == [A, B]


def test_machines_that_are_nowhere_are_refused_before_anything_is_created(compute: Compute, server: GoogleApi, launch: Launch) -> None:
    outcome = launch(google_settings(machines=machines("a spot g2-standard-9", "b spot g2-standard-9"))).start(RUN)
    assert isinstance(outcome, Refused)
    assert "gcloud compute machine-types list --project speech-1 --filter='name=g2-standard-9'" in outcome.detail
    assert asked(server) == []


def test_without_an_image_every_start_is_refused_and_the_build_command_is_named(server: GoogleApi, launch: Launch) -> None:
    outcome = launch(google_settings(image="")).start(RUN)
    assert isinstance(outcome, Refused)
    assert "gcloud builds submit --project speech-1 --region europe-west4 --config trainer/cloudbuild.yaml" in outcome.detail
    assert server.record.requests == []


@pytest.mark.parametrize(("attempt", "model"), [(1, "SPOT"), (2, "SPOT"), (3, "STANDARD")])
def test_after_two_attempts_on_spot_the_third_runs_on_demand(attempt: int, model: str, server: GoogleApi, launch: Launch) -> None:
    launch(google_settings(spot_attempts=2)).start(TrainerRun(12, attempt, RUN.spec_uri, START))
    assert asked(server) == [("a", "g2-standard-8", model)]


def test_a_list_without_machines_that_stay_stays_on_spot(server: GoogleApi, launch: Launch) -> None:
    launch(google_settings(machines=machines("a spot"), spot_attempts=0)).start(RUN)
    assert asked(server) == [("a", "g2-standard-8", "SPOT")]


def test_a_machine_that_does_not_end_is_no_silent_success(compute: Compute, launch: Launch) -> None:
    compute.add(A, NAME)
    compute.stubborn = True
    began = compute.clock.now()
    with pytest.raises(Retryable, match=r"expected it to be gone, it is still there \(its operation has not ended in 150 s\)"):
        launch().delete(NAME)
    assert (compute.clock.now() - began).total_seconds() < DELETE_S + 10


def test_all_machines_of_a_name_end_and_no_other(compute: Compute, launch: Launch) -> None:
    for zone, name in ((A, NAME), (B, NAME), (B, f"{NAME}0"), (C, "somebody-elses")):
        compute.add(zone, name)
    launch().delete(NAME)
    assert compute.names() == [(B, f"{NAME}0"), (C, "somebody-elses")]


def test_only_trainers_are_listed_the_stopped_ones_too(compute: Compute, launch: Launch) -> None:
    for zone, name, status in ((B, NAME, "RUNNING"), (A, "retune-trainer-000012-2", "TERMINATED"), (C, "retune-trainer-of-ana", "RUNNING")):
        compute.add(zone, name, status)
    assert launch().list_names() == [NAME, "retune-trainer-000012-2"]


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_service_that_is_away_is_asked_again_and_then_the_message_comes_again(
    status: int, compute: Compute, server: GoogleApi, launch: Launch
) -> None:
    compute.broken["compute.instances.aggregatedList"] = ApiError(status, "backendError", "try again")
    with pytest.raises(Retryable, match="VMs of all zones: backendError: try again"):
        launch().start(RUN)
    assert len(server.record.of("compute.instances.aggregatedList")) == 3


def test_while_a_zone_cannot_be_looked_into_nobody_can_tell_what_is_there(compute: Compute, server: GoogleApi, launch: Launch) -> None:
    compute.unreachable = (C,)
    for ask in (lambda: launch().start(RUN), launch().list_names, lambda: launch().delete(NAME)):
        with pytest.raises(Retryable, match="VMs in europe-west4-c: UNREACHABLE"):
            ask()
    assert asked(server) == []


@pytest.mark.parametrize(
    ("fate", "outcome", "inserts"),
    [
        (failed("SOMETHING_NEW", status=500), Started, 2),
        (failed("SOMETHING_NEW", status=400), Refused, 1),
        (Fate(http=ApiError(400, "somethingNew", "unheard of")), Refused, 1),
        (Fate(http=ApiError(412, "conditionNotMet", "Constraint constraints/compute.requireShieldedVm violated")), Refused, 1),
        (failed("RESOURCE_NOT_FOUND", "The resource 'projects/speech-1/global/networks/x' was not found", status=404), Refused, 1),
    ],
)
def test_a_code_that_nobody_knows_blocks_a_candidate_when_the_server_is_at_fault_and_everything_otherwise(
    fate: Fate, outcome: type, inserts: int, compute: Compute, server: GoogleApi, launch: Launch
) -> None:
    compute.script[A] = [fate]
    assert isinstance(launch().start(RUN), outcome)
    assert len(asked(server)) == inserts


def test_an_insert_that_fails_three_times_is_tried_elsewhere(compute: Compute, server: GoogleApi, launch: Launch) -> None:
    compute.script[A] = [Fate(http=ApiError(503, "backendError", "try again"))] * 3
    assert launch().start(RUN) == Started(f"VM in {B}, g2-standard-8, spot")
    assert len(asked(server)) == 4
