"""The doctor against a project of Google's answers: what is good, what is broken, and what it says to do."""

import base64
import json
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote

import pytest
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import AuthorizedSession
from typer.testing import CliRunner, Result

import infra.cli
import infra.doctor.google
from functions.wiring import OPTIONAL, READS, dead_letter_topic, subscription_name
from infra.doctor.command import default_machines, diagnose
from infra.doctor.findings import Finding
from infra.doctor.google import Google
from infra.doctor.project_checks import quota_metric
from infra.doctor.questions import NEEDED_TO_APPLY, SERVICES
from infra.errors import Unreachable
from shared.events import TOPICS
from shared.policy import Policy
from shared.testing.loopback import LoopbackHandler, LoopbackServer

PROJECT, REGION = "speech-1", "europe-west4"
IMAGE = f"{REGION}-docker.pkg.dev/{PROJECT}/retune/trainer@sha256:{'a' * 64}"
Answers = dict[str, Any]


def project() -> Answers:
    """Return the answers of a project that is ready for the first apply, by API and path."""
    machine = {"accelerators": [{"guestAcceleratorType": "nvidia-l4", "guestAcceleratorCount": 1}]}
    quotas = [{"metric": metric, "limit": 2, "usage": 0} for metric in ("NVIDIA_L4_GPUS", "PREEMPTIBLE_NVIDIA_L4_GPUS")]
    services = [{"name": f"projects/7/services/{name}.googleapis.com", "state": "ENABLED"} for name in SERVICES]
    place = f"compute/compute/v1/projects/{PROJECT}"
    return {
        f"serviceusage/v1/projects/{PROJECT}/services:batchGet": {"services": services},
        f"cloudbilling/v1/projects/{PROJECT}/billingInfo": {"billingEnabled": True},
        f"cloudresourcemanager/v1/projects/{PROJECT}:testIamPermissions": {"permissions": list(NEEDED_TO_APPLY)},
        place: {"quotas": [{"metric": "GPUS_ALL_REGIONS", "limit": 1, "usage": 0}]},
        f"{place}/regions/{REGION}": {"quotas": quotas},
        **{f"{place}/zones/{REGION}-{letter}/machineTypes/g2-standard-8": machine for letter in "abc"},
    }


def function(name: str) -> dict[str, Any]:
    variables = {"RETUNE_BUCKET": "gs://speech-1-retune", "RETUNE_POLICY": "{}", "RETUNE_TRAINER_IMAGE": IMAGE}
    config = {
        "uri": f"https://{name}.run.app",
        "timeoutSeconds": 540,
        "environmentVariables": variables,
        "maxInstanceRequestConcurrency": 80,
    }
    return {"state": "ACTIVE", "serviceConfig": config}


def system() -> Answers:
    """Return the answers of a project in which everything is as it should be."""
    place = f"projects/{PROJECT}/locations/{REGION}"
    answers = project()
    for name, topics in READS.items():
        answers[f"cloudfunctions/v2/{place}/functions/{name}"] = function(name)
        for topic in topics:
            reader = subscription_name(name, topic)
            answers[f"pubsub/v1/projects/{PROJECT}/subscriptions/{reader}"] = {
                "pushConfig": {"pushEndpoint": f"https://{name}.run.app", "oidcToken": {"serviceAccountEmail": "push@x"}},
                "ackDeadlineSeconds": 600,
                "retryPolicy": {"minimumBackoff": "10s", "maximumBackoff": "600s"},
                "deadLetterPolicy": {"deadLetterTopic": f"{reader}-dead", "maxDeliveryAttempts": 100},
                "expirationPolicy": {},
            }
            answers[f"pubsub/v1/projects/{PROJECT}/subscriptions/{dead_letter_topic(reader)}"] = {"expirationPolicy": {}}
    answers |= {f"pubsub/v1/projects/{PROJECT}/topics/{topic}": {"name": topic} for topic in TOPICS}
    answers[f"cloudscheduler/v1/{place}/jobs/retune-tick"] = {"state": "ENABLED", "lastAttemptTime": "2026-01-05T09:00:00Z"}
    answers["storage/storage/v1/b/speech-1-retune"] = {
        "name": "speech-1-retune",
        "location": "EUROPE-WEST4",
        "versioning": {"enabled": True},
        "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}, "publicAccessPrevention": "enforced"},
    }
    answers["storage/storage/v1/b/speech-1-retune/o/registry/production.json"] = {"stable": 3}
    digest = IMAGE.rpartition("/")[2]
    answers[f"artifactregistry/v1/{place}/repositories/retune/dockerImages/{digest}"] = {"uri": IMAGE}
    return answers


SLACK = [{"url": "https://hooks.slack.example/T1/secret", "form": "slack"}]
FOLDERS = ("cycles/", "ledger/")


def secret(text: str) -> dict[str, Any]:
    return {"payload": {"data": base64.b64encode(text.encode()).decode()}}


def policy(*bindings: tuple[str, str]) -> dict[str, Any]:
    return {"bindings": [{"role": role, "members": [member]} for role, member in bindings]}


def with_options() -> Answers:
    """Return the answers of a system with notifier and console, in which everything is as it should be."""
    answers = system()
    place = f"projects/{PROJECT}/locations/{REGION}"
    for name in ("notifier", "dashboard"):
        made = function(name)
        made["serviceConfig"]["serviceAccountEmail"] = f"retune-{name}@x"
        answers[f"cloudfunctions/v2/{place}/functions/{name}"] = made
    answers[f"cloudfunctions/v2/{place}/functions/notifier"]["serviceConfig"]["secretEnvironmentVariables"] = [
        {"key": "RETUNE_WEBHOOKS", "projectId": PROJECT, "secret": "hooks", "version": "latest"}
    ]
    like = answers[f"pubsub/v1/projects/{PROJECT}/subscriptions/deployer-validation-events"]
    for topic in OPTIONAL["notifier"]:
        reader = subscription_name("notifier", topic)
        push = {**like["pushConfig"], "pushEndpoint": "https://notifier.run.app"}
        answers[f"pubsub/v1/projects/{PROJECT}/subscriptions/{reader}"] = {**like, "pushConfig": push}
        answers[f"pubsub/v1/projects/{PROJECT}/subscriptions/{dead_letter_topic(reader)}"] = {"expirationPolicy": {}}
    hooks = f"secretmanager/v1/projects/{PROJECT}/secrets/hooks"
    answers[f"{hooks}/versions/latest:access"] = secret(json.dumps(SLACK))
    answers[f"{hooks}:getIamPolicy"] = policy(("roles/secretmanager.secretAccessor", "serviceAccount:retune-notifier@x"))
    answers[f"run/v2/{place}/services/dashboard"] = {"iapEnabled": True}
    agent = "serviceAccount:service-7@gcp-sa-iap.iam.gserviceaccount.com"
    answers[f"run/v2/{place}/services/dashboard:getIamPolicy"] = policy(("roles/run.invoker", agent))
    answers[f"cloudresourcemanager/v1/projects/{PROJECT}"] = {"projectNumber": "7"}
    viewer = ("roles/iap.httpsResourceAccessor", "group:ml@example.org")
    answers[f"iap/v1/projects/7/iap_web/cloud_run-{REGION}/services/dashboard:getIamPolicy"] = policy(viewer)
    console = "serviceAccount:retune-dashboard@x"
    answers[f"cloudresourcemanager/v1/projects/{PROJECT}:getIamPolicy"] = policy(
        ("roles/monitoring.viewer", console), ("roles/owner", "user:a")
    )
    bucket = "storage/storage/v1/b/speech-1-retune/managedFolders"
    answers[bucket] = {"items": [{"name": name} for name in FOLDERS]}
    for name in FOLDERS:
        reads = f"projects/{PROJECT}/roles/retune_objects_get_list"
        answers[f"{bucket}/{name}/iam"] = policy((reads, console), ("roles/storage.objectAdmin", "user:a"))
    return answers


class Apis(LoopbackServer):
    """Google's APIs, each under its name: answers what a test says, 404 for all else; an int stands for that error."""

    def __init__(self) -> None:
        self.answers: Answers = {}
        super().__init__(_Handler, "google-apis")

    def google(self) -> Google:
        session = AuthorizedSession(AnonymousCredentials())
        return Google(session, lambda api: f"{self.root}/{api}")

    def diagnose(self, answers: Answers, *, ahead_s: float = 0.0, machine_types: tuple[str, ...] = ()) -> dict[str, Finding]:
        self.answers = answers
        now = datetime.now(UTC) + timedelta(seconds=ahead_s)
        return {finding.subject: finding for finding in diagnose(self.google(), PROJECT, REGION, now, machine_types).findings}


class _Handler(LoopbackHandler):
    server: Apis

    def do_GET(self) -> None:
        found = self.server.answers.get(unquote(self.path.partition("?")[0].lstrip("/")), 404)
        status, document = (found, {"error": {"message": "said so"}}) if isinstance(found, int) else (200, found)
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.posted()
        self.do_GET()


@pytest.fixture(scope="module")
def apis() -> Iterator[Apis]:
    with Apis() as server:
        yield server


@pytest.fixture(autouse=True)
def nobodys_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RETUNE_POLICY", "RETUNE_TRAINER_MACHINES"):
        monkeypatch.delenv(name, raising=False)


def test_a_project_that_is_ready_has_no_problem_and_the_next_step_is_named(apis: Apis) -> None:
    found = apis.diagnose(project())
    assert {finding.level for finding in found.values()} == {"ok"}
    assert set(found) == {
        "clock",
        "billing",
        "APIs",
        "your permissions",
        "machine g2-standard-8",
        f"quota PREEMPTIBLE_NVIDIA_L4_GPUS in {REGION}",
        f"quota NVIDIA_L4_GPUS in {REGION}",
        "quota GPUS_ALL_REGIONS",
    }


def test_a_system_that_is_whole_has_no_problem(apis: Apis) -> None:
    found = apis.diagnose(system())
    assert {finding.level for finding in found.values()} == {"ok"}, [each for each in found.values() if each.level != "ok"]
    assert found["model in production"].found == "v3"


def without(answers: Answers, path: str) -> Answers:
    return {key: value for key, value in answers.items() if path not in key}


def changed(answers: Answers, path: str, change: Callable[[dict[str, Any]], object]) -> Answers:
    answers = deepcopy(answers)
    key = next(key for key in answers if key.endswith(path))
    change(answers[key])
    return answers


def _policy(found: dict[str, Any], text: str) -> None:
    found["serviceConfig"]["environmentVariables"]["RETUNE_POLICY"] = text


def quota(value: int) -> Callable[[dict[str, Any]], object]:
    return lambda region: region["quotas"][0].update(limit=value)


COLLECTOR, SUBSCRIPTION = "functions/collector", "subscriptions/collector-stt-errors"
BROKEN: dict[str, tuple[Answers, str, str, str]] = {
    "no billing": (changed(project(), "billingInfo", dict.clear), "billing", "no billing account", "billing projects link"),
    "no quota": (changed(project(), f"regions/{REGION}", quota(0)), f"quota NVIDIA_L4_GPUS in {REGION}", "0, a machine needs 1", "ask for 1"),
    "no such machine": (without(project(), "machineTypes"), "machine g2-standard-8", "in none of europe-west4-a", "machine-types list"),
    "no permission": (
        changed(project(), ":testIamPermissions", dict.clear),
        "your permissions",
        f"{len(NEEDED_TO_APPLY)} are missing for terraform apply",
        "Owner",
    ),
    "an API went off": (changed(system(), "batchGet", lambda found: found["services"].pop()), "APIs", "off: storage", "gcloud services enable"),
    "no function": (without(system(), COLLECTOR), "function collector", "not there", "terraform apply again"),
    "a build that failed": (
        changed(system(), COLLECTOR, lambda found: found.update(state="FAILED", stateMessages=[{"message": "no such module"}])),
        "function collector",
        "FAILED no such module",
        "read the build's log",
    ),
    "one request at once": (
        changed(system(), COLLECTOR, lambda found: found["serviceConfig"].update(maxInstanceRequestConcurrency=1)),
        "function collector",
        "each report is a write of its own",
        "terraform apply again",
    ),
    "no topic": (without(system(), "topics/ticks"), "topics", "not there: ticks", "terraform apply again"),
    "no subscription": (without(system(), SUBSCRIPTION), "subscription collector-stt-errors", "nothing reaches", "terraform apply again"),
    "a push to elsewhere": (
        changed(system(), SUBSCRIPTION, lambda found: found["pushConfig"].update(pushEndpoint="https://old.run.app")),
        "subscription collector-stt-errors",
        "it pushes to https://old.run.app",
        "terraform apply again",
    ),
    "a short ack deadline": (
        changed(system(), SUBSCRIPTION, lambda found: found.update(ackDeadlineSeconds=10)),
        "subscription collector-stt-errors",
        "its ack deadline of 10 s is not above the function's time-out of 540 s",
        "terraform apply again",
    ),
    "no dead letters": (
        changed(system(), SUBSCRIPTION, lambda found: found.pop("deadLetterPolicy")),
        "subscription collector-stt-errors",
        "it has no dead-letter topic",
        "terraform apply again",
    ),
    "few attempts": (
        changed(system(), SUBSCRIPTION, lambda found: found["deadLetterPolicy"].update(maxDeliveryAttempts=5)),
        "subscription collector-stt-errors",
        "it gives up after 5 attempts",
        "terraform apply again",
    ),
    "a subscription that expires": (
        changed(system(), SUBSCRIPTION, lambda found: found.pop("expirationPolicy")),
        "subscription collector-stt-errors",
        "it expires",
        "terraform apply again",
    ),
    "dead letters that nobody keeps": (
        without(system(), f"{SUBSCRIPTION}-dead"),
        "subscription collector-stt-errors",
        "its dead letters have no subscription",
        "terraform apply again",
    ),
    "a paused tick": (changed(system(), "retune-tick", lambda found: found.update(state="PAUSED")), "tick", "PAUSED", "jobs resume"),
    "a bucket without versions": (
        changed(system(), "b/speech-1-retune", lambda found: found.pop("versioning")),
        "bucket",
        "it keeps no versions",
        "terraform apply again",
    ),
    "another policy": (
        changed(system(), "functions/launcher", lambda found: _policy(found, '{"min_error_cases": 7}')),
        "policy",
        "yours is not the functions': min_error_cases",
        "export RETUNE_POLICY='{\"min_error_cases\": 7}'",
    ),
    "an image that is gone": (without(system(), "dockerImages"), "trainer image", "is not in the registry", "build it again"),
    "no model": (without(system(), "production.json"), "model in production", "none", "retune models import"),
}  # fmt: skip


def given(found: dict[str, Any], role: str, member: str) -> None:
    found["bindings"].append({"role": role, "members": [member]})


HOOKS, CALLERS, VIEWERS = (
    "hooks/versions/latest:access",
    "run/v2/projects/speech-1/locations/europe-west4/services/dashboard:getIamPolicy",
    "iap_web/cloud_run-europe-west4/services/dashboard:getIamPolicy",
)
BROKEN |= {
    "a notifier without its function": (
        without(with_options(), "functions/notifier"), "function notifier", "not there", "terraform apply again",
    ),
    "a notifier that failed": (
        changed(with_options(), "functions/notifier", lambda found: found.update(state="FAILED")), "function notifier", "FAILED", "read the build's log",
    ),
    "a notifier that hears of no verdicts": (
        without(with_options(), "subscriptions/notifier-validation-events"), "subscription notifier-validation-events", "nothing reaches", "terraform apply again",
    ),
    "notices that nobody keeps": (
        without(with_options(), "subscriptions/notifier-model-events-dead"), "subscription notifier-model-events", "its dead letters have no subscription", "terraform apply again",
    ),
    "a notifier without a secret": (
        changed(with_options(), "functions/notifier", lambda found: found["serviceConfig"].pop("secretEnvironmentVariables")), "webhooks", "finds no secret in RETUNE_WEBHOOKS", "set webhooks_secret",
    ),
    "a secret that the notifier may not read": (
        changed(with_options(), "secrets/hooks:getIamPolicy", dict.clear), "webhooks", "no instance of it starts", "terraform apply again",
    ),
    "a secret without a version": (without(with_options(), HOOKS), "webhooks", "has no version", "gcloud secrets versions add"),
    "a secret that is no list": (with_options() | {f"secretmanager/v1/projects/{PROJECT}/secrets/{HOOKS}": secret("https://x")}, "webhooks", "expected a JSON list", "gcloud secrets versions add"),
    "a secret with a webhook over http": (
        with_options() | {f"secretmanager/v1/projects/{PROJECT}/secrets/{HOOKS}": secret('[{"url": "http://x.example/pass"}]')}, "webhooks", "expected https://...", "gcloud secrets versions add",
    ),
    "an empty secret": (with_options() | {f"secretmanager/v1/projects/{PROJECT}/secrets/{HOOKS}": secret(" ")}, "webhooks", "empty", "gcloud secrets versions add"),
    "a secret that is no text": (with_options() | {f"secretmanager/v1/projects/{PROJECT}/secrets/{HOOKS}": {"payload": {"data": "/w=="}}}, "webhooks", "no text", "gcloud secrets versions add"),
    "a console without IAP": (changed(with_options(), "services/dashboard", dict.clear), "IAP before the console", "off: nobody gets in", "--iap"),
    "a console that anybody may call": (
        changed(with_options(), CALLERS, lambda found: given(found, "roles/run.invoker", "allUsers")), "IAP before the console", "allUsers may call it without passing IAP", "terraform apply again",
    ),
    "IAP that may not call": (changed(with_options(), CALLERS, dict.clear), "IAP before the console", "may not call it", "terraform apply again"),
    "a console for nobody": (changed(with_options(), VIEWERS, dict.clear), "viewers of the console", "none: nobody gets in", "console_viewers"),
    "a console for everybody": (
        changed(with_options(), VIEWERS, lambda found: given(found, "roles/iap.httpsResourceAccessor", "allAuthenticatedUsers")), "viewers of the console", "anybody sees", "console_viewers",
    ),
    "a console that may write": (
        changed(with_options(), "ledger//iam", lambda found: given(found, "roles/storage.objectAdmin", "serviceAccount:retune-dashboard@x")), "the console's account", "roles/storage.objectAdmin in ledger/", "take these away",
    ),
    "a console that is an editor": (
        changed(with_options(), f"projects/{PROJECT}:getIamPolicy", lambda found: given(found, "roles/editor", "serviceAccount:retune-dashboard@x")), "the console's account", "more than read: roles/editor", "take these away",
    ),
    "a console that may read nothing": (
        changed(changed(with_options(), "ledger//iam", dict.clear), "cycles//iam", dict.clear), "the console's account", "may read nothing", "terraform apply again",
    ),
}  # fmt: skip


def test_notifier_and_console_that_are_whole_have_no_problem_and_no_secret_is_told(apis: Apis) -> None:
    found = apis.diagnose(with_options())
    assert {finding.level for finding in found.values()} == {"ok"}, [each for each in found.values() if each.level != "ok"]
    assert found["webhooks"].found == "1: hooks.slack.example"
    assert found["viewers of the console"].found == "group:ml@example.org"
    assert found["the console's account"].found == "reads 2 folders, and writes no object"
    assert "subscription notifier-model-events" in found
    broken = with_options() | {f"secretmanager/v1/projects/{PROJECT}/secrets/{HOOKS}": secret('[{"url": "http://x.example/pass"}]')}
    assert "pass" not in str(apis.diagnose(broken)["webhooks"])


def test_that_nobody_asked_for_notices_or_a_console_is_no_problem(apis: Apis) -> None:
    found = apis.diagnose(system())
    assert found["notifier"].found.startswith("none: webhooks_secret is not set")
    assert found["console"].found == "none: nobody is named in console_viewers or console_operators"


def test_what_may_not_be_seen_of_notifier_and_console_is_said(apis: Apis) -> None:
    hidden = {key: 403 for key in with_options() if "secrets/hooks" in key or "services/dashboard" in key or "managedFolders" in key}
    found = apis.diagnose(with_options() | hidden)
    assert {
        name: found[name].level for name in ("webhooks", "IAP before the console", "viewers of the console", "the console's account")
    } == {
        "webhooks": "unknown",
        "IAP before the console": "unknown",
        "viewers of the console": "unknown",
        "the console's account": "unknown",
    }


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_broken_is_found_and_its_fix_named(apis: Apis, case: str) -> None:
    answers, subject, said, fix = BROKEN[case]
    self_assured = [each for each in diagnose_all(apis, answers) if each.subject == subject and each.level == "problem"]
    assert self_assured, case
    assert said in self_assured[0].found
    assert fix in self_assured[0].fix


def diagnose_all(apis: Apis, answers: Answers) -> tuple[Finding, ...]:
    apis.answers = answers
    return diagnose(apis.google(), PROJECT, REGION, datetime.now(UTC)).findings


def test_functions_of_two_applies_are_found(apis: Apis) -> None:
    answers = changed(system(), "functions/deployer", lambda found: _policy(found, '{"cooldown_s": 1}'))
    assert "they differ" in apis.diagnose(answers)["RETUNE_POLICY of the functions"].found


def test_what_may_not_be_seen_is_no_problem_and_is_said(apis: Apis) -> None:
    answers = {**system(), f"cloudbilling/v1/projects/{PROJECT}/billingInfo": 403, "storage/storage/v1/b/speech-1-retune": 403}
    found = apis.diagnose(answers)
    assert [(found[name].level, found[name].found) for name in ("billing", "bucket")] == [("unknown", "403 said so")] * 2


def test_a_clock_that_is_wrong_is_found(apis: Apis) -> None:
    assert "ahead" in apis.diagnose(project(), ahead_s=600)["clock"].found
    assert "behind" in apis.diagnose(project(), ahead_s=-600)["clock"].found


def test_before_the_first_apply_apis_may_be_off_and_afterwards_operators_need_not_be_owners(apis: Apis) -> None:
    off = changed(project(), "batchGet", lambda found: found.update(services=[]))
    assert apis.diagnose(off)["APIs"].level == "ok"
    operator = changed(system(), ":testIamPermissions", dict.clear)
    assert apis.diagnose(operator)["your permissions"].level == "ok"


def test_a_machine_in_some_of_its_zones_is_enough_and_one_without_a_gpu_is_not(apis: Apis) -> None:
    found = apis.diagnose(without(project(), "zones/europe-west4-a"))["machine g2-standard-8"]
    assert (found.level, found.found) == ("ok", "in europe-west4-b, europe-west4-c; not in europe-west4-a")
    answers = project() | {f"compute/compute/v1/projects/{PROJECT}/zones/{REGION}-a/machineTypes/n2-standard-8": {"name": "n2"}}
    assert "no GPU" in apis.diagnose(answers, machine_types=("n2-standard-8",))["machine n2-standard-8"].found


def test_the_machines_that_the_launcher_names_are_asked_about(apis: Apis) -> None:
    named = json.dumps([{"zone": f"{REGION}-b", "machine_type": "g2-standard-8", "provisioning": "spot"}])
    answers = changed(
        system(), "functions/launcher", lambda found: found["serviceConfig"]["environmentVariables"].update(RETUNE_TRAINER_MACHINES=named)
    )
    found = apis.diagnose(answers)
    assert found["machine g2-standard-8"].found == f"in {REGION}-b"
    assert f"quota NVIDIA_L4_GPUS in {REGION}" not in found


def test_nobody_answering_is_unknown_and_bad_credentials_end_the_command() -> None:
    nowhere = Google(AuthorizedSession(AnonymousCredentials()), lambda _api: "http://127.0.0.1:1")
    answer = nowhere.ask("compute", "/x")
    assert (answer.status, answer.ok, answer.absent) == (0, False, False)

    class Refused(AnonymousCredentials):
        def before_request(self, *_args: object, **_more: object) -> None:
            raise RefreshError("expired")

    with pytest.raises(Unreachable, match="gcloud auth application-default login"):
        Google(
            AuthorizedSession(Refused()),  # type: ignore[no-untyped-call]
            lambda _api: "http://127.0.0.1:1",
        ).ask("compute", "/x")


@pytest.mark.parametrize(
    ("accelerator", "provisioning", "metric"),
    [
        ("nvidia-l4", "spot", "PREEMPTIBLE_NVIDIA_L4_GPUS"),
        ("nvidia-tesla-a100", "standard", "NVIDIA_A100_GPUS"),
        ("nvidia-a100-80gb", "standard", "NVIDIA_A100_80GB_GPUS"),
        ("nvidia-h100-80gb", "spot", "PREEMPTIBLE_NVIDIA_H100_GPUS"),
    ],
)
def test_quotas_have_names_of_their_own(accelerator: str, provisioning: str, metric: str) -> None:
    assert quota_metric(accelerator, provisioning) == metric


def test_terraforms_default_machines_are_spot_first_in_zones_that_the_region_has() -> None:
    found = default_machines("us-east1", ())
    assert [(each.zone, each.provisioning) for each in found][:4] == [
        ("us-east1-b", "spot"),
        ("us-east1-c", "spot"),
        ("us-east1-d", "spot"),
        ("us-east1-b", "standard"),
    ]


def run(apis: Apis, monkeypatch: pytest.MonkeyPatch, answers: Answers, *more: str) -> Result:
    apis.answers = answers
    monkeypatch.setattr(infra.doctor.google, "open_google", lambda _project: apis.google())
    return CliRunner().invoke(infra.cli.app, ["doctor", "--project", PROJECT, "--region", REGION, *more])


def test_the_command_ends_with_1_where_there_is_a_problem_and_says_what_comes_next(apis: Apis, monkeypatch: pytest.MonkeyPatch) -> None:
    ready = run(apis, monkeypatch, project())
    assert ready.exit_code == 0
    assert f"terraform apply -var project_id={PROJECT} -var region={REGION}" in " ".join(ready.stdout.split())
    broken = run(apis, monkeypatch, BROKEN["no topic"][0])
    assert broken.exit_code == 1
    assert "PROBLEM" in broken.stdout
    document = json.loads(run(apis, monkeypatch, system(), "--json").stdout)
    assert (document["applied"], {finding["level"] for finding in document["findings"]}) == (True, {"ok"})


def test_a_policy_of_yours_that_is_the_functions_is_no_problem(apis: Apis, monkeypatch: pytest.MonkeyPatch) -> None:
    text = Policy(min_error_cases=7).model_dump_json(exclude_defaults=True)
    answers = system()
    for name in READS:
        answers = changed(answers, f"functions/{name}", lambda found: _policy(found, text))
    monkeypatch.setenv("RETUNE_POLICY", text)
    assert apis.diagnose(answers)["policy"].level == "ok"
