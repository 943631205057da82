"""The sweeper: one tick in; triggers, compaction, cycles that stand still, trainers that nobody wants, resolved errors, garbage."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

from functions.crossing import announce_crossing
from functions.cycle_trace import at_work
from functions.launcher import decide as launch
from functions.launcher.opening import LaunchDeps, announce_result, carry_on, relaunch
from functions.launcher.spending import read_spends
from functions.launcher.trainers import TrainerRun, parse_name
from functions.runtime import Ports
from functions.states import find_state
from functions.sweeper.decide import SPENDS, Need, decide_need
from functions.sweeper.resolve import resolve_errors
from functions.sweeper.watch import watch_versions
from functions.validator.announce import judged_event
from shared import keys
from shared.budget import why_stop, why_warn
from shared.bus import Message
from shared.cas import apply_with_cas, find_info
from shared.compaction import collect_garbage, compact
from shared.cycle import CODEC, CycleState, Status
from shared.errors import Retryable
from shared.events import Tick
from shared.head import FIRST_CYCLE, begin_head
from shared.log import log
from shared.messages import parse_event

GARBAGE_WINDOW = 3
"""Ledgers of so many newest cycles are looked at for garbage: older ones were collected before."""


def handle(message: Message, deps: LaunchDeps) -> str:
    """Handle one tick; return what was done.

    Raises:
        InvalidMessage: not a tick.
    """
    parse_event(message, expect=(Tick,))
    return sweep(deps)


def handler(deps: LaunchDeps) -> Callable[[Message], str]:
    """Return `handle` with its dependencies bound."""
    return lambda message: handle(message, deps)


def sweep(deps: LaunchDeps) -> str:
    """Do everything that is due; return it in words.

    Raises:
        Retryable: trainers could not be looked at, started or ended; all else was done before.
    """
    ports = deps.ports
    away: list[Retryable] = []
    head = begin_head(ports.store)
    done = [crossed] if (crossed := announce_crossing(ports)) else []
    folded = compact(ports.store, head)
    if folded:
        done.append(f"ledger {head}: {folded} segments folded")
    # Read before the trainers are listed: a trainer that starts in between is there, and never taken for one that is gone.
    newest = range(max(head - 1, FIRST_CYCLE), head + 1)
    states = [state for cycle in newest if (state := find_state(ports, cycle)) is not None]
    for state in states:
        _tell(state, ports.clock.now())
    with _at_the_end(away):
        names = deps.trainers.list_names()
        with _at_the_end(away):
            done.extend(_reap(deps, names))
        for state in states:
            with _at_the_end(away):
                done.extend(_carry(deps, state, names))
    done.extend(watch_versions(ports))  # counts ledgers, so before they are collected
    done.extend(resolve_errors(ports))
    done.extend(_collect_garbage(deps, head))
    if away:
        raise away[0]
    return "; ".join(done) or "nothing to do"


@contextmanager
def _at_the_end(away: list[Retryable]) -> Iterator[None]:
    """Keep an outage for the end: while no machine can be started, production must still be watched and rolled back."""
    try:
        yield
    except Retryable as error:
        away.append(error)


def _tell(state: CycleState, now: datetime) -> None:
    """Log where a cycle stands: alerts about failed and stuck cycles count these lines."""
    stood_s = round((now - state.since).total_seconds())
    log(f"cycle {state.cycle} is {state.status}", cycle=state.cycle, status=state.status, stood_s=stood_s)


def _carry(deps: LaunchDeps, state: CycleState, names: list[str]) -> list[str]:
    """Do what one cycle needs, given the trainers that were there after its state was read."""
    if state.ended:
        return []
    ports = deps.ports
    lives = TrainerRun(state.cycle, state.attempt).name in names
    beat = find_info(ports.store, keys.heartbeat(state.cycle))
    sign = beat.updated if beat is not None and beat.updated > state.since else None
    result = find_info(ports.store, keys.result(state.cycle)) is not None
    now = ports.clock.now()
    over = _look_at_budget(ports, state)
    policy = ports.settings.policy
    need, why = decide_need(state, policy, now, result=result, trainer_lives=lives, last_sign=sign, over_budget=over)
    if need == Need.NOTHING:
        return []
    log(f"cycle {state.cycle} needs: {need}", cycle=state.cycle, reason=why)
    with at_work(ports, str(need), state.cycle):
        why = _do(deps, state, need, why=why, over=over)
    return [f"cycle {state.cycle}: {need} ({why})"]


def _do(deps: LaunchDeps, state: CycleState, need: Need, *, why: str, over: str) -> str:
    """Do what a cycle needs; return why in the end."""
    ports = deps.ports
    now = ports.clock.now()
    key = keys.state(state.cycle)
    match need:
        case Need.CARRY_ON:
            carry_on(deps, state.cycle)
        case Need.FIND_CAPACITY:
            apply_with_cas(ports.store, key, CODEC, lambda found: launch.decide_retry_capacity(found, now))
            carry_on(deps, state.cycle)
        case Need.RELAUNCH:
            return relaunch(deps, state.cycle)
        case Need.INTERRUPT:
            apply_with_cas(ports.store, key, CODEC, lambda found: launch.decide_interrupted(found, state.attempt, why, now))
            return relaunch(deps, state.cycle)
        case Need.STOP:
            stopped = apply_with_cas(ports.store, key, CODEC, lambda found: launch.decide_over_budget(found, state.attempt, over, now))
            return stopped.reason if state.status == Status.WAITING_FOR_CAPACITY else relaunch(deps, state.cycle)
        case Need.ANNOUNCE_RESULT:
            announce_result(ports, state.cycle)
        case Need.ANNOUNCE_VERDICT:
            ports.publish_all([judged_event(ports.store.get(keys.report(state.cycle)).data)])
    return why


def _look_at_budget(ports: Ports, state: CycleState) -> str:
    """Return why the cycle must stop, or an empty text; warn in time."""
    found = read_spends(ports, state.cycle) if state.status in SPENDS else ()
    over = why_stop(found)
    if not over and (near := why_warn(found)):
        log(f"cycle {state.cycle} is stopped when its budget is spent: {near}", severity="WARNING", cycle=state.cycle)
    return over


def _reap(deps: LaunchDeps, names: list[str]) -> list[str]:
    """End those of the listed trainers that nobody wants; states are read afterwards, so that a new one is never taken for an old one."""
    runs = [run for run in map(parse_name, names) if run is not None]
    reaped = []
    for run in runs:
        state = find_state(deps.ports, run.cycle)
        if state is None or not state.wants_trainer(run.attempt):
            deps.trainers.delete(run.name)
            reaped.append(f"{run.name} ended: nobody wants it")
    return reaped


def _collect_garbage(deps: LaunchDeps, head: int) -> list[str]:
    store = deps.ports.store
    sealed = [
        cycle
        for cycle in range(max(head - GARBAGE_WINDOW, FIRST_CYCLE), head)
        if next(store.list(keys.ledger(cycle)), None) is not None and find_info(store, keys.dataset(cycle)) is not None
    ]
    return [f"ledger {cycle}: {collect_garbage(store, cycle)} objects collected" for cycle in sealed]
