"""Which machines an attempt tries in which order, and what it means when none is to be had. Pure."""

from collections.abc import Iterator, Sequence
from uuid import UUID, uuid5

from functions.launcher.compute_engine.obstacles import Obstacle, Scope
from functions.launcher.trainers import NoCapacity, Refused, TrainerRun
from shared.trainer_machines import TrainerMachine

_NAMESPACE = UUID("5a6f6f5e-3c1d-5b0e-9d7e-7b1f7c4f4b52")


def machines_of(machines: Sequence[TrainerMachine], attempt: int, spot_attempts: int) -> tuple[TrainerMachine, ...]:
    """Return what an attempt tries, in order.

    Once so many attempts have run on Spot and not ended well, only machines that stay are tried, if the list names any.
    """
    staying = tuple(machine for machine in machines if machine.provisioning == "standard")
    return staying if attempt > spot_attempts and staying else tuple(dict.fromkeys(machines))


def open_machines(machines: Sequence[TrainerMachine], obstacles: Sequence[Obstacle]) -> Iterator[TrainerMachine]:
    """Yield what no obstacle blocks; obstacles may be added while it runs."""
    for machine in machines:
        if not any(obstacle.blocks(machine) for obstacle in obstacles):
            yield machine


def outcome_of(obstacles: Sequence[Obstacle]) -> NoCapacity | Refused:
    """Return what it means that nothing could be started: wait where waiting may help, unless a person must act for all of it."""
    detail = "; ".join(dict.fromkeys(obstacle.text for obstacle in obstacles)) or "no machine was tried"
    final = [obstacle for obstacle in obstacles if obstacle.scope == Scope.PROJECT and not obstacle.waits]
    if final:
        return Refused("; ".join(dict.fromkeys(obstacle.text for obstacle in final)))
    return NoCapacity(detail) if any(obstacle.waits for obstacle in obstacles) else Refused(detail)


def request_id(run: TrainerRun, project: str, machine: TrainerMachine, life: int) -> str:
    """Return the id that makes one insert idempotent.

    It is that of the claim: whoever carries the same claim on asks with the same id, the next look for capacity with another. For an hour
    Google answers a known id with the operation of then, also when that failed or its machine is gone: hence a number for each life.
    """
    claim = run.claimed_at.isoformat() if run.claimed_at else ""
    return str(uuid5(_NAMESPACE, f"{project} {run.name} {claim} {machine} {life}"))
