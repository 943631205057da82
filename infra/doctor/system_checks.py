"""What must hold of what was applied. Pure."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from functions.wiring import MAX_BACKOFF_S, MAX_DELIVERY_ATTEMPTS, MIN_BACKOFF_S, READS, dead_letter_topic, subscription_name
from infra.doctor.findings import Finding, bad, good, unseen
from infra.doctor.google import Answer
from infra.doctor.questions import TICK, SystemFacts
from shared.policy import Policy

AGAIN = "terraform apply again, from infra/"
ASK = "ask for the role Viewer"


def check_system(facts: SystemFacts, yours: Policy) -> Iterator[Finding]:
    """Check functions, topics, subscriptions, the tick, the bucket, policy, image and the first model."""
    for name, answer in facts.functions.items():
        yield check_function(name, answer)
    yield from _same_settings(facts)
    yield from _absent("topic", facts.topics)
    for function, topics in READS.items():
        for topic in topics:
            name = subscription_name(function, topic)
            yield check_reader(name, facts.subscriptions[name], facts.subscriptions[dead_letter_topic(name)], facts.functions[function])
    yield _tick(facts.tick)
    yield from _bucket(facts.bucket)
    yield _policy(facts, yours)
    yield _image(facts)
    yield _first_model(facts.production)


def check_function(name: str, answer: Answer) -> Finding:
    """Check that a function is there and works."""
    subject = f"function {name}"
    if not answer.ok:
        return _not_there(subject, answer, "not there")
    state = answer.document.get("state")
    if state != "ACTIVE":
        said = "; ".join(str(item.get("message", "")) for item in answer.document.get("stateMessages", []))
        return bad(subject, f"{state} {said}".strip(), f"read the build's log, then {AGAIN}")
    return good(subject, "active")


def _not_there(subject: str, answer: Answer, absent: str) -> Finding:
    return bad(subject, absent, AGAIN) if answer.absent else unseen(subject, answer.message, ASK)


def _same_settings(facts: SystemFacts) -> Iterator[Finding]:
    """All functions must agree on bucket and policy; the collector groups as many reports as it takes at once."""
    for variable in ("RETUNE_BUCKET", "RETUNE_POLICY"):
        values = {facts.variables(name).get(variable) for name, answer in facts.functions.items() if answer.ok}
        if len(values) > 1:
            yield bad(f"{variable} of the functions", "they differ: some are of another apply", AGAIN)
    config: Mapping[str, Any] = facts.functions["collector"].document.get("serviceConfig", {})
    if config and int(config.get("maxInstanceRequestConcurrency", 1)) == 1:
        yield bad("function collector", "one request at once, so that each report is a write of its own", AGAIN)


def _absent(kind: str, answers: Mapping[str, Answer]) -> Iterator[Finding]:
    missing = [name for name, answer in answers.items() if answer.absent]
    hidden = [answer.message for answer in answers.values() if not answer.ok and not answer.absent]
    if missing:
        yield bad(f"{kind}s", f"not there: {', '.join(missing)}", AGAIN)
    if hidden:
        yield unseen(f"{kind}s", hidden[0], ASK)
    if not missing and not hidden:
        yield good(f"{kind}s", f"all {len(answers)} are there")


def check_reader(name: str, answer: Answer, dead: Answer, function: Answer) -> Finding:
    """Check that a subscription pushes to its function, tries again as it should, and loses nothing.

    Args:
        name: of the subscription.
        answer: about it.
        dead: about the subscription of its dead letters.
        function: that it pushes to.
    """
    subject = f"subscription {name}"
    if not answer.ok:
        return _not_there(subject, answer, "not there: nothing reaches the function")
    problems = [*_push_problems(answer.document, function), *_delivery_problems(answer.document)]
    if dead.absent:
        problems.append("its dead letters have no subscription, and are lost")
    elif dead.ok and dead.document.get("expirationPolicy", {"ttl": ""}).get("ttl"):
        problems.append("the subscription of its dead letters expires")
    return bad(subject, "; ".join(problems), AGAIN) if problems else good(subject, "pushes, retries and dead-letters as it should")


def _push_problems(document: Mapping[str, Any], function: Answer) -> Iterator[str]:
    push: Mapping[str, Any] = document.get("pushConfig", {})
    config: Mapping[str, Any] = function.document.get("serviceConfig", {})
    uri = str(config.get("uri", ""))
    if not push.get("pushEndpoint"):
        yield "it pushes nowhere"
    elif uri and not str(push["pushEndpoint"]).startswith(uri):
        yield f"it pushes to {push['pushEndpoint']}, the function is at {uri}"
    if not push.get("oidcToken", {}).get("serviceAccountEmail"):
        yield "its pushes are not signed"
    deadline_s, timeout_s = int(document.get("ackDeadlineSeconds", 0)), int(config.get("timeoutSeconds", 0))
    if timeout_s and deadline_s <= timeout_s:
        yield f"its ack deadline of {deadline_s} s is not above the function's time-out of {timeout_s} s"


def _delivery_problems(document: Mapping[str, Any]) -> Iterator[str]:
    letters: Mapping[str, Any] = document.get("deadLetterPolicy", {})
    attempts = int(letters.get("maxDeliveryAttempts", 0))
    if not letters.get("deadLetterTopic"):
        yield "it has no dead-letter topic"
    elif attempts < MAX_DELIVERY_ATTEMPTS:
        yield f"it gives up after {attempts} attempts, expected {MAX_DELIVERY_ATTEMPTS}: an outage would dead-letter good events"
    retry: Mapping[str, Any] = document.get("retryPolicy", {})
    found = (retry.get("minimumBackoff"), retry.get("maximumBackoff"))
    if found != (f"{MIN_BACKOFF_S:.0f}s", f"{MAX_BACKOFF_S:.0f}s"):
        yield f"it retries after {found[0] or 'no'} to {found[1] or 'no'} pause, expected {MIN_BACKOFF_S:.0f} to {MAX_BACKOFF_S:.0f} s"
    if document.get("expirationPolicy", {"ttl": "31 days"}).get("ttl"):
        yield "it expires when nothing comes for a while"


def _tick(answer: Answer) -> Finding:
    subject = "tick"
    if not answer.ok:
        return _not_there(subject, answer, "not there: nothing is carried on")
    if answer.document.get("state") != "ENABLED":
        return bad(subject, f"{answer.document.get('state')}: nothing is carried on", f"gcloud scheduler jobs resume {TICK}")
    code = answer.document.get("status", {}).get("code", 0)
    if code:
        return bad(subject, f"the last one failed (code {code})", "see the job's log in Cloud Scheduler")
    return good(subject, f"every minute, last at {answer.document.get('lastAttemptTime', 'not yet')}")


def _bucket(answer: Answer) -> Iterator[Finding]:
    subject = "bucket"
    if not answer.ok:
        yield _not_there(subject, answer, "not there")
        return
    access: Mapping[str, Any] = answer.document.get("iamConfiguration", {})
    problems = {
        "its objects can have permissions of their own": not access.get("uniformBucketLevelAccess", {}).get("enabled"),
        "it can be made public": access.get("publicAccessPrevention") != "enforced",
        "it keeps no versions: what is overwritten is gone": not answer.document.get("versioning", {}).get("enabled"),
    }
    found = [text for text, holds in problems.items() if holds]
    yield (
        bad(subject, "; ".join(found), AGAIN)
        if found
        else good(subject, f"{answer.document.get('name')} in {answer.document.get('location')}")
    )


def _policy(facts: SystemFacts, yours: Policy) -> Finding:
    subject = "policy"
    text = facts.variables("launcher").get("RETUNE_POLICY", "{}")
    try:
        theirs = Policy.model_validate(json.loads(text))
    except (ValueError, ValidationError) as error:
        return bad(subject, f"the functions' is none: {error}", "mend var.policy and apply again")
    if theirs == yours:
        return good(subject, "yours is the functions'")
    differ = [name for name in Policy.model_fields if getattr(theirs, name) != getattr(yours, name)]
    return bad(subject, f"yours is not the functions': {', '.join(differ)}", f"export RETUNE_POLICY='{text}'")


def _image(facts: SystemFacts) -> Finding:
    subject = "trainer image"
    if facts.image is None:
        return bad(subject, "none: the launcher declines every cycle", "build it (`terraform output next_steps`), set trainer_image, apply")
    if facts.image.ok:
        return good(subject, str(facts.image.document.get("uri", "there")))
    if facts.image.absent:
        return bad(subject, "the digest that the launcher names is not in the registry", "build it again, set trainer_image, apply")
    return unseen(subject, facts.image.message, "see that the trainer's account can pull it")


def _first_model(answer: Answer) -> Finding:
    subject = "model in production"
    fix = "retune models import DIR_OR_HUB_ID --promote"
    if not answer.ok:
        return bad(subject, "none", fix) if answer.absent else unseen(subject, answer.message, "ask to be one of the operators")
    stable = answer.document.get("stable")
    return good(subject, f"v{stable}") if stable is not None else bad(subject, "none", fix)
