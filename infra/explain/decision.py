"""Why a cycle would or would not start now: the launcher's own exact decision, without its consequences."""

from dataclasses import replace

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from functions.crossing import Declined, find_declined
from functions.launcher.counting import exact_trigger
from functions.runtime import Ports
from functions.states import find_state, recent_states
from infra.overlay import Overlay
from infra.wording import when
from shared.documents import Frozen
from shared.head import read_head
from shared.policy import TriggerDecision


class Explanation(Frozen):
    """The decision about the cycle that collects.

    Attributes:
        forced: the question was what a person's force would do.
        decision: every reason for and against, and the exact numbers.
        declined: the last refusal on record for this cycle.
    """

    cycle: int
    forced: bool
    decision: TriggerDecision
    declined: Declined | None


def explain(ports: Ports, *, forced: bool) -> Explanation:
    """Decide as the launcher would at this moment; writes nothing."""
    dry = replace(ports, store=Overlay(ports.store, ports.clock))
    cycle = read_head(dry.store)
    while (state := find_state(dry, cycle)) is not None and state.ended:
        cycle += 1  # the head is about to move past a cycle that has ended
    decision = exact_trigger(dry, cycle, recent_states(dry, cycle), forced=forced)
    return Explanation(cycle=cycle, forced=forced, decision=decision, declined=find_declined(dry, cycle))


def render(explanation: Explanation) -> RenderableType:
    """Return the explanation for people."""
    decision = explanation.decision
    if_forced = " if it were forced" if explanation.forced else ""
    verdict = "would start now" if decision.should_trigger else "would not start now"
    lines: list[RenderableType] = [Text(f"Cycle {explanation.cycle} {verdict}{if_forced}.", style="bold")]
    lines += [Text(f"  for: {reason}") for reason in decision.crossed]
    lines += [Text(f"  against: {reason}") for reason in decision.held]
    lines += [Text(f"  note: {note}") for note in decision.notes]
    if decision.not_before is not None:
        lines.append(Text(f"  not before {when(decision.not_before)}"))
    lines.append(_metrics(decision))
    if explanation.declined is not None:
        declined = explanation.declined
        held = "; ".join(declined.decision.held)
        lines.append(Text(f"Last declined {when(declined.at)} (event {declined.cause}): {held}"))
        lines.append(Text(f"The same crossing is looked at again after {when(declined.not_before)}."))
    return Group(*lines)


def _metrics(decision: TriggerDecision) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in decision.metrics.items():
        table.add_row(f"  {name}", "unknown" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value))
    return table
