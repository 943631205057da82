"""Settings: from the environment and back, all problems at once."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from shared.config import VARIABLES, BadSettings, Settings
from shared.policy import Policy, SuitePolicy, ValidationPolicy

LEAST = {"RETUNE_BUCKET": "gs://retune", "GOOGLE_CLOUD_PROJECT": "p", "RETUNE_AUDIO_PREFIXES": "gs://calls"}


def problems(environ: dict[str, str]) -> list[str]:
    with pytest.raises(BadSettings) as caught:
        Settings.from_env(environ)
    return [line.strip() for line in str(caught.value).splitlines()[1:]]


def test_three_variables_are_enough() -> None:
    settings = Settings.from_env(LEAST)
    assert settings == Settings(bucket="gs://retune", project="p", audio_prefixes=("gs://calls",))
    assert (settings.policy, settings.launcher, settings.count_interval_s, settings.linger_s) == (Policy(), "local", 10.0, 0.02)


def test_an_empty_environment_names_every_variable_that_must_be_set() -> None:
    assert problems({}) == ["RETUNE_BUCKET: not set", "GOOGLE_CLOUD_PROJECT: not set", "RETUNE_AUDIO_PREFIXES: not set"]


def test_all_problems_are_reported_together_each_with_what_was_found() -> None:
    found = problems(
        {
            "RETUNE_BUCKET": "retune",
            "RETUNE_AUDIO_PREFIXES": "gs://calls,https://evil",
            "RETUNE_POLICY": "{not JSON",
            "RETUNE_LAUNCHER": "kubernetes",
            "RETUNE_COUNT_INTERVAL_S": "soon",
            "RETUNE_LINGER_S": "-1",
        }
    )
    assert [problem.split(":")[0] for problem in found] == [
        "RETUNE_POLICY",
        "RETUNE_BUCKET",
        "GOOGLE_CLOUD_PROJECT",
        "RETUNE_AUDIO_PREFIXES",
        "RETUNE_LAUNCHER",
        "RETUNE_COUNT_INTERVAL_S",
        "RETUNE_LINGER_S",
    ]
    assert "found '{not JSON'" in found[0]
    assert found[1].endswith("found 'retune'")
    assert "expected gs://bucket/key or file:///path" in found[3]
    assert found[5].endswith("found 'soon'")


def test_a_wrong_number_in_the_policy_is_named_by_its_path() -> None:
    (problem,) = problems({**LEAST, "RETUNE_POLICY": '{"validation": {"alpha": 2}}'})
    assert problem.startswith("RETUNE_POLICY.validation.alpha: ")
    (problem,) = problems({**LEAST, "RETUNE_POLICY": '{"min_eror_cases": 2}'})
    assert problem.startswith("RETUNE_POLICY.min_eror_cases: Extra inputs are not permitted")
    (problem,) = problems({**LEAST, "RETUNE_POLICY": "[]"})
    assert problem.startswith("RETUNE_POLICY: ")


@pytest.mark.parametrize("blank", ["", "  ", "\t"])
def test_a_blank_variable_is_not_set(blank: str) -> None:
    assert problems({**LEAST, "GOOGLE_CLOUD_PROJECT": blank}) == ["GOOGLE_CLOUD_PROJECT: not set"]
    assert Settings.from_env({**LEAST, "RETUNE_POLICY": blank}).policy == Policy()


@pytest.mark.parametrize("prefixes", ["gs://calls,file:///srv/calls", " gs://calls , file:///srv/calls ,"])
def test_prefixes_are_parted_by_commas_whatever_stands_around_them(prefixes: str) -> None:
    settings = Settings.from_env({**LEAST, "RETUNE_AUDIO_PREFIXES": prefixes})
    assert settings.audio_prefixes == ("gs://calls", "file:///srv/calls")


@pytest.mark.parametrize("prefixes", [",", "gs://", "file:///", "/srv/calls", "gs://calls/../other"])
def test_a_prefix_that_allows_everything_or_nothing_is_refused_before_the_first_message(prefixes: str) -> None:
    (problem,) = problems({**LEAST, "RETUNE_AUDIO_PREFIXES": prefixes})
    assert problem.startswith("RETUNE_AUDIO_PREFIXES")


@pytest.mark.parametrize("bucket", ["gs://retune-", "gs://Retune", "gs://retune/folder", "file://relative", "retune"])
def test_a_bucket_that_no_store_could_open_is_refused(bucket: str) -> None:
    (problem,) = problems({**LEAST, "RETUNE_BUCKET": bucket})
    assert problem.startswith("RETUNE_BUCKET: ")


def test_settings_survive_the_way_through_the_environment() -> None:
    settings = Settings(
        bucket="gs://retune",
        project="p",
        audio_prefixes=("gs://calls", "file:///srv/calls"),
        policy=Policy(min_error_cases=7, validation=ValidationPolicy(suites={"numbers": SuitePolicy(margin=0.02)})),
        work_dir=Path("/var/retune"),
        count_interval_s=2.5,
        linger_s=0.0,
        otlp_endpoint="http://collector:4318",
        traces_file=Path("/var/retune/traces.jsonl"),
    )
    environ = settings.to_env()
    assert Settings.from_env(environ) == settings
    assert set(environ) == set(VARIABLES.values())
    assert json.loads(environ["RETUNE_POLICY"]) == {"min_error_cases": 7, "validation": {"suites": {"numbers": {"margin": 0.02}}}}


def test_where_traces_go_is_told_to_others_only_where_they_go_somewhere() -> None:
    settings = Settings.from_env({**LEAST, "OTEL_EXPORTER_OTLP_ENDPOINT": "", "RETUNE_TRACES_FILE": ""})
    assert (settings.otlp_endpoint, settings.traces_file) == ("", None)
    assert {"OTEL_EXPORTER_OTLP_ENDPOINT", "RETUNE_TRACES_FILE"} & settings.to_env().keys() == set()


def test_an_endpoint_of_traces_that_is_no_address_is_refused() -> None:
    (problem,) = problems({**LEAST, "OTEL_EXPORTER_OTLP_ENDPOINT": "localhost:4318"})
    assert problem.startswith("OTEL_EXPORTER_OTLP_ENDPOINT: ")


def test_a_prefix_with_a_comma_would_not_survive_and_is_refused() -> None:
    with pytest.raises(ValidationError, match="expected no comma"):
        Settings(bucket="gs://retune", project="p", audio_prefixes=("gs://calls/a,b",))


def test_every_field_has_its_variable() -> None:
    assert set(VARIABLES) == set(Settings.model_fields)


# trainers on Google Cloud

IMAGE = "europe-west4-docker.pkg.dev/p/retune-trainer/trainer@sha256:" + "0" * 64
SPOT = {"zone": "europe-west4-a", "machine_type": "g2-standard-8", "provisioning": "spot"}
CLOUD = {
    **LEAST,
    "RETUNE_LAUNCHER": "compute_engine",
    "RETUNE_TRAINER_IMAGE": IMAGE,
    "RETUNE_TRAINER_SERVICE_ACCOUNT": "retune-trainer@p.iam.gserviceaccount.com",
    "RETUNE_TRAINER_NETWORK": "projects/p/global/networks/retune-trainer",
    "RETUNE_TRAINER_SUBNETWORK": "projects/p/regions/europe-west4/subnetworks/retune-trainer",
    "RETUNE_TRAINER_MACHINES": json.dumps([SPOT]),
}


@pytest.mark.parametrize("launcher", ["compute_engine", "cloud_run"])
def test_what_terraform_gives_makes_settings_and_survives_the_way_back(launcher: str) -> None:
    settings = Settings.from_env({**CLOUD, "RETUNE_LAUNCHER": launcher})
    assert [str(machine) for machine in settings.trainer_machines] == ["europe-west4-a g2-standard-8 spot"]
    assert settings.cannot_train == ""
    assert Settings.from_env(settings.to_env()) == settings


def test_without_an_image_nothing_can_be_trained_and_the_build_is_named() -> None:
    settings = Settings.from_env({**CLOUD, "RETUNE_TRAINER_IMAGE": ""})
    assert "gcloud builds submit --project p --region europe-west4" in settings.cannot_train
    assert Settings.from_env(LEAST).cannot_train == ""


@pytest.mark.parametrize("image", ["trainer", "trainer:latest", IMAGE[:-1], IMAGE.replace("@sha256:", ":"), "Trainer/x@sha256:" + "0" * 64])
def test_an_image_without_a_digest_is_refused(image: str) -> None:
    (problem,) = problems({**CLOUD, "RETUNE_TRAINER_IMAGE": image})
    assert problem.startswith("RETUNE_TRAINER_IMAGE: ")
    assert "expected IMAGE@sha256:DIGEST" in problem


@pytest.mark.parametrize(
    ("change", "where", "text"),
    [
        ({"machine_type": "n1-standard-8"}, ".0.machine_type", "take g2-standard-8 (one L4)"),
        ({"machine_type": "g2"}, ".0.machine_type", ""),
        ({"zone": "europe-west4"}, ".0.zone", ""),
        ({"zone": "moon"}, ".0.zone", ""),
        ({"provisioning": "flex"}, ".0.provisioning", "'spot' or 'standard'"),
    ],
)
def test_a_machine_that_cannot_train_is_named_by_its_place(change: dict[str, str], where: str, text: str) -> None:
    (problem,) = problems({**CLOUD, "RETUNE_TRAINER_MACHINES": json.dumps([{**SPOT, **change}])})
    assert problem.startswith(f"RETUNE_TRAINER_MACHINES{where}: ")
    assert text in problem


def test_a_zone_outside_of_the_subnetworks_region_is_refused() -> None:
    (problem,) = problems({**CLOUD, "RETUNE_TRAINER_MACHINES": json.dumps([{**SPOT, "zone": "us-central1-a"}])})
    assert problem == "RETUNE_TRAINER_MACHINES: expected zones of europe-west4, where the subnetwork lies, found us-central1-a"


def test_jobs_lie_in_one_region_and_have_an_l4() -> None:
    jobs = {**CLOUD, "RETUNE_LAUNCHER": "cloud_run"}
    (problem,) = problems({**jobs, "RETUNE_TRAINER_MACHINES": json.dumps([SPOT, {**SPOT, "zone": "us-central1-a"}])})
    assert problem.endswith("expected zones of one region, where the jobs of Cloud Run lie, found europe-west4, us-central1")
    (problem,) = problems({**jobs, "RETUNE_TRAINER_MACHINES": json.dumps([{**SPOT, "machine_type": "a2-highgpu-1g"}])})
    assert "expected machines with an L4" in problem


def test_what_a_launcher_needs_is_named_all_together() -> None:
    (problem,) = problems({**LEAST, "RETUNE_LAUNCHER": "compute_engine"})
    assert problem.startswith(
        "RETUNE_TRAINER_SERVICE_ACCOUNT, RETUNE_TRAINER_NETWORK, RETUNE_TRAINER_SUBNETWORK, RETUNE_TRAINER_MACHINES: "
    )
    (problem,) = problems({**LEAST, "RETUNE_LAUNCHER": "cloud_run"})
    assert problem.startswith("RETUNE_TRAINER_SERVICE_ACCOUNT, RETUNE_TRAINER_MACHINES: ")


def test_a_folder_is_no_store_for_a_machine_of_googles() -> None:
    (problem,) = problems({**CLOUD, "RETUNE_BUCKET": "file:///srv/retune"})
    assert problem.startswith("RETUNE_BUCKET: expected gs://bucket")


def test_candidates_that_are_no_json_are_reported() -> None:
    found = problems({**CLOUD, "RETUNE_TRAINER_MACHINES": "europe-west4-a"})
    assert found[0].startswith("RETUNE_TRAINER_MACHINES: expected a JSON list, found 'europe-west4-a'")
