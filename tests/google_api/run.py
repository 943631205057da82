"""Cloud Run's jobs as far as trainers see them: jobs with one execution, operations, and a script of what happens to each creation."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.auth.transport.requests import AuthorizedSession

from functions.launcher.cloud_run.api import RunApi
from functions.launcher.cloud_run.launcher import CloudRunLauncher
from shared.config import Settings
from shared.testing.clock import FakeClock
from tests.google_api.compute import PROJECT
from tests.google_api.discovery import discovery
from tests.google_api.server import ApiError, GoogleApi, LostReply, Request

REGION = "europe-west4"
PLACE = f"projects/{PROJECT}/locations/{REGION}"
_JOBS = "run.projects.locations.jobs"
METHODS = {
    f"{_JOBS}.create": "_create",
    f"{_JOBS}.get": "_found",
    f"{_JOBS}.list": "_list",
    f"{_JOBS}.delete": "_delete",
    f"{_JOBS}.executions.cancel": "_cancel",
    "run.projects.locations.operations.get": "_look",
}
"""What is answered; any other call fails a test."""


@dataclass(frozen=True)
class JobFate:
    """What happens to one creation.

    Attributes:
        error: number of google.rpc.Code and text with which its operation ends.
        ends: False = its operation never ends.
        lost: the reply is lost after it was accepted.
    """

    http: ApiError | None = None
    error: tuple[int, str] | None = None
    ends: bool = True
    lost: bool = False


@dataclass
class _Operation:
    name: str
    ends: bool
    finish: Callable[[], None]
    error: tuple[int, str] | None = None
    looks: int = 0
    done: bool = False


@dataclass
class CloudRun:
    """The backend; tests write `script` and change `jobs`.

    Attributes:
        script: what happens to the creations, in turn; then all go well.
        broken: method -> what it answers instead.
        page: jobs on one page of a list.
        stubborn: no job ever ends.
    """

    script: list[JobFate] = field(default_factory=list)
    broken: dict[str, ApiError] = field(default_factory=dict)
    page: int = 2
    stubborn: bool = False
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    cancelled: list[str] = field(default_factory=list)
    clock: FakeClock = field(default_factory=FakeClock)
    _operations: dict[str, _Operation] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def answer(self, request: Request) -> Any:
        if request.method in self.broken:
            raise self.broken[request.method]
        with self._lock:
            return getattr(self, METHODS[request.method])(request)

    def add(self, name: str, status: str = "EXECUTION_RUNNING") -> None:
        """Make a job that nobody asked for through the API."""
        self.jobs[name] = {"name": f"{PLACE}/jobs/{name}", "latestCreatedExecution": {"name": f"{name}-run"}}
        self.finish(name, status)

    def finish(self, name: str, status: str = "EXECUTION_FAILED") -> None:
        """Let a job's execution come to a status."""
        execution = self.jobs[name]["latestCreatedExecution"]
        execution["completionStatus"] = status
        if status not in {"EXECUTION_RUNNING", "EXECUTION_PENDING"}:
            execution["completionTime"] = self.clock.now().isoformat()

    def _create(self, request: Request) -> Any:
        name = str(request.one("jobId"))
        fate = self.script.pop(0) if self.script else JobFate()
        if fate.http:
            raise fate.http
        if name in self.jobs:
            raise ApiError(409, "ALREADY_EXISTS", f"Resource '{name}' already exists.")
        execution = {"name": f"{name}-{request.body['startExecutionToken']}", "completionStatus": "EXECUTION_PENDING"}
        self.jobs[name] = {**request.body, "name": f"{PLACE}/jobs/{name}", "latestCreatedExecution": execution}
        operation = self._begin(fate.ends, lambda: None if fate.error else self.finish(name, "EXECUTION_RUNNING"), fate.error)
        if fate.lost:
            raise LostReply
        return self._document(operation)

    def _begin(self, ends: bool, finish: Callable[[], None], error: tuple[int, str] | None = None) -> _Operation:
        operation = _Operation(f"{PLACE}/operations/{len(self._operations) + 1}", ends, finish, error)
        self._operations[operation.name] = operation
        return operation

    def _document(self, operation: _Operation) -> dict[str, Any]:
        document: dict[str, Any] = {"name": operation.name, "done": operation.done}
        if operation.done and operation.error:
            document["error"] = {"code": operation.error[0], "message": operation.error[1]}
        return document

    def _look(self, request: Request) -> Any:
        operation = self._operations[f"{PLACE}/operations/{request.path['operationsId']}"]
        operation.looks += 1
        if operation.looks >= 2 and operation.ends and not operation.done:
            operation.done = True
            operation.finish()
        return self._document(operation)

    def _found(self, request: Request) -> dict[str, Any]:
        name = request.path["jobsId"]
        if name not in self.jobs:
            raise ApiError(404, "NOT_FOUND", f"Resource '{name}' of kind 'JOB' does not exist.")
        return self.jobs[name]

    def _list(self, request: Request) -> Any:
        at = int(request.one("pageToken") or 0)
        page = [self.jobs[name] for name in sorted(self.jobs)[at : at + self.page]]
        more = {"nextPageToken": str(at + self.page)} if at + self.page < len(self.jobs) else {}
        return {"jobs": page, **more}

    def _cancel(self, request: Request) -> Any:
        job = self._found(request)
        name = request.path["jobsId"]
        if request.path["executionsId"] != job["latestCreatedExecution"]["name"]:
            raise ApiError(404, "NOT_FOUND", "no such execution")
        self.cancelled.append(name)
        if not self.stubborn:
            self.finish(name, "EXECUTION_CANCELLED")
        return self._document(self._begin(ends=True, finish=lambda: None))

    def _forget(self, name: str) -> None:
        self.jobs.pop(name, None)

    def _delete(self, request: Request) -> Any:
        self._found(request)
        name = request.path["jobsId"]
        return self._document(self._begin(not self.stubborn, lambda: self._forget(name)))


@contextmanager
def run_server(backend: CloudRun) -> Iterator[GoogleApi]:
    """Serve; everything that was asked and answered must be as Google's document has it."""
    with GoogleApi(discovery("run.v2"), backend) as server:
        yield server
    assert server.record.problems == []


def jobs_on(server: GoogleApi, clock: FakeClock, settings: Settings) -> CloudRunLauncher:
    """Return a launcher on a server of loopback; to wait is to set the clock."""

    def wait(seconds: float) -> None:
        clock.advance(seconds)

    api = RunApi(AuthorizedSession(AnonymousCredentials()), PROJECT, REGION, wait, server.root)
    return CloudRunLauncher(settings, clock, wait=wait, api=api)
