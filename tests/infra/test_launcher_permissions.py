"""What the launchers ask of Google is what their custom role allows: each call that the tests' servers answer has its permission."""

import re

import pytest

from tests.google_api import compute, run
from tests.infra.terraform import INFRA

NEEDS = {
    "compute_engine": {
        "compute.instances.insert": {
            "compute.disks.create",
            "compute.instances.create",
            "compute.instances.setLabels",
            "compute.instances.setMetadata",
            "compute.instances.setServiceAccount",
        },
        "compute.instances.get": {"compute.instances.get"},
        "compute.instances.delete": {"compute.instances.delete"},
        "compute.instances.aggregatedList": {"compute.instances.list"},
        "compute.zoneOperations.get": {"compute.zoneOperations.get"},
        "compute.machineTypes.get": {"compute.machineTypes.get"},
    },
    "cloud_run": {
        "run.projects.locations.jobs.create": {"run.jobs.create", "run.jobs.run"},
        "run.projects.locations.jobs.get": {"run.jobs.get"},
        "run.projects.locations.jobs.list": {"run.jobs.list"},
        "run.projects.locations.jobs.delete": {"run.jobs.delete"},
        "run.projects.locations.jobs.executions.cancel": {"run.executions.cancel"},
        "run.projects.locations.operations.get": {"run.operations.get"},
    },
}
"""Launcher -> method -> permissions. Source: Google's IAM pages of Compute Engine and Cloud Run."""
ANSWERED = {"compute_engine": compute.METHODS, "cloud_run": run.METHODS}


def granted(launcher: str) -> set[str]:
    text = (INFRA / "modules" / "trainer" / "main.tf").read_text(encoding="utf-8")
    found = re.search(rf"{launcher} = \[(.*?)\]", text, re.DOTALL)
    assert found is not None
    return set(re.findall(r'"([a-zA-Z.]+)"', found[1]))


@pytest.mark.parametrize("launcher", NEEDS)
def test_every_call_has_its_permission_and_no_permission_is_for_nothing(launcher: str) -> None:
    assert set(NEEDS[launcher]) == set(ANSWERED[launcher])
    assert granted(launcher) == set().union(*NEEDS[launcher].values())
