"""Whose forms the console takes: nobody's who may only look, came past IAP, has no ticket, or comes from another site."""

import json

import pytest

from functions.dashboard.guard import GOOD_FOR
from functions.dashboard.iap import KeyRing
from functions.dashboard.identity import IapUsers, NobodyKnown
from functions.dashboard.settings import ConsoleSettings
from functions.dashboard.submit import MOST_BYTES
from functions.dashboard.viewer import NOBODY_NAMED
from shared.testing.clock import FakeClock
from tests.console_client import Client, Told, client, fields_of, waiting
from tests.unit.test_console_iap import AUDIENCE, Google, signed
from tests.world import World


def test_whoever_may_only_look_sees_no_button_and_is_refused() -> None:
    made = waiting()
    looker, told = client(made, NobodyKnown())
    for path in ("", "cycles/1", "models/0"):
        page = looker.get(path)
        assert {form.attributes["method"] for form in page.all("form")} <= {"get"}, "a search is all"
        assert [each for each in page.all("a") if each.attributes["href"].endswith(("approve", "cancel", "promote", "rollback"))] == []
    page = looker.get("cycles/1/approve")
    assert page.all("form") == []
    assert NOBODY_NAMED in page.text
    assert looker.set_cookie == ""
    answer = looker.post("cycles/1/approve", {"reason": "because", "token": "x"}, status=403)
    assert NOBODY_NAMED in looker.page(answer).text
    assert told.messages == []


def behind_iap(made: World, address: str, *operators: str) -> tuple[Client, Told]:
    settings = ConsoleSettings(audience=AUDIENCE, operators=frozenset(operators))
    people_ = IapUsers(settings, KeyRing(Google(), FakeClock()))
    headers = {"X-Goog-IAP-JWT-Assertion": signed(email=address)} if address else {}
    return client(made, people_, host="dashboard-x.a.run.app", scheme="https", headers=headers)


def test_behind_iap_an_operator_acts_under_the_verified_address() -> None:
    made = waiting()
    ana, told = behind_iap(made, "Ana@example.org", "ana@example.org")
    assert "ana@example.org" in ana.get("").one("header").text
    ana.act("cycles/1/approve", reason="because")
    assert json.loads(told.messages[0].data)["by"] == "ana@example.org via console"
    cookie = ana.set_cookie
    assert cookie.startswith("__Host-retune-form=")
    for part in ("Secure", "HttpOnly", "SameSite=Strict", "Path=/"):
        assert f"; {part}" in cookie
    assert "Domain" not in cookie


def test_behind_iap_a_viewer_and_whoever_comes_past_it_are_refused() -> None:
    made = waiting()
    for address, told_of in (("bob@example.org", "bob@example.org may look and not act"), ("", "came past IAP")):
        other, told = behind_iap(made, address, "ana@example.org")
        other.headers["X-Goog-Authenticated-User-Email"] = "accounts.google.com:ana@example.org"
        assert other.get("cycles/1/approve").all("form") == []
        answer = other.post("cycles/1/approve", {"reason": "because"}, status=403)
        assert told_of in other.page(answer).text
        assert told.messages == []


def test_a_form_that_was_shown_to_somebody_else_is_refused_and_shown_anew() -> None:
    made = waiting()
    ana, _ = behind_iap(made, "ana@example.org", "ana@example.org", "bob@example.org")
    fields = {**fields_of(ana.get("cycles/1/approve")), "reason": "because"}
    bob, told = behind_iap(made, "bob@example.org", "ana@example.org", "bob@example.org")
    bob.cookies = dict(ana.cookies)
    page = bob.page(bob.post("cycles/1/approve", fields, status=403))
    assert "shown to somebody else" in page.text
    assert told.messages == []
    bob.post("cycles/1/approve", fields_of(page))
    assert json.loads(told.messages[0].data)["by"] == "bob@example.org via console"


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example", "Sec_Fetch_Site": "cross-site"},
        {"Origin": "http://evil.example", "Sec_Fetch_Site": ""},
        {"Origin": "http://127.0.0.1:9999", "Sec_Fetch_Site": "same-site"},
        {"Origin": "http://127.0.0.1:9999", "Sec_Fetch_Site": ""},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_another_sites_form_is_refused_even_with_everything_else_right(headers: dict[str, str]) -> None:
    ana, told = client(waiting())
    fields = {**fields_of(ana.get("cycles/1/approve")), "reason": "because"}
    answer = ana.post("cycles/1/approve", fields, status=403, **headers)
    assert "Nothing was done" in ana.page(answer).text
    assert told.messages == []


@pytest.mark.parametrize("broken", ["cookie", "token", "page", "late", "guessed"])
def test_a_form_without_its_ticket_is_refused_and_what_was_typed_stays(broken: str) -> None:
    made = waiting()
    ana, told = client(made)
    fields = {**fields_of(ana.get("cycles/1/approve")), "reason": "because"}
    path = "cycles/1/approve"
    if broken == "cookie":
        ana.cookies.clear()
    elif broken == "token":
        del fields["token"]
    elif broken == "page":
        path = "cycles/1/cancel"
    elif broken == "guessed":
        ana.cookies = {"retune-form": "x"}
    else:
        made.clock.advance(GOOD_FOR.total_seconds() + 1)
    page = ana.page(ana.post(path, fields, status=403))
    assert "press again" in page.one("div", role="alert").text
    assert page.one("textarea", id="reason").text == "because"
    assert told.messages == []
    ana.post(path, fields_of(page))
    assert len(told.messages) == 1


def test_a_strangers_name_that_leads_to_the_local_console_is_not_answered() -> None:
    stranger, told = client(World(), host="evil.example:8080")
    for path in ("", "cycles/1", "cycles/1/audio?set=holdout&utterance=u1", "style.css"):
        assert "for this machine alone" in stranger.get(path, 421).text
    answer = stranger.post("cycles/1/approve", {}, status=421)
    assert "for this machine alone" in stranger.page(answer).text
    assert told.messages == []


def test_what_is_no_form_or_too_large_a_one_is_refused() -> None:
    ana, _ = client(World())
    same = {"Origin": "http://127.0.0.1:8080"}
    assert ana.request("models/2/rollback", "POST", "{}", **same, Content_Type="application/json").status_code == 415
    assert ana.request("models/2/rollback", "POST", "a" * (MOST_BYTES + 1), **same).status_code == 413


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_else_takes_anything(method: str) -> None:
    ana, told = client(World())
    for path in ("", "cycles/1", "models/2", "cycles/1/audio", f"models/2/rollback/{'a' * 32}", "live.js"):
        assert ana.request(path, method, "").status_code == 405
    if method != "POST":
        assert ana.request("models/2/rollback", method, "").status_code == 405
    assert told.messages == []
