"""Compute Engine as far as trainers see it: machines, operations, and a script of what happens to each insert.

Request ids are remembered as Google remembers them: a known one is answered with the operation of then, whatever became of its machine.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from re import fullmatch
from threading import Lock
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud import compute_v1
from google.cloud.compute_v1.services.instances.transports.rest import InstancesRestTransport
from google.cloud.compute_v1.services.machine_types.transports.rest import MachineTypesRestTransport
from google.cloud.compute_v1.services.zone_operations.transports.rest import ZoneOperationsRestTransport

from functions.launcher.compute_engine.api import Clients, ComputeApi
from functions.launcher.compute_engine.launcher import ComputeEngineLauncher
from shared.clock import Clock
from shared.config import Settings
from shared.testing.clock import FakeClock
from tests.google_api.discovery import discovery
from tests.google_api.server import ApiError, GoogleApi, LostReply, Request

PROJECT = "speech-1"
ZONES_OF_A_PAGE = 2


METHODS = {
    "compute.instances.insert": "_insert",
    "compute.instances.get": "_found",
    "compute.instances.delete": "_delete",
    "compute.instances.aggregatedList": "_list",
    "compute.zoneOperations.get": "_look",
    "compute.machineTypes.get": "_machine",
}
"""What is answered; any other call fails a test."""


@dataclass(frozen=True)
class Fate:
    """What happens to one insert.

    Attributes:
        http: refused at once.
        errors: its operation ends with these.
        ends: False = its operation never ends.
        stays: False = it is taken away while it is being created.
        lost: the reply is lost after it was accepted.
    """

    http: ApiError | None = None
    errors: tuple[dict[str, Any], ...] = ()
    status: int = 503
    ends: bool = True
    stays: bool = True
    lost: bool = False


GOOD = Fate()


def failed(code: str, message: str = "said so", *, status: int = 503, quota: dict[str, Any] | None = None) -> Fate:
    """Return the fate of an insert whose operation ends with an error."""
    error: dict[str, Any] = {"code": code, "message": message}
    return Fate(errors=({**error, "errorDetails": [{"quotaInfo": quota}]} if quota else error,), status=status)


@dataclass
class _Operation:
    zone: str
    name: str
    kind: str
    fate: Fate
    target: str
    looks: int = 0
    ended: bool = False


@dataclass
class Compute:
    """The backend; tests write `script` and change `vms`.

    Attributes:
        script: zone -> what happens to the inserts there, in turn; then all go well.
        machines: machine type -> GPUs, the same in every zone of `zones`.
        broken: method -> what it answers instead.
        stubborn: no VM ever ends.
        unreachable: zones of which no list can be had.
        looks: an operation is seen at work so often, less one, before it has ended.
        before_insert: called with the zone when a VM is asked for.
    """

    zones: tuple[str, ...] = ("europe-west4-a", "europe-west4-b", "europe-west4-c")
    machines: dict[str, int] = field(default_factory=lambda: {"g2-standard-8": 1, "g2-standard-24": 2, "a2-highgpu-1g": 1})
    script: defaultdict[str, list[Fate]] = field(default_factory=lambda: defaultdict(list))
    broken: dict[str, ApiError] = field(default_factory=dict)
    stubborn: bool = False
    unreachable: tuple[str, ...] = ()
    looks: int = 2
    before_insert: Callable[[str], object] | None = None
    vms: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    clock: FakeClock = field(default_factory=FakeClock)
    _operations: dict[str, _Operation] = field(default_factory=dict)
    _remembered: dict[str, str] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    def answer(self, request: Request) -> Any:
        if request.method in self.broken:
            raise self.broken[request.method]
        zone = request.path.get("zone")
        if zone is not None and zone not in self.zones:
            raise ApiError(400, "invalid", f"Invalid value for field 'zone': '{zone}'. Unknown zone.")
        with self._lock:
            return getattr(self, METHODS[request.method])(request)

    def names(self) -> list[tuple[str, str]]:
        """Return (zone, name) of all that is there."""
        return sorted(self.vms)

    def add(self, zone: str, name: str, status: str = "RUNNING", *, age_s: float = 0.0) -> None:
        """Make a VM that nobody asked for through the API."""
        self.vms[zone, name] = {"name": name, "zone": self._zone_url(zone), "status": status, "creationTimestamp": self._time(age_s)}

    def _time(self, age_s: float = 0.0) -> str:
        return (self.clock.now() - timedelta(seconds=age_s)).isoformat(timespec="milliseconds")

    def _zone_url(self, zone: str) -> str:
        return f"https://www.googleapis.com/compute/v1/projects/{PROJECT}/zones/{zone}"

    def _insert(self, request: Request) -> Any:
        zone, asked = request.path["zone"], str(request.one("requestId"))
        if asked in self._remembered:
            return self._document(self._operations[self._remembered[asked]])
        if self.before_insert:
            self.before_insert(zone)
        fate = self.script[zone].pop(0) if self.script[zone] else GOOD
        name = request.body["name"]
        if fate.http:
            raise fate.http
        if (zone, name) in self.vms:
            raise ApiError(409, "alreadyExists", f"The resource 'projects/{PROJECT}/zones/{zone}/instances/{name}' already exists")
        operation = self._begin(zone, "insert", fate, name)
        self._remembered[asked] = operation.name
        if not fate.errors and fate.ends:
            self.vms[zone, name] = {
                **request.body,
                "zone": self._zone_url(zone),
                "status": "PROVISIONING",
                "creationTimestamp": self._time(),
            }
        if fate.lost:
            raise LostReply
        return self._document(operation)

    def _begin(self, zone: str, kind: str, fate: Fate, target: str) -> _Operation:
        operation = _Operation(zone, f"operation-{len(self._operations) + 1}", kind, fate, target)
        self._operations[operation.name] = operation
        return operation

    def _look(self, request: Request) -> Any:
        operation = self._operations.get(request.path["operation"])
        if operation is None or operation.zone != request.path["zone"]:
            raise ApiError(404, "notFound", "no such operation")
        operation.looks += 1
        if operation.looks >= self.looks and operation.fate.ends and not operation.ended:
            operation.ended = True
            self._end(operation)
        return self._document(operation)

    def _end(self, operation: _Operation) -> None:
        key = (operation.zone, operation.target)
        if operation.kind == "delete":
            self.vms.pop(key, None)
        elif operation.fate.stays and key in self.vms:
            self.vms[key]["status"] = "RUNNING"
        else:
            self.vms.pop(key, None)

    def _document(self, operation: _Operation) -> dict[str, Any]:
        document: dict[str, Any] = {
            "kind": "compute#operation",
            "id": operation.name.rpartition("-")[2],
            "name": operation.name,
            "operationType": operation.kind,
            "zone": self._zone_url(operation.zone),
            "status": "DONE" if operation.ended else "RUNNING",
            "progress": 100 if operation.ended else 0,
        }
        if operation.ended and operation.fate.errors:
            document |= {"error": {"errors": list(operation.fate.errors)}, "httpErrorStatusCode": operation.fate.status}
        return document

    def _found(self, request: Request) -> dict[str, Any]:
        zone, name = request.path["zone"], request.path["instance"]
        if (zone, name) not in self.vms:
            raise ApiError(404, "notFound", f"The resource 'projects/{PROJECT}/zones/{zone}/instances/{name}' was not found")
        return self.vms[zone, name]

    def _delete(self, request: Request) -> Any:
        vm = self._found(request)
        vm["status"] = "STOPPING"
        return self._document(self._begin(request.path["zone"], "delete", Fate(ends=not self.stubborn), request.path["instance"]))

    def _list(self, request: Request) -> Any:
        wanted = str(request.one("filter")).removeprefix("name eq ")
        at = int(request.one("pageToken") or 0)
        items = {f"zones/{zone}": self._scoped(zone, wanted) for zone in self.zones[at : at + ZONES_OF_A_PAGE]}
        more = {"nextPageToken": str(at + ZONES_OF_A_PAGE)} if at + ZONES_OF_A_PAGE < len(self.zones) else {}
        return {"kind": "compute#instanceAggregatedList", "items": items, **more}

    def _scoped(self, zone: str, wanted: str) -> dict[str, Any]:
        if zone in self.unreachable:
            return {"warning": {"code": "UNREACHABLE", "message": f"The zone '{zone}' could not be reached."}}
        found = [vm for (place, name), vm in self.vms.items() if place == zone and fullmatch(wanted, name)]
        if found:
            return {"instances": found}
        return {"warning": {"code": "NO_RESULTS_ON_PAGE", "message": f"There are no results for scope 'zones/{zone}' on this page."}}

    def _machine(self, request: Request) -> Any:
        name = request.path["machineType"]
        if name not in self.machines:
            raise ApiError(404, "notFound", f"The resource 'projects/{PROJECT}/zones/x/machineTypes/{name}' was not found")
        count = self.machines[name]
        accelerators = [{"guestAcceleratorType": "nvidia-l4", "guestAcceleratorCount": count}] if count else []
        return {"kind": "compute#machineType", "name": name, "accelerators": accelerators}


@contextmanager
def compute_server(compute: Compute) -> Iterator[GoogleApi]:
    """Serve; everything that was asked and answered must be as Google's document has it."""
    with GoogleApi(discovery("compute.v1"), compute) as server:
        yield server
    assert server.record.problems == []


def launcher_on(server: GoogleApi, clock: FakeClock, settings: Settings) -> ComputeEngineLauncher:
    """Return a launcher with the real clients on a server of loopback; to wait is to set the clock."""

    def wait(seconds: float) -> None:
        clock.advance(seconds)

    return launcher_at(server.root, clock, settings, wait)


def launcher_at(root: str, clock: Clock, settings: Settings, wait: Callable[[float], None]) -> ComputeEngineLauncher:
    """Return a launcher with the real clients on whatever serves at an address."""
    made: dict[str, Any] = {"host": root.removeprefix("http://"), "credentials": AnonymousCredentials(), "url_scheme": "http"}
    clients = Clients(
        compute_v1.InstancesClient(transport=InstancesRestTransport(**made)),
        compute_v1.ZoneOperationsClient(transport=ZoneOperationsRestTransport(**made)),
        compute_v1.MachineTypesClient(transport=MachineTypesRestTransport(**made)),
    )
    return ComputeEngineLauncher(settings, clock, wait=wait, api=ComputeApi(clients, PROJECT, wait))
