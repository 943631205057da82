"""Which candidates an attempt tries in which order, and what it means when none gave a machine. Pure."""

from collections.abc import Iterator, Sequence
from uuid import UUID, uuid5

from functions.launcher.compute_engine.obstacles import Obstacle, Scope
from functions.launcher.trainers import NoCapacity, Refused, TrainerRun
from shared.candidates import Candidate

_NAMESPACE = UUID("5a6f6f5e-3c1d-5b0e-9d7e-7b1f7c4f4b52")


def candidates_of(candidates: Sequence[Candidate], attempt: int, spot_attempts: int) -> tuple[Candidate, ...]:
    """Return what an attempt tries, in order.

    Once so many attempts have run on Spot and not ended well, only machines that stay are tried, if the list names any.
    """
    staying = tuple(candidate for candidate in candidates if candidate.provisioning == "standard")
    return staying if attempt > spot_attempts and staying else tuple(dict.fromkeys(candidates))


def open_candidates(candidates: Sequence[Candidate], obstacles: Sequence[Obstacle]) -> Iterator[Candidate]:
    """Yield what no obstacle blocks; obstacles may be added while it runs."""
    for candidate in candidates:
        if not any(obstacle.blocks(candidate) for obstacle in obstacles):
            yield candidate


def outcome_of(obstacles: Sequence[Obstacle]) -> NoCapacity | Refused:
    """Return what it means that nothing could be started: wait where waiting may help, unless a person must act for all of it."""
    detail = "; ".join(dict.fromkeys(obstacle.text for obstacle in obstacles)) or "no candidate was tried"
    final = [obstacle for obstacle in obstacles if obstacle.scope == Scope.PROJECT and not obstacle.waits]
    if final:
        return Refused("; ".join(dict.fromkeys(obstacle.text for obstacle in final)))
    return NoCapacity(detail) if any(obstacle.waits for obstacle in obstacles) else Refused(detail)


def request_id(run: TrainerRun, project: str, candidate: Candidate, life: int) -> str:
    """Return the id that makes one insert idempotent.

    It is that of the claim: whoever carries the same claim on asks with the same id, the next look for capacity with another. For an hour
    Google answers a known id with the operation of then, also when that failed or its machine is gone: hence a number for each life.
    """
    claim = run.claimed_at.isoformat() if run.claimed_at else ""
    return str(uuid5(_NAMESPACE, f"{project} {run.name} {claim} {candidate} {life}"))
