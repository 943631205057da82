"""Answers the console's requests: an address to a page, with headers that let nothing else in."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from flask import Request, Response

from functions.dashboard import pages
from functions.dashboard.audio import find_pin, read_sound
from functions.dashboard.details import read_cycle_details, read_model_details, read_report
from functions.dashboard.overview import FEWEST_CYCLES, MOST_CYCLES, SHOWN_CYCLES, read_overview
from functions.dashboard.utterances import read_utterance_details
from functions.runtime import Ports
from shared.audio_source import AudioSource
from shared.backlog import Backlogs
from shared.errors import NotFound, Retryable, RetuneError
from shared.log import fresh, log

CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; media-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
REPORT_CSP = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox"
HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
HTML = "text/html; charset=utf-8"
ASSETS = {"style.css": "text/css; charset=utf-8", "live.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"}
_NUMBER = r"(0|[1-9][0-9]{0,5})"


@dataclass(frozen=True)
class Console:
    """Answers requests.

    Attributes:
        ports: the outside world; nothing is written to the store.
        audio: fetches recordings under the allowed prefixes.
        backlogs: tells how many dead letters wait; None = nobody is asked.
    """

    ports: Ports
    audio: AudioSource
    backlogs: Backlogs | None = None

    def answer(self, request: Request) -> Response:
        """Return the page that is asked for, or one that says why there is none."""
        fresh(function="dashboard")
        depth = request.path.strip("/").count("/")
        try:
            response = self._answer(request)
        except NotFound as error:
            response = problem(HTTPStatus.NOT_FOUND, "Not found", str(error), depth)
        except Retryable as error:
            log(f"a page was not made: {error}", severity="WARNING")
            response = problem(HTTPStatus.SERVICE_UNAVAILABLE, "The store does not answer", "Try again in a moment.", depth)
        except RetuneError as error:
            log(f"a page was not made: {type(error).__name__}: {error}", severity="ERROR")
            response = problem(HTTPStatus.INTERNAL_SERVER_ERROR, "The records do not fit together", str(error), depth)
        for name, value in HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    def _answer(self, request: Request) -> Response:
        if request.method not in {"GET", "HEAD"}:
            return problem(HTTPStatus.METHOD_NOT_ALLOWED, "Not allowed", "This page is only to be looked at.", 0)
        path = request.path.strip("/")
        if path in ASSETS:
            return asset(path)
        for pattern, route in _ROUTES:
            if (found := re.fullmatch(pattern, path)) is not None:
                return route(self, request, *map(int, found.groups()))
        raise NotFound("there is no such page")

    def overview(self, request: Request) -> Response:
        """Answer with the first page."""
        shown = min(max(_number(request, "cycles") or SHOWN_CYCLES, FEWEST_CYCLES), MOST_CYCLES)
        before = _number(request, "before")
        view = read_overview(self.ports, newest=shown, before=before, backlogs=self.backlogs)
        return html(pages.overview_page(view, newer=before is not None, shown=shown))

    def cycle(self, _request: Request, cycle: int) -> Response:
        """Answer with the page of a cycle."""
        return html(pages.cycle_page(read_cycle_details(self.ports, cycle), self.ports.clock.now()))

    def report(self, _request: Request, cycle: int) -> Response:
        """Answer with the validator's page, which styles itself and may do nothing else."""
        return Response(read_report(self.ports, cycle), content_type=HTML, headers={"Content-Security-Policy": REPORT_CSP})

    def model(self, _request: Request, version: int) -> Response:
        """Answer with the page of a model."""
        return html(pages.model_page(read_model_details(self.ports, version), self.ports.clock.now()))

    def utterance(self, request: Request) -> Response:
        """Answer with the page of an utterance, which the path names or the query."""
        _, in_path, named = request.path.strip("/").partition("/")
        wanted = named if in_path else request.args.get("id", "")
        if not wanted:
            raise NotFound("expected the name of an utterance, found none: utterances/NAME")
        view = read_utterance_details(self.ports, wanted, _number(request, "before"))
        status = HTTPStatus.OK if view.story.known else HTTPStatus.NOT_FOUND
        return html(pages.utterance_page(view, self.ports.clock.now(), root="../" if in_path else ""), status)

    def sound(self, request: Request, cycle: int) -> Response:
        """Answer with the recording of a clip, or a part of it."""
        pin = find_pin(self.ports, cycle, request.args.get("set", ""), request.args.get("utterance", ""))
        sound = read_sound(self.audio, pin, request.headers.get("Range"))
        headers = {"Accept-Ranges": "bytes", **({"Content-Range": sound.content_range} if sound.content_range else {})}
        return Response(sound.data, status=sound.status, content_type=sound.content_type, headers=headers)


Route = Callable[..., Response]
_ROUTES: tuple[tuple[str, Route], ...] = (
    ("", Console.overview),
    (rf"cycles/{_NUMBER}", Console.cycle),
    (rf"cycles/{_NUMBER}/report", Console.report),
    (rf"cycles/{_NUMBER}/audio", Console.sound),
    (rf"models/{_NUMBER}", Console.model),
    (r"utterances(?:/[^/]+)?", Console.utterance),
)


def _number(request: Request, name: str) -> int | None:
    """Return a number of the query; None where it is none that a cycle could have."""
    found = request.args.get(name, "")
    return int(found) if re.fullmatch(_NUMBER, found) else None


def html(text: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
    """Return a page as an answer."""
    return Response(text, status=status, content_type=HTML)


def asset(name: str) -> Response:
    """Return what pages ask for beside themselves."""
    return Response(pages.asset(name), content_type=ASSETS[name], headers={"Cache-Control": "no-cache"})


def problem(status: HTTPStatus, title: str, text: str, depth: int) -> Response:
    """Return a page that says what is wrong."""
    return html(pages.problem_page(title, text, root="../" * depth), status)
