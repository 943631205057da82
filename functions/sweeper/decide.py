"""What a cycle that has not ended needs now. Pure."""

from datetime import datetime
from enum import StrEnum

from functions.launcher.capacity import next_try_at
from shared.cycle import CycleState, Status
from shared.policy import Policy

SPENDS = frozenset({Status.PREPARING, Status.WAITING_FOR_CAPACITY, Status.TRAINING, Status.INTERRUPTED})
"""A cycle in any other status has no trainer, and is about to get none."""


class Need(StrEnum):
    """What the sweeper does about a cycle."""

    NOTHING = "nothing"
    CARRY_ON = "carry on"
    FIND_CAPACITY = "find capacity"
    RELAUNCH = "relaunch"
    ANNOUNCE_RESULT = "announce result"
    INTERRUPT = "interrupt"
    STOP = "stop"
    ANNOUNCE_VERDICT = "announce verdict"


def decide_need(
    state: CycleState,
    policy: Policy,
    now: datetime,
    *,
    result: bool,
    trainer_lives: bool,
    last_sign: datetime | None,
    over_budget: str = "",
) -> tuple[Need, str]:
    """Decide what a cycle needs, and why.

    Args:
        state: the cycle's state, read before the trainers were listed.
        policy: leases and time-outs.
        now: the present time.
        result: `result.json` exists.
        trainer_lives: the trainer of the present attempt was listed.
        last_sign: its last heartbeat, else the start of the attempt.
        over_budget: why nothing more may be spent on it; empty = something may. What has its result is paid for, and is judged.
    """
    if over_budget and not result and state.status in SPENDS:
        return Need.STOP, over_budget
    stood_s = (now - state.since).total_seconds()
    stands_still = stood_s >= policy.preparing_lease_s
    if state.status == Status.TRAINING:
        return _training_need(policy, now, result=result, trainer_lives=trainer_lives, last_sign=last_sign or state.since)
    # Whoever died before the launch is carried on after one lease, and the machine started then has one to come to work. After that the
    # attempt counts, whether its machine hangs or was gone each time: it must not be started for ever.
    hopeless = stood_s >= 2 * policy.preparing_lease_s
    needs: dict[Status, tuple[Need, bool]] = {
        Status.PREPARING: (Need.INTERRUPT, True) if hopeless else (Need.CARRY_ON, stands_still and not trainer_lives),
        Status.WAITING_FOR_CAPACITY: (Need.FIND_CAPACITY, state.status == Status.WAITING_FOR_CAPACITY and now >= next_try_at(state)),
        Status.INTERRUPTED: (Need.RELAUNCH, True),
        Status.VALIDATING: (Need.ANNOUNCE_RESULT, stands_still),
        Status.ACCEPTED: (Need.ANNOUNCE_VERDICT, stands_still and policy.auto_deploy),
    }
    need, due = needs.get(state.status, (Need.NOTHING, False))
    return (need, f"stood in {state.status} for {stood_s:.0f} s") if due else (Need.NOTHING, "")


def _training_need(policy: Policy, now: datetime, *, result: bool, trainer_lives: bool, last_sign: datetime) -> tuple[Need, str]:
    if result:
        return Need.ANNOUNCE_RESULT, "result.json is written"
    if not trainer_lives:
        return Need.INTERRUPT, "the trainer is gone without a result"
    silent_s = (now - last_sign).total_seconds()
    if silent_s > policy.heartbeat_timeout_s:
        return Need.INTERRUPT, f"no heartbeat for {silent_s:.0f} s"
    return Need.NOTHING, ""
