"""Trainers as jobs: makes a job with its one execution, finds jobs again, and ends them [io].

A job's name is unique in the region, and to make one is to start it: of two deliveries one makes it and the other finds it. What jobs on
Cloud Run cannot do stands in `functions.launcher.cloud_run.job`.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from functions.launcher.cloud_run.job import FoundJob, build_job
from functions.launcher.cloud_run.outcomes import outcome_of
from functions.launcher.problems import CallFailed, Problem
from functions.launcher.trainers import NoCapacity, Refused, Started, TrainerRun, parse_name
from shared.clock import Clock
from shared.config import Settings
from shared.errors import Retryable
from shared.log import log

if TYPE_CHECKING:
    from functions.launcher.cloud_run.api import RunApi

START_S = 180.0
DELETE_S = 150.0
POLL_S = 3.0


class CloudRunLauncher:
    """`TrainerLauncher` on Cloud Run.

    Args:
        settings: project, image and account; the region is that of its machines.
        clock: tells when to stop waiting.
        wait: waits so many seconds.
        api: the calls; None = Google's, made at the first call.
    """

    def __init__(
        self, settings: Settings, clock: Clock, *, wait: Callable[[float], None] = time.sleep, api: "RunApi | None" = None
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._wait = wait
        self._given = api
        self._region = settings.trainer_machines[0].region

    @cached_property
    def _api(self) -> "RunApi":
        if self._given is not None:
            return self._given
        from functions.launcher.cloud_run.api import open_run_api

        return open_run_api(self._settings.project, self._region, self._wait)

    def start(self, run: TrainerRun) -> Started | NoCapacity | Refused:
        """Start one job; see `TrainerLauncher.start`.

        Raises:
            Retryable: nobody can tell what is there, or an earlier life of the name does not end.
        """
        if self._settings.cannot_train:
            return Refused(self._settings.cannot_train)
        try:
            self._tidy_up(run.name)
            return self._create(run)
        except CallFailed as failure:
            if failure.problem.transient and failure.problem.code != "RESOURCE_EXHAUSTED":
                raise
            outcome = outcome_of(failure.problem, self._settings.project)
            return type(outcome)(f"job {run.name} in {self._region}: {outcome.detail}")

    def delete(self, name: str) -> None:
        """End a job's execution, delete the job and wait until it is gone; see `TrainerLauncher.delete`.

        Raises:
            Retryable: it is not gone in time, or nobody can tell.
        """
        found = self._api.find(name)
        if found is not None:
            self._end(found)

    def list_names(self) -> list[str]:
        """Return the jobs that work or will; see `TrainerLauncher.list_names`.

        One whose execution has ended is no trainer, and costs nothing: the next start takes it away.

        Raises:
            Retryable: nobody can tell.
        """
        return [job.name for job in self._api.list_jobs() if parse_name(job.name) and job.lives]

    def _create(self, run: TrainerRun) -> Started | NoCapacity | Refused:
        standing = self._api.find(run.name)
        if standing is not None and not standing.lives:
            self._end(standing)
        elif standing is not None:
            return Started(f"job in {self._region}, there already")
        try:
            operation = self._api.create(run.name, build_job(self._settings, run))
        except CallFailed as failure:
            if failure.problem.code == "ALREADY_EXISTS":
                return Started(f"job in {self._region}, there already")
            raise
        done, problem = self._wait_for(operation, self._clock.now() + timedelta(seconds=START_S))
        if problem is not None:
            self.delete(run.name)
            outcome = outcome_of(problem, self._settings.project)
            return type(outcome)(f"job {run.name} in {self._region}: {outcome.detail}")
        # An operation that has not ended waits for a GPU, or for Cloud Run: the execution keeps its place in the queue.
        return Started(f"job in {self._region}" if done else f"job in {self._region}: operation {operation} has not ended yet")

    def _tidy_up(self, name: str) -> None:
        """Take jobs of earlier attempts away that have ended: they cost nothing, and there is room for a thousand."""
        for job in self._api.list_jobs():
            if parse_name(job.name) and not job.lives and job.name != name:
                self._api.delete(job.name)
                log(f"job {job.name} has ended: deleted")

    def _end(self, job: FoundJob) -> None:
        """First the execution, so that its trainer leaves a checkpoint and is known to be gone; then the job."""
        deadline = self._clock.now() + timedelta(seconds=DELETE_S)
        if job.lives and job.execution:
            self._api.cancel(job.execution)
            while (found := self._api.find(job.name)) is not None and found.lives and self._clock.now() < deadline:
                self._wait(POLL_S)
        operation = self._api.delete(job.name)
        _, problem = self._wait_for(operation, deadline) if operation else (True, None)
        if self._api.find(job.name) is not None:
            why = str(problem) if problem else f"not in {DELETE_S:.0f} s"
            raise Retryable(f"job {job.name} in {self._region}: expected it to be gone, it is still there ({why})")

    def _wait_for(self, operation: str, deadline: datetime) -> tuple[bool, Problem | None]:
        while True:
            done, problem = self._api.look(operation)
            if done or self._clock.now() >= deadline:
                return done, problem
            self._wait(POLL_S)
