"""When to train: the launcher's own exact decision, and a person's answers to it."""

from typing import TypedDict

from functions.acts import people
from functions.crossing import announce_crossing, find_declined
from functions.launcher.opening import announce_result
from functions.states import find_state, running_cycle
from infra.coordinator.functions import Functions
from infra.explain.decision import explain
from infra.options import me
from infra.people import Answer, ask
from infra.train import STARTABLE, train
from shared.compaction import compact
from shared.cycle import CycleState, Status
from shared.head import read_head


class TriggerResult(TypedDict):
    """The decision about the cycle that collects.

    Attributes:
        should_trigger: a cycle would start now.
        reasons: why, or what holds it.
        metrics: the exact numbers behind them.
        notes: what speaks against a run and does not hold it.
    """

    should_trigger: bool
    reasons: list[str]
    metrics: dict[str, float | int | None]
    notes: list[str]


class FinetuningOrchestrator:
    """Watches what was reported and opens cycles.

    Args:
        functions: that decide and do.
    """

    def __init__(self, functions: Functions) -> None:
        self._functions = functions

    def check_trigger_conditions(self, *, force: bool = False) -> TriggerResult:
        """Decide as the launcher would at this moment; changes nothing. `force`: what a person's force would do."""
        decision = explain(self._functions.ports, forced=force).decision
        reasons = decision.crossed if decision.should_trigger else decision.held
        return TriggerResult(
            should_trigger=decision.should_trigger,
            reasons=list(reasons),
            metrics=dict(decision.metrics),
            notes=list(decision.notes),
        )

    def approve(self, *, reason: str | None = None, by: str | None = None) -> Answer:
        """Let the cycle that awaits approval go on; its training begins with the next `run_complete_workflow`."""
        return ask(self._functions.ports, self._functions.person(by or me(), reason), people.approve, None)

    def cancel(self, *, reason: str | None = None, by: str | None = None) -> Answer:
        """Cancel the cycle that runs; its errors go into the next one."""
        return ask(self._functions.ports, self._functions.person(by or me(), reason), people.cancel, None)

    def running(self) -> CycleState | None:
        """Return the cycle that has not ended."""
        return running_cycle(self._functions.ports)

    def open(self, *, force: bool) -> tuple[CycleState | None, list[str]]:
        """Open a cycle, or bring the one that runs to where its trainer waits.

        Returns:
            The state of the cycle that goes on, and nothing; or None and why none does.
        """
        store = self._functions.ports.store
        compact(store, read_head(store))
        running = self.running()
        if running is not None and not (force and running.status == Status.AWAITING_APPROVAL):
            self._carry_on(running)
            return find_state(self._functions.ports, running.cycle), []
        return self._force() if force else self._cross()

    def _force(self) -> tuple[CycleState | None, list[str]]:
        answer = ask(self._functions.ports, self._functions.person(me(), None), people.trigger)
        return (self.running(), []) if answer.outcome == "accepted" else (None, [answer.text])

    def _cross(self) -> tuple[CycleState | None, list[str]]:
        ports = self._functions.ports
        decided = self.check_trigger_conditions()
        if not decided["should_trigger"]:
            return None, decided["reasons"]
        announce_crossing(ports)
        running = self.running()
        if running is not None:
            return running, []
        declined = find_declined(ports, read_head(ports.store))
        held = [] if declined is None else [*declined.decision.held, f"stays declined until {declined.not_before.isoformat()}"]
        return None, held or ["no cycle was opened; the log says more: " + str(self._functions.data.log_path)]

    def _carry_on(self, state: CycleState) -> None:
        """Do for a cycle what whoever died before it was done would have done next."""
        functions = self._functions
        if state.status == Status.TRAINING:
            functions.sweep()  # its trainer is gone: nobody else works in this folder
        elif state.status in STARTABLE:
            train(functions.deps, state.cycle, functions.ports.settings.launcher)
        elif state.status == Status.VALIDATING:
            announce_result(functions.ports, state.cycle)
        functions.settle()
