"""Who may act in the console, and which forms are taken: decided without a request."""

from datetime import timedelta

import pytest
from werkzeug.datastructures import Headers, MultiDict

from functions.dashboard.guard import GOOD_FOR, SKEW, FormRefused, Ticket, cookie_name, foreign, is_key, new_key, open_ticket, seal
from functions.dashboard.identity import IapUsers, LocalUser, NobodyKnown, identity_of
from functions.dashboard.settings import ConsoleSettings
from functions.dashboard.typed import MOST_REASON, Typed, parse_typed, problems_of
from functions.dashboard.viewer import MOST_NAME, NOBODY_NAMED, Viewer, decide_viewer
from shared.config import BadSettings
from shared.events import MAX_NAME_CHARS, MAX_REASON_CHARS
from shared.testing.clock import START, FakeClock

KEY = "k" * 43
TICKET = Ticket(who="ana", where="approve 5", act="a" * 32, at=START)
AUDIENCE = "/projects/1/locations/europe-west4/services/dashboard"


def opened(text: str, *, key: str = KEY, who: str = "ana", where: str = "approve 5", after: timedelta = timedelta()) -> Ticket:
    return open_ticket(text, key, who=who, where=where, now=START + after)


def test_only_who_is_named_may_act() -> None:
    operators = frozenset({"ana@example.org"})
    assert decide_viewer("Ana@Example.org", operators) == Viewer(name="ana@example.org", refusal="")
    seen = decide_viewer("bob@example.org", operators)
    assert (seen.name, seen.acts) == ("bob@example.org", False)
    assert "console_operators does not name this address" in seen.refusal
    assert not decide_viewer("ana@example.org.evil", operators).acts
    assert not decide_viewer("ana@example.org", frozenset()).acts
    assert Viewer().refusal == NOBODY_NAMED
    assert not Viewer(refusal="").acts, "nobody acts without a name"


def test_a_name_that_no_message_could_carry_may_not_act() -> None:
    longest = "a" * MOST_NAME
    assert len(decide_viewer(longest, frozenset({longest})).by) == MAX_NAME_CHARS
    refused = decide_viewer(f"{longest}a", frozenset({f"{longest}a"}))
    assert not refused.acts
    assert f"expected at most {MOST_NAME}" in refused.refusal


def test_a_form_that_was_shown_to_this_person_for_this_page_is_taken() -> None:
    assert opened(seal(TICKET, KEY)) == TICKET
    assert opened(seal(TICKET, KEY), after=GOOD_FOR) == TICKET
    assert opened(seal(TICKET, KEY), after=-SKEW) == TICKET


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"who": "bob"}, "somebody else"),
        ({"where": "approve 6"}, "something else"),
        ({"where": "cancel 5"}, "something else"),
        ({"key": "l" * 43}, "not shown in this browser"),
        ({"key": ""}, "did not send the cookie"),
        ({"key": "k" * 42}, "did not send the cookie"),
        ({"after": GOOD_FOR + timedelta(seconds=1)}, "older than an hour"),
        ({"after": -SKEW - timedelta(seconds=1)}, "older than an hour"),
    ],
)
def test_a_form_of_somebody_else_another_page_another_browser_or_long_ago_is_refused(change: dict[str, object], told: str) -> None:
    with pytest.raises(FormRefused, match=told):
        opened(seal(TICKET, KEY), **change)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["", "x", "a.b", "\ud800", "." * 50, "é"])
def test_what_is_no_ticket_is_refused(text: str) -> None:
    with pytest.raises(FormRefused, match="not shown in this browser"):
        opened(text)


def test_a_ticket_of_which_one_character_was_changed_is_refused() -> None:
    text = seal(TICKET, KEY)
    for place in range(0, len(text), 7):
        forged = text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :]
        with pytest.raises(FormRefused):
            opened(forged)


def test_each_browser_has_a_key_of_its_own() -> None:
    assert is_key(new_key())
    assert new_key() != new_key()
    assert cookie_name(secure=True).startswith("__Host-")


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({"Origin": "https://evil.example"}, "another address"),
        ({"Origin": "http://console.example"}, "another address"),
        ({"Origin": "https://console.example:444"}, "another address"),
        ({"Origin": "https://console.example.evil"}, "another address"),
        ({"Origin": "null"}, "another address"),
        ({"Origin": "https://[console"}, "no page can have sent"),
        ({}, "does not say which page"),
        ({"Origin": "https://console.example", "Sec-Fetch-Site": "cross-site"}, "another site"),
        ({"Origin": "https://console.example", "Sec-Fetch-Site": "same-site"}, "another site"),
        ({"Origin": "https://console.example", "Sec-Fetch-Site": "none"}, "another site"),
    ],
)
def test_a_form_from_elsewhere_is_known_by_what_the_browser_says(headers: dict[str, str], told: str) -> None:
    assert told in foreign(Headers(headers), "console.example", secure=True)


def test_a_form_from_the_consoles_own_page_is_not_from_elsewhere() -> None:
    assert foreign(Headers({"Origin": "https://console.example", "Sec-Fetch-Site": "same-origin"}), "console.example", secure=True) == ""
    assert foreign(Headers({"Origin": "https://Console.example"}), "console.example", secure=True) == "", "an old browser says less"
    assert foreign(Headers({"Origin": "http://localhost:8080"}), "localhost:8080", secure=False) == ""


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]:8080"])
def test_a_local_console_answers_to_the_machines_own_names(host: str) -> None:
    assert LocalUser("ana").refuse(host) == ""


@pytest.mark.parametrize("host", ["evil.example:8080", "127.0.0.1.evil.example", "localhost.evil", "", "192.168.1.7", "[::1", "0.0.0.0"])
def test_a_local_console_does_not_answer_to_a_strangers_name_that_leads_to_it(host: str) -> None:
    assert "for this machine alone" in LocalUser("ana").refuse(host)


def test_settings_say_how_people_are_known() -> None:
    clock = FakeClock()
    assert identity_of(ConsoleSettings.from_env({}), clock) == NobodyKnown()
    assert identity_of(ConsoleSettings.from_env({"RETUNE_CONSOLE_LOCAL_USER": "ana"}), clock) == LocalUser("ana")
    settings = ConsoleSettings.from_env(
        {"RETUNE_CONSOLE_AUDIENCE": AUDIENCE, "RETUNE_CONSOLE_OPERATORS": " Ana@Example.org, bob@example.org ,"}
    )
    assert settings.operators == {"ana@example.org", "bob@example.org"}
    assert isinstance(identity_of(settings, clock), IapUsers)


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"RETUNE_CONSOLE_OPERATORS": "ana@example.org"}, "expected RETUNE_CONSOLE_AUDIENCE beside it"),
        ({"RETUNE_CONSOLE_OPERATORS": "user:ana", "RETUNE_CONSOLE_AUDIENCE": "a"}, "expected addresses such as"),
        ({"RETUNE_CONSOLE_OPERATORS": "a@b@c", "RETUNE_CONSOLE_AUDIENCE": "a"}, "expected addresses such as"),
        ({"RETUNE_CONSOLE_LOCAL_USER": "ana", "RETUNE_CONSOLE_AUDIENCE": "a"}, "expected none beside RETUNE_CONSOLE_AUDIENCE"),
        ({"RETUNE_CONSOLE_LOCAL_USER": "ana", "K_SERVICE": "dashboard"}, "everybody would be that user"),
    ],
)
def test_settings_that_would_let_the_wrong_people_act_are_refused(environ: dict[str, str], told: str) -> None:
    with pytest.raises(BadSettings, match=told):
        ConsoleSettings.from_env(environ)


def test_a_form_needs_a_reason_of_bounded_length() -> None:
    assert problems_of(Typed(reason="because")) == ()
    assert problems_of(Typed(reason=" \r\n\t ")) == ("Say why: the reason stays on record.",)
    assert problems_of(Typed(reason="a" * MOST_REASON)) == ()
    (problem,) = problems_of(Typed(reason="a" * (MOST_REASON + 1)))
    assert f"at most {MOST_REASON} characters, found {MOST_REASON + 1}" in problem
    assert MOST_REASON <= MAX_REASON_CHARS


def test_what_goes_against_the_evidence_must_be_ticked() -> None:
    assert problems_of(Typed(reason="because", override=True), override=True) == ()
    (problem,) = problems_of(Typed(reason="because"), override=True)
    assert "on your own word" in problem


def test_a_version_is_written_as_people_write_it() -> None:
    assert Typed(to="v4").target == Typed(to="4").target == 4
    assert Typed().target is None
    (problem,) = problems_of(Typed(reason="because", to="four"))
    assert "expected one such as v4, found 'four'" in problem


def test_a_reason_goes_on_record_in_one_line_without_what_a_terminal_obeys() -> None:
    assert parse_typed(MultiDict({"reason": " red\r\n\x1b[31mlight\u202e "})).why == "red \u241b[31mlight\ufffd"


def test_fields_are_bounded_and_unknown_ones_left_out() -> None:
    typed = parse_typed(MultiDict({"reason": "a" * 10**6, "to": "9" * 10**6, "text": "b" * 10**6, "override": "no", "by": "root"}))
    assert (len(typed.reason), len(typed.to), typed.override) == (2 * MOST_REASON, 20, False)
    assert any("too long" in problem for problem in problems_of(Typed(reason="because", text=typed.text)))
