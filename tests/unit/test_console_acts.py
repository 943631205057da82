"""People act in the console: the same checks, the same messages and the same records as on the command line."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from functions.acts import people
from functions.dashboard.handler import Console
from functions.dashboard.submit import AGAIN
from functions.runtime import Ports
from infra.bundle import ROOT
from infra.people import Answer, Person, ask
from shared import keys
from shared.bus import Outgoing
from shared.cas import create
from shared.cycle import Status
from shared.documents import lines_bytes
from shared.events import FINETUNE_TRIGGERS, MODEL_COMMANDS, STT_ERRORS
from tests.console_client import ANA, BY, Client, Nowhere, Told, client, fields_of, waiting
from tests.console_world import HOSTILE, console_world
from tests.infra.grants import GrantedPublisher, GrantedStore
from tests.unit.test_gold_policy import ASKING, launched, record
from tests.world import POLICY, World, opened_world


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
