"""What must hold of the notifier and of the console where somebody asked for them. Pure."""

import base64
import binascii
import re
from collections.abc import Iterator

from functions.notifier.webhooks import VARIABLE, read_webhooks
from functions.wiring import CONSOLE, OPTIONAL, dead_letter_topic, subscription_name
from infra.doctor.findings import Finding, bad, good, unseen
from infra.doctor.google import Answer
from infra.doctor.optional_questions import NOTIFIER, OptionalFacts
from infra.doctor.system_checks import AGAIN, ASK, check_function, check_reader
from shared.config import BadSettings

IAP_AGENT = re.compile(r"serviceAccount:service-\d+@gcp-sa-iap\.iam\.gserviceaccount\.com")
READS_OBJECTS = re.compile(r".*_objects_get_list|roles/storage\.objectViewer")
READS_METRICS = "roles/monitoring.viewer"
SECRET_READER = "roles/secretmanager.secretAccessor"  # noqa: S105 - a role's name


def check_optional(facts: OptionalFacts) -> Iterator[Finding]:
    """Check the notifier with its webhooks, and the console with what stands before it; that nobody asked for one is no problem."""
    yield from _notifier(facts)
    yield from _console(facts)


def _notifier(facts: OptionalFacts) -> Iterator[Finding]:
    function = facts.functions[NOTIFIER]
    readers = [subscription_name(NOTIFIER, topic) for topic in OPTIONAL[NOTIFIER]]
    if function.absent and all(facts.subscriptions[name].absent for name in readers):
        yield good("notifier", "none: webhooks_secret is not set, nobody is told of verdicts and deployments")
        return
    yield check_function(NOTIFIER, function)
    for name in readers:
        yield check_reader(name, facts.subscriptions[name], facts.subscriptions[dead_letter_topic(name)], function)
    if function.ok:
        yield from _webhooks(facts)


def _webhooks(facts: OptionalFacts) -> Iterator[Finding]:
    subject = "webhooks"
    if facts.webhooks is None:
        yield bad(subject, f"the notifier finds no secret in {VARIABLE}: it tells nobody", "set webhooks_secret and apply again")
        return
    if facts.secret_readers.ok and facts.account(NOTIFIER) not in _members(facts.secret_readers, SECRET_READER):
        yield bad(subject, "the notifier's account may not read the secret: no instance of it starts", AGAIN)
    yield _well_formed(subject, facts.webhooks)


def _well_formed(subject: str, secret: Answer) -> Finding:
    fix = "gcloud secrets versions add SECRET --data-file=-, then deploy the notifier anew"
    if secret.absent:
        return bad(subject, "the secret has no version", fix)
    if not secret.ok:
        return unseen(subject, secret.message, f"ask for the role {SECRET_READER} of the secret, or look at it yourself")
    try:
        text = base64.b64decode(secret.document.get("payload", {}).get("data", ""), validate=True).decode()
        hooks = read_webhooks({VARIABLE: text})
    except BadSettings as error:
        return bad(subject, str(error), fix)
    except (binascii.Error, UnicodeDecodeError):
        return bad(subject, "the secret is no text", fix)
    if not hooks:
        return bad(subject, "the secret is empty: the notifier tells nobody", fix)
    return good(subject, f"{len(hooks)}: {', '.join(sorted(hook.name for hook in hooks))}")  # hosts alone: the rest is secret


def _console(facts: OptionalFacts) -> Iterator[Finding]:
    function = facts.functions[CONSOLE]
    if function.absent:
        yield good("console", "none: nobody is named in console_viewers or console_operators")
        return
    yield check_function(CONSOLE, function)
    if function.ok:
        yield _identity_proxy(facts)
        yield _viewers(facts.viewers)
        yield _account(facts)


def _identity_proxy(facts: OptionalFacts) -> Finding:
    subject = "IAP before the console"
    hidden = next((answer for answer in (facts.service, facts.callers) if not answer.ok), None)
    if hidden is not None:
        return unseen(subject, hidden.message, ASK)
    callers = _members(facts.callers, "roles/run.invoker")
    others = sorted(member for member in callers if not IAP_AGENT.fullmatch(member))
    if others:
        return bad(subject, f"{', '.join(others)} may call it without passing IAP", AGAIN)
    if not facts.service.document.get("iapEnabled"):
        return bad(subject, "off: nobody gets in", f"gcloud beta run services update {CONSOLE} --region REGION --iap")
    if not callers:
        return bad(subject, "on, and may not call it: nobody gets in", AGAIN)
    return good(subject, "on, and nobody else may call it")


def _viewers(answer: Answer) -> Finding:
    subject = "viewers of the console"
    if not answer.ok:
        return unseen(subject, answer.message, ASK)
    members = _members(answer, "roles/iap.httpsResourceAccessor")
    public = members & {"allUsers", "allAuthenticatedUsers"}
    if public:
        return bad(
            subject, f"{', '.join(sorted(public))}: anybody sees what customers said", "name people in console_viewers and apply again"
        )
    if not members:
        return bad(subject, "none: nobody gets in", "name people in console_viewers or console_operators and apply again")
    return good(subject, ", ".join(sorted(members)))


def _account(facts: OptionalFacts) -> Finding:
    subject, member = "the console's account", facts.account(CONSOLE)
    hidden = next((answer for answer in (facts.project_roles, *facts.folders.values()) if not answer.ok), None)
    if hidden is not None or not facts.folders:
        return unseen(subject, hidden.message if hidden is not None else "the bucket's folders cannot be listed", ASK)
    more = sorted(_roles(facts.project_roles, member) - {READS_METRICS})
    writes = {folder: roles for folder, answer in facts.folders.items() if (roles := _writing(_roles(answer, member)))}
    more += [f"{', '.join(sorted(roles))} in {folder}" for folder, roles in sorted(writes.items())]
    if more:
        return bad(subject, f"it may do more than read: {'; '.join(more)}", f"take these away; {AGAIN}")
    read = [folder for folder, answer in facts.folders.items() if _roles(answer, member)]
    return good(subject, f"reads {len(read)} folders, and writes no object") if read else bad(subject, "it may read nothing", AGAIN)


def _writing(roles: set[str]) -> set[str]:
    return {role for role in roles if not READS_OBJECTS.fullmatch(role)}


def _members(policy: Answer, role: str) -> set[str]:
    return {str(member) for each in policy.document.get("bindings", ()) if each.get("role") == role for member in each.get("members", ())}


def _roles(policy: Answer, member: str) -> set[str]:
    return {str(each.get("role")) for each in policy.document.get("bindings", ()) if member in each.get("members", ())}
