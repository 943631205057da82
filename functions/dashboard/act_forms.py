"""The console's forms: one of each act about a cycle or a version, and one for what was heard in a recording [io]."""

from dataclasses import dataclass
from functools import cached_property

from functions.acts.people import Answer, Asker, find_alias_answer, find_cycle_answer
from functions.acts.review import GoldReview, as_said, correction_id
from functions.dashboard import act_pages
from functions.dashboard.offers import ABOUT_CYCLES, Offer, Verb, prepare, read_offer
from functions.dashboard.typed import Typed, problems_of
from functions.dashboard.visit import Visit
from functions.runtime import Ports
from shared.bus import Outgoing
from shared.errors import NotFound, Refused
from shared.gold import ReviewItem
from shared.messages import outgoing


def find_answer(ports: Ports, verb: Verb, number: int, event_id: str) -> Answer | None:
    """Return what came of an act; None = nothing yet."""
    return find_cycle_answer(ports, number, event_id) if verb in ABOUT_CYCLES else find_alias_answer(ports, event_id)


@dataclass(frozen=True)
class ActForm:
    """Approves or cancels a cycle, promotes a version or rolls it back."""

    ports: Ports
    verb: Verb
    number: int

    @property
    def where(self) -> str:
        """What it is about."""
        return f"{self.verb} {self.number}"

    @property
    def nothing(self) -> Typed:
        """Nothing typed."""
        return Typed()

    @cached_property
    def offer(self) -> Offer:
        """What it tells."""
        return read_offer(self.ports, self.verb, self.number)

    def page(self, visit: Visit, token: str, typed: Typed, problems: tuple[str, ...]) -> str:
        """Return its page."""
        return act_pages.act_page(self.offer, visit, token, typed, problems)

    def problems(self, typed: Typed) -> tuple[str, ...]:
        """Return what must be mended; a refusal is told by `message`."""
        return problems_of(typed, override=bool(self.offer.evidence))

    def is_done(self, typed: Typed, act: str) -> bool:  # noqa: ARG002 - the protocol's
        """Tell whether the act is on record."""
        return find_answer(self.ports, self.verb, self.number, act) is not None

    def message(self, typed: Typed, asker: Asker) -> Outgoing:
        """Return the command line's message. Raises Refused: it cannot be done."""
        found = prepare(self.ports, self.verb, self.number, typed, asker)
        if isinstance(found, Answer):
            raise Refused(found.text)
        return found.message

    def result(self, typed: Typed, act: str) -> str:  # noqa: ARG002 - the protocol's
        """Return where to see what came of it."""
        return f"{self.verb}/{act}"


@dataclass(frozen=True)
class ReviewForm:
    """Says what was heard in a recording whose gold waits for a person."""

    ports: Ports
    cycle: int
    utterance_id: str

    @property
    def where(self) -> str:
        """What it is about."""
        return f"review {self.cycle} {self.utterance_id}"

    @property
    def nothing(self) -> Typed:
        """What was proposed: to be accepted as it is, or mended."""
        return Typed(text=self.item.proposed or "")

    @cached_property
    def item(self) -> ReviewItem:
        """What waits.

        Raises:
            NotFound: it never did.
        """
        return get_item(self._review, self.utterance_id)

    @cached_property
    def _review(self) -> GoldReview:
        return GoldReview(self.ports, self.cycle)

    def page(self, visit: Visit, token: str, typed: Typed, problems: tuple[str, ...]) -> str:
        """Return its page."""
        said = next((said for said in self._review.corrections if said.utterance_id == self.utterance_id), None)
        return act_pages.answer_page(act_pages.Answering(self.cycle, self.item, said), visit, token, typed, problems)

    def problems(self, typed: Typed) -> tuple[str, ...]:
        """Return what must be mended; a text without words is refused by `message`."""
        return problems_of(typed)

    def is_done(self, typed: Typed, act: str) -> bool:  # noqa: ARG002 - the protocol's
        """Tell whether these words are on record: the same words about an utterance are the same event, whatever the ticket."""
        event_id = correction_id(self.utterance_id, as_said(typed.text))
        return any(said.event_id == event_id for said in self._review.corrections)

    def message(self, typed: Typed, asker: Asker) -> Outgoing:
        """Return the command line's correction."""
        return outgoing(self._review.correction(self.utterance_id, typed.text, by=asker.by, reason=asker.reason))

    def result(self, typed: Typed, act: str) -> str:  # noqa: ARG002 - the protocol's
        """Return where to see what came of it."""
        return f"review?said={correction_id(self.utterance_id, as_said(typed.text))}"


def get_item(review: GoldReview, utterance_id: str) -> ReviewItem:
    """Return gold that waits or waited.

    Raises:
        NotFound: there is none.
    """
    found = next((item for item in review.doubtful if item.utterance_id == utterance_id), None)
    if found is None:
        raise NotFound(f"cycle {review.number}: expected that utterance among the gold that a person must decide, found none")
    return found
