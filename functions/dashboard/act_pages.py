"""The pages of forms, and of what came of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from functions.acts.people import Answer
from functions.acts.review import Said
from functions.dashboard.audio import gold_address
from functions.dashboard.details import Reviews
from functions.dashboard.offers import ABOUT_CYCLES, Offer, Verb
from functions.dashboard.pages import page
from functions.dashboard.typed import MOST_REASON, Typed
from functions.dashboard.visit import Visit
from shared.events import MAX_TEXT_CHARS
from shared.gold import ReviewItem


@dataclass(frozen=True)
class Sent:
    """An act that was asked for.

    Attributes:
        title: what is done to what.
        answer: what came of it; None = nothing yet.
    """

    title: str
    number: int
    verb: Verb
    event_id: str
    answer: Answer | None


@dataclass(frozen=True)
class Answering:
    """An utterance whose gold a person decides.

    Attributes:
        said: what somebody has said by now; None = nothing.
    """

    cycle: int
    item: ReviewItem
    said: Said | None


def act_page(offer: Offer, visit: Visit, token: str, typed: Typed, problems: Sequence[str]) -> str:
    """Return the page of a form that asks for an act.

    Args:
        offer: what it tells.
        visit: who looks, and where; whoever may not act sees no form.
        token: what the form carries.
        typed: what stands in its fields.
        problems: what was wrong with it.
    """
    return page("act", visit, None, live=False, offer=offer, token=token, typed=typed, problems=problems, most_reason=MOST_REASON)


def sent_page(sent: Sent, visit: Visit, now: datetime) -> str:
    """Return the page that tells what came of an act."""
    about = "cycles" if sent.verb in ABOUT_CYCLES else "models"
    return page("sent", visit, now, live=sent.answer is None, sent=sent, about=f"{about}/{sent.number}")


def review_page(reviews: Reviews, visit: Visit, said: str, now: datetime) -> str:
    """Return the page of a cycle's gold that a person must decide; `said` is the event that was sent just now, or empty."""
    arrived = next((each for each in reviews.answered if each.event_id == said), None)
    return page(
        "review",
        visit,
        now,
        live=bool(said) and arrived is None,
        reviews=reviews,
        waiting=[(each, gold_address(reviews.cycle, each)) for each in reviews.waiting],
        sent=bool(said),
        arrived=arrived,
    )


def answer_page(answering: Answering, visit: Visit, token: str, typed: Typed, problems: Sequence[str]) -> str:
    """Return the page of a form that takes what was heard; arguments as of `act_page`."""
    return page(
        "answer",
        visit,
        None,
        live=False,
        answering=answering,
        audio=gold_address(answering.cycle, answering.item),
        token=token,
        typed=typed,
        problems=problems,
        most_reason=MOST_REASON,
        most_text=MAX_TEXT_CHARS,
    )
