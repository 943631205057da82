"""What training has cost, read from what it left behind: states, results and heartbeats."""

from datetime import datetime

from functions.runtime import Ports
from functions.states import find_state
from shared import keys
from shared.budget import AttemptCost, Spend, attempt_costs, spends
from shared.cas import find_document
from shared.cycle import CycleState, Status
from shared.head import FIRST_CYCLE
from shared.training import Heartbeat, TrainingResult

MEASURED_CYCLES = 10
"""Costs of at least so many newest cycles are looked at, beyond the period of the budget."""


def read_costs(ports: Ports, before: int) -> tuple[AttemptCost, ...]:
    """Return what the attempts of cycles below `before` cost: all within the budget's period, and of the newest cycles in any case."""
    now = ports.clock.now()
    since = now - ports.settings.policy.budget.period
    costs: list[AttemptCost] = []
    cycles = 0
    for number in range(before - 1, FIRST_CYCLE - 1, -1):
        state = find_state(ports, number)
        if state is None:
            continue
        if cycles >= MEASURED_CYCLES and state.ended and _trained_until(state) <= since:
            break
        cycles += 1
        costs.extend(read_attempts(ports, state))
    return tuple(costs)


def read_spends(ports: Ports, cycle: int) -> tuple[Spend, ...]:
    """Return what has been spent of each limit until now, by a running cycle and those before it; without a limit nothing is read."""
    budget = ports.settings.policy.budget
    if next(budget.limits(), None) is None:
        return ()
    return spends(read_costs(ports, cycle + 1), budget, cycle, ports.clock.now())


def _trained_until(state: CycleState) -> datetime:
    """Return when the last attempt can have ended; a later rollback of the model makes no run younger."""
    later = [after.at for entry, after in zip(state.history, state.history[1:], strict=False) if entry.status == Status.TRAINING]
    return max(later, default=state.history[0].at)


def read_attempts(ports: Ports, state: CycleState) -> tuple[AttemptCost, ...]:
    """Return what every attempt of a cycle cost until now."""
    result = find_document(ports.store, keys.result(state.cycle), TrainingResult)
    beat = find_document(ports.store, keys.heartbeat(state.cycle), Heartbeat)
    return tuple(attempt_costs(state, result, beat, ports.clock.now()))
