"""People act in the console: the same checks, the same messages and the same records as on the command line, and nobody else's forms."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from functions.acts import people
from functions.dashboard.guard import GOOD_FOR
from functions.dashboard.handler import Console
from functions.dashboard.iap import KeyRing
from functions.dashboard.identity import IapUsers, Identity, LocalUser, NobodyKnown
from functions.dashboard.settings import ConsoleSettings
from functions.dashboard.submit import AGAIN, MOST_BYTES
from functions.dashboard.viewer import NOBODY_NAMED
from functions.runtime import Ports
from infra.bundle import ROOT
from infra.people import Answer, Person, ask
from infra.review import CycleReview
from shared import keys
from shared.bus import Outgoing
from shared.cas import create
from shared.cycle import Status
from shared.documents import lines_bytes
from shared.errors import Retryable
from shared.events import FINETUNE_TRIGGERS, MODEL_COMMANDS, STT_ERRORS
from shared.testing.clock import FakeClock
from tests.console_client import Client, fields_of
from tests.console_world import HOSTILE, console_world
from tests.infra.grants import GrantedPublisher, GrantedStore
from tests.unit.test_console_iap import AUDIENCE, Google, signed
from tests.unit.test_gold_policy import ASKING, launched, record, spec_of, unlabelled_names
from tests.world import POLICY, World, opened_world

ANA = LocalUser("ana")
BY = "ana via console"


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


def client(made: World, identity: Identity = ANA, **options: Any) -> tuple[Client, Told]:
    told = Told(made.ports)
    return Client(Console(replace(made.ports, publisher=told), made.audio, identity), **options), told


def waiting() -> World:
    made = opened_world(auto_approve_finetuning=False)
    assert made.state(1).status == Status.AWAITING_APPROVAL
    return made


def line() -> World:
    """Return a world in which v2 is stable, v1 and v0 were before."""
    made = World()
    made.install_model()
    for version in (1, 2):
        made.write_model(version, base=version - 1, learned=())
        made.type("model-commands", f'{{"promote": {version}, "override": true, "reason": "imported", "by": "ana"}}')
        made.settle()
    assert (made.production().stable, made.production().previous) == (2, (1, 0))
    return made


@pytest.fixture(scope="module")
def served() -> World:
    """v1 was inconclusive, v2 is stable; only to be looked at."""
    return console_world(cycles=2, ending="over")


def by_command(made: World, typed: Callable[[Ports, Person], object], reason: str = "because") -> Outgoing:
    """Return what the command line publishes."""
    told = Told(replace(made.ports, publisher=Nowhere()))
    typed(replace(made.ports, publisher=told), Person(by=BY, reason=reason, wait_s=None))
    (message,) = told.messages
    return message


class Nowhere:
    def publish(self, message: Outgoing) -> str:
        return "0"


def without_id(message: Outgoing) -> tuple[str, dict[str, Any], dict[str, str]]:
    document = json.loads(message.data)
    return (
        message.topic,
        {name: value for name, value in document.items() if name not in {"event_id", "occurred_at"}},
        dict(message.attributes),
    )


def test_an_approval_is_the_command_lines_message_and_lands_in_the_audit_log() -> None:
    made = waiting()
    ana, told = client(made)
    page = ana.get("cycles/1/approve")
    assert page.one("h1").text == "Approve cycle 1"
    assert "a machine is started and a candidate trained" in page.text
    answer = ana.act("cycles/1/approve", reason="because")
    expected = by_command(made, lambda ports, person: ask(ports, person, people.approve, 1))
    (message,) = told.messages
    assert without_id(message) == without_id(expected)
    assert list(json.loads(message.data)) == list(json.loads(expected.data)), (
        "the same fields in the same order: the same bytes but for the id"
    )
    assert message.topic == FINETUNE_TRIGGERS
    event_id = json.loads(message.data)["event_id"]
    assert answer.headers["Location"] == f"approve/{event_id}"
    assert "Nothing yet" in ana.get(f"cycles/1/approve/{event_id}").text
    made.settle()
    assert "cycle 1 is preparing: because" in ana.get(f"cycles/1/approve/{event_id}").text
    entry = made.state(1).history[1]
    assert (entry.by, entry.reason, entry.cause) == (f"{BY} (claimed)", "because", event_id)
    audit = ana.get("").one("section", id="audit").text
    assert f"cycle 1: preparing {BY} (claimed) because" in audit


def test_a_cancellation_is_the_command_lines_message() -> None:
    made = waiting()
    ana, told = client(made)
    assert "Its errors go into the next cycle" in ana.get("cycles/1/cancel").text
    ana.act("cycles/1/cancel", reason="because")
    assert without_id(told.messages[0]) == without_id(by_command(made, lambda ports, person: ask(ports, person, people.cancel, 1)))
    made.settle()
    assert made.state(1).status == Status.CANCELLED


def test_a_rollback_says_from_where_to_where_and_goes_there() -> None:
    made = line()
    ana, told = client(made)
    page = ana.get("models/2/rollback")
    assert [each.text for each in page.all("option")] == ["v1, the last good one", "v0"]
    assert "v2 is withdrawn: only an override with a reason brings it back" in page.text
    ana.act("models/2/rollback", reason="because", to="v0")
    assert without_id(told.messages[0]) == without_id(by_command(made, lambda ports, person: ask(ports, person, people.rollback, 2, 0)))
    made.settle()
    assert (made.production().stable, made.production().withdrawn) == (0, (2,))
    move = made.production().moves[-1]
    assert (move.by, move.reason) == (f"{BY} (claimed)", "because")


def test_a_canary_is_rolled_back_and_what_is_stable_stays() -> None:
    made = console_world(cycles=2, ending="canary")
    ana, told = client(made)
    page = ana.get("models/2/rollback")
    assert "The canary of v2 ends; v0 stays stable" in page.text
    assert page.all("select") == []
    ana.act("models/2/rollback", reason="because")
    assert without_id(told.messages[0]) == without_id(by_command(made, lambda ports, person: ask(ports, person, people.rollback, 2)))
    made.settle()
    assert (made.production().stable, made.production().canary) == (0, None)


def test_an_accepted_version_is_promoted_on_its_evidence() -> None:
    made = console_world(cycles=2, ending="canary")
    ana, told = client(made)
    page = ana.get("models/2/promote")
    assert "v2 becomes stable and serves every session; now it is v0" in page.text
    assert "The canary of v2 ends with it" in page.text
    assert page.all("input", name="override") == []
    ana.act("models/2/promote", reason="because")
    assert without_id(told.messages[0]) == without_id(
        by_command(made, lambda ports, person: ask(ports, person, people.promote, 2, override=False))
    )
    assert told.messages[0].topic == MODEL_COMMANDS
    made.settle()
    assert made.production().stable == 2


def test_a_promotion_that_the_evidence_does_not_carry_must_be_ticked() -> None:
    made = console_world(cycles=2, ending="over")
    ana, told = client(made)
    page = ana.get("models/0/promote")
    assert "The evidence does not carry this" in page.text
    assert "v0: expected verdicts/000000/report.json, found no such object" in page.text
    refused = ana.page(ana.act("models/0/promote", reason="because", status=422))
    assert "tick that you do it on your own word" in refused.one("div", role="alert").text
    assert told.messages == []
    ana.act("models/0/promote", reason="because", override="yes")
    assert without_id(told.messages[0]) == without_id(
        by_command(made, lambda ports, person: ask(ports, person, people.promote, 0, override=True))
    )
    made.settle()
    assert made.production().stable == 0
    assert made.production().moves[-1].override


@pytest.mark.parametrize(
    ("path", "typed"),
    [
        ("cycles/1/approve", lambda ports, person: ask(ports, person, people.approve, 1)),
        ("cycles/2/cancel", lambda ports, person: ask(ports, person, people.cancel, 2)),
        ("models/2/promote", lambda ports, person: ask(ports, person, people.promote, 2, override=True)),
        ("models/9/promote", lambda ports, person: ask(ports, person, people.promote, 9, override=True)),
        ("models/1/rollback", lambda ports, person: ask(ports, person, people.rollback, 1)),
    ],
)
def test_what_the_command_line_refuses_is_refused_in_the_same_words_and_has_no_button(
    served: World, path: str, typed: Callable[[Ports, Person], Answer]
) -> None:
    refused = typed(served.ports, Person(by=BY, reason="because", wait_s=None))
    assert refused.outcome == "refused"
    ana, told = client(served)
    page = ana.get(path)
    assert refused.text in page.text
    assert page.all("form") == []
    assert told.messages == []


def test_a_cycle_that_was_never_opened_is_refused_in_the_same_words(served: World) -> None:
    page = client(served)[0].get("cycles/77/approve")
    assert "cycle 77: expected one that was opened, found no state" in page.text
    assert page.all("form") == []


def test_what_moved_on_since_the_form_was_shown_is_refused_when_it_comes() -> None:
    made = waiting()
    ana, told = client(made)
    page = ana.get("cycles/1/approve")
    ask(made.ports, Person(by="bob", wait_s=None), people.cancel, 1)
    made.settle()
    answer = ana.post("cycles/1/approve", {**fields_of(page), "reason": "because"}, status=409)
    assert "approve: cycle 1 is cancelled, not awaiting approval" in ana.page(answer).text
    assert told.messages == []


def test_pressed_twice_it_is_one_act() -> None:
    made = line()
    ana, told = client(made)
    fields = {**fields_of(ana.get("models/2/rollback")), "reason": "because"}
    first, second = ana.post("models/2/rollback", fields), ana.post("models/2/rollback", fields)
    assert first.headers["Location"] == second.headers["Location"]
    made.settle()
    assert made.production().stable == 1, "two messages with one id are one rollback"
    assert made.production().seq == 4
    third = ana.post("models/2/rollback", fields)
    assert third.headers["Location"] == first.headers["Location"]
    made.settle()
    assert (made.production().stable, len(told.messages)) == (1, 2), "what is on record is not sent again"


def test_a_bus_that_does_not_answer_may_be_asked_again_with_the_same_act(capsys: pytest.CaptureFixture[str]) -> None:
    made = waiting()
    ana, told = client(made)
    told.away = True
    answer = ana.act("cycles/1/approve", reason="because", status=503)
    page = ana.page(answer)
    assert AGAIN in page.text
    told.away = False
    assert fields_of(page)["reason"] == "because"
    ana.post("cycles/1/approve", fields_of(page))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    sent = [line for line in lines if line["message"].startswith("asked for")]
    assert [(line["message"], line["by"], line["topic"]) for line in sent] == [("asked for: approve 1", "ana", FINETUNE_TRIGGERS)]
    assert sent[0]["event_id"] == json.loads(told.messages[0].data)["event_id"]
    assert "because" not in json.dumps(sent), "a reason may hold what was said in a call"


@pytest.mark.parametrize(("reason", "told_of"), [("", "Say why"), ("   ", "Say why"), ("a" * 501, "too long")])
def test_without_a_reason_of_bounded_length_the_form_comes_back_as_it_was(reason: str, told_of: str) -> None:
    ana, told = client(waiting())
    page = ana.page(ana.act("cycles/1/approve", reason=reason, status=422))
    assert told_of in page.one("div", role="alert").text
    assert page.one("textarea", id="reason").text == reason.strip()
    assert page.one("title").text.startswith("Nothing was sent")
    assert told.messages == []
    ana.post("cycles/1/approve", {**fields_of(page), "reason": "because"})
    assert len(told.messages) == 1


def test_a_hostile_reason_is_text_everywhere() -> None:
    made = waiting()
    ana, _ = client(made)
    evil = f"{HOSTILE}</textarea>\x1b[31m\u202e"
    page = ana.page(ana.act("cycles/1/approve", reason=evil * 30, status=422))
    assert HOSTILE in page.one("textarea", id="reason").text
    ana.post("cycles/1/approve", {**fields_of(page), "reason": evil})
    made.settle()
    shown = f"{HOSTILE}</textarea>\u241b[31m\ufffd"
    assert made.state(1).history[1].reason == shown
    for path in ("", "cycles/1"):
        assert shown in ana.get(path).text


# --- who


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


# --- from where


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


def test_a_strangers_name_that_leads_to_the_local_console_is_not_answered(served: World) -> None:
    stranger, told = client(served, host="evil.example:8080")
    for path in ("", "cycles/1", "cycles/1/audio?set=holdout&utterance=u1", "style.css"):
        assert "for this machine alone" in stranger.get(path, 421).text
    answer = stranger.post("cycles/1/approve", {}, status=421)
    assert "for this machine alone" in stranger.page(answer).text
    assert told.messages == []


def test_what_is_no_form_or_too_large_a_one_is_refused(served: World) -> None:
    ana, _ = client(served)
    same = {"Origin": "http://127.0.0.1:8080"}
    assert ana.request("models/2/rollback", "POST", "{}", **same, Content_Type="application/json").status_code == 415
    assert ana.request("models/2/rollback", "POST", "a" * (MOST_BYTES + 1), **same).status_code == 413


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_else_takes_anything(served: World, method: str) -> None:
    ana, told = client(served)
    for path in ("", "cycles/1", "models/2", "cycles/1/audio", f"models/2/rollback/{'a' * 32}", "live.js"):
        assert ana.request(path, method, "").status_code == 405
    if method != "POST":
        assert ana.request("models/2/rollback", method, "").status_code == 405
    assert told.messages == []


# --- what it takes


def test_terraform_grants_what_the_forms_need_and_the_store_is_only_read() -> None:
    text = (ROOT / "infra" / "console.tf").read_text(encoding="utf-8")
    granted = frozenset(json.loads(re.findall(r"publishes +=.*: (\[.*\])", text)[0]))
    assert granted == {FINETUNE_TRIGGERS, MODEL_COMMANDS, STT_ERRORS}
    made = launched(ASKING.model_copy(update={"auto_approve_finetuning": False}), corrected=40, uncorrected=40)
    folders = {info.key.partition("/")[0] for info in made.store.list("")} | {"cycles", "verdicts", "runs"}
    store = GrantedStore(made.store, "dashboard", dict.fromkeys(folders, frozenset({"get", "list"})))
    bus = GrantedPublisher(made.bus, "dashboard", granted)
    ana = Client(Console(Ports(store, bus, made.clock, made.ports.settings), made.audio, ANA))
    create(made.store, keys.gold(1), lines_bytes([record(70, "review")]))
    ana.act("cycles/1/review?utterance=u70", reason="because")
    ana.act("cycles/1/approve", reason="because")
    made.write_model(5, base=0, learned=())
    ana.act("models/5/promote", reason="because", override="yes")
    assert bus.used == granted
    assert {verb for _, verb in store.used} <= {"get", "list"}


def test_a_rollback_passes_over_what_is_damaged_and_says_so() -> None:
    made = line()
    name = next(info.key for info in made.store.list(keys.model(1)) if not info.key.endswith("manifest.json"))
    made.store.delete(name)
    ana, _ = client(made)
    page = ana.get("models/2/rollback")
    assert "Damaged, and passed over: v1." in page.text
    assert [each.text for each in page.all("option")] == ["v0, the last good one"]
    ana.act("models/2/rollback", reason="because")
    made.settle()
    assert made.production().stable == 0


def test_a_promotion_whose_evidence_is_stale_says_that_it_ends_the_canary() -> None:
    made = console_world(cycles=2, ending="canary")
    made.write_model(7, base=0, learned=())
    ask(made.ports, Person(by="bob", reason="better", wait_s=None), people.promote, 7, override=True)
    made.settle()
    assert made.production().canary is not None
    ana, _ = client(made)
    page = ana.get("models/2/promote")
    assert page.one("h1").text == "End the canary of v2"
    assert "Nothing is promoted: validated against v0, but v7 is stable now" in page.text
    answer = ana.act("models/2/promote", reason="because")
    made.settle()
    assert made.production().canary is None
    done = ana.get(f"models/2/{answer.headers['Location']}")
    assert done.one("h1").text == "Promote v2: not done"
    assert "end canary v2: v7 is stable" in done.text


def test_an_approval_tells_what_is_spent_of_the_budget() -> None:
    made = opened_world(auto_approve_finetuning=False, budget=POLICY.budget.model_validate({"usd_per_gpu_hour": 1.5, "max_usd": 100.0}))
    assert "0.00 spent, 0.00 of it by this cycle" in client(made)[0].get("cycles/1/approve").text


# --- gold


@pytest.fixture
def doubtful() -> World:
    made = launched(ASKING, corrected=40, uncorrected=40)
    names = [int(name[1:]) for name in unlabelled_names(made, spec_of(made))]
    create(
        made.store, keys.gold(1), lines_bytes([record(names[0], "review"), record(names[1], "accepted"), record(names[2], "review", None)])
    )
    return made


def test_doubtful_gold_is_heard_accepted_and_on_record(doubtful: World) -> None:
    ana, told = client(doubtful)
    first, second = CycleReview(doubtful.ports, 1).waiting()
    page = ana.get("cycles/1/review")
    assert page.one("h1").text == "Gold of cycle 1 that a person must decide: 2 left"
    (link, _) = [each for each in page.all("a") if each.text.startswith("Answer")]
    assert link.text == f"Answer for {first.utterance_id}"
    path = f"cycles/1/review?utterance={first.utterance_id}"
    form = ana.get(path)
    assert form.one("audio").attributes["src"] == f"../../cycles/1/audio?set={keys.UNLABELLED_SET}&utterance={first.utterance_id}"
    assert form.one("textarea", id="text").text == "fall back"
    answer = ana.act(path, reason="because")
    event = CycleReview(doubtful.ports, 1, BY, "because")
    told_by_command = Told(replace(doubtful.ports, publisher=Nowhere()))
    replace(event, ports=replace(doubtful.ports, publisher=told_by_command)).answer(first.utterance_id, None)
    assert told.messages == told_by_command.messages, "the very same bytes: the same words are the same event"
    assert told.messages[0].topic == STT_ERRORS
    sent = answer.headers["Location"]
    assert "on its way" in ana.get(f"cycles/1/{sent}").text
    doubtful.settle()
    page = ana.get(f"cycles/1/{sent}")
    assert f"{first.utterance_id} is on record in cycle 2: fall back" in page.one("section", id="said").text
    assert f"{first.utterance_id} fall back {BY} (claimed) because" in page.one("section", id="answered").text
    assert [item.utterance_id for item in CycleReview(doubtful.ports, 1).waiting()] == [second.utterance_id]
    again = ana.get(path)
    assert again.all("form") == []
    assert "This was answered by ana via console (claimed)" in again.text


def test_doubtful_gold_is_mended_or_left(doubtful: World) -> None:
    ana, told = client(doubtful)
    _, second = CycleReview(doubtful.ports, 1).waiting()
    path = f"cycles/1/review?utterance={second.utterance_id}"
    assert ana.get(path).one("textarea", id="text").text == ""
    for text in ("", " ?! "):
        page = ana.page(ana.act(path, reason="because", text=text, status=409))
        assert f"utterance {second.utterance_id}: expected words, found {text!r}" in page.text
    assert told.messages == []
    ana.act(path, reason="because", text="  fell \r\n back ")
    doubtful.settle()
    assert json.loads(told.messages[0].data)["reference"] == "fell back"


def test_an_answer_that_is_sent_twice_is_one_event_and_another_one_comes_too_late(doubtful: World) -> None:
    ana, told = client(doubtful)
    first, _ = CycleReview(doubtful.ports, 1).waiting()
    path = f"cycles/1/review?utterance={first.utterance_id}"
    fields = {**fields_of(ana.get(path)), "reason": "because"}
    late = {**fields_of(ana.get(path)), "reason": "because", "text": "something else"}
    ana.post(path, fields)
    doubtful.settle()
    ana.post(path, fields)
    assert len(told.messages) == 1
    refused = ana.page(ana.post(path, late, status=409))
    assert "expected one of the 1 that wait" in refused.text
    assert len(told.messages) == 1


def test_hostile_text_of_a_recording_is_text(doubtful: World) -> None:
    ana, _ = client(doubtful)
    first, _ = CycleReview(doubtful.ports, 1).waiting()
    path = f"cycles/1/review?utterance={first.utterance_id}"
    ana.act(path, reason=HOSTILE, text=HOSTILE)
    doubtful.settle()
    assert ana.get("cycles/1/review").one("section", id="answered").text.count(HOSTILE) == 2


def test_a_viewer_hears_doubtful_gold_and_answers_nothing(doubtful: World) -> None:
    looker, told = client(doubtful, NobodyKnown())
    first, _ = CycleReview(doubtful.ports, 1).waiting()
    page = looker.get("cycles/1/review")
    assert len(page.all("audio")) == 2
    assert [each for each in page.all("a") if each.text.startswith("Answer")] == []
    path = f"cycles/1/review?utterance={first.utterance_id}"
    assert looker.get(path).all("form") == []
    looker.post(path, {"text": "x", "reason": "because"}, status=403)
    assert told.messages == []


def test_gold_and_utterances_that_are_not_there_are_not_found(doubtful: World) -> None:
    ana, _ = client(doubtful)
    assert "expected that utterance among the gold" in ana.get("cycles/1/review?utterance=u9999", 404).text
    assert "expected gold that a trainer made" in ana.get("cycles/2/review", 404).text
