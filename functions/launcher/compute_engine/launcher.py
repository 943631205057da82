"""Trainers as VMs: tries the machines in their order until one can be had, finds VMs again, and ends them [io].

A name is unique in a zone, not in a project. So whoever starts a VM looks into all zones before and after: of two deliveries that started
one each, at least one sees both, and both keep the older.

Everything ends before the function does (540 s): a walk after `WALK_S`, an end after `DELETE_S`.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from functions.launcher.compute_engine.obstacles import Obstacle, Scope, fix_of, obstacle_of
from functions.launcher.compute_engine.walk import machines_of, open_machines, outcome_of, request_id
from functions.launcher.problems import CallFailed, Problem
from functions.launcher.trainers import NoCapacity, Refused, Started, TrainerRun, parse_name
from shared.clock import Clock
from shared.config import Settings
from shared.errors import Retryable
from shared.log import log
from shared.trainer_machines import TrainerMachine

if TYPE_CHECKING:
    from functions.launcher.compute_engine.api import ComputeApi, FoundVm

WALK_S = 270.0
OPERATION_S = 120.0
"""A machine that is to be had comes within a minute, an error within half of that."""
DELETE_S = 150.0
POLL_S = 3.0
LIVES = 3
"""So often a machine may be gone as soon as it was there before the next one is tried."""
EVERY_TRAINER = "retune-trainer-.*"
TAKEN = frozenset({"alreadyExists", "RESOURCE_ALREADY_EXISTS"})


class ComputeEngineLauncher:
    """`TrainerLauncher` on Compute Engine.

    Args:
        settings: project, image, account, network and the machines to try.
        clock: tells when to stop waiting.
        wait: waits so many seconds.
        api: the calls; None = Google's, made at the first call, since loading its client takes longer than most requests.
    """

    def __init__(
        self, settings: Settings, clock: Clock, *, wait: Callable[[float], None] = time.sleep, api: "ComputeApi | None" = None
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._wait = wait
        self._given = api

    @cached_property
    def _api(self) -> "ComputeApi":
        if self._given is not None:
            return self._given
        from functions.launcher.compute_engine.api import ComputeApi, open_clients

        return ComputeApi(open_clients(), self._settings.project, self._wait)

    def start(self, run: TrainerRun) -> Started | NoCapacity | Refused:
        """Start one VM; see `TrainerLauncher.start`.

        Raises:
            Retryable: nobody can tell what is there, or an earlier life of the name does not end.
        """
        if self._settings.cannot_train:
            return Refused(self._settings.cannot_train)
        deadline = self._clock.now() + timedelta(seconds=WALK_S)
        policy = self._settings.policy
        machines = machines_of(self._settings.trainer_machines, run.attempt, policy.spot_attempts)
        try:
            standing = self._survivor(run.name)
            return Started(f"VM in {standing.zone}, there already") if standing else self._walk(run, machines, deadline)
        except CallFailed as failure:
            if obstacle_of(failure.problem, machines[0], self._settings.project).waits:
                raise
            return Refused(f"{failure}{fix_of(failure.problem, self._settings.project)}")

    def delete(self, name: str) -> None:
        """End a VM wherever it is and wait until it is gone; see `TrainerLauncher.delete`.

        Raises:
            Retryable: it is not gone in time, or nobody can tell.
        """
        for vm in self._api.list_vms(name):
            self._end(vm)

    def list_names(self) -> list[str]:
        """Return the VMs of all zones, those included that have stopped and still cost their disk; see `TrainerLauncher.list_names`.

        Raises:
            Retryable: nobody can tell.
        """
        return sorted({vm.name for vm in self._api.list_vms(EVERY_TRAINER) if parse_name(vm.name)})

    def _survivor(self, name: str) -> "FoundVm | None":
        """Return the one living VM of a name after ending all others: the oldest, which whoever looked before has kept too."""
        found = self._api.list_vms(name)
        living = [vm for vm in found if vm.lives]
        for vm in found:
            if vm not in living[:1]:
                log(f"VM {name} in {vm.zone} is {vm.status} and not wanted", severity="WARNING")
                self._end(vm)
        return living[0] if living else None

    def _walk(self, run: TrainerRun, machines: tuple[TrainerMachine, ...], deadline: datetime) -> Started | NoCapacity | Refused:
        obstacles: list[Obstacle] = []
        for machine in open_machines(machines, obstacles):
            if self._clock.now() >= deadline:
                obstacles.append(Obstacle(machine, Scope.PROJECT, waits=True, text=f"{machine} and what follows: no time was left"))
                break
            outcome = self._try(run, machine, deadline)
            if isinstance(outcome, Started):
                survivor = self._survivor(run.name)
                return Started(f"VM in {survivor.zone}") if survivor and survivor.zone != machine.zone else outcome
            log(f"no machine: {outcome.text}", severity="WARNING", cycle=run.cycle)
            obstacles.append(outcome)
        return outcome_of(obstacles)

    def _try(self, run: TrainerRun, machine: TrainerMachine, deadline: datetime) -> Started | Obstacle:
        gpus = self._api.count_gpus(machine.zone, machine.machine_type)
        if not gpus:
            listing = f"gcloud compute machine-types list --project {self._settings.project} --filter='name={machine.machine_type}'"
            missing = "no such machine there" if gpus is None else "it brings no GPU"
            return Obstacle(machine, Scope.MACHINE_TYPE, waits=False, text=f"{machine}: {missing}; choose zones that have it: {listing}")
        problem = Problem("", "")
        for life in range(LIVES):
            try:
                outcome = self._insert(run, machine, life, deadline)
            except CallFailed as failure:
                outcome = failure.problem
            if isinstance(outcome, Started):
                return outcome
            problem = outcome
            gone = self._clear(run.name, machine.zone)
            if isinstance(gone, Started):
                return gone
            if problem.code not in {GONE.code, *TAKEN}:
                break
        return obstacle_of(problem, machine, self._settings.project, gpus)

    def _insert(self, run: TrainerRun, machine: TrainerMachine, life: int, deadline: datetime) -> Started | Problem:
        """Ask for a machine and wait for it, not longer than for one machine's share of the time."""
        from functions.launcher.compute_engine.instance import build_instance

        zone = machine.zone
        asked = request_id(run, self._settings.project, machine, life)
        operation = self._api.insert(zone, build_instance(self._settings, run, machine), asked)
        done, problem = self._wait_for(zone, operation, min(deadline, self._clock.now() + timedelta(seconds=OPERATION_S)))
        if problem is not None:
            return problem
        if not done:
            # Nobody knows what comes of it. It keeps the name in this zone; the next look is the sweeper's, after a lease.
            return Started(f"VM in {zone}: operation {operation} has not ended yet")
        vm = self._api.find(zone, run.name)
        return Started(f"VM in {zone}, {machine.machine_type}, {machine.provisioning}") if vm and vm.lives else GONE

    def _clear(self, name: str, zone: str) -> Started | None:
        """Leave nothing behind in a zone; a living VM of the name is another delivery's."""
        vm = self._api.find(zone, name)
        if vm is None:
            return None
        if vm.lives:
            return Started(f"VM in {zone}, there already")
        self._end(vm)
        return None

    def _end(self, vm: "FoundVm") -> None:
        deadline = self._clock.now() + timedelta(seconds=DELETE_S)
        operation = self._api.delete(vm.zone, vm.name)
        done, problem = self._wait_for(vm.zone, operation, deadline) if operation else (True, None)
        if self._api.find(vm.zone, vm.name) is not None:
            why = str(problem) if problem else "its operation has ended" if done else f"its operation has not ended in {DELETE_S:.0f} s"
            raise Retryable(f"VM {vm.name} in {vm.zone}: expected it to be gone, it is still there ({why})")

    def _wait_for(self, zone: str, operation: str, deadline: datetime) -> tuple[bool, Problem | None]:
        while True:
            done, problem = self._api.look(zone, operation)
            if done or problem or self._clock.now() >= deadline:
                return done, problem
            self._wait(POLL_S)


GONE = Problem("GONE", "it was taken away while it was being created", 503)
"""The operation has ended well, and there is no machine."""
