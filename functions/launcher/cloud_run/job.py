"""The job of one attempt, as Cloud Run is asked for it, and what a job says of itself. Pure.

Limits of Cloud Run, which a VM does not have (source: Cloud Run, GPUs for jobs, task time-outs and memory limits):
- A task with a GPU ends after an hour. The next attempt goes on from the checkpoint, so that a cycle trains `max_attempts` hours at most.
- One L4 with 24 GB, whatever machines are named; no Spot, no choice of a zone, and not every region has it.
- Files lie in memory: base model, clips and checkpoints share its 32 GiB with the process.
- A task with a GPU is not migrated: maintenance ends it, and the next attempt goes on.
- What ends before the trainer's first act (no image, no permission) tells nobody why: the attempt counts after two leases.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from functions.launcher.trainers import TrainerRun
from shared.config import KEY_SECRET, Settings
from shared.machine import Machine
from shared.tracing import ENDPOINT_VARIABLE
from shared.trainer_machines import image_digest

LONGEST_TASK_S = 3600
LIMITS = {"cpu": "8", "memory": "32Gi", "nvidia.com/gpu": "1"}
ACCELERATOR = "nvidia-l4"
MACHINE = Machine(machine_type="cloud-run-nvidia-l4", provisioning="standard")
"""By this name the policy's table of prices knows it."""
EXECUTION = "run"
"""Suffix of the one execution that comes with the job: to make the job is to start it, so that no crash lies in between."""
_AT_WORK = frozenset({"EXECUTION_RUNNING", "EXECUTION_PENDING", "COMPLETION_STATUS_UNSPECIFIED", ""})


def build_job(settings: Settings, run: TrainerRun) -> dict[str, Any]:
    """Return the request for one job with its execution."""
    gold = settings.policy.gold
    told = {
        "GOOGLE_CLOUD_PROJECT": settings.project,
        "RETUNE_IMAGE_DIGEST": image_digest(settings.trainer_image),
        **MACHINE.to_env(),
        **({ENDPOINT_VARIABLE: settings.otlp_endpoint} if settings.otlp_endpoint else {}),
    }
    environment: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in told.items()]
    if gold is not None:
        key = {"secretKeyRef": {"secret": KEY_SECRET, "version": "latest"}}
        environment.append({"name": gold.api_key_env, "valueSource": key})
    container = {
        "image": settings.trainer_image,
        "args": ["--spec", run.spec_uri, "--attempt", str(run.attempt)],
        "env": environment,
        "resources": {"limits": LIMITS},
    }
    task = {
        "containers": [container],
        "serviceAccount": settings.trainer_service_account,
        "timeout": f"{min(round(settings.policy.max_attempt_s), LONGEST_TASK_S)}s",
        "maxRetries": 0,  # a retry would be an attempt that nobody counts
        "executionEnvironment": "EXECUTION_ENVIRONMENT_GEN2",
        "nodeSelector": {"accelerator": ACCELERATOR},
        "gpuZonalRedundancyDisabled": True,
    }
    labels = {"app": "retune", "part": "trainer", "cycle": str(run.cycle), "attempt": str(run.attempt)}
    template = {"taskCount": 1, "parallelism": 1, "labels": labels, "template": task}
    return {"labels": labels, "startExecutionToken": EXECUTION, "template": template}


@dataclass(frozen=True)
class FoundJob:
    """A job that is there.

    Attributes:
        execution: full name of its newest execution; empty = none has been made yet.
        lives: it works, or will.
    """

    name: str
    execution: str
    lives: bool


def read_job(document: Mapping[str, Any]) -> FoundJob:
    """Return what matters of a job's document."""
    newest = document.get("latestCreatedExecution", {})
    broken = not newest and document.get("terminalCondition", {}).get("state") == "CONDITION_FAILED"
    ended = bool(newest.get("completionTime")) or newest.get("completionStatus", "") not in _AT_WORK
    name = str(document["name"]).rpartition("/")[2]
    return FoundJob(name, _execution_name(document, str(newest.get("name", ""))), not ended and not broken)


def _execution_name(document: Mapping[str, Any], name: str) -> str:
    """Return the full name, which not every answer gives."""
    return f"{document['name']}/executions/{name}" if name and "/" not in name else name
