"""What an error of Cloud Run means: wait, or a person must act. Pure."""

from functions.launcher.problems import Problem
from functions.launcher.trainers import NoCapacity, Refused

RPC_CODES = {
    3: "INVALID_ARGUMENT",
    4: "DEADLINE_EXCEEDED",
    5: "NOT_FOUND",
    6: "ALREADY_EXISTS",
    7: "PERMISSION_DENIED",
    8: "RESOURCE_EXHAUSTED",
    9: "FAILED_PRECONDITION",
    10: "ABORTED",
    13: "INTERNAL",
    14: "UNAVAILABLE",
    16: "UNAUTHENTICATED",
}
"""Number of google.rpc.Code -> name, as HTTP errors give it in `status`. Source: google/rpc/code.proto."""
WAITS = frozenset({"RESOURCE_EXHAUSTED", "UNAVAILABLE", "ABORTED", "INTERNAL", "DEADLINE_EXCEEDED"})
_NO_QUOTA = ("quota", "not allowed", "not been granted")


def outcome_of(problem: Problem, project: str) -> NoCapacity | Refused:
    """Return what a problem means for the attempt."""
    if problem.code == "RESOURCE_EXHAUSTED" and any(word in problem.message.lower() for word in _NO_QUOTA):
        page = f"https://console.cloud.google.com/iam-admin/quotas?project={project}"
        return Refused(f"{problem}; ask for GPUs of Cloud Run (L4 without zonal redundancy) at {page}")
    if problem.code in WAITS or problem.transient:
        return NoCapacity(str(problem))
    return Refused(f"{problem}{_fix(problem, project)}")


def _fix(problem: Problem, project: str) -> str:
    if problem.code == "SERVICE_DISABLED":
        return f"; gcloud services enable run.googleapis.com --project {project}"
    if problem.code == "PERMISSION_DENIED":
        return "; run terraform apply with trainer_launcher=cloud_run, which grants it"
    if "secret" in problem.message.lower():
        return f"; give the language model's key: gcloud secrets versions add retune-llm-key --project {project} --data-file=-"
    return ""
