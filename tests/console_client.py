"""A browser without a screen for the console: it keeps the cookie, reads forms and sends them as browsers do."""

from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode, urlsplit

from flask import Request, Response
from werkzeug.test import EnvironBuilder

from functions.dashboard.handler import Console
from functions.dashboard.identity import Identity, LocalUser
from functions.runtime import Ports
from shared.bus import Outgoing
from shared.cycle import Status
from shared.errors import Retryable
from tests.html_check import Element, read
from tests.world import World, opened_world

HOST = "127.0.0.1:8080"
ANA = LocalUser("ana")
BY = "ana via console"


@dataclass
class Client:
    """One browser at one console.

    Attributes:
        headers: that go with every request, such as IAP's.
        cookies: what the console set, by name; `set_cookie` is the whole last header.
    """

    console: Console
    host: str = HOST
    scheme: str = "http"
    headers: dict[str, str] = field(default_factory=dict)
    cookies: dict[str, str] = field(default_factory=dict)
    set_cookie: str = ""

    def request(self, path: str, method: str = "GET", body: str | None = None, **headers: str) -> Response:
        url = urlsplit(path)
        sent = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        builder = EnvironBuilder(
            f"/{url.path}",
            method=method,
            query_string=url.query,
            base_url=f"{self.scheme}://{self.host}/",
            headers=list(sent.items()),
            data=body,
            content_type=None if body is None else sent.get("Content-Type", "application/x-www-form-urlencoded"),
        )
        answer = self.console.answer(Request(builder.get_environ()))
        for header in answer.headers.getlist("Set-Cookie"):
            self.set_cookie = header
            name, _, value = header.split(";")[0].partition("=")
            self.cookies[name] = value
        return answer

    def get(self, path: str, status: int = 200) -> Element:
        return self._page(self.request(path), status)

    def post(self, path: str, fields: dict[str, str], *, status: int = 303, **headers: str) -> Response:
        """Send a form as a browser does from the page itself; a header that is empty is left out."""
        usual = {"Origin": f"{self.scheme}://{self.host}", "Sec-Fetch-Site": "same-origin"}
        given = {**usual, **{name.replace("_", "-"): value for name, value in headers.items()}}
        answer = self.request(path, "POST", urlencode(fields), **{name: value for name, value in given.items() if value})
        assert answer.status_code == status, (answer.status_code, read(answer.get_data(as_text=True)).text if answer.data else "")
        return answer

    def act(self, path: str, *, status: int = 303, **typed: str) -> Response:
        """Look at a form, fill it in and send it."""
        return self.post(path, {**fields_of(self.get(path)), **typed}, status=status)

    def page(self, answer: Response) -> Element:
        return read(answer.get_data(as_text=True))

    def _page(self, answer: Response, status: int) -> Element:
        page = self.page(answer)
        assert answer.status_code == status, (answer.status_code, page.text)
        return page


def fields_of(page: Element) -> dict[str, str]:
    """Return what a page's form would send as it stands."""
    form = page.one("form")
    assert form.attributes["method"] == "post"
    found = {each.attributes["name"]: each.attributes.get("value", "") for each in form.all("input", type="hidden")}
    found |= {each.attributes["name"]: each.text for each in form.all("textarea")}
    for select in form.all("select"):
        options = select.all("option")
        chosen = next((each for each in options if "selected" in each.attributes), options[0])
        found[select.attributes["name"]] = chosen.attributes["value"]
    return found


class Told:
    """A publisher that keeps what it is told, and passes it on."""

    def __init__(self, ports: Ports) -> None:
        self.messages: list[Outgoing] = []
        self.away = False
        self._bus = ports.publisher

    def publish(self, message: Outgoing) -> str:
        if self.away:
            raise Retryable("the bus does not answer")
        self.messages.append(message)
        return self._bus.publish(message)


class Nowhere:
    def publish(self, message: Outgoing) -> str:
        return "0"


def client(made: World, identity: Identity = ANA, **options: Any) -> tuple[Client, Told]:
    told = Told(made.ports)
    return Client(Console(replace(made.ports, publisher=told), made.audio, identity), **options), told


def waiting() -> World:
    made = opened_world(auto_approve_finetuning=False)
    assert made.state(1).status == Status.AWAITING_APPROVAL
    return made
