"""What must hold of a project before anything is applied, and still holds afterwards. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from infra.doctor.findings import Finding, bad, good, unseen
from infra.doctor.google import Answer
from infra.doctor.questions import NEEDED_TO_APPLY, SERVICES, ProjectFacts, TrainerMachine

MOST_SKEW_S = 60.0
"""Beyond it Google refuses signatures, and times in events are wrong by as much."""
_METRICS = {"NVIDIA_TESLA_A100": "NVIDIA_A100", "NVIDIA_H100_80GB": "NVIDIA_H100", "NVIDIA_H200_141GB": "NVIDIA_H200"}
"""Accelerators whose quota is not called after them."""


def check_project(facts: ProjectFacts, now: datetime, *, applied: bool) -> Iterator[Finding]:
    """Check clock, billing, APIs, permissions, machines and quotas."""
    yield _clock(facts, now)
    yield _billing(facts)
    yield _services(facts.services, facts.project, applied=applied)
    yield _permissions(facts.permissions, facts.project, applied=applied)
    yield from _machines(facts)
    yield from _quotas(facts)


def _clock(facts: ProjectFacts, now: datetime) -> Finding:
    answers = (facts.services, facts.billing, facts.permissions, facts.compute)
    server = next((answer.server_time for answer in answers if answer.server_time is not None), None)
    if server is None:
        return unseen("clock", "no API said what time it is", "check the network")
    skew_s = (now - server).total_seconds()
    if abs(skew_s) > MOST_SKEW_S:
        return bad(
            "clock", f"this machine is {abs(skew_s):.0f} s {'ahead' if skew_s > 0 else 'behind'}", "let it follow a time server (NTP)"
        )
    return good("clock", f"within {max(1.0, abs(skew_s)):.0f} s of Google's")


def _billing(facts: ProjectFacts) -> Finding:
    if not facts.billing.ok:
        return unseen("billing", facts.billing.message, f"look at the project's billing page, or enable cloudbilling in {facts.project}")
    if not facts.billing.document.get("billingEnabled"):
        return bad("billing", "no billing account", f"gcloud billing projects link {facts.project} --billing-account ACCOUNT")
    return good("billing", "enabled")


def _services(answer: Answer, project: str, *, applied: bool) -> Finding:
    if not answer.ok:
        fix = f"gcloud services enable serviceusage.googleapis.com --project {project}"
        return (bad if answer.absent else unseen)("APIs", answer.message, fix)
    found: list[Mapping[str, Any]] = answer.document.get("services", [])
    names = (str(service.get("name", "")) for service in found if service.get("state") == "ENABLED")
    on = {name.rpartition("/")[2].removesuffix(".googleapis.com") for name in names}
    off = [name for name in SERVICES if name not in on]
    if not off:
        return good("APIs", f"all {len(SERVICES)} are on")
    if not applied:
        return good("APIs", f"{len(off)} of {len(SERVICES)} are off: terraform apply turns them on")
    enable = " ".join(f"{name}.googleapis.com" for name in off)
    return bad("APIs", f"off: {', '.join(off)}", f"terraform apply again, or: gcloud services enable {enable} --project {project}")


def _permissions(answer: Answer, project: str, *, applied: bool) -> Finding:
    subject = "your permissions"
    if not answer.ok:
        return unseen(subject, answer.message, f"gcloud services enable cloudresourcemanager.googleapis.com --project {project}")
    lacking = sorted(set(NEEDED_TO_APPLY) - set(answer.document.get("permissions", [])))
    if not lacking:
        return good(subject, "enough for terraform apply")
    if applied:
        return good(subject, f"you may not apply changes ({len(lacking)} permissions are missing); operators need not")
    some = ", ".join(lacking[:4]) + (", ..." if len(lacking) > 4 else "")
    return bad(
        subject, f"{len(lacking)} are missing for terraform apply: {some}", f"ask for the role Owner of {project}, or let an owner apply"
    )


def _machines(facts: ProjectFacts) -> Iterator[Finding]:
    for machine_type in dict.fromkeys(machine.machine_type for machine in facts.wanted):
        zones = {zone: answer for (zone, name), answer in facts.machines.items() if name == machine_type}
        here = [zone for zone, answer in zones.items() if answer.ok]
        subject = f"machine {machine_type}"
        listing = f"gcloud compute machine-types list --project {facts.project} --filter='name={machine_type}'"
        if not here:
            reasons = {answer.message for answer in zones.values()}
            refused = all(answer.absent for answer in zones.values())
            said = f"in none of {', '.join(zones)}" if refused else "; ".join(sorted(reasons))
            yield (bad if refused else unseen)(subject, said, f"choose zones that have it: {listing}")
        elif not any(_accelerators(zones[zone]) for zone in here):
            yield bad(subject, "it brings no GPU", "choose one that does: g2-standard-8 (one L4), a2-highgpu-1g (one A100)")
        else:
            missing = f"; not in {', '.join(zone for zone in zones if zone not in here)}" if len(here) < len(zones) else ""
            yield good(subject, f"in {', '.join(here)}{missing}")


def _accelerators(answer: Answer) -> dict[str, int]:
    """Return accelerator -> how many of it a machine has."""
    listed: list[Mapping[str, Any]] = answer.document.get("accelerators", [])
    return {str(item.get("guestAcceleratorType")): int(item.get("guestAcceleratorCount", 0)) for item in listed}


def quota_metric(accelerator: str, provisioning: str) -> str:
    """Return the name of the regional quota for an accelerator such as `nvidia-l4`; Spot has one of its own."""
    name = accelerator.upper().replace("-", "_")
    metric = f"{_METRICS.get(name, name)}_GPUS"
    return f"PREEMPTIBLE_{metric}" if provisioning == "spot" else metric


def _quotas(facts: ProjectFacts) -> Iterator[Finding]:
    wanted: dict[tuple[str, str], int] = {}
    most = 0
    for machine in facts.wanted:
        for accelerator, count in _accelerators(_machine(facts, machine)).items():
            key = (machine.region, quota_metric(accelerator, machine.provisioning))
            wanted[key] = max(count, wanted.get(key, 0))
            most = max(most, count)
    for (region, metric), count in wanted.items():
        yield _quota(f"quota {metric} in {region}", facts.regions[region], metric, count, facts.project)
    if most:
        yield _quota("quota GPUS_ALL_REGIONS", facts.compute, "GPUS_ALL_REGIONS", most, facts.project)


def _machine(facts: ProjectFacts, machine: TrainerMachine) -> Answer:
    return facts.machines[(machine.zone, machine.machine_type)]


def _quota(subject: str, answer: Answer, metric: str, count: int, project: str) -> Finding:
    page = f"https://console.cloud.google.com/iam-admin/quotas?project={project}"
    quotas: list[Mapping[str, Any]] = answer.document.get("quotas", []) if answer.ok else []
    found = next((quota for quota in quotas if quota.get("metric") == metric), None)
    if found is None:
        return unseen(subject, "it is not listed" if answer.ok else answer.message, f"look at {page}")
    limit, usage = float(found.get("limit", 0)), float(found.get("usage", 0))
    if limit < count:
        return bad(subject, f"{limit:g}, a machine needs {count}", f"ask for {count} at {page}; it can take days")
    if limit - usage < count:
        return bad(subject, f"{usage:g} of {limit:g} in use, a machine needs {count}", f"ask for more at {page}, or wait")
    return good(subject, f"{limit:g}, {usage:g} in use")
