"""When a machine is looked for again after none was to be had. Pure.

A look costs a minute and a dozen calls, and stock-outs of GPUs last from minutes to days: each wait of an attempt is twice the one before.
"""

from datetime import datetime, timedelta
from itertools import takewhile

from shared.cycle import CycleState, Status

FIRST_WAIT_S = 60.0
LONGEST_WAIT_S = 900.0
_LOOKING = frozenset({Status.PREPARING, Status.WAITING_FOR_CAPACITY})


def looks(state: CycleState) -> int:
    """Return how often the present attempt has looked for a machine and found none."""
    recent = takewhile(lambda entry: entry.status in _LOOKING and entry.attempt == state.attempt, reversed(state.history))
    return sum(entry.status == Status.WAITING_FOR_CAPACITY for entry in recent)


def wait_after(number: int) -> timedelta:
    """Return how long to wait after so many looks."""
    return timedelta(seconds=min(FIRST_WAIT_S * 2 ** min(number - 1, 10), LONGEST_WAIT_S))


def next_try_at(state: CycleState) -> datetime:
    """Return when a machine is looked for again, for a cycle in `waiting_for_capacity`."""
    return state.since + wait_after(max(looks(state), 1))
