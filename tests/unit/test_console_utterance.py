"""The console's page of one utterance, and the bounded search behind it."""

import json
from collections import Counter
from http import HTTPStatus

import pytest
from flask import Request
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Response

from functions.dashboard.utterances import LOOKED_CYCLES, read_utterance_details, utterance_address
from functions.views.scan import Bound, lines_naming, naming, within
from functions.views.utterance import read_utterance
from infra.errors import Refused
from infra.explain import utterance_story
from shared import keys
from shared.compaction import compact
from shared.documents import document_bytes, lines_bytes
from shared.errors import NotFound, Retryable
from shared.head import Head
from shared.objectstore import ObjectInfo
from shared.testing import builders
from shared.testing.clock import START
from shared.testing.memory_store import MemoryStore
from tests.console_world import HOSTILE, console, seen_world, wav_bytes
from tests.html_check import Element, read
from tests.world import BUCKET, World, copy_of


@pytest.fixture(scope="module")
def made() -> World:
    return seen_world(3, "over")


def ask(made: World, path: str) -> Response:
    return console(made).answer(Request(EnvironBuilder(path).get_environ()))


def look(made: World, path: str, status: int = HTTPStatus.OK) -> Element:
    answer = ask(made, path)
    assert answer.status_code == status
    return read(answer.get_data(as_text=True))


def some_error(made: World) -> str:
    """Return an utterance of cycle 2 that v2 fixed."""
    lines = map(json.loads, made.store.get(keys.closure(2)).data.splitlines())
    return str(next(line["utterance_id"] for line in lines if line.get("resolved_by") == 2))


def test_an_utterance_is_told_from_what_was_heard_to_who_fixed_it(made: World) -> None:
    name = some_error(made)
    page = look(made, f"/utterances/{name}")
    story = utterance_story.tell(made.ports, name)
    assert page.one("h1").text == f"Utterance {name} : {story.ending}"
    assert "resolved by v" in story.ending
    (mention,) = story.mentions
    heard = page.one("section", id="heard").text
    assert "error 2026" in heard
    assert f"cycle {mention.cycle} : in {mention.split}" in heard
    assert f"meant {mention.reference}" in heard
    rows = page.one("section", id="verdicts").one("tbody").all("tr")
    assert [row.all("th")[0].text for row in rows] == [f"v{each.version}" for each in story.verdicts]
    assert "Looked at: datasets, open ledgers and verdicts of cycles 1 to 4." in page.one("section", id="looked").text


def test_the_console_and_the_command_line_tell_the_same_story(made: World) -> None:
    for name in (some_error(made), "u1", "u100"):
        assert read_utterance_details(made.ports, name, None).story == utterance_story.tell(made.ports, name)


def test_the_recording_is_the_one_that_the_dataset_pinned(made: World) -> None:
    name = some_error(made)
    (player,) = look(made, f"/utterances/{name}").all("audio")
    assert "audio?set=dataset&" in player.attributes["src"]
    answer = ask(made, player.attributes["src"].removeprefix(".."))
    assert (answer.status_code, answer.get_data()) == (HTTPStatus.OK, wav_bytes(int(name[1:])))
    assert ask(made, "/cycles/1/audio?set=dataset&utterance=nobody").status_code == HTTPStatus.NOT_FOUND
    assert ask(made, f"/cycles/99/audio?set=dataset&utterance={name}").status_code == HTTPStatus.NOT_FOUND


def test_every_utterance_that_a_cycle_shows_leads_to_its_story(made: World) -> None:
    links = look(made, "/cycles/1").one("section", id="words").all("a")
    assert links
    for link in links:
        assert link.text in look(made, "/" + link.attributes["href"].removeprefix("../")).one("h1").text


def test_the_first_page_finds_an_utterance_by_its_name(made: World) -> None:
    form = look(made, "/").one("form", role="search")
    assert form.one("label").attributes["for"] == form.one("input").attributes["id"]
    assert (form.attributes["action"], form.attributes["method"], form.one("input").attributes["name"]) == ("utterances", "get", "id")
    name = some_error(made)
    assert name in look(made, f"/utterances?id={name}").one("h1").text


def test_a_sample_that_nobody_reported_is_no_error_that_waits(made: World) -> None:
    assert look(made, "/utterances/u1").one("h1").text == "Utterance u1 : no error was reported"


def test_an_utterance_of_the_open_ledger_is_told_before_it_is_sealed(made: World) -> None:
    copied = World(store=copy_of(made))
    copied.publish(builders.error(7000, reference=None, utterance_id="call/17"), builders.correction(7000, utterance_id="call/17"))
    copied.settle()
    page = look(copied, "/" + utterance_address("call/17"))
    assert page.one("h1").text == "Utterance call/17 : resolved by no version yet"
    clips = [each.text for each in page.one("section", id="heard").all("div")]
    assert [text.split()[0] for text in clips] == ["error", "correction"]
    assert all("cycle 4 : not used yet" in text for text in clips)
    assert page.all("audio") == [], "nothing is pinned yet"


def test_nothing_is_known_and_what_was_looked_at_is_said(made: World) -> None:
    page = look(made, "/utterances/nobody", HTTPStatus.NOT_FOUND)
    assert page.one("h1").text == "No such utterance here"
    text = page.one("section", id="looked").text
    assert "Nothing is on record about utterance nobody" in text
    assert "cycles 1 to 4" in text
    with pytest.raises(Refused, match="utterance nobody: expected an event about it, found none"):
        utterance_story.tell(made.ports, "nobody")
    assert look(made, "/utterances", HTTPStatus.NOT_FOUND).one("h1").text == "Not found"


@pytest.mark.parametrize("name", [HOSTILE, "..", ".", "a/b", "a?b#c", "100%2F", "ünï", "q\"uo'te", "a+b c", "\u2028"])
def test_a_name_of_others_is_text_and_its_address_leads_to_it(made: World, name: str) -> None:
    copied = World(store=copy_of(made))
    copied.publish(builders.error(7000, utterance_id=name, hypothesis=HOSTILE, reference=HOSTILE))
    copied.settle()
    page = look(copied, "/" + utterance_address(name, 2))
    assert " ".join(name.split()) in page.one("h1").text
    assert HOSTILE in page.one("section", id="heard").text
    assert look(copied, "/" + utterance_address(name) + "zz", HTTPStatus.NOT_FOUND).one("input").attributes["value"] == f"{name}zz"


def long_past(cycles: int, counted: Counter[str]) -> World:
    """Return a world of rejected cycles, in each of which the same utterance was reported."""
    store = MemoryStore(BUCKET)
    for number in range(1, cycles + 1):
        row = {"event_id": f"e{number}", "kind": "error", "origin": "fresh", "occurred_at": START.isoformat(), "utterance_id": "u1"}
        store.put(keys.dataset(number), json.dumps(row).encode() + b"\n")
    store.put(keys.HEAD, document_bytes(Head(cycle=cycles + 1)))
    store.before = lambda operation, _key: counted.update([operation])
    return World(store=store)


def test_a_page_reads_the_newest_cycles_and_leads_to_the_older_ones() -> None:
    counted: Counter[str] = Counter()
    made = long_past(200, counted)
    story = read_utterance_details(made.ports, "u1", None).story
    assert [mention.cycle for mention in story.mentions] == list(range(152, 201))
    assert (story.first, story.last) == (152, 201)
    assert counted.total() <= 4 * LOOKED_CYCLES

    older = look(made, "/utterances/u1").one("section", id="looked").all("a")
    assert [link.text for link in older] == ["In cycle 151 and older"]
    page = look(made, "/" + older[0].attributes["href"].removeprefix("../"))
    assert "cycles 102 to 151" in page.one("section", id="looked").text
    back = next(link for link in page.one("section", id="looked").all("a") if link.text == "In newer cycles")
    assert "cycles 152 to 201" in look(made, "/" + back.attributes["href"]).one("section", id="looked").text
    around = look(made, "/" + utterance_address("u1", 60))
    assert "cycles 36 to 85" in around.one("section", id="looked").text


def test_cycles_that_do_not_fit_into_one_answer_are_left_out_and_named() -> None:
    def info(size_bytes: int) -> ObjectInfo:
        return ObjectInfo("k", 1, size_bytes, "", START)  # type: ignore[arg-type]

    found = {1: [info(10)], 2: [info(60), info(30)], 3: [info(5), info(5)], 4: []}
    assert within(found, Bound(size_bytes=100, objects=9)) == (4, 3, 2)
    assert within(found, Bound(size_bytes=99, objects=9)) == (4, 3, 1)
    assert within(found, Bound(size_bytes=999, objects=3)) == (4, 3, 1)
    assert within(found, None) == (4, 3, 2, 1)

    made = long_past(3, Counter())
    size = len(made.store.get(keys.dataset(1)).data)
    story = read_utterance(made.ports, "u1", range(1, 5), Bound(size_bytes=2 * size, objects=9))
    assert ([mention.cycle for mention in story.mentions], story.left_out) == ([2, 3], (1,))


def test_a_segment_that_is_folded_meanwhile_is_looked_for_again(made: World) -> None:
    store = copy_of(made)
    copied = World(store=store)
    copied.publish(builders.error(7000, utterance_id="late"))
    copied.settle()
    compactions: list[int] = []

    def fold(operation: str, key: str) -> None:
        if operation == "get" and "/segment-" in key and not compactions:
            compactions.append(0)
            compactions[0] = compact(store, 4, at_least=1)

    store.before = fold
    assert [mention.kind for mention in read_utterance(copied.ports, "late", range(1, 5)).mentions] == ["error"]
    assert compactions[0] >= 1

    def vanish(operation: str, key: str) -> None:
        if operation == "get" and "/part-" in key:
            raise NotFound(f"{key}: expected an object, found none")

    store.before = vanish
    with pytest.raises(Retryable, match="names that vanish each time"):
        read_utterance(copied.ports, "late", range(1, 5))


@given(wanted=st.text(st.characters(min_codepoint=0x20, codec="utf-8"), min_size=1, max_size=30), other=st.text(max_size=10))
def test_the_lines_of_an_utterance_are_found_however_its_name_is_spelled(wanted: str, other: str) -> None:
    ours = builders.error(1, utterance_id=wanted)
    strangers = [builders.error(2, utterance_id=f"{wanted}x"), builders.error(3, hypothesis=f'"utterance_id":{json.dumps(wanted)}')]
    data = lines_bytes([strangers[0], ours, strangers[1]]) + json.dumps({"utterance_id": wanted, "x": other}).encode()
    found = [json.loads(line) for line in lines_naming(data, naming("utterance_id", wanted))]
    assert [line["utterance_id"] for line in found] == [wanted, wanted]
