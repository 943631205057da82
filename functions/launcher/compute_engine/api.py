"""The few calls of Compute Engine that trainers need, in plain values [io].

Each call is made without the client's own retries, which may last longer than a function: `with_retries` makes it again.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import requests
from google.api_core.exceptions import GoogleAPICallError
from google.auth.exceptions import GoogleAuthError, TransportError
from google.cloud import compute_v1

from functions.launcher.problems import CallFailed, Problem, with_retries
from shared.log import log

TIMEOUT_S = 20.0
LIVING = frozenset({"PENDING", "PROVISIONING", "STAGING", "RUNNING", "REPAIRING"})
"""A machine in any other status is on its way out, or out."""
_FINE = frozenset({"", "NO_RESULTS_ON_PAGE"})
_ASKED = re.compile(r"^[A-Z]+ https?://\S+: ")
"""The client puts what was asked before what was said."""
T = TypeVar("T")


@dataclass(frozen=True)
class Clients:
    """Google's own clients."""

    instances: compute_v1.InstancesClient
    operations: compute_v1.ZoneOperationsClient
    machine_types: compute_v1.MachineTypesClient


@dataclass(frozen=True)
class FoundVm:
    """A VM that is there.

    Attributes:
        created: as the server says; the texts of one server sort by time.
    """

    name: str
    zone: str
    status: str
    created: str

    @property
    def lives(self) -> bool:
        """It works, or will."""
        return self.status in LIVING


def open_clients() -> Clients:
    """Return the real clients, with the credentials of this machine."""
    return Clients(compute_v1.InstancesClient(), compute_v1.ZoneOperationsClient(), compute_v1.MachineTypesClient())


class ComputeApi:
    """Calls of one project.

    Args:
        clients: of google-cloud-compute.
        project: whose machines.
        wait: waits so many seconds.
    """

    def __init__(self, clients: Clients, project: str, wait: Callable[[float], None]) -> None:
        self._clients = clients
        self._project = project
        self._wait = wait

    def count_gpus(self, zone: str, machine_type: str) -> int | None:
        """Return how many GPUs a machine has there; None = there is no such zone, or no such machine in it.

        Raises:
            CallFailed: no answer.
        """
        request = compute_v1.GetMachineTypeRequest(project=self._project, zone=zone, machine_type=machine_type)
        get = self._clients.machine_types.get
        found = self._find(f"machine type {machine_type} in {zone}", lambda: get(request, retry=None, timeout=TIMEOUT_S))
        return sum(accelerator.guest_accelerator_count for accelerator in found.accelerators) if found is not None else None

    def insert(self, zone: str, instance: compute_v1.Instance, request_id: str) -> str:
        """Ask for a VM and return the operation that makes it; the same id twice is one request.

        Raises:
            CallFailed: it was refused.
        """
        request = compute_v1.InsertInstanceRequest(project=self._project, zone=zone, instance_resource=instance, request_id=request_id)
        insert = self._clients.instances.insert_unary
        return str(self._call(f"VM {instance.name} in {zone}", lambda: insert(request, retry=None, timeout=TIMEOUT_S)).name)

    def look(self, zone: str, operation: str) -> tuple[bool, Problem | None]:
        """Tell whether an operation has ended, and its error.

        Raises:
            CallFailed: no answer.
        """
        request = compute_v1.GetZoneOperationRequest(project=self._project, zone=zone, operation=operation)
        found = self._call(f"operation {operation} in {zone}", lambda: self._clients.operations.get(request, retry=None, timeout=TIMEOUT_S))
        done = found.status == compute_v1.Operation.Status.DONE
        errors = list(found.error.errors)
        return done, _operation_problem(errors[0], found.http_error_status_code) if errors else None

    def find(self, zone: str, name: str) -> FoundVm | None:
        """Return a VM of one zone.

        Raises:
            CallFailed: no answer.
        """
        request = compute_v1.GetInstanceRequest(project=self._project, zone=zone, instance=name)
        found = self._find(f"VM {name} in {zone}", lambda: self._clients.instances.get(request, retry=None, timeout=TIMEOUT_S))
        return FoundVm(name, zone, found.status, found.creation_timestamp) if found is not None else None

    def list_vms(self, pattern: str) -> list[FoundVm]:
        """Return the VMs of all zones whose whole name matches a regular expression (RE2), by name and age.

        Raises:
            CallFailed: no answer, or none of some zone: what is there cannot be told then.
        """
        request = compute_v1.AggregatedListInstancesRequest(project=self._project, filter=f"name eq {pattern}")
        return self._call("VMs of all zones", lambda: self._list(request))

    def _list(self, request: compute_v1.AggregatedListInstancesRequest) -> list[FoundVm]:
        found: list[FoundVm] = []
        for place, scoped in self._clients.instances.aggregated_list(request, retry=None, timeout=TIMEOUT_S):
            zone = place.rpartition("/")[2]
            warning: Any = scoped.warning
            if warning.code not in _FINE:
                raise CallFailed(f"VMs in {zone}", Problem(warning.code, warning.message))
            found.extend(FoundVm(vm.name, zone, vm.status, vm.creation_timestamp) for vm in scoped.instances)
        return sorted(found, key=lambda vm: (vm.name, vm.created, vm.zone))

    def delete(self, zone: str, name: str) -> str | None:
        """Ask for a VM's end and return the operation; None = it is gone already.

        Raises:
            CallFailed: it was refused.
        """
        request = compute_v1.DeleteInstanceRequest(project=self._project, zone=zone, instance=name)
        delete = self._clients.instances.delete_unary
        found = self._find(f"end of VM {name} in {zone}", lambda: delete(request, retry=None, timeout=TIMEOUT_S))
        return str(found.name) if found is not None else None

    def _find(self, what: str, call: Callable[[], T]) -> T | None:
        """Make a call about something that may not exist; of a zone that does not, Google may say so in words alone."""
        try:
            return self._call(what, call)
        except CallFailed as failure:
            if failure.problem.status == 404 or "unknown zone" in failure.problem.message.lower():
                return None
            raise

    def _call(self, what: str, call: Callable[[], T]) -> T:
        return with_retries(lambda: _translated(what, call), self._wait)


def _translated(what: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except GoogleAPICallError as error:
        problem = _http_problem(error)
    except (requests.RequestException, TransportError) as error:
        problem = Problem("unreachable", str(error))
    except GoogleAuthError as error:
        problem = Problem("credentials", str(error), 0 if getattr(error, "retryable", False) else 401)
    log(f"{what}: {problem}", severity="WARNING", code=problem.code, status=problem.status)
    raise CallFailed(what, problem)


def _http_problem(error: GoogleAPICallError) -> Problem:
    first: Any = error.errors[0] if error.errors else {}
    reason = first.get("reason", "") if isinstance(first, dict) else ""
    message = _ASKED.sub("", error.message or str(error))
    return Problem(reason or error.reason or error.__class__.__name__, message, int(error.code or 0))


def _operation_problem(error: Any, status: int) -> Problem:
    quota = next((detail.quota_info for detail in error.error_details if detail.quota_info.metric_name), None)
    metric = quota.metric_name.rpartition("/")[2].upper() if quota else ""
    return Problem(error.code, error.message, status, metric, quota.limit if quota else None)
