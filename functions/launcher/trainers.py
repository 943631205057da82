"""The port that starts, lists and deletes trainers: as processes of this machine, as VMs on Compute Engine or as jobs on Cloud Run."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

_NAME = re.compile(r"^retune-trainer-(\d{6})-(\d+)$")


@dataclass(frozen=True)
class TrainerRun:
    """One attempt of one cycle: at most one trainer of this name is at work.

    Attributes:
        spec_uri: address of the cycle's spec, `gs://bucket/cycles/000012/spec.json`.
        claimed_at: when the state came to `preparing`: two deliveries that carry the same claim on are told from two claims.
    """

    cycle: int
    attempt: int
    spec_uri: str = ""
    claimed_at: datetime | None = None

    @property
    def name(self) -> str:
        """Name of the machine or process; follows from cycle and attempt alone."""
        return f"retune-trainer-{self.cycle:06d}-{self.attempt}"


def parse_name(name: str) -> TrainerRun | None:
    """Return the run that a name stands for; None = not one of ours."""
    match = _NAME.match(name)
    return TrainerRun(int(match[1]), int(match[2])) if match else None


@dataclass(frozen=True)
class Started:
    """The trainer runs (or ran already: "already exists" is success)."""

    where: str


@dataclass(frozen=True)
class NoCapacity:
    """Nowhere is a machine to be had now; try again later."""

    detail: str


@dataclass(frozen=True)
class Refused:
    """Quota, permission or configuration: another try would be refused as well."""

    detail: str


class TrainerLauncher(Protocol):
    """Starts and ends trainers."""

    def start(self, run: TrainerRun) -> Started | NoCapacity | Refused:
        """Start the trainer of (cycle, attempt); one of that name that is there already is success."""
        ...

    def delete(self, name: str) -> None:
        """End a trainer and wait until it is gone; one that does not exist is no error."""
        ...

    def list_names(self) -> list[str]:
        """Return the names of the trainers that are there."""
        ...
