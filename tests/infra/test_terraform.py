"""Terraform's own checks of infra/, and what Python and Terraform must agree on."""

import base64
import json
import shlex
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from functions.wiring import MAX_BACKOFF_S, MAX_DELIVERY_ATTEMPTS, MIN_BACKOFF_S, READS, dead_letter_topic, subscription_name
from infra.bundle import RUNTIME, bundle_contents
from infra.dlq.quarantine import QUARANTINE
from shared.bus import Message
from shared.config import VARIABLES, Settings
from shared.events import TOPICS, Event, FinetuneRequested, RollbackRequested, Tick
from shared.keys import CYCLES, MODELS, VERDICTS
from shared.messages import parse_event
from shared.policy import Policy
from shared.testing.clock import START
from shared.training import sha256_hex
from tests.infra.conftest import made_or_skipped
from tests.infra.inventory import GOLDEN, default_plan, inventory, resources
from tests.infra.terraform import INFRA, Workspace

pytestmark = pytest.mark.terraform

PRIMITIVE = {"roles/owner", "roles/editor", "roles/viewer"}
PUBLIC = {"allUsers", "allAuthenticatedUsers"}


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The plan of the default configuration, with the whole of each function's source."""
    return default_plan(made_or_skipped(tmp_path_factory.mktemp("plan"), small=False))


def of_type(plan: dict[str, Any], kind: str) -> dict[str, dict[str, Any]]:
    return {address: after for address, after in resources(plan) if f"{kind}." in address}


def test_the_text_is_as_fmt_writes_it(terraform: Workspace) -> None:
    done = terraform.run("fmt", "-check", "-recursive", "-diff")
    assert done.returncode == 0, done.stdout


def test_the_configuration_is_valid(terraform: Workspace) -> None:
    done = terraform.run("validate", "-no-color")
    assert done.returncode == 0, done.stderr


def test_the_bootstrap_is_valid(terraform: Workspace) -> None:
    folder = terraform.folder / "bootstrap"
    for arguments in (("init", "-backend=false", "-no-color"), ("validate", "-no-color")):
        done = terraform.run(*arguments, folder=folder)
        assert done.returncode == 0, done.stderr


def test_every_promise_holds(terraform: Workspace) -> None:
    files = sorted(path.name for path in (INFRA / "tests").glob("*.tftest.hcl"))
    filters = [[f"-filter=tests/{name}" for name in half] for half in (files[::2], files[1::2])]  # side by side
    with ThreadPoolExecutor() as pool:
        reported = [line for lines in pool.map(lambda chosen: terraform.test(*chosen), filters) for line in lines]
    summaries = [line["test_summary"] for line in reported if line["type"] == "test_summary"]
    found = [line["diagnostic"] for line in reported if line["type"] == "diagnostic"]
    problems = [
        f"{one['summary']}: {one.get('detail', '')}" for one in found if one["severity"] == "error" or "-target" not in one["detail"]
    ]
    assert ([summary["status"] for summary in summaries], problems) == (["pass", "pass"], [])
    assert sum(summary["passed"] for summary in summaries) >= 20


@pytest.mark.parametrize("environment", sorted(path.name for path in (INFRA / "envs").glob("*.tfvars")))
def test_the_example_of_an_environment_can_be_planned(environment: str, terraform: Workspace) -> None:
    test = 'mock_provider "google" {}\nmock_provider "archive" {}\nrun "planned" {\n  command = plan\n}\n'
    name = f"{environment.removesuffix('.tfvars')}_example"
    (terraform.folder / "tests" / f"{name}.tftest.hcl").write_text(test)
    done = terraform.run("test", "-no-color", f"-var-file=envs/{environment}", f"-filter=tests/{name}.tftest.hcl")
    (terraform.folder / "tests" / f"{name}.tftest.hcl").unlink()
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_inventory_is_up_to_date(plan: dict[str, Any]) -> None:
    assert inventory(plan) == GOLDEN.read_text(encoding="utf-8"), "another plan than tests/infra/inventory.txt: run `make inventory`"


def test_subscriptions_are_those_of_the_functions(plan: dict[str, Any]) -> None:
    wanted = {subscription_name(function, topic): topic for function, topics in READS.items() for topic in topics}
    subscriptions = of_type(plan, "google_pubsub_subscription")
    pushes = {after["name"]: after for after in subscriptions.values() if after["push_config"]}
    assert pushes.keys() == wanted.keys()
    assert {after["name"] for after in subscriptions.values()} - pushes.keys() == {dead_letter_topic(name) for name in wanted}
    for after in pushes.values():
        assert after["dead_letter_policy"][0]["max_delivery_attempts"] == MAX_DELIVERY_ATTEMPTS
        backoff = after["retry_policy"][0]
        assert (backoff["minimum_backoff"], backoff["maximum_backoff"]) == (f"{MIN_BACKOFF_S:.0f}s", f"{MAX_BACKOFF_S:.0f}s")


def test_topics_are_those_of_the_events_and_of_dead_letters(plan: dict[str, Any]) -> None:
    names = {after["name"] for after in of_type(plan, "google_pubsub_topic").values()}
    dead = {dead_letter_topic(subscription_name(function, topic)) for function, topics in READS.items() for topic in topics}
    assert names == set(TOPICS) | dead


MADE_AT_APPLY = {
    "RETUNE_TRAINER_NETWORK": "projects/retune-example/global/networks/retune-trainer",
    "RETUNE_TRAINER_SUBNETWORK": "projects/retune-example/regions/europe-west4/subnetworks/retune-trainer",
}
"""Known only once they are there."""


def test_what_is_handed_to_the_functions_makes_settings(plan: dict[str, Any]) -> None:
    environment = plan["output_changes"]["environment"]["after"]
    settings = Settings.from_env({**environment, **MADE_AT_APPLY})
    assert settings.bucket == "gs://retune-example-retune-prod"
    assert settings.launcher == "compute_engine", "an operator's `retune train` starts what the launcher would"
    assert settings.policy == Policy()


@pytest.mark.parametrize("function", ["launcher", "sweeper"])
def test_what_is_handed_to_whoever_starts_trainers_makes_settings(function: str, plan: dict[str, Any]) -> None:
    (after,) = [each for each in of_type(plan, "google_cloudfunctions2_function").values() if each["name"] == function]
    settings = Settings.from_env({**after["service_config"][0]["environment_variables"], **MADE_AT_APPLY})
    assert settings.launcher == "compute_engine"
    assert [candidate.provisioning for candidate in settings.trainer_candidates] == ["spot"] * 3 + ["standard"] * 3
    command = settings.cannot_train.partition("gcloud ")[2]
    assert command
    assert command in plan["output_changes"]["next_steps"]["after"][0]


def test_every_variable_is_one_that_somebody_reads(plan: dict[str, Any]) -> None:
    given: set[str] = set()
    for after in of_type(plan, "google_cloudfunctions2_function").values():
        given |= set(after["service_config"][0].get("environment_variables") or {})
    assert given <= set(VARIABLES.values())
    assert {"RETUNE_BUCKET", "RETUNE_POLICY", "RETUNE_AUDIO_PREFIXES", "GOOGLE_CLOUD_PROJECT"} <= given


def test_the_scheduler_publishes_a_tick(plan: dict[str, Any]) -> None:
    (job,) = of_type(plan, "google_cloud_scheduler_job").values()
    target = job["pubsub_target"][0]
    message = Message(base64.b64decode(target["data"]), target["attributes"], "1", START)
    assert isinstance(parse_event(message, expect=(Tick,)), Tick)


def test_nobody_has_a_primitive_role_and_nobody_is_public(plan: dict[str, Any]) -> None:
    for address, after in resources(plan):
        assert after.get("role") not in PRIMITIVE, address
        assert after.get("member") not in PUBLIC, address


def test_the_key_of_the_language_model_is_readable_to_the_trainer_alone(plan: dict[str, Any]) -> None:
    secrets = list(of_type(plan, "google_secret_manager_secret_iam_member").values())
    assert [(after["role"], after["member"].split("@")[0]) for after in secrets] == [
        ("roles/secretmanager.secretAccessor", "serviceAccount:retune-trainer")
    ]
    assert not [address for address, after in resources(plan) if "secretmanager" in str(after.get("role")) and after not in secrets]


@pytest.mark.parametrize(
    ("output", "topic", "event"),
    [("force_run", "finetune-triggers", FinetuneRequested), ("roll_back", "model-commands", RollbackRequested)],
)
def test_the_commands_that_are_printed_are_understood(output: str, topic: str, event: type[Event], plan: dict[str, Any]) -> None:
    command = shlex.split(plan["output_changes"][output]["after"])
    assert command[:5] == ["gcloud", "pubsub", "topics", "publish", topic]
    assert command[5:7] == ["--project", "retune-example"]
    typed = command[7].removeprefix("--message=")
    assert isinstance(parse_event(Message(typed.encode(), {}, "1", START), expect=(event,)), event)


@pytest.mark.parametrize("function", READS)
def test_terraform_zips_what_the_bundle_holds(function: str, plan: dict[str, Any]) -> None:
    made = {"main.py", "requirements.txt"}
    contents = {name: data.decode() if name in made else sha256_hex(data) for name, data in bundle_contents(function).items()}
    digest = sha256_hex(json.dumps(contents, sort_keys=True, separators=(",", ":")).encode())
    names = {after["name"] for after in of_type(plan, "google_storage_bucket_object").values()}
    assert f"source/{function}-{digest}.zip" in names


def test_functions_run_on_the_python_of_the_bundles(plan: dict[str, Any]) -> None:
    runtimes = {after["build_config"][0]["runtime"] for after in of_type(plan, "google_cloudfunctions2_function").values()}
    assert runtimes == {"python" + RUNTIME["python_version"].replace(".", "")}


def test_the_folders_of_the_keys_are_managed(plan: dict[str, Any]) -> None:
    names = {after["name"] for after in of_type(plan, "google_storage_managed_folder").values()}
    assert names == {CYCLES, MODELS, VERDICTS, QUARANTINE, "corpora/", "ledger/", "registry/", "runs/", "source/"}
