"""Gold that a person must decide, in the console: heard, accepted, mended or left, once and on record."""

import json
from dataclasses import replace

import pytest

from functions.dashboard.identity import NobodyKnown
from infra.review import CycleReview
from shared import keys
from shared.cas import create
from shared.documents import lines_bytes
from shared.events import STT_ERRORS
from tests.console_client import BY, Nowhere, Told, client, fields_of
from tests.console_world import HOSTILE
from tests.unit.test_gold_policy import ASKING, launched, record, spec_of, unlabelled_names
from tests.world import World


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
