"""Which questions are asked about what somebody may have asked for, the notifier and the console, and what came back [io]."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from functions.notifier.webhooks import VARIABLE
from functions.wiring import CONSOLE, OPTIONAL, dead_letter_topic, subscription_name
from infra.doctor.google import Answer, Google
from infra.doctor.questions import Question, ask

NOTIFIER = "notifier"
UNASKED = Answer(0, {"error": {"message": "it was not asked"}})


@dataclass(frozen=True)
class OptionalFacts:
    """What was applied of the notifier and the console; what follows from a function is asked only where that is there.

    Attributes:
        functions: name -> the function, or that it is not there.
        subscriptions: name -> the notifier's, and those of its dead letters.
        webhooks: the newest version of the secret that the notifier finds in its environment; None = it names none.
        secret_readers: who may read it.
        service: the console's Cloud Run service.
        callers: who may call it.
        viewers: who passes IAP.
        project_roles: who has which role in the project.
        folders: top folder of the bucket -> who has which role in it.
    """

    functions: Mapping[str, Answer]
    subscriptions: Mapping[str, Answer]
    webhooks: Answer | None = None
    secret_readers: Answer = UNASKED
    service: Answer = UNASKED
    callers: Answer = UNASKED
    viewers: Answer = UNASKED
    project_roles: Answer = UNASKED
    folders: Mapping[str, Answer] = field(default_factory=dict)

    def account(self, function: str) -> str:
        """Return whom a function works as, as a member of a policy."""
        return f"serviceAccount:{_config(self.functions[function]).get('serviceAccountEmail', '')}"


def ask_optional(google: Google, project: str, region: str) -> OptionalFacts:
    """Ask what was applied of the notifier and the console."""
    place = f"/projects/{project}/locations/{region}"
    readers = [subscription_name(function, topic) for function, topics in OPTIONAL.items() for topic in topics]
    names = [*readers, *map(dead_letter_topic, readers)]
    answers = ask(
        google,
        {
            **{("function", name): ("cloudfunctions", f"/v2{place}/functions/{name}", None) for name in (*OPTIONAL, CONSOLE)},
            **{("subscription", name): ("pubsub", f"/v1/projects/{project}/subscriptions/{name}", None) for name in names},
        },
    )
    functions = {name: answers[("function", name)] for name in (*OPTIONAL, CONSOLE)}
    questions = {**_about_webhooks(functions[NOTIFIER], project), **_about_console(google, functions[CONSOLE], project, region)}
    found = ask(google, questions)
    return OptionalFacts(
        functions=functions,
        subscriptions={name: answers[("subscription", name)] for name in names},
        webhooks=found.get("webhooks"),
        **{name: found[name] for name in ("secret_readers", "service", "callers", "viewers", "project_roles") if name in found},
        folders={name.removeprefix("folder "): answer for name, answer in found.items() if name.startswith("folder ")},
    )


def _config(function: Answer) -> Mapping[str, Any]:
    config: Mapping[str, Any] = function.document.get("serviceConfig", {})
    return config


def _about_webhooks(notifier: Answer, project: str) -> dict[str, Question]:
    named = next((each for each in _config(notifier).get("secretEnvironmentVariables", ()) if each.get("key") == VARIABLE), None)
    if named is None:
        return {}
    secret = f"/v1/projects/{named.get('projectId') or project}/secrets/{named.get('secret')}"
    return {
        "webhooks": ("secretmanager", f"{secret}/versions/{named.get('version') or 'latest'}:access", None),
        "secret_readers": ("secretmanager", f"{secret}:getIamPolicy", None),
    }


def _about_console(google: Google, console: Answer, project: str, region: str) -> dict[str, Question]:
    if not console.ok:
        return {}
    service = f"/v2/projects/{project}/locations/{region}/services/{CONSOLE}"
    number = google.ask("cloudresourcemanager", f"/v1/projects/{project}").document.get("projectNumber", project)
    bucket = str(_config(console).get("environmentVariables", {}).get("RETUNE_BUCKET", "")).removeprefix("gs://")
    listed = google.ask("storage", f"/storage/v1/b/{bucket}/managedFolders") if bucket else UNASKED
    folders = [str(item.get("name", "")) for item in listed.document.get("items", ())]
    place = f"/storage/v1/b/{bucket}/managedFolders"
    return {
        "service": ("run", service, None),
        "callers": ("run", f"{service}:getIamPolicy", None),
        "viewers": ("iap", f"/v1/projects/{number}/iap_web/cloud_run-{region}/services/{CONSOLE}:getIamPolicy", {}),
        "project_roles": ("cloudresourcemanager", f"/v1/projects/{project}:getIamPolicy", {"options": {"requestedPolicyVersion": 3}}),
        **{f"folder {name}": ("storage", f"{place}/{quote(name, safe='')}/iam", None) for name in folders},
    }
