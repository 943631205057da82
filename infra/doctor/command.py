"""The command: asks, checks, answers."""

import os
from datetime import datetime

from infra.doctor.findings import Finding
from infra.doctor.google import Google
from infra.doctor.optional_checks import check_optional
from infra.doctor.optional_questions import ask_optional
from infra.doctor.project_checks import check_project
from infra.doctor.questions import TrainerMachine, ask_project, ask_system, named_machines
from infra.doctor.report import Diagnosis
from infra.doctor.system_checks import check_system
from infra.session import read_policy
from shared.policy import Policy

DEFAULT_MACHINE = "g2-standard-8"
LETTERS = {"us-east1": "bcd", "europe-west1": "bcd"}
"""Regions whose zones do not begin with a."""


def default_machines(region: str, machine_types: tuple[str, ...]) -> tuple[TrainerMachine, ...]:
    """Return the machines that Terraform would name: each in three zones, Spot before on demand."""
    zones = [f"{region}-{letter}" for letter in LETTERS.get(region, "abc")]
    return tuple(
        TrainerMachine(zone=zone, machine_type=machine_type, provisioning=provisioning)
        for machine_type in machine_types or (DEFAULT_MACHINE,)
        for provisioning in ("spot", "standard")
        for zone in zones
    )


def diagnose(google: Google, project: str, region: str, now: datetime, machine_types: tuple[str, ...] = ()) -> Diagnosis:
    """Look at a project; changes nothing.

    Args:
        google: its APIs.
        project: its id.
        region: where everything runs or will run.
        now: this machine's clock.
        machine_types: to be asked about instead of those that the launcher names, or Terraform's default.

    Raises:
        Unreachable: the credentials are not good, or RETUNE_POLICY is no policy.
    """
    system = ask_system(google, project, region)
    named = system.variables("launcher").get("RETUNE_TRAINER_MACHINES") or os.environ.get("RETUNE_TRAINER_MACHINES")
    wanted = named_machines(named) if named and not machine_types else default_machines(region, machine_types)
    findings: list[Finding] = [*check_project(ask_project(google, project, wanted), now, applied=system.applied)]
    if system.applied:
        findings.extend(check_system(system, read_policy(Policy())))
        findings.extend(check_optional(ask_optional(google, project, region)))
    return Diagnosis(project=project, region=region, applied=system.applied, findings=tuple(findings))
