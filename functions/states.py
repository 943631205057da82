"""How cycles stand."""

from datetime import timedelta

from functions.runtime import Ports
from shared import keys
from shared.cas import find
from shared.cycle import CODEC, CycleState
from shared.head import FIRST_CYCLE, read_head

REMEMBER_CAUSES = timedelta(days=31)


def find_state(ports: Ports, cycle: int) -> CycleState | None:
    """Return the state of a cycle; None while it is collecting."""
    found = find(ports.store, keys.state(cycle))
    return CODEC.parse(found.data) if found else None


def running_cycle(ports: Ports) -> CycleState | None:
    """Return the one cycle that has not ended, if there is one."""
    return next((state for state in newest_states(ports) if not state.ended), None)


def newest_states(ports: Ports) -> list[CycleState]:
    """Return the states of the head and of the cycle before it: no other can be running."""
    head = read_head(ports.store)
    states = [find_state(ports, number) for number in (head, head - 1) if number >= FIRST_CYCLE]
    return [state for state in states if state is not None]


def recent_states(ports: Ports, head: int) -> list[CycleState]:
    """Return the states of cycles opened within 31 days, newest first."""
    oldest = ports.clock.now() - REMEMBER_CAUSES
    states: list[CycleState] = []
    for number in range(head, FIRST_CYCLE - 1, -1):
        state = find_state(ports, number)
        if state is not None:
            states.append(state)
            if state.history[0].at < oldest:
                break
    return states
