"""What people are told of an event, and how a webhook wants to hear it. Pure.

Source: Slack, "Formatting text for app surfaces" (which characters are escaped); the signature is GitHub's form of a signed webhook,
`sha256=` and the HMAC-SHA256 of the body in hexadecimal.
"""

import hashlib
import hmac
import json
from typing import Literal

from shared.documents import Frozen
from shared.events import (
    CanaryEnded,
    CanaryStarted,
    CandidateAccepted,
    CandidateInconclusive,
    CandidateRejected,
    ErrorsResolved,
    Event,
    Judged,
    ModelDeployed,
    ModelRolledBack,
    RegistryEvent,
)
from shared.ids import version_name
from shared.verdict import SetNumbers, ValidationReport
from shared.wording import interval_in_points, percent

TOLD = (
    CandidateAccepted,
    CandidateRejected,
    CandidateInconclusive,
    ModelDeployed,
    CanaryStarted,
    CanaryEnded,
    ModelRolledBack,
    ErrorsResolved,
)
"""Every event of the topics that the notifier reads."""
SIGNATURE = "X-Retune-Signature"


class Notice(Frozen):
    """What people are told.

    Attributes:
        event_id: of the event; a notice may come twice, and then has the same.
        severity: `warning` = somebody should look.
        text: lines of plain text.
    """

    event_id: str
    type: str
    severity: Literal["info", "warning"]
    title: str
    text: tuple[str, ...]


def notice_of(event: Event, report: ValidationReport | None) -> Notice | None:
    """Return what people are told of an event; None = nothing.

    Args:
        event: one of `TOLD`.
        report: that a verdict rests on; None = the event is none, or the report cannot be read.
    """
    if isinstance(event, Judged):
        return _verdict(event, report)
    if isinstance(event, RegistryEvent):
        return _move(event)
    return None


def _verdict(event: Judged, report: ValidationReport | None) -> Notice:
    name, kind = version_name(event.cycle), type(event).__name__.removeprefix("Candidate").lower()
    title, lines = f"{name} was judged: {kind}", ["its report could not be read"]
    if report is not None:
        title = f"{name}: {report.verdict} beside {version_name(report.base_version)}"
        lines = [*report.reasons, *(_numbers(each) for each in report.sets if each.decides)]
    more = f"`retune explain {name}` tells more"
    return Notice(
        event_id=event.event_id,
        type=type(event).__name__,
        severity="warning" if isinstance(event, CandidateRejected) else "info",
        title=title,
        text=(*lines, more),
    )


def _numbers(each: SetNumbers) -> str:
    base, candidate = (percent(system.wer.estimate if system.wer else None) for system in (each.base, each.candidate))
    change = "" if each.delta is None else f", {interval_in_points(each.delta)}"
    return f"{each.name}: WER {base} -> {candidate}{change}"


def _move(event: RegistryEvent) -> Notice:
    name = version_name(event.version)
    serves = "no version serves" if event.stable is None else f"{version_name(event.stable)} serves"
    if isinstance(event, CanaryStarted):
        title = f"{name} serves {event.percent}% of the sessions" if event.percent else f"{name} transcribes beside and serves nobody"
    else:
        title = {
            ModelDeployed: f"{name} is deployed",
            CanaryEnded: f"{name} is on canary no more; {serves}",
            ModelRolledBack: f"{name} was rolled back; {serves}",
        }[type(event)]
    return Notice(
        event_id=event.event_id,
        type=type(event).__name__,
        severity="warning" if isinstance(event, ModelRolledBack | CanaryEnded) else "info",
        title=title,
        text=tuple(line for line in (event.reason,) if line),
    )


def slack_body(notice: Notice) -> bytes:
    """Return a notice as Slack's incoming webhooks take it, and what else understands them (Mattermost, Google Chat, Discord's /slack)."""
    mark = ":warning: " if notice.severity == "warning" else ""
    lines = [f"{mark}*{_escaped(notice.title)}*", *map(_escaped, notice.text)]
    return json.dumps({"text": "\n".join(lines)}).encode()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def json_body(notice: Notice, event: Event) -> bytes:
    """Return a notice with its event, for machines."""
    return json.dumps({"notice": notice.model_dump(), "event": event.model_dump(mode="json", exclude_none=True)}).encode()


def signature(secret: str, body: bytes) -> str:
    """Return what proves to a receiver who knows the secret that a body is ours."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"
