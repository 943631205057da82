"""Looks at the level of the collected evidence and tells the launcher when a threshold is reached.

Cheap: counts from a listing. The launcher confirms with an exact count.
"""

from collections.abc import Callable

from pydantic import AwareDatetime

from functions.cycle_trace import is_next
from functions.runtime import Ports
from functions.states import find_state
from shared import keys, ledger, registry
from shared.bus import Message
from shared.cas import find, find_document
from shared.documents import Frozen
from shared.events import ThresholdCrossed
from shared.head import read_head
from shared.ids import derived_event_id
from shared.policy import Evidence, TriggerDecision, thresholds_reached


class Declined(Frozen):
    """The launcher's recorded refusal to open a cycle.

    Attributes:
        not_before: until then the same crossing is not looked at again.
    """

    cycle: int
    cause: str
    at: AwareDatetime
    not_before: AwareDatetime
    decision: TriggerDecision


def find_declined(ports: Ports, cycle: int) -> Declined | None:
    """Return the last refusal to open a cycle."""
    return find_document(ports.store, keys.declined(cycle), Declined)


def stable_version(ports: Ports) -> int | None:
    """Return the version that is stable now; None before the first, and where the alias is lost: reports are collected all the same."""
    found = find(ports.store, keys.PRODUCTION)
    return registry.CODEC.parse(found.data).stable if found else None


def announce_crossing(ports: Ports, *, seen_by: Message | None = None, tell: Callable[[int], None] | None = None) -> str | None:
    """Publish `ThresholdCrossed` when the collecting cycle has reached a threshold; return why, or None.

    The event's id follows from the cycle alone: however often the level is seen, it is one event.

    Args:
        ports: of whoever looks.
        seen_by: the report after which somebody looks; None = a tick.
        tell: called with the cycle, within the announcement's span.
    """
    cycle = read_head(ports.store)
    now = ports.clock.now()
    if find_state(ports, cycle) is not None:
        return None
    declined = find_declined(ports, cycle)
    if declined is not None and declined.not_before > now:
        return None
    evidence = Evidence(totals=ledger.count(ports.store, cycle), stable=stable_version(ports))
    reached = thresholds_reached(evidence, ports.settings.policy, now)
    if not reached:
        return None
    event = ThresholdCrossed(
        event_id=derived_event_id("ThresholdCrossed", f"cycle {cycle}", str(cycle)), occurred_at=now, cycle=cycle, reasons=reached
    )
    if is_next(ports, cycle):
        with ports.traces.span("announce crossing", cycle, message=seen_by):
            if tell is not None:
                tell(cycle)
            ports.publish_all([event])
    else:
        ports.publish_all([event])
    return f"cycle {cycle} crossed: {'; '.join(reached)}"
