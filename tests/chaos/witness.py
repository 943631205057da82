"""Stands at the bus and sees whether a handler tells of what has not happened: persist, then publish."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field

from shared import keys
from shared.bus import Outgoing, Publisher
from shared.cas import find
from shared.cycle import CODEC as STATES
from shared.cycle import Status
from shared.objectstore import ObjectStore
from shared.registry import CODEC as PRODUCTION
from shared.verdict import parse_report

JUDGED = {"CandidateAccepted": "accepted", "CandidateRejected": "rejected", "CandidateInconclusive": "inconclusive"}
MOVED = frozenset({"ModelDeployed", "CanaryStarted", "ModelRolledBack"})


@dataclass
class Witness:
    """A publisher that looks into the store before it passes a message on.

    Attributes:
        store: what is true, without faults.
        premature: events that told of what the store did not say at that moment.
    """

    inner: Publisher
    store: ObjectStore
    premature: list[str] = field(default_factory=list)

    def publish(self, message: Outgoing) -> str:
        """Note what is premature, and publish."""
        kind = message.attributes.get("type", "")
        check = _CHECKS.get(kind)
        if check is not None and (problem := check(self.store, kind, json.loads(message.data))):
            self.premature.append(f"{kind} was published while {problem}")
        return self.inner.publish(message)


def _result_stands(store: ObjectStore, _kind: str, event: dict[str, int]) -> str:
    return "" if find(store, keys.result(event["cycle"])) else f"cycle {event['cycle']} had no result"


def _verdict_stands(store: ObjectStore, kind: str, event: dict[str, int]) -> str:
    cycle = event["cycle"]
    report, state = find(store, keys.report(cycle)), find(store, keys.state(cycle))
    if report is None or parse_report(report.data).outcome != JUDGED[kind]:
        return f"cycle {cycle} had no such report"
    before_verdict = {Status.TRAINING, Status.INTERRUPTED, Status.VALIDATING}
    return f"cycle {cycle} was not judged" if state is None or STATES.parse(state.data).status in before_verdict else ""


def _alias_has_moved(store: ObjectStore, _kind: str, event: dict[str, int]) -> str:
    found = find(store, keys.PRODUCTION)
    seq = PRODUCTION.parse(found.data).seq if found else 0
    if seq < event["seq"]:
        return f"the alias stood at move {seq}, not at {event['seq']}"
    return "" if find(store, keys.registry_log(event["seq"])) else f"move {event['seq']} was not in the log"


_CHECKS: dict[str, Callable[[ObjectStore, str, dict[str, int]], str]] = {
    "TrainingCompleted": _result_stands,
    **dict.fromkeys(JUDGED, _verdict_stands),
    **dict.fromkeys(MOVED, _alias_has_moved),
}
