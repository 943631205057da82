"""The servers that stand in for Google see what Google's own descriptions do not allow: a check that could not fail would be none."""

from copy import deepcopy
from typing import Any
from urllib.parse import parse_qs

import pytest

from functions.launcher.cloud_run.job import build_job
from functions.launcher.trainers import TrainerRun
from shared.testing.clock import START
from tests.google_api.discovery import discovery
from tests.google_api.settings import google_settings, machines

RUN = TrainerRun(12, 1, "gs://speech-1-retune-prod/cycles/000012/spec.json", START)
INSERT = "/compute/v1/projects/speech-1/zones/europe-west4-a/instances"
CREATE = "/v2/projects/speech-1/locations/europe-west4/jobs"
UUID = "requestId=5a6f6f5e-3c1d-5b0e-9d7e-7b1f7c4f4b52"


def insert_problems(body: Any, query: str = UUID) -> list[str]:
    document = discovery("compute.v1")
    call = document.match("POST", INSERT)
    assert call is not None
    assert call.method == "compute.instances.insert"
    return document.problems(call, parse_qs(query), body)


def change(document: Any, path: str, value: Any) -> Any:
    changed = deepcopy(document)
    *parents, last = path.split(".")
    place = changed
    for step in parents:
        place = place[int(step)] if step.isdigit() else place[step]
    place[last] = value
    return changed


PLAIN = {
    "name": "retune-trainer-000012-1",
    "machineType": "zones/europe-west4-a/machineTypes/g2-standard-8",
    "scheduling": {"provisioningModel": "SPOT", "maxRunDuration": {"seconds": "7200"}, "automaticRestart": False},
    "disks": [{"boot": True, "initializeParams": {"diskSizeGb": "100"}}],
    "labels": {"app": "retune"},
}


def test_a_good_request_is_let_through() -> None:
    assert insert_problems(PLAIN) == []


BAD = {
    "an unknown field": ("machine_type", "g2-standard-8"),
    "an unknown field further down": ("disks.0.initializeParams.sizeGb", "100"),
    "a value that is none of the enumeration": ("scheduling.provisioningModel", "CHEAP"),
    "a number where text is due": ("scheduling.maxRunDuration.seconds", 7200),
    "text that is no number": ("scheduling.maxRunDuration.seconds", "2h"),
    "text where a truth is due": ("scheduling.automaticRestart", "false"),
    "a list where an object is due": ("labels", ["retune"]),
    "an object where a list is due": ("disks", {"boot": True}),
    "a label that is no text": ("labels.app", 1),
    "a field that only the server writes": ("creationTimestamp", "2026-01-05T09:00:00Z"),
    "a name that no machine may have": ("name", "Retune_Trainer"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_the_document_does_not_allow_in_a_body_is_seen(case: str) -> None:
    path, value = BAD[case]
    (problem,) = insert_problems(change(PLAIN, path, value))
    assert path.rpartition(".")[2] in problem


@pytest.mark.parametrize(
    "query", ["zone=a", "force=true", "requestId=first", f"{UUID}&{UUID}", "requestId=00000000-0000-0000-0000-000000000000"]
)
def test_what_the_document_does_not_allow_in_a_query_is_seen(query: str) -> None:
    assert len(insert_problems(PLAIN, query)) == 1


def test_a_body_must_be_there_where_one_is_due_and_only_there() -> None:
    assert insert_problems(None) == ["compute.instances.insert needs a body"]
    document = discovery("compute.v1")
    call = document.match("DELETE", f"{INSERT}/x")
    assert call is not None
    assert document.problems(call, {}, {}) == ["compute.instances.delete takes no body"]


@pytest.mark.parametrize(
    ("verb", "path"), [("PUT", f"{INSERT}/x"), ("GET", "/compute/v1/projects/p/zones/z/vms"), ("POST", "/v1/x"), ("GET", "/")]
)
def test_a_method_that_does_not_exist_is_seen(verb: str, path: str) -> None:
    found = discovery("compute.v1").match(verb, path)
    assert found is None or found.method == "compute.instances.update"


def test_answers_are_held_against_the_document_too() -> None:
    document = discovery("compute.v1")
    call = document.match("POST", INSERT)
    assert call is not None
    assert document.answer_problems(call, {"name": "operation-1", "status": "DONE", "id": "1"}) == []
    assert len(document.answer_problems(call, {"name": "operation-1", "status": "FINISHED"})) == 1


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("template.template.maxRetries", "0"),
        ("template.template.timeout", 3600),
        ("template.template.timeout", "1h"),
        ("template.template.nodeSelector.gpu", "nvidia-l4"),
        ("template.template.executionEnvironment", "GEN2"),
        ("uid", "mine"),
    ],
)
def test_the_same_holds_for_cloud_run(path: str, value: Any) -> None:
    document = discovery("run.v2")
    call = document.match("POST", CREATE)
    assert call is not None
    good = build_job(google_settings(machines=machines("a spot"), launcher="cloud_run"), RUN)
    assert document.problems(call, {"jobId": [RUN.name]}, good) == []
    (problem,) = document.problems(call, {"jobId": [RUN.name]}, change(good, path, value))
    assert path.rpartition(".")[2] in problem
