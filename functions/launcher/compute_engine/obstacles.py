"""What an error of Compute Engine means: how many of the machines to try it blocks, and whether waiting helps. Pure.

Sources: Google's pages on resource availability and quotas; the codes that SkyPilot and dstack fail over on. A code that nobody
knows blocks one machine when the server is at fault (5xx, 429), everything otherwise: a bad request is bad in every zone.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from functions.launcher.problems import Problem
from shared.trainer_machines import TrainerMachine

_LIMIT = re.compile(r"Limit: ([0-9]+(?:\.[0-9]+)?)")
_METRIC = re.compile(r"Quota '([A-Z0-9_]+)'")
ALL_REGIONS = "GPUS_ALL_REGIONS"


class Scope(StrEnum):
    """What an error blocks."""

    MACHINE = "this zone, machine type and provisioning"
    MACHINE_TYPE = "this machine type in this zone"
    REGION = "machines of this family and provisioning in this region"
    PROJECT = "everything"


@dataclass(frozen=True)
class Obstacle:
    """Why a machine is not to be had.

    Attributes:
        waits: another try may have more luck.
    """

    machine: TrainerMachine
    scope: Scope
    waits: bool
    text: str

    def blocks(self, other: TrainerMachine) -> bool:
        """Tell whether trying another machine would meet the same obstacle."""
        mine, zone = self.machine, other.zone == self.machine.zone
        if self.scope == Scope.PROJECT:
            return True
        if self.scope == Scope.REGION:
            return (mine.region, mine.family, mine.provisioning) == (other.region, other.family, other.provisioning)
        if self.scope == Scope.MACHINE_TYPE:
            return zone and mine.machine_type == other.machine_type
        return other == mine


CODES: dict[str, tuple[Scope, bool]] = {
    # Nothing is left of what is asked for, here and now.
    "ZONE_RESOURCE_POOL_EXHAUSTED": (Scope.MACHINE, True),
    "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS": (Scope.MACHINE, True),
    "insufficientCapacity": (Scope.MACHINE, True),
    "STOCKOUT": (Scope.MACHINE, True),
    # Taken away while it was being created.
    "UNSUPPORTED_OPERATION": (Scope.MACHINE, True),
    # An earlier life of the name, or the zone itself, is not ready.
    "RESOURCE_NOT_READY": (Scope.MACHINE, True),
    "resourceNotReady": (Scope.MACHINE, True),
    "INTERNAL_ERROR": (Scope.MACHINE, True),
    "internalError": (Scope.MACHINE, True),
    "backendError": (Scope.MACHINE, True),
    # Too many calls: in every zone.
    "rateLimitExceeded": (Scope.PROJECT, True),
    "userRateLimitExceeded": (Scope.PROJECT, True),
    "RESOURCE_OPERATION_RATE_EXCEEDED": (Scope.PROJECT, True),
    # A person must act.
    "forbidden": (Scope.PROJECT, False),
    "PERMISSIONS_ERROR": (Scope.PROJECT, False),
    "accessNotConfigured": (Scope.PROJECT, False),
    "SERVICE_DISABLED": (Scope.PROJECT, False),
    "conditionNotMet": (Scope.PROJECT, False),
    "notFound": (Scope.PROJECT, False),
    "RESOURCE_NOT_FOUND": (Scope.PROJECT, False),
    "invalid": (Scope.PROJECT, False),
    "badRequest": (Scope.PROJECT, False),
    "INVALID_FIELD_VALUE": (Scope.PROJECT, False),
}
"""Error code -> what it blocks, and whether waiting helps. Quotas have a rule of their own."""
QUOTAS = frozenset({"QUOTA_EXCEEDED", "quotaExceeded"})


def obstacle_of(problem: Problem, machine: TrainerMachine, project: str, gpus: int = 1) -> Obstacle:
    """Return what a problem means for the rest of the walk.

    Args:
        problem: what the API said.
        machine: what was asked for.
        project: for the text of the fix.
        gpus: how many the machine has: a quota below that never suffices, one above it is in use by something else now.
    """
    if problem.code in QUOTAS:
        return _quota(problem, machine, project, gpus)
    scope, waits = CODES.get(problem.code, (Scope.MACHINE, True) if problem.transient else (Scope.PROJECT, False))
    return Obstacle(machine, scope, waits, f"{machine}: {problem}{fix_of(problem, project)}")


def _quota(problem: Problem, machine: TrainerMachine, project: str, gpus: int) -> Obstacle:
    metric, limit = quota_of(problem)
    scope = Scope.PROJECT if metric == ALL_REGIONS else Scope.REGION
    waits = limit is not None and "GPUS" in metric and limit >= gpus
    page = f"https://console.cloud.google.com/iam-admin/quotas?project={project}"
    fix = "it is in use by another machine now" if waits else f"ask for {gpus} GPU more at {page}; it can take days"
    return Obstacle(machine, scope, waits, f"{machine}: {problem}; {fix}")


def quota_of(problem: Problem) -> tuple[str, float | None]:
    """Return the metric and the limit of a quota error: as it says in fields, else in its text."""
    metric, limit = _METRIC.search(problem.message), _LIMIT.search(problem.message)
    return problem.metric or (metric[1] if metric else ""), problem.limit if problem.limit is not None else float(
        limit[1]
    ) if limit else None


def fix_of(problem: Problem, project: str) -> str:
    """Return what a person can do about a problem; empty where nothing is known."""
    if problem.code in {"accessNotConfigured", "SERVICE_DISABLED"}:
        return f"; gcloud services enable compute.googleapis.com --project {project}"
    if problem.code in {"forbidden", "PERMISSIONS_ERROR"}:
        return "; run terraform apply, which grants it"
    if problem.code == "conditionNotMet":
        return "; a policy of the organisation forbids it: ask its administrator"
    return ""
