"""How much a ledger holds: what a flush says of its events beside them, and the sum of that. Pure."""

from collections import Counter
from collections.abc import Iterable

from pydantic import AwareDatetime

from shared.documents import Frozen, parse_document
from shared.errors import InvariantBroken
from shared.events import Event, SttCorrection, SttError, SttSample, SttTraffic
from shared.objectstore import ObjectInfo

TOTALS = "totals"
"""Name of a segment's metadata that holds what it counts."""


class Totals(Frozen):
    """How much a ledger holds; may be too high after redeliveries, never too low at rest.

    Attributes:
        errors, samples, corrections: events of each kind.
        corrected: errors that came with a reference, plus corrections.
        errors_by_version, utterances_by_version: reported errors and served utterances of each model version.
        oldest: when the oldest error occurred; None = no error.
    """

    events: int = 0
    errors: int = 0
    corrected: int = 0
    corrections: int = 0
    samples: int = 0
    errors_by_version: dict[int, int] = {}
    utterances_by_version: dict[int, int] = {}
    oldest: AwareDatetime | None = None

    def __add__(self, other: "Totals") -> "Totals":
        """Return the sum, counter by counter."""
        return added((self, other))


def added(totals: Iterable[Totals]) -> Totals:
    """Return the sum, counter by counter, in one pass: an open ledger may have a thousand segments at each look."""
    every = tuple(totals)
    errors: Counter[int] = Counter()
    utterances: Counter[int] = Counter()
    for each in every:
        for version, number in each.errors_by_version.items():
            errors[version] += number
        for version, number in each.utterances_by_version.items():
            utterances[version] += number
    return Totals(
        events=sum(each.events for each in every),
        errors=sum(each.errors for each in every),
        corrected=sum(each.corrected for each in every),
        corrections=sum(each.corrections for each in every),
        samples=sum(each.samples for each in every),
        errors_by_version=dict(+errors),
        utterances_by_version=dict(+utterances),
        oldest=min((each.oldest for each in every if each.oldest is not None), default=None),
    )


def count_events(events: Iterable[Event]) -> Totals:
    """Return the totals of events."""
    errors: Counter[int] = Counter()
    utterances: Counter[int] = Counter()
    oldest = None
    number = corrected = corrections = samples = 0
    for event in events:
        number += 1
        if isinstance(event, SttError):
            errors[event.model_version] += 1
            oldest = event.occurred_at if oldest is None else min(oldest, event.occurred_at)
            corrected += event.reference is not None
        elif isinstance(event, SttCorrection):
            corrections += 1
            corrected += 1
        elif isinstance(event, SttSample):
            samples += 1
        elif isinstance(event, SttTraffic):
            utterances[event.model_version] += event.utterances
    return Totals(
        events=number,
        errors=errors.total(),
        corrected=corrected,
        corrections=corrections,
        samples=samples,
        errors_by_version=dict(errors),
        utterances_by_version=dict(utterances),
        oldest=oldest,
    )


def totals_of(info: ObjectInfo) -> Totals:
    """Return what a segment counts, from its metadata.

    Raises:
        InvariantBroken: its metadata does not say.
        CorruptObject: it says something else.
    """
    if TOTALS not in info.metadata:
        raise InvariantBroken(f"{info.key}: expected metadata {TOTALS!r}, found {sorted(info.metadata)}")
    return parse_document(Totals, info.metadata[TOTALS].encode(), what=f"metadata of {info.key}")
