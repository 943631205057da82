"""Gold that a person must decide: what an endpoint proposed and the sound neither bore out nor contradicted.

What a person heard goes out as a correction, like those of any user, and is learned in the next cycle.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from pydantic import AwareDatetime

from functions.launcher.window import find_dataset
from functions.runtime import Ports
from functions.views.review import doubtful_gold
from shared import keys, ledger
from shared.cas import find
from shared.dataset import Row
from shared.documents import Frozen
from shared.errors import Refused
from shared.events import SttCorrection
from shared.gold import ReviewItem
from shared.head import read_head
from shared.ids import derived_event_id
from shared.normalisation import normalise

LOOK_BACK = 100


class Said(Frozen):
    """What a person said was said in an utterance.

    Attributes:
        cycle: whose ledger it came to.
        by, reason: who said so, as they claim, and why; None = a user of the service.
    """

    event_id: str
    cycle: int
    at: AwareDatetime
    utterance_id: str
    text: str
    by: str | None
    reason: str | None


@dataclass(frozen=True)
class GoldReview:
    """The gold of a cycle, by default of the newest that made any."""

    ports: Ports
    cycle: int | None = None

    @cached_property
    def number(self) -> int:
        """Whose gold it is.

        Raises:
            Refused: there is none.
        """
        head = read_head(self.ports.store)
        for number in [self.cycle] if self.cycle is not None else range(head, max(0, head - LOOK_BACK), -1):
            if find(self.ports.store, keys.gold(number)) is not None:
                return number
        where = f"cycle {self.cycle}" if self.cycle is not None else f"the last {LOOK_BACK} cycles"
        raise Refused(f"{where}: expected gold that a trainer made, found none; the policy's `gold` says whom it asks")

    @cached_property
    def corrections(self) -> tuple[Said, ...]:
        """What people have said since, in the order of time; whatever else they corrected is among it."""
        later = range(self.number + 1, read_head(self.ports.store) + 1)
        return tuple(said for number in later for said in _said_in(self.ports, number))

    @cached_property
    def doubtful(self) -> list[ReviewItem]:
        """What a person must decide, or has."""
        return doubtful_gold(self.ports, self.number)

    def waiting(self) -> list[ReviewItem]:
        """Return what waits; what a person has corrected since waits no more."""
        corrected = {said.utterance_id for said in self.corrections}
        return [item for item in self.doubtful if item.utterance_id not in corrected]

    def answered(self) -> list[Said]:
        """Return what people have said since about gold that waited, the newest first."""
        waited = {item.utterance_id for item in self.doubtful}
        return [said for said in reversed(self.corrections) if said.utterance_id in waited]

    def correction(self, utterance_id: str, text: str | None, *, by: str | None, reason: str | None) -> SttCorrection:
        """Return the event that says what a person heard; the same words are the same event.

        Args:
            utterance_id: what they listened to.
            text: what they heard; None = what was proposed.
            by: who says so: a claim to whoever reads it.
            reason: why, in their words.

        Raises:
            Refused: it does not wait, there is no text, or no word in it.
        """
        _, said = answered_text(self.waiting(), utterance_id, text)
        return SttCorrection(
            event_id=correction_id(utterance_id, said),
            occurred_at=self.ports.clock.now(),
            utterance_id=utterance_id,
            reference=said,
            reference_provenance="human",
            by=by,
            reason=reason,
        )


def _said_in(ports: Ports, cycle: int) -> Iterator[Said]:
    """Yield the corrections of people that came to a cycle: from its dataset, for a sealed ledger is swept away, else from the ledger."""
    sealed = find_dataset(ports, cycle)
    if sealed is None:
        events = (event for event in ledger.read_events(ports.store, cycle) if isinstance(event, SttCorrection))
        yield from (_said(cycle, event, event.utterance_id, event.reference) for event in events if event.reference_provenance == "human")
        return
    for row in sealed.rows:
        if row.kind == "correction" and row.origin == "fresh" and row.reference_provenance == "human" and row.utterance_id is not None:
            yield _said(cycle, row, row.utterance_id, row.reference or "")


def _said(cycle: int, told: SttCorrection | Row, utterance_id: str, text: str) -> Said:
    return Said(
        event_id=told.event_id, cycle=cycle, at=told.occurred_at, utterance_id=utterance_id, text=text, by=told.by, reason=told.reason
    )


def correction_id(utterance_id: str, said: str) -> str:
    """Return the id of the event that says what a person heard in an utterance."""
    return derived_event_id("SttCorrection", f"review-{utterance_id}", said)


def as_said(text: str) -> str:
    """Return a text as it is published: words with one space between."""
    return " ".join(text.split())


def answered_text(items: Sequence[ReviewItem], utterance_id: str, text: str | None) -> tuple[ReviewItem, str]:
    """Return what waits and a text that can be its reference: `text`, or what was proposed.

    Raises:
        Refused: it does not wait, there is no text, or no word in it.
    """
    found = next((item for item in items if item.utterance_id == utterance_id), None)
    if found is None:
        raise Refused(f"utterance {utterance_id}: expected one of the {len(items)} that wait (see `retune review`), found none")
    said = found.proposed if text is None else text
    if said is None:
        raise Refused(f"utterance {utterance_id}: nothing usable was proposed; say what you hear with --text")
    if not normalise(said):
        raise Refused(f"utterance {utterance_id}: expected words, found {said!r}")
    return found, as_said(said)
