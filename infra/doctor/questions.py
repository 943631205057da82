"""Which questions are asked of a project, and what came back [io]."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from functions.wiring import READS, dead_letter_topic, subscription_name
from infra.doctor.google import Answer, Google
from shared.documents import Frozen
from shared.events import TOPICS
from shared.keys import PRODUCTION

Question = tuple[str, str, Mapping[str, Any] | None]
"""API, path and body; None = there is nothing to send."""
THREADS = 8
SERVICES = (
    "artifactregistry",
    "cloudbuild",
    "cloudfunctions",
    "cloudresourcemanager",
    "cloudscheduler",
    "compute",
    "iam",
    "logging",
    "monitoring",
    "pubsub",
    "run",
    "secretmanager",
    "storage",
)
"""APIs that the system uses; `terraform apply` turns them on. The first few must be on for it to begin at all."""
NEEDED_TO_APPLY = (
    "artifactregistry.repositories.create",
    "cloudfunctions.functions.create",
    "cloudscheduler.jobs.create",
    "compute.networks.create",
    "iam.roles.create",
    "iam.serviceAccounts.actAs",
    "iam.serviceAccounts.create",
    "logging.logMetrics.create",
    "monitoring.alertPolicies.create",
    "pubsub.subscriptions.create",
    "pubsub.topics.create",
    "resourcemanager.projects.setIamPolicy",
    "run.services.setIamPolicy",
    "secretmanager.secrets.create",
    "serviceusage.services.enable",
    "storage.buckets.create",
    "storage.buckets.setIamPolicy",
)
TICK = "retune-tick"


class TrainerMachine(Frozen):
    """A machine that may train, as RETUNE_TRAINER_MACHINES names it."""

    zone: str
    machine_type: str
    provisioning: str

    @property
    def region(self) -> str:
        """Where its zone lies."""
        return self.zone.rpartition("-")[0]


@dataclass(frozen=True)
class ProjectFacts:
    """What the project is, whether or not anything was applied.

    Attributes:
        services: of Service Usage, for `SERVICES`.
        permissions: which of `NEEDED_TO_APPLY` whoever asks has.
        compute: the project, as Compute Engine sees it.
        regions: name -> with its quotas.
        machines: (zone, machine type) -> the machine type there.
        wanted: the machines that shall train.
    """

    project: str
    services: Answer
    billing: Answer
    permissions: Answer
    compute: Answer
    regions: Mapping[str, Answer]
    machines: Mapping[tuple[str, str], Answer]
    wanted: Sequence[TrainerMachine]


@dataclass(frozen=True)
class SystemFacts:
    """What was applied.

    Attributes:
        functions, topics, subscriptions: name -> the answer about it.
        production: `registry/production.json`.
        image: of the digest that the launcher names; None = it names none.
    """

    functions: Mapping[str, Answer]
    topics: Mapping[str, Answer]
    subscriptions: Mapping[str, Answer]
    tick: Answer
    bucket: Answer
    production: Answer
    image: Answer | None

    @property
    def applied(self) -> bool:
        """Something of it is there."""
        return any(answer.ok for answer in (*self.functions.values(), *self.topics.values()))

    def variables(self, function: str) -> Mapping[str, str]:
        """Return the environment of a function; empty where it cannot be seen."""
        config = self.functions[function].document.get("serviceConfig", {})
        return dict(config.get("environmentVariables", {}))


def ask_project(google: Google, project: str, wanted: Sequence[TrainerMachine]) -> ProjectFacts:
    """Ask what must hold before anything is applied."""
    names = "&".join(f"names=projects/{project}/services/{name}.googleapis.com" for name in SERVICES)
    questions: dict[Any, Question] = {
        "services": ("serviceusage", f"/v1/projects/{project}/services:batchGet?{names}", None),
        "billing": ("cloudbilling", f"/v1/projects/{project}/billingInfo", None),
        "permissions": (
            "cloudresourcemanager",
            f"/v1/projects/{project}:testIamPermissions",
            {"permissions": list(NEEDED_TO_APPLY)},
        ),
        "compute": ("compute", f"/compute/v1/projects/{project}", None),
    }
    regions = sorted({machine.region for machine in wanted})
    machines = sorted({(machine.zone, machine.machine_type) for machine in wanted})
    questions |= {region: ("compute", f"/compute/v1/projects/{project}/regions/{region}", None) for region in regions}
    questions |= {
        (zone, machine): ("compute", f"/compute/v1/projects/{project}/zones/{zone}/machineTypes/{machine}", None)
        for zone, machine in machines
    }
    answers = ask(google, questions)
    return ProjectFacts(
        project=project,
        services=answers["services"],
        billing=answers["billing"],
        permissions=answers["permissions"],
        compute=answers["compute"],
        regions={region: answers[region] for region in regions},
        machines={machine: answers[machine] for machine in machines},
        wanted=wanted,
    )


def ask_system(google: Google, project: str, region: str) -> SystemFacts:
    """Ask what was applied: functions, topics, subscriptions, the tick; then bucket and image as the functions name them."""
    subscriptions = [subscription_name(function, topic) for function, topics in READS.items() for topic in topics]
    dead = [dead_letter_topic(name) for name in subscriptions]
    place = f"/projects/{project}/locations/{region}"
    functions = {("function", name): ("cloudfunctions", f"/v2{place}/functions/{name}", None) for name in READS}
    topics = {("topic", name): ("pubsub", f"/v1/projects/{project}/topics/{name}", None) for name in TOPICS}
    readers = {("subscription", name): ("pubsub", f"/v1/projects/{project}/subscriptions/{name}", None) for name in (*subscriptions, *dead)}
    answers = ask(google, {**functions, **topics, **readers, "tick": ("cloudscheduler", f"/v1{place}/jobs/{TICK}", None)})
    found = {name: answers[("function", name)] for name in READS}
    variables = found["launcher"].document.get("serviceConfig", {}).get("environmentVariables", {})
    bucket = str(variables.get("RETUNE_BUCKET", "")).removeprefix("gs://")
    unnamed = Answer(0, {"error": {"message": "the launcher names no bucket"}})
    image = str(variables.get("RETUNE_TRAINER_IMAGE", ""))
    return SystemFacts(
        functions=found,
        topics={name: answers[("topic", name)] for name in TOPICS},
        subscriptions={name: answers[("subscription", name)] for name in (*subscriptions, *dead)},
        tick=answers["tick"],
        bucket=google.ask("storage", f"/storage/v1/b/{bucket}") if bucket else unnamed,
        production=google.ask("storage", f"/storage/v1/b/{bucket}/o/{quote(PRODUCTION, safe='')}?alt=media") if bucket else unnamed,
        image=_ask_image(google, image) if image else None,
    )


def ask(google: Google, questions: Mapping[Any, Question]) -> dict[Any, Answer]:
    """Ask many things side by side: API, path and body of each; the answers have the same keys."""
    with ThreadPoolExecutor(THREADS) as pool:
        answers = pool.map(lambda question: google.ask(question[0], question[1], body=question[2]), questions.values())
        return dict(zip(questions, answers, strict=True))


def _ask_image(google: Google, image: str) -> Answer:
    """Ask Artifact Registry for `REGION-docker.pkg.dev/PROJECT/REPOSITORY/NAME@sha256:...`; of other registries nothing can be asked."""
    host, _, rest = image.partition("/")
    parts = rest.split("/", 2)
    if not host.endswith("-docker.pkg.dev") or len(parts) != 3:
        return Answer(0, {"error": {"message": "it is not in Artifact Registry"}})
    project, repository, name = parts
    place = f"/v1/projects/{project}/locations/{host.removesuffix('-docker.pkg.dev')}/repositories/{repository}"
    return google.ask("artifactregistry", f"{place}/dockerImages/{quote(name, safe='@:')}")


def named_machines(text: str) -> tuple[TrainerMachine, ...]:
    """Return the machines that RETUNE_TRAINER_MACHINES names."""
    return tuple(TrainerMachine.model_validate(item) for item in json.loads(text))
