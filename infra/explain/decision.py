"""Why a cycle would or would not start now: the launcher's own exact decision, without its consequences."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from functions.crossing import Declined, find_declined
from functions.launcher.counting import exact_trigger
from functions.runtime import Ports
from functions.states import recent_states
from infra.dry_run import dry, next_to_open
from infra.wording import when
from shared.documents import Frozen
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
    tried, cycle = dry(ports), next_to_open(ports)
    decision = exact_trigger(tried, cycle, recent_states(tried, cycle), forced=forced)
    return Explanation(cycle=cycle, forced=forced, decision=decision, declined=find_declined(tried, cycle))


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
    if decision.metrics.get("trainable"):
        lines.append(Text("  Recordings are looked for when a cycle is sealed: `retune dataset build` tells which are gone."))
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
