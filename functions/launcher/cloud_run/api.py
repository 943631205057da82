"""The few calls of Cloud Run's REST API that trainers need [io]."""

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import requests
from google.auth.exceptions import GoogleAuthError, TransportError

from functions.launcher.cloud_run.job import FoundJob, read_job
from functions.launcher.cloud_run.outcomes import RPC_CODES
from functions.launcher.problems import CallFailed, Problem, with_retries
from shared.log import log

if TYPE_CHECKING:
    from google.auth.transport.requests import AuthorizedSession

TIMEOUT_S = 20.0
ROOT = "https://run.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
PAGE = 100


class RunApi:
    """Jobs of one project in one region.

    Args:
        session: of google-auth.
        project: whose jobs.
        region: where.
        wait: waits so many seconds.
        root: address of the API.
    """

    def __init__(self, session: "AuthorizedSession", project: str, region: str, wait: Callable[[float], None], root: str = ROOT) -> None:
        self._session = session
        self._place = f"projects/{project}/locations/{region}"
        self._wait = wait
        self._root = root

    def create(self, name: str, job: Mapping[str, Any]) -> str:
        """Ask for a job and return the operation that makes it.

        Raises:
            CallFailed: it was refused.
        """
        return str(self._call("POST", f"{self._place}/jobs", query={"jobId": name}, body=job)["name"])

    def find(self, name: str) -> FoundJob | None:
        """Return a job.

        Raises:
            CallFailed: no answer.
        """
        found = self._unless_absent("GET", f"{self._place}/jobs/{name}")
        return read_job(found) if found is not None else None

    def list_jobs(self) -> list[FoundJob]:
        """Return all jobs, by name.

        Raises:
            CallFailed: no answer.
        """
        return sorted((read_job(job) for page in self._pages() for job in page.get("jobs", [])), key=lambda job: job.name)

    def _pages(self) -> Iterator[Mapping[str, Any]]:
        query = {"pageSize": str(PAGE)}
        while True:
            page = self._call("GET", f"{self._place}/jobs", query=query)
            yield page
            if not page.get("nextPageToken"):
                return
            query = {**query, "pageToken": str(page["nextPageToken"])}

    def cancel(self, execution: str) -> None:
        """Ask an execution to end: its container is told first, and killed afterwards.

        Raises:
            CallFailed: it was refused; one that has ended or is gone is no error.
        """
        try:
            self._call("POST", f"{execution}:cancel", body={})
        except CallFailed as failure:
            if failure.problem.code not in {"NOT_FOUND", "FAILED_PRECONDITION"}:
                raise

    def delete(self, name: str) -> str | None:
        """Ask for a job's end and return the operation; None = it is gone already.

        Raises:
            CallFailed: it was refused.
        """
        found = self._unless_absent("DELETE", f"{self._place}/jobs/{name}")
        return str(found["name"]) if found is not None else None

    def look(self, operation: str) -> tuple[bool, Problem | None]:
        """Tell whether an operation has ended, and its error.

        Raises:
            CallFailed: no answer.
        """
        found = self._call("GET", operation)
        error = found.get("error")
        problem = Problem(RPC_CODES.get(int(error.get("code", 2)), "UNKNOWN"), str(error.get("message", "")), 400) if error else None
        return bool(found.get("done")), problem

    def _unless_absent(self, verb: str, path: str) -> Mapping[str, Any] | None:
        try:
            return self._call(verb, path)
        except CallFailed as failure:
            if failure.problem.status == 404:
                return None
            raise

    def _call(
        self, verb: str, path: str, *, query: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        return with_retries(lambda: self._ask(verb, path, query, body), self._wait)

    def _ask(self, verb: str, path: str, query: Mapping[str, str] | None, body: Mapping[str, Any] | None) -> Mapping[str, Any]:
        try:
            reply = self._session.request(verb, f"{self._root}/v2/{path}", params=query, json=body, timeout=TIMEOUT_S)
            if reply.ok:
                document: Mapping[str, Any] = reply.json()
                return document
            problem = _http_problem(reply)
        except (requests.RequestException, TransportError) as error:
            problem = Problem("unreachable", str(error))
        except GoogleAuthError as error:
            problem = Problem("credentials", str(error), 0 if error.retryable else 401)
        log(f"{verb} {path}: {problem}", severity="WARNING", code=problem.code, status=problem.status)
        raise CallFailed(f"{verb} {path}", problem)


def open_run_api(project: str, region: str, wait: Callable[[float], None]) -> RunApi:
    """Return the real API, with the credentials of this machine."""
    import google.auth
    from google.auth.transport.requests import AuthorizedSession

    credentials, _ = google.auth.default(scopes=[SCOPE])
    return RunApi(AuthorizedSession(credentials), project, region, wait)


def _http_problem(reply: requests.Response) -> Problem:
    try:
        error = reply.json().get("error", {})
    except (requests.JSONDecodeError, AttributeError):
        error = {}
    reasons = [detail.get("reason") for detail in error.get("details", []) if isinstance(detail, dict)]
    code = "SERVICE_DISABLED" if "SERVICE_DISABLED" in reasons else error.get("status") or str(reply.status_code)
    return Problem(code, str(error.get("message", reply.text)), reply.status_code)
