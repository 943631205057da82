"""Tries policies one after the other on the same calls: hour after hour of reports, ticks and people's answers."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from functions.crossing import find_declined
from functions.states import newest_states
from functions.sweeper.watch import find_watch
from infra.simulate.assumptions import Assumptions
from infra.simulate.calls import Calls
from infra.simulate.outcome import HOUR_S, HeldLog, Outcome, cycle_outcomes
from infra.simulate.world import World
from shared import keys
from shared.cas import find
from shared.cycle import CycleState, Status
from shared.events import SttError, SttSample
from shared.head import FIRST_CYCLE, read_head
from shared.log import fresh
from shared.policy import Policy
from shared.testing.clock import START, FakeClock

WHILE_TRAINING_S = 300.0
TOLD = 20
"""Lines of progress for each policy."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Trial:
    """What is simulated.

    Attributes:
        calls: makes the calls; the same ones every time.
        days: how long.
        wer: of the first model.
    """

    calls: Callable[[], Calls]
    days: float
    wer: float
    assumptions: Assumptions
    seed: int
    usd_per_gpu_hour: float | None = None


def look_again_s(policy: Policy, collected_s: float, share: float) -> float:
    """Return how long a refusal stands in the simulation: a share of the time that the cycle has collected, never less than in production.

    Each look counts months of history exactly; one every few minutes would take a simulation hours. So a cycle that was refused opens up
    to this share later than it would.

    Args:
        policy: that is tried.
        collected_s: since the head has named the cycle.
        share: of it.
    """
    return max(policy.decline_backoff_s, share * collected_s)


def simulate(name: str, policy: Policy, trial: Trial, tell: Tell) -> Outcome:
    """Try one policy; return what came of it.

    Args:
        name: of the policy.
        policy: what is tried.
        trial: on what.
        tell: takes one line of progress at a time.
    """
    clock = FakeClock(START)
    with _silent():
        world = World(clock, policy, trial.calls(), trial.assumptions, trial.seed)
        return _Run(name, policy, trial, world).carry_out(tell)


class _Run:
    """One policy's way through the calls."""

    def __init__(self, name: str, policy: Policy, trial: Trial, world: World) -> None:
        self._name, self._policy, self._trial, self._world = name, policy, trial, world
        self._held = HeldLog()
        self._errors = self._samples = 0
        self._level, self._level_seconds = 1.0, 0.0
        self._first_better_h: float | None = None
        self._head, self._head_since = FIRST_CYCLE, START

    def carry_out(self, tell: Tell) -> Outcome:
        """Go step by step to the end; return what came of it."""
        world, end = self._world, START + timedelta(days=self._trial.days)
        told = 0
        while (since := world.clock.now()) < end:
            until = world.clock.advance(min(self._step_s(), (end - since).total_seconds()))
            for event in world.calls.reports(since, until, world.serving()):
                self._errors += isinstance(event, SttError)
                self._samples += isinstance(event, SttSample)
                world.report(event)
            world.settle()
            world.step()
            self._answer()
            self._observe(since, until)
            days = (until - START).total_seconds() / (24 * HOUR_S)
            if int(days / self._trial.days * TOLD) > told:
                told = int(days / self._trial.days * TOLD)
                tell(f"{self._name}: day {days:.1f} of {self._trial.days:g}, {self._errors} errors, {self._where()}")
        return self._outcome()

    def _step_s(self) -> float:
        """Return the time to the next tick: shorter while a trainer is at work, whose end something waits for."""
        longest_s = self._trial.assumptions.resolution_s
        return min(longest_s, WHILE_TRAINING_S) if self._world.trainers.list_names() else longest_s

    def _where(self) -> str:
        stable = self._world.serving().stable
        return f"cycle {read_head(self._world.store)} collects, v{stable} serves"

    def _observe(self, since: datetime, now: datetime) -> None:
        store, at_h = self._world.store, (now - START).total_seconds() / HOUR_S
        head = read_head(store)
        if head != self._head:
            self._head, self._head_since = head, now
        collected_s = (now - self._head_since).total_seconds()
        self._world.let_refusals_stand(look_again_s(self._policy, collected_s, self._trial.assumptions.look_again))
        declined = find_declined(self._world.ports, head)
        # the launcher's last word on this cycle; who has opened it is held no more
        if declined is not None and find(store, keys.state(head)) is None:
            self._held.note(head, declined.decision.held, (declined.at - START).total_seconds() / HOUR_S)
        level = self._world.calls.speech.model(self._world.serving().stable).level
        self._level, lasted_s = level, (now - since).total_seconds()
        self._level_seconds += level * lasted_s
        if self._first_better_h is None and level < 1.0:
            self._first_better_h = round(at_h, 2)

    def _answer(self) -> None:
        """Do what a person does whom the policy asks: approve and promote, after a while."""
        assumptions = self._trial.assumptions
        for state in reversed(newest_states(self._world.ports)):
            if state.status == Status.AWAITING_APPROVAL and self._waited(state, assumptions.approve_after_h):
                self._world.type("finetune-triggers", f'{{"approve": true, "cycle": {state.cycle}, "by": "simulated person"}}')
            if not self._policy.auto_deploy and self._ready(state):
                self._world.type("model-commands", self._deploying(state))

    def _waited(self, state: CycleState, hours: float) -> bool:
        return (self._world.clock.now() - state.since).total_seconds() >= hours * HOUR_S

    def _ready(self, state: CycleState) -> bool:
        """Tell whether a person would move a version on now: from accepted, or from a canary that has proved itself."""
        hours = self._trial.assumptions.promote_after_h
        if state.status == Status.ACCEPTED:
            return self._waited(state, hours)
        watch = find_watch(self._world.ports, state.cycle) if state.status == Status.CANARY else None
        if watch is None or watch.verdict.action != "promote":
            return False
        return self._world.clock.now() - watch.verdict.at >= timedelta(hours=hours)

    def _deploying(self, state: CycleState) -> str:
        percent = self._policy.canary.percent
        if state.status == Status.ACCEPTED and percent is not None:
            return f'{{"canary": {state.cycle}, "percent": {percent}, "by": "simulated person"}}'
        return f'{{"promote": {state.cycle}, "by": "simulated person"}}'

    def _outcome(self) -> Outcome:
        world, wer = self._world, self._trial.wer
        cycles = cycle_outcomes(world, self._held, START, wer)
        hours = sum(cycle.gpu_hours for cycle in cycles)
        price = self._trial.usd_per_gpu_hour or self._policy.budget.usd_per_gpu_hour
        return Outcome(
            name=self._name,
            cycles=cycles,
            collecting=self._held.of(read_head(world.store)),
            gpu_hours=hours,
            usd=None if price is None else hours * price,
            first_better_h=self._first_better_h,
            wer_start=wer,
            wer_end=wer * self._level,
            wer_mean=wer * self._level_seconds / (self._trial.days * 24 * HOUR_S),
            errors=self._errors,
            samples=self._samples,
            refused=world.refused,
            rolled_back=sum(cycle.status == Status.ROLLED_BACK for cycle in cycles),
        )


def simulate_all(policies: Sequence[tuple[str, Policy]], trial: Trial, tell: Tell) -> tuple[Outcome, ...]:
    """Try every policy on the same calls."""
    return tuple(simulate(name, policy, trial, tell) for name, policy in policies)


@contextmanager
def _silent() -> Iterator[None]:
    """Keep the functions' log lines off the terminal: the simulated ones would pass for real ones."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        try:
            yield
        finally:
            fresh()
