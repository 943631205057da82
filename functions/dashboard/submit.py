"""Takes forms: once, from whom they were shown to, and sends what the command line would send.

A GET tells what will happen, and its form carries a ticket. A POST asks who sends it, from where and with which ticket; then come the
reason, the checks of the command line, one message, and a redirect to what came of it.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from flask import Response

from functions.acts.people import Asker, new_event_id
from functions.dashboard.answers import html, problem, see_other
from functions.dashboard.guard import FormRefused, Ticket, cookie_name, foreign, is_key, new_key, open_ticket, seal
from functions.dashboard.identity import Identity
from functions.dashboard.typed import Typed, parse_typed
from functions.dashboard.visit import Visit
from functions.runtime import Ports
from shared.bus import Outgoing
from shared.errors import Refused, Retryable
from shared.log import log

MOST_BYTES = 128 << 10
"""Of a form that comes in: the longest text in the longest of encodings."""
FORM = "application/x-www-form-urlencoded"
AGAIN = "The message bus did not answer, so that nobody can tell whether it was sent. Press again: it stays one and the same act."


class Form(Protocol):
    """One form: what it shows, and what it sends."""

    @property
    def where(self) -> str:
        """The act and what it is about; a ticket for another is not taken."""
        ...

    @property
    def nothing(self) -> Typed:
        """What it holds before anybody types."""
        ...

    def page(self, visit: Visit, token: str, typed: Typed, problems: tuple[str, ...]) -> str:
        """Return its page."""
        ...

    def problems(self, typed: Typed) -> tuple[str, ...]:
        """Return what must be mended before it can be sent."""
        ...

    def is_done(self, typed: Typed, act: str) -> bool:
        """Tell whether the act is on record already: the form was sent before."""
        ...

    def message(self, typed: Typed, asker: Asker) -> Outgoing:
        """Return the message that asks for it.

        Raises:
            Refused: it cannot be done, and the text says why.
        """
        ...

    def result(self, typed: Typed, act: str) -> str:
        """Return where to see what came of it, from the form's own page."""
        ...


@dataclass(frozen=True)
class Desk:
    """Where people act.

    Attributes:
        ports: the outside world.
        identity: how the console knows people.
    """

    ports: Ports
    identity: Identity

    def show(self, visit: Visit, form: Form) -> Response:
        """Answer with a form; whoever may not act sees it without its button."""
        return self._fresh(visit, form, form.nothing, (), HTTPStatus.OK)

    def refuse(self, visit: Visit) -> Response | None:
        """Answer whoever may not act, and what comes from elsewhere; None = the form can be looked at."""
        request, viewer = visit.request, visit.viewer
        if not viewer.acts:
            return problem(visit, HTTPStatus.FORBIDDEN, "Not allowed", viewer.refusal)
        if elsewhere := foreign(request.headers, request.host, secure=self.identity.secure):
            log(f"a form from elsewhere was refused: {elsewhere}", severity="WARNING")
            return problem(visit, HTTPStatus.FORBIDDEN, "Not from here", elsewhere)
        if request.mimetype != FORM or request.content_length is None:
            return problem(visit, HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "No form", f"Expected a form ({FORM}), found something else.")
        if request.content_length > MOST_BYTES:
            return problem(visit, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "Too large", f"Expected a form of at most {MOST_BYTES} bytes.")
        return None

    def take(self, visit: Visit, form: Form) -> Response:
        """Take a form that `refuse` did not: send what it asks for, or show it again with what is wrong."""
        typed = parse_typed(visit.request.form)
        token, who = visit.request.form.get("token", ""), visit.viewer
        try:
            ticket = open_ticket(token, self._cookie(visit), who=who.name, where=form.where, now=self.ports.clock.now())
        except FormRefused as error:
            log(f"a form was refused: {error}", severity="WARNING")
            return self._fresh(visit, form, typed, (str(error),), HTTPStatus.FORBIDDEN)
        if form.is_done(typed, ticket.act):
            return see_other(form.result(typed, ticket.act))
        if problems := form.problems(typed):
            return html(form.page(visit, token, typed, problems), HTTPStatus.UNPROCESSABLE_ENTITY)
        try:
            message = form.message(typed, Asker(by=who.by, reason=typed.why, event_id=ticket.act))
            sent = self.ports.publisher.publish(message)
        except Refused as error:
            return html(form.page(visit, token, typed, (str(error),)), HTTPStatus.CONFLICT)
        except Retryable as error:
            log(f"an act was not sent, or nobody can tell: {error}", severity="WARNING", event_id=ticket.act)
            return html(form.page(visit, token, typed, (AGAIN,)), HTTPStatus.SERVICE_UNAVAILABLE)
        log(f"asked for: {form.where}", by=who.name, event_id=ticket.act, topic=message.topic, message_id=sent)
        return see_other(form.result(typed, ticket.act))

    def _fresh(self, visit: Visit, form: Form, typed: Typed, problems: tuple[str, ...], status: HTTPStatus) -> Response:
        """Answer with a form and a ticket of its own, and a key for the browser that has none."""
        viewer = visit.viewer
        if not viewer.acts:
            return html(form.page(visit, "", typed, problems), status)
        known = self._cookie(visit)
        key = known if is_key(known) else new_key()
        ticket = Ticket(who=viewer.name, where=form.where, act=new_event_id(), at=self.ports.clock.now())
        response = html(form.page(visit, seal(ticket, key), typed, problems), status)
        if key != known:
            response.set_cookie(self._cookie_name, key, secure=self.identity.secure, httponly=True, samesite="Strict", path="/")
        return response

    def _cookie(self, visit: Visit) -> str:
        return visit.request.cookies.get(self._cookie_name, "")

    @property
    def _cookie_name(self) -> str:
        return cookie_name(secure=self.identity.secure)
