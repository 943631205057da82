"""Jobs of Cloud Run against a server that knows Google's own description of the API, through every kind of bad luck."""

from collections.abc import Callable, Iterator

import pytest

from functions.launcher.cloud_run.job import build_job
from functions.launcher.cloud_run.launcher import DELETE_S, START_S, CloudRunLauncher
from functions.launcher.trainers import NoCapacity, Refused, Started, TrainerRun
from shared.config import Settings
from shared.errors import Retryable
from shared.gold import GoldConfig
from shared.testing.clock import START
from tests.google_api.run import CloudRun, JobFate, jobs_on, run_server
from tests.google_api.server import ApiError, GoogleApi
from tests.google_api.settings import IMAGE, google_settings, machines

RUN = TrainerRun(12, 1, "gs://speech-1-retune-prod/cycles/000012/spec.json", START)
NAME = RUN.name
CREATE = "run.projects.locations.jobs.create"
SETTINGS = google_settings(machines=machines("a spot"), launcher="cloud_run")
Launch = Callable[..., CloudRunLauncher]


@pytest.fixture
def cloud() -> CloudRun:
    return CloudRun()


@pytest.fixture
def server(cloud: CloudRun) -> Iterator[GoogleApi]:
    with run_server(cloud) as running:
        yield running


@pytest.fixture
def launch(cloud: CloudRun, server: GoogleApi) -> Launch:
    def made(settings: Settings = SETTINGS) -> CloudRunLauncher:
        return jobs_on(server, cloud.clock, settings)

    return made


def test_a_job_is_made_and_started_in_one_request(cloud: CloudRun, server: GoogleApi, launch: Launch) -> None:
    assert launch().start(RUN) == Started("job in europe-west4")
    assert list(cloud.jobs) == [NAME]
    (request,) = server.record.of(CREATE)
    assert request.body["startExecutionToken"] == "run"
    assert len(NAME) + len("run") < 63


def test_what_is_asked_for_is_one_task_on_one_gpu_that_nobody_retries(server: GoogleApi, launch: Launch) -> None:
    launch().start(RUN)
    (request,) = server.record.of(CREATE)
    task = request.body["template"]["template"]
    (container,) = task["containers"]
    assert (container["image"], container["args"]) == (IMAGE, ["--spec", RUN.spec_uri, "--attempt", "1"])
    assert {each["name"]: each["value"] for each in container["env"]} == {
        "GOOGLE_CLOUD_PROJECT": "speech-1",
        "RETUNE_IMAGE_DIGEST": IMAGE.partition("@")[2],
        "RETUNE_MACHINE_TYPE": "cloud-run-nvidia-l4",
        "RETUNE_PROVISIONING": "standard",
    }
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert (task["nodeSelector"], task["maxRetries"], request.body["template"]["taskCount"]) == ({"accelerator": "nvidia-l4"}, 0, 1)
    assert task["serviceAccount"] == "retune-trainer@speech-1.iam.gserviceaccount.com"


@pytest.mark.parametrize(("longest_s", "timeout"), [(43_200, "3600s"), (1800, "1800s")])
def test_a_task_ends_within_the_hour_that_cloud_run_gives(longest_s: int, timeout: str, server: GoogleApi, launch: Launch) -> None:
    launch(google_settings(machines=machines("a spot"), launcher="cloud_run", max_attempt_s=longest_s)).start(RUN)
    assert server.record.of(CREATE)[0].body["template"]["template"]["timeout"] == timeout


def test_the_key_of_a_language_model_comes_from_its_secret(server: GoogleApi, launch: Launch) -> None:
    gold = GoldConfig(base_url="https://api.mistral.ai/v1", model="voxtral-small", api_key_env="MISTRAL_KEY")
    launch(google_settings(machines=machines("a spot"), launcher="cloud_run", gold=gold.model_dump())).start(RUN)
    (container,) = server.record.of(CREATE)[0].body["template"]["template"]["containers"]
    assert container["env"][-1] == {
        "name": "MISTRAL_KEY",
        "valueSource": {"secretKeyRef": {"secret": "retune-llm-key", "version": "latest"}},
    }


def test_the_trainer_is_told_where_its_spans_go_where_they_go_somewhere() -> None:
    def told(settings: Settings) -> dict[str, str]:
        (container,) = build_job(settings, RUN)["template"]["template"]["containers"]
        return {variable["name"]: variable["value"] for variable in container["env"]}

    endpoint = "https://telemetry.googleapis.com"
    assert told(SETTINGS.model_copy(update={"otlp_endpoint": endpoint}))["OTEL_EXPORTER_OTLP_ENDPOINT"] == endpoint
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" not in told(SETTINGS)


def test_a_second_delivery_finds_the_job(server: GoogleApi, launch: Launch) -> None:
    launch().start(RUN)
    assert launch().start(RUN) == Started("job in europe-west4, there already")
    assert len(server.record.of(CREATE)) == 1


def test_a_job_that_appears_between_look_and_creation_is_adopted(cloud: CloudRun, launch: Launch) -> None:
    cloud.script = [JobFate(http=ApiError(409, "ALREADY_EXISTS", "Resource already exists."))]
    assert launch().start(RUN) == Started("job in europe-west4, there already")


def test_a_lost_reply_makes_no_second_job(cloud: CloudRun, server: GoogleApi, launch: Launch) -> None:
    cloud.script = [JobFate(lost=True)]
    assert launch().start(RUN) == Started("job in europe-west4, there already")
    assert len(server.record.of(CREATE)) == 2
    assert list(cloud.jobs) == [NAME]


def test_without_a_gpu_to_be_had_waiting_is_the_answer_and_nothing_is_left(cloud: CloudRun, launch: Launch) -> None:
    cloud.script = [JobFate(error=(8, "The region does not have enough GPUs available now."))]
    outcome = launch().start(RUN)
    assert isinstance(outcome, NoCapacity)
    assert outcome.detail.startswith(f"job {NAME} in europe-west4: RESOURCE_EXHAUSTED: ")
    assert cloud.jobs == {}


REFUSALS = {
    "quota": (JobFate(error=(8, "Quota exceeded for NvidiaL4GpuAllocNoZonalRedundancyPerProjectRegion")), "ask for GPUs of Cloud Run"),
    "quota at once": (JobFate(http=ApiError(429, "RESOURCE_EXHAUSTED", "Quota exceeded for L4")), "ask for GPUs of Cloud Run"),
    "permission": (JobFate(http=ApiError(403, "PERMISSION_DENIED", "run.jobs.create denied")), "run terraform apply"),
    "no api": (
        JobFate(http=ApiError(403, "PERMISSION_DENIED", "Cloud Run Admin API is off", ({"reason": "SERVICE_DISABLED"},))),
        "gcloud services enable run.googleapis.com --project speech-1",
    ),
    "no key": (JobFate(error=(9, "Secret retune-llm-key/versions/latest was not found")), "gcloud secrets versions add retune-llm-key"),
    "bad request": (JobFate(http=ApiError(400, "INVALID_ARGUMENT", "no L4 in this region")), "no L4 in this region"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_a_person_must_mend_is_refused_with_what_to_do(case: str, cloud: CloudRun, launch: Launch) -> None:
    fate, text = REFUSALS[case]
    cloud.script = [fate] * 3
    outcome = launch().start(RUN)
    assert isinstance(outcome, Refused)
    assert text in outcome.detail
    assert cloud.jobs == {}


def test_an_operation_that_never_ends_keeps_its_place_within_the_time(cloud: CloudRun, launch: Launch) -> None:
    cloud.script = [JobFate(ends=False)]
    began = cloud.clock.now()
    outcome = launch().start(RUN)
    assert isinstance(outcome, Started)
    assert outcome.where.endswith("has not ended yet")
    assert (cloud.clock.now() - began).total_seconds() < START_S + 10
    assert launch().list_names() == [NAME]


@pytest.mark.parametrize("status", ["EXECUTION_FAILED", "EXECUTION_CANCELLED", "EXECUTION_SUCCEEDED"])
def test_an_execution_that_was_ended_is_no_trainer_and_its_name_can_be_used_again(status: str, cloud: CloudRun, launch: Launch) -> None:
    launcher = launch()
    launcher.start(RUN)
    cloud.finish(NAME, status)
    assert launcher.list_names() == []
    assert launcher.start(RUN) == Started("job in europe-west4")
    assert launcher.list_names() == [NAME]


def test_a_job_whose_execution_never_came_to_be_is_no_trainer(cloud: CloudRun, launch: Launch) -> None:
    cloud.add(NAME)
    del cloud.jobs[NAME]["latestCreatedExecution"]
    cloud.jobs[NAME]["terminalCondition"] = {"type": "Ready", "state": "CONDITION_FAILED", "message": "no such image"}
    assert launch().list_names() == []


def test_jobs_that_have_ended_are_taken_away_by_the_next_start_and_strangers_are_not(cloud: CloudRun, launch: Launch) -> None:
    for name, status in (("retune-trainer-000011-1", "EXECUTION_SUCCEEDED"), ("nightly-report", "EXECUTION_SUCCEEDED")):
        cloud.add(name, status)
    cloud.add("retune-trainer-000012-7", "EXECUTION_RUNNING")
    launcher = launch()
    launcher.start(RUN)
    deleted = next(name for name in cloud._operations if cloud._operations[name].looks == 0)
    cloud._operations[deleted].finish()
    assert sorted(cloud.jobs) == ["nightly-report", NAME, "retune-trainer-000012-7"]
    assert launcher.list_names() == [NAME, "retune-trainer-000012-7"]


def test_a_working_trainer_is_told_to_end_before_its_job_goes(cloud: CloudRun, launch: Launch) -> None:
    launcher = launch()
    launcher.start(RUN)
    launcher.delete(NAME)
    assert (cloud.cancelled, cloud.jobs) == ([NAME], {})


def test_a_job_that_does_not_end_is_no_silent_success(cloud: CloudRun, launch: Launch) -> None:
    cloud.add(NAME)
    cloud.stubborn = True
    began = cloud.clock.now()
    with pytest.raises(Retryable, match="expected it to be gone, it is still there"):
        launch().delete(NAME)
    assert (cloud.clock.now() - began).total_seconds() < DELETE_S + 10


def test_without_an_image_every_start_is_refused(server: GoogleApi, launch: Launch) -> None:
    outcome = launch(google_settings(machines=machines("a spot"), launcher="cloud_run", image="")).start(RUN)
    assert isinstance(outcome, Refused)
    assert "gcloud builds submit" in outcome.detail
    assert server.record.requests == []


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_service_that_is_away_is_asked_again_and_then_the_message_comes_again(
    status: int, cloud: CloudRun, server: GoogleApi, launch: Launch
) -> None:
    cloud.broken["run.projects.locations.jobs.list"] = ApiError(status, "UNAVAILABLE", "try again")
    with pytest.raises(Retryable, match="UNAVAILABLE: try again"):
        launch().start(RUN)
    assert len(server.record.of("run.projects.locations.jobs.list")) == 3
