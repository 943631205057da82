"""What the reporter's thread does next: a pure function of what it sees."""

import math
from dataclasses import dataclass
from enum import Enum, auto


class Step(Enum):
    """One step of the thread.

    Attributes:
        TICK: ask for the periodic messages.
        SEND: publish the batch in hand.
        SETTLE: look at how the publish went.
        LOAD: claim the oldest segment of the spool as the next batch.
        TAKE: make a batch of what waits in memory.
        SPILL: write the oldest of what waits in memory to the spool.
        WAIT: sleep.
        STOP: save what is left and end.
    """

    TICK = auto()
    SEND = auto()
    SETTLE = auto()
    LOAD = auto()
    TAKE = auto()
    SPILL = auto()
    WAIT = auto()
    STOP = auto()


class Hand(Enum):
    """Where the batch in hand came from."""

    EMPTY = auto()
    MEMORY = auto()
    SEGMENT = auto()


@dataclass(frozen=True)
class View:
    """What the thread sees; times are seconds of the monotonic clock.

    Attributes:
        now: the present.
        queued: messages that wait in memory, without the batch in hand.
        max_queue: the most that may wait.
        hand: the batch in hand.
        flying: the batch is being published.
        landed: every publish of the batch has ended, well or badly.
        give_up_at: when a publish counts as failed.
        away: the last publish failed.
        retry_at: no publish before.
        spool_usable: there is a spool and it has not just refused.
        spool_pending: the spool may hold segments.
        next_tick: when periodic messages are due.
        closing: the caller wants an end.
        closing_at: when it must have ended.
    """

    now: float
    queued: int = 0
    max_queue: int = 1
    hand: Hand = Hand.EMPTY
    flying: bool = False
    landed: bool = False
    give_up_at: float = math.inf
    away: bool = False
    retry_at: float = -math.inf
    spool_usable: bool = False
    spool_pending: bool = False
    next_tick: float = math.inf
    closing: bool = False
    closing_at: float = math.inf


def decide_step(view: View) -> tuple[Step, float]:
    """Return the next step, and for WAIT until when.

    The order of the messages is kept: what is in the spool is older than what is in memory, so nothing is taken from
    memory while the spool may hold something, and nothing is spilled while a batch from memory is in hand.
    """
    out_of_time = view.now >= view.closing_at
    pressed = view.away or 2 * view.queued >= view.max_queue
    may_spill = view.spool_usable and view.queued > 0 and view.hand is not Hand.MEMORY and pressed
    if view.now >= view.next_tick:
        return Step.TICK, view.now
    if view.flying:
        if view.landed or out_of_time or view.now >= view.give_up_at:
            return Step.SETTLE, view.now
        wake = min(view.give_up_at, view.next_tick, view.closing_at)
        return (Step.SPILL, view.now) if may_spill else (Step.WAIT, wake)
    if out_of_time:
        return Step.STOP, view.now
    if view.now < view.retry_at:
        return (Step.SPILL, view.now) if may_spill else (Step.WAIT, min(view.retry_at, view.next_tick, view.closing_at))
    return _ready(view)


def _ready(view: View) -> tuple[Step, float]:
    """Nothing is in flight and nothing keeps us from publishing."""
    if view.hand is not Hand.EMPTY:
        return Step.SEND, view.now
    if view.spool_pending:
        return Step.LOAD, view.now
    if view.queued:
        return Step.TAKE, view.now
    if view.closing:
        return Step.STOP, view.now
    return Step.WAIT, min(view.next_tick, view.closing_at)


def backoff_s(failures: int, jitter: float) -> float:
    """Return how long to leave Pub/Sub alone after `failures` in a row: 1, 2, 4 ... 60 s, times `jitter` in [0.5, 1]."""
    return float(min(60, 2 ** (min(failures, 10) - 1)) * jitter)
