"""The state machine of a cycle: one object, changed only by compare-and-swap.

    collecting -> awaiting_approval -> preparing <-> waiting_for_capacity
                                       preparing -> training -> validating -> accepted -> canary -> deployed
                                           ^           |            |-> rejected, inconclusive
                                           +-- interrupted -> failed         accepted, canary -> inconclusive
                                               interrupted -> validating (its result stood already)
    awaiting_approval ... accepted -> cancelled          accepted, canary, deployed -> rolled_back

`collecting` means that no state object exists yet.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from shared.cas import Decision, document_codec
from shared.documents import Frozen
from shared.errors import InvariantBroken
from shared.machine import Machine


class Status(StrEnum):
    """Where a cycle stands."""

    AWAITING_APPROVAL = "awaiting_approval"
    PREPARING = "preparing"
    WAITING_FOR_CAPACITY = "waiting_for_capacity"
    TRAINING = "training"
    INTERRUPTED = "interrupted"
    VALIDATING = "validating"
    ACCEPTED = "accepted"
    CANARY = "canary"
    DEPLOYED = "deployed"
    REJECTED = "rejected"
    INCONCLUSIVE = "inconclusive"
    FAILED = "failed"
    CANCELLED = "cancelled"
    ROLLED_BACK = "rolled_back"


S = Status
ENDED = frozenset({S.REJECTED, S.INCONCLUSIVE, S.FAILED, S.CANCELLED, S.DEPLOYED, S.ROLLED_BACK})
TRAINABLE = frozenset({S.AWAITING_APPROVAL, S.PREPARING, S.WAITING_FOR_CAPACITY, S.TRAINING, S.INTERRUPTED})
"""A cycle in any other status has its result, or needs none: whatever machine is left only costs money."""
STARTS = frozenset({S.AWAITING_APPROVAL, S.PREPARING, S.INCONCLUSIVE})
"""A cycle opens for training; an imported model's number opens as `inconclusive`: nothing was tried on it."""

MOVES: dict[Status, frozenset[Status]] = {
    S.AWAITING_APPROVAL: frozenset({S.PREPARING, S.CANCELLED}),
    S.PREPARING: frozenset({S.WAITING_FOR_CAPACITY, S.TRAINING, S.INTERRUPTED, S.FAILED, S.CANCELLED}),
    S.WAITING_FOR_CAPACITY: frozenset({S.PREPARING, S.FAILED, S.CANCELLED}),
    S.TRAINING: frozenset({S.INTERRUPTED, S.VALIDATING, S.FAILED, S.CANCELLED}),
    S.INTERRUPTED: frozenset({S.PREPARING, S.VALIDATING, S.FAILED, S.CANCELLED}),
    S.VALIDATING: frozenset({S.ACCEPTED, S.REJECTED, S.INCONCLUSIVE, S.CANCELLED}),
    S.ACCEPTED: frozenset({S.CANARY, S.DEPLOYED, S.ROLLED_BACK, S.INCONCLUSIVE, S.CANCELLED}),
    S.CANARY: frozenset({S.DEPLOYED, S.ROLLED_BACK, S.INCONCLUSIVE}),
    S.DEPLOYED: frozenset({S.ROLLED_BACK}),
    S.REJECTED: frozenset(),
    S.INCONCLUSIVE: frozenset(),
    S.FAILED: frozenset(),
    S.CANCELLED: frozenset(),
    S.ROLLED_BACK: frozenset(),
}


class Entry(Frozen):
    """One move: who, when, why.

    Attributes:
        machine: that the attempt trains on, where the move is its trainer's first act; None = nobody told it.
    """

    status: Status
    at: AwareDatetime
    by: str
    cause: str
    reason: str = ""
    attempt: int | None = None
    machine: Machine | None = None


class CycleState(Frozen):
    """The state of one cycle.

    Attributes:
        attempt: number of the present training attempt, from 1; `preparing` with attempt a is the claim to start it.
        forced: a person forced it, so approval is not waited for.
        history: every move, oldest first; the first entry's cause is the event that opened the cycle.
    """

    v: Literal[1] = 1
    cycle: Annotated[int, Field(ge=1)]
    status: Status
    attempt: Annotated[int, Field(ge=1)] = 1
    forced: bool = False
    history: Annotated[tuple[Entry, ...], Field(min_length=1)]

    @property
    def ended(self) -> bool:
        """True when nothing moves this cycle on any more (a rollback may still mark it)."""
        return self.status in ENDED

    def wants_trainer(self, attempt: int) -> bool:
        """Tell whether a trainer of an attempt has work to do, or may yet be given some."""
        return attempt == self.attempt and self.status in TRAINABLE

    @property
    def imported(self) -> bool:
        """True when the number belongs to an imported model: nothing was ever trained under it."""
        return self.history[0].status in ENDED

    @property
    def opened_by(self) -> str:
        """The event_id that opened the cycle."""
        return self.history[0].cause

    @property
    def since(self) -> datetime:
        """When it came to its present status."""
        return self.history[-1].at

    @property
    def reason(self) -> str:
        """Why it came to its present status."""
        return self.history[-1].reason


def open_cycle(cycle: int, status: Status, *, at: datetime, by: str, cause: str, reason: str, forced: bool = False) -> CycleState:
    """Return the first state of a cycle.

    Args:
        cycle: its number.
        status: one of `STARTS`.
        at: when.
        by: who opens it, as the record calls them.
        cause: id of the event that it is opened for.
        reason: why, for people.
        forced: a person asked for it, and no approval is waited for.

    Raises:
        InvariantBroken: a cycle cannot open in that status.
    """
    if status not in STARTS:
        raise InvariantBroken(f"cycle {cycle}: expected to open in one of {sorted(STARTS)}, found {status}")
    entry = Entry(status=status, at=at, by=by, cause=cause, reason=reason, attempt=1)
    return CycleState(cycle=cycle, status=status, forced=forced, history=(entry,))


def can_move(state: CycleState, to: Status) -> bool:
    """Tell whether the table allows the move."""
    return to in MOVES[state.status]


def move(
    state: CycleState,
    to: Status,
    *,
    at: datetime,
    by: str,
    cause: str,
    reason: str = "",
    attempt: int | None = None,
    machine: Machine | None = None,
) -> CycleState:
    """Return the state after a legal move.

    Args:
        state: as it is.
        to: where it moves.
        at: when.
        by: who moves it, as the record calls them.
        cause: id of the event that it is moved for.
        reason: why, for people.
        attempt: number of the training attempt from now on; None = as it is.
        machine: that the attempt trains on; None = nobody told it.

    Raises:
        InvariantBroken: the table does not allow the move; callers look with `can_move` first.
    """
    if not can_move(state, to):
        raise InvariantBroken(f"cycle {state.cycle}: expected a legal move from {state.status}, found {to} ({reason})")
    number = state.attempt if attempt is None else attempt
    entry = Entry(status=to, at=at, by=by, cause=cause, reason=reason, attempt=number, machine=machine)
    return state.model_copy(update={"status": to, "attempt": number, "history": (*state.history, entry)})


def decide_begin_training(
    state: CycleState | None, attempt: int, *, at: datetime, cause: str, machine: Machine | None = None
) -> Decision[CycleState]:
    """Decide the trainer's first act: only `preparing` or `training` with its own attempt lets it work.

    The reason is empty when the trainer may work; otherwise it says why it must go.

    Args:
        state: of its cycle; None = there is none.
        attempt: that it was started for.
        at: when.
        cause: what started it, for the record.
        machine: that it runs on; None = unknown.
    """
    if state is None:
        return Decision(None, reason="the cycle has no state")
    if state.attempt != attempt:
        return Decision(None, reason=f"attempt {state.attempt} is at work, not {attempt}")
    if state.status == S.TRAINING:
        return Decision(None)
    if state.status != S.PREPARING:
        return Decision(None, reason=f"cycle {state.cycle} is {state.status}")
    reason = f"attempt {attempt} started"
    return Decision(move(state, S.TRAINING, at=at, by="trainer", cause=cause, reason=reason, machine=machine))


CODEC = document_codec(CycleState, what="cycle state")
