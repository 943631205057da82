"""The pages of forms, and of what came of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from functions.acts.people import Answer
from functions.acts.review import Said
from functions.dashboard.audio import audio_address
from functions.dashboard.details import Reviews
from functions.dashboard.offers import ABOUT_CYCLES, Offer, Verb
from functions.dashboard.pages import page
from functions.dashboard.typed import MOST_REASON, Typed
from functions.dashboard.viewer import Viewer
from shared import keys
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
        audio: where it can be heard, from the console's first page; empty = nowhere here.
        said: what somebody has said by now; None = nothing.
    """

    cycle: int
    item: ReviewItem
    audio: str
    said: Said | None


def act_page(offer: Offer, viewer: Viewer, token: str, typed: Typed, problems: Sequence[str]) -> str:
    """Return the page of a form that asks for an act.

    Args:
        offer: what it tells.
        viewer: who looks; whoever may not act sees no form.
        token: what the form carries.
        typed: what stands in its fields.
        problems: what was wrong with it.
    """
    return page(
        "act", viewer, None, root="../../", live=False, offer=offer, token=token, typed=typed, problems=problems, most_reason=MOST_REASON
    )


def sent_page(sent: Sent, viewer: Viewer, now: datetime) -> str:
    """Return the page that tells what came of an act."""
    about = "cycles" if sent.verb in ABOUT_CYCLES else "models"
    return page("sent", viewer, now, root="../../../", live=sent.answer is None, sent=sent, about=f"{about}/{sent.number}")


def review_page(reviews: Reviews, viewer: Viewer, said: str, now: datetime) -> str:
    """Return the page of a cycle's gold that a person must decide; `said` is the event that was sent just now, or empty."""
    waiting = [
        (each, audio_address(reviews.cycle, keys.UNLABELLED_SET, each.utterance_id) if each.audio else "") for each in reviews.waiting
    ]
    arrived = next((each for each in reviews.answered if each.event_id == said), None)
    return page(
        "review",
        viewer,
        now,
        root="../../",
        live=bool(said) and arrived is None,
        reviews=reviews,
        waiting=waiting,
        sent=bool(said),
        arrived=arrived,
    )


def answer_page(answering: Answering, viewer: Viewer, token: str, typed: Typed, problems: Sequence[str]) -> str:
    """Return the page of a form that takes what was heard; arguments as of `act_page`."""
    return page(
        "answer",
        viewer,
        None,
        root="../../",
        live=False,
        answering=answering,
        token=token,
        typed=typed,
        problems=problems,
        most_reason=MOST_REASON,
        most_text=MAX_TEXT_CHARS,
    )
