"""The event that tells of a verdict; the sweeper announces with it as well, without the validator's statistics."""

from shared.documents import sha256_hex
from shared.events import CandidateAccepted, CandidateInconclusive, CandidateRejected, Judged
from shared.ids import derived_event_id
from shared.verdict import parse_report

_EVENTS: dict[str, type[Judged]] = {
    "accepted": CandidateAccepted,
    "rejected": CandidateRejected,
    "inconclusive": CandidateInconclusive,
}


def judged_event(stored: bytes) -> Judged:
    """Return the event that tells of a verdict: the same one each time.

    Args:
        stored: the report's very bytes, since another release may write the same report in another form.

    Raises:
        CorruptObject: the bytes are not a report.
    """
    report = parse_report(stored)
    cls = _EVENTS[report.outcome]
    digest = sha256_hex(stored)
    return cls(
        event_id=derived_event_id(cls.__name__, digest, str(report.cycle)),
        occurred_at=report.created_at,
        cycle=report.cycle,
        report_sha256=digest,
        manifest_sha256=report.model_manifest_sha256,
    )
