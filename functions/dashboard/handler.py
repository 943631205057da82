"""Answers the console's requests: an address to a page or a form, with headers that let nothing else in."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus

from flask import Request, Response

from functions.dashboard import act_pages, pages
from functions.dashboard.act_forms import ActForm, ReviewForm, find_answer
from functions.dashboard.answers import ASSETS, HEADERS, HTML, REPORT_CSP, asset, html, problem
from functions.dashboard.audio import get_pin, read_sound
from functions.dashboard.details import read_cycle_details, read_model_details, read_report, read_reviews
from functions.dashboard.identity import Identity, NobodyKnown
from functions.dashboard.offers import Verb, title_of
from functions.dashboard.overview import FEWEST_CYCLES, MOST_CYCLES, SHOWN_CYCLES, read_overview
from functions.dashboard.submit import Desk
from functions.dashboard.utterances import read_utterance_details
from functions.dashboard.viewer import Viewer
from functions.dashboard.visit import Visit
from functions.runtime import Ports
from shared.audio_source import AudioSource
from shared.backlog import Backlogs
from shared.errors import NotFound, Refused, Retryable, RetuneError
from shared.log import fresh, log

_NUMBER = r"(0|[1-9][0-9]{0,5})"
_EVENT = r"([0-9a-f]{32})"


@dataclass(frozen=True)
class Console:
    """Answers requests.

    Attributes:
        ports: the outside world; nothing is written to the store.
        audio: fetches recordings under the allowed prefixes.
        identity: how it knows people; by default it knows nobody, and nobody may act.
        backlogs: tells how many dead letters wait; None = nobody is asked.
    """

    ports: Ports
    audio: AudioSource
    identity: Identity = field(default_factory=NobodyKnown)
    backlogs: Backlogs | None = None

    def answer(self, request: Request) -> Response:
        """Return the page that is asked for, or one that says why there is none."""
        fresh(function="dashboard")
        visit = Visit(request, Viewer())
        try:
            response = self._answer(request)
        except (NotFound, Refused) as error:
            response = problem(visit, HTTPStatus.NOT_FOUND, "Not found", str(error))
        except Retryable as error:
            log(f"a page was not made: {error}", severity="WARNING")
            response = problem(visit, HTTPStatus.SERVICE_UNAVAILABLE, "The store does not answer", "Try again in a moment.")
        except RetuneError as error:
            log(f"a page was not made: {type(error).__name__}: {error}", severity="ERROR")
            response = problem(visit, HTTPStatus.INTERNAL_SERVER_ERROR, "The records do not fit together", str(error))
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    def _answer(self, request: Request) -> Response:
        if refusal := self.identity.refuse(request.host):
            return problem(Visit(request, Viewer()), HTTPStatus.MISDIRECTED_REQUEST, "Not here", refusal)
        path = request.path.strip("/")
        if path in ASSETS and request.method in {"GET", "HEAD"}:
            return asset(path)
        routes = {"GET": _PAGES, "HEAD": _PAGES, "POST": _FORMS}.get(request.method, ())
        visit = Visit(request, self.identity.viewer(request.headers))
        for pattern, route in routes:
            if (found := re.fullmatch(pattern, path)) is not None:
                return route(self, visit, *(int(part) if part.isdigit() and len(part) <= 6 else part for part in found.groups()))
        if routes is not _PAGES:
            return problem(visit, HTTPStatus.METHOD_NOT_ALLOWED, "Not allowed", "This page is only to be looked at.")
        raise NotFound("there is no such page")

    @property
    def desk(self) -> Desk:
        """Where people act."""
        return Desk(self.ports, self.identity)

    def overview(self, visit: Visit) -> Response:
        """Answer with the first page."""
        shown = min(max(_number(visit, "cycles") or SHOWN_CYCLES, FEWEST_CYCLES), MOST_CYCLES)
        before = _number(visit, "before")
        view = read_overview(self.ports, newest=shown, before=before, backlogs=self.backlogs)
        return html(pages.overview_page(view, visit, newer=before is not None, shown=shown))

    def cycle(self, visit: Visit, cycle: int) -> Response:
        """Answer with the page of a cycle."""
        return html(pages.cycle_page(read_cycle_details(self.ports, cycle), visit, self.ports.clock.now()))

    def report(self, _visit: Visit, cycle: int) -> Response:
        """Answer with the validator's page, which styles itself and may do nothing else."""
        return Response(read_report(self.ports, cycle), content_type=HTML, headers={"Content-Security-Policy": REPORT_CSP})

    def model(self, visit: Visit, version: int) -> Response:
        """Answer with the page of a model."""
        return html(pages.model_page(read_model_details(self.ports, version), visit, self.ports.clock.now()))

    def utterance(self, visit: Visit) -> Response:
        """Answer with the page of an utterance, which the path names or the query. Raises NotFound: neither does."""
        _, in_path, named = visit.path.partition("/")
        wanted = named if in_path else visit.request.args.get("id", "")
        if not wanted:
            raise NotFound("expected the name of an utterance, found none: utterances/NAME")
        view = read_utterance_details(self.ports, wanted, _number(visit, "before"))
        status = HTTPStatus.OK if view.story.known else HTTPStatus.NOT_FOUND
        return html(pages.utterance_page(view, visit, self.ports.clock.now()), status)

    def sound(self, visit: Visit, cycle: int) -> Response:
        """Answer with the recording of a clip, or a part of it."""
        asked = visit.request.args
        pin = get_pin(self.ports, cycle, asked.get("set", ""), asked.get("utterance", ""))
        sound = read_sound(self.audio, pin, visit.request.headers.get("Range"))
        headers = {"Accept-Ranges": "bytes", **({"Content-Range": sound.content_range} if sound.content_range else {})}
        return Response(sound.data, status=sound.status, content_type=sound.content_type, headers=headers)

    def act(self, visit: Visit, number: int, verb: Verb) -> Response:
        """Answer with the form of an act."""
        return self.desk.show(visit, ActForm(self.ports, verb, number))

    def take_act(self, visit: Visit, number: int, verb: Verb) -> Response:
        """Take the form of an act."""
        return self.desk.refuse(visit) or self.desk.take(visit, ActForm(self.ports, verb, number))

    def result(self, visit: Visit, number: int, verb: Verb, event_id: str) -> Response:
        """Answer with what came of an act."""
        answer = find_answer(self.ports, verb, number, event_id)
        sent = act_pages.Sent(title_of(verb, number), number, verb, event_id, answer)
        return html(act_pages.sent_page(sent, visit, self.ports.clock.now()))

    def review(self, visit: Visit, cycle: int) -> Response:
        """Answer with the gold that waits for a person, or with the form for one utterance of it."""
        utterance_id = visit.request.args.get("utterance", "")
        if utterance_id:
            return self.desk.show(visit, ReviewForm(self.ports, cycle, utterance_id))
        said = visit.request.args.get("said", "")
        return html(act_pages.review_page(read_reviews(self.ports, cycle), visit, said, self.ports.clock.now()))

    def take_review(self, visit: Visit, cycle: int) -> Response:
        """Take what was heard in one utterance."""
        form = ReviewForm(self.ports, cycle, visit.request.args.get("utterance", ""))
        return self.desk.refuse(visit) or self.desk.take(visit, form)


Route = Callable[..., Response]
_CYCLE_ACT, _MODEL_ACT = rf"cycles/{_NUMBER}/(approve|cancel)", rf"models/{_NUMBER}/(promote|rollback)"
_PAGES: tuple[tuple[str, Route], ...] = (
    ("", Console.overview),
    (rf"cycles/{_NUMBER}", Console.cycle),
    (rf"cycles/{_NUMBER}/report", Console.report),
    (rf"cycles/{_NUMBER}/audio", Console.sound),
    (rf"cycles/{_NUMBER}/review", Console.review),
    (rf"models/{_NUMBER}", Console.model),
    (r"utterances(?:/[^/]+)?", Console.utterance),
    (_CYCLE_ACT, Console.act),
    (_MODEL_ACT, Console.act),
    (rf"{_CYCLE_ACT}/{_EVENT}", Console.result),
    (rf"{_MODEL_ACT}/{_EVENT}", Console.result),
)
_FORMS: tuple[tuple[str, Route], ...] = (
    (_CYCLE_ACT, Console.take_act),
    (_MODEL_ACT, Console.take_act),
    (rf"cycles/{_NUMBER}/review", Console.take_review),
)


def _number(visit: Visit, name: str) -> int | None:
    """Return a number of the query; None where it is none that a cycle could have."""
    found = visit.request.args.get(name, "")
    return int(found) if re.fullmatch(_NUMBER, found) else None
