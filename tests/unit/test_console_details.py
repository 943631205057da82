"""The console's pages of a cycle and of a model, and the recordings that it plays."""

from collections import Counter
from http import HTTPStatus
from typing import Any

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Response

from functions.dashboard.answers import HEADERS
from functions.dashboard.audio import MOST_BYTES, get_pin, part_of, read_sound
from functions.dashboard.details import read_cycle_details, read_model_details
from infra.explain import cycle_story, version_story
from shared import keys
from shared.cycle import Status
from shared.documents import document_bytes, lines_bytes
from shared.errors import NotFound
from shared.gold import GoldRecord
from shared.testing import builders
from shared.testing.memory_store import MemoryStore
from shared.training import Clip, UnlabelledClip
from tests.console_world import HOSTILE, console, seen_world, wav_bytes
from tests.html_check import Element, read
from tests.world import BUCKET, World


@pytest.fixture(scope="module")
def made() -> World:
    return seen_world(3, "over")


@pytest.fixture(scope="module")
def training() -> World:
    return seen_world()


def ask(made: World, path: str, **headers: str) -> Response:
    return console(made).answer(Request(EnvironBuilder(path, headers=list(headers.items())).get_environ()))


def look(made: World, path: str) -> Element:
    answer = ask(made, path)
    assert answer.status_code == HTTPStatus.OK
    assert answer.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]
    return read(answer.get_data(as_text=True))


def test_a_cycle_is_told_from_its_opening_to_its_models_end(made: World) -> None:
    page = look(made, "/cycles/1")
    story = cycle_story.tell(made.ports, 1)
    assert page.one("h1").text == f"Cycle 1: {story.state.status.replace('_', ' ')}"
    assert story.state.history[0].reason in page.one("section", id="why").text
    steps = page.one("section", id="steps").one("tbody").all("tr")
    assert [row.all("td")[1].text for row in steps] == [entry.status.replace("_", " ") for entry in story.state.history]
    assert "25 min of machine time" in page.one("section", id="training").text
    assert story.verdict is not None
    assert story.verdict.outcome in page.one("section", id="verdict").text
    assert f"{story.dataset.rows} rows" in page.one("section", id="data").text if story.dataset else False


def test_a_running_cycle_has_its_numbers_and_what_was_drawn_as_tables(training: World) -> None:
    page = look(training, "/cycles/5")
    text = page.one("section", id="training").text
    for told in ("Time left in this phase about 5.2 min", "Loss of the last step 0.712", "Dev WER on errors 36.3%", "Cost so far 0.17 USD"):
        assert told in text
    assert "7 0.803 36.3% 7.4%" in text
    ended = look(training, "/cycles/4")
    assert "Machine time 25 min Cost 0.62 USD" in ended.one("section", id="training").text
    for shown in (ended, look(training, "/models/4"), look(training, "/")):
        rows = shown.one("section", id="verdict").one("details").one("tbody").all("tr")
        assert rows[0].text.startswith("holdout ")
        assert rows[0].text.endswith(" - yes")
        assert len(rows) > 3, "parts and slices too"


def test_the_console_and_the_command_line_tell_the_same_story(made: World) -> None:
    assert read_cycle_details(made.ports, 2).story == cycle_story.tell(made.ports, 2).model_copy(
        update={"moves": read_cycle_details(made.ports, 2).story.moves}
    )
    assert sorted(move.seq for move in read_cycle_details(made.ports, 2).story.moves) == [
        move.seq for move in cycle_story.tell(made.ports, 2).moves
    ]
    shown, told = read_model_details(made.ports, 2), version_story.tell(made.ports, 2)
    assert (shown.model, shown.state, shown.resolved) == (told.model, told.state, told.resolved)


def test_words_are_compared_and_recordings_can_be_played(made: World) -> None:
    page = look(made, "/cycles/1")
    clips = [element for element in page.one("section", id="words").all("div") if element.attributes.get("class") == "clip"]
    assert clips
    struck = [word.text for clip in clips for word in clip.all("del")]
    assert set(struck) <= {"thursday", "router", "billing", "forty", "invoice", "parcel"}
    player = clips[0].one("audio")
    assert player.attributes["preload"] == "none"
    assert player.attributes["aria-label"].startswith("Recording of u")
    answer = ask(made, "/" + player.attributes["src"].removeprefix("../"))
    number = int(player.attributes["aria-label"].removeprefix("Recording of u"))
    assert answer.get_data() == wav_bytes(number)
    assert answer.headers["Content-Type"] == "audio/wav"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Accept-Ranges"] == "bytes"


def test_a_part_of_a_recording_is_a_part(made: World) -> None:
    src = look(made, "/cycles/1").one("section", id="words").all("audio")[0].attributes["src"].removeprefix("..")
    whole = ask(made, src).get_data()
    part = ask(made, src, Range="bytes=100-199")
    assert (part.status_code, part.get_data()) == (206, whole[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(whole)}"


@pytest.mark.parametrize(
    ("wanted", "status", "data", "told"),
    [
        (None, 200, b"0123456789", None),
        ("bytes=0-", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=4-6", 206, b"456", "bytes 4-6/10"),
        ("bytes=8-99", 206, b"89", "bytes 8-9/10"),
        ("bytes=-3", 206, b"789", "bytes 7-9/10"),
        ("bytes=-99", 206, b"0123456789", "bytes 0-9/10"),
        ("bytes=10-", 416, b"", "bytes */10"),
        ("bytes=-0", 416, b"", "bytes */10"),
        ("bytes=6-4", 200, b"0123456789", None),
        ("bytes=-", 200, b"0123456789", None),
        ("bytes=0-1,3-4", 200, b"0123456789", None),
        ("lines=0-1", 200, b"0123456789", None),
        ("bytes=" + "9" * 5000 + "-", 200, b"0123456789", None),
    ],
)
def test_ranges_are_answered_as_http_wants(wanted: str | None, status: int, data: bytes, told: str | None) -> None:
    found = part_of(b"0123456789", "audio/wav", wanted)
    assert (found.status, found.data, found.content_range) == (status, data, told)


@pytest.mark.parametrize(
    "query",
    [
        "set=holdout&utterance=nobody",
        "set=../../models/000001&utterance=u1",
        "set=holdout&utterance=gs://calls/u1.wav",
        "set=&utterance=",
        "",
    ],
)
def test_only_clips_that_the_cycle_names_can_be_heard(made: World, query: str) -> None:
    answer = ask(made, f"/cycles/1/audio?{query}")
    assert answer.status_code == HTTPStatus.NOT_FOUND
    read(answer.get_data(as_text=True))


def test_a_recording_that_was_replaced_is_elsewhere_or_too_large_is_not_played(made: World) -> None:
    copied = World(store=MemoryStore(made.store.uri))
    for info in made.store.list(keys.CYCLES):
        copied.store.put(info.key, made.store.get(info.key).data)

    def with_clip(**changes: object) -> str:
        pin = builders.pin(1).model_copy(update=changes)
        clip = Clip(utterance_id="u1", cluster="c", stratum="errors", audio=pin, reference="x", provenance="human")
        copied.store.put(keys.clips(1, "train-errors"), lines_bytes([clip]))
        return ask(copied, "/cycles/1/audio?set=train-errors&utterance=u1").status

    copied.calls.put("u1.wav", builders.audio_bytes(1))
    assert with_clip() == "200 OK"
    assert with_clip(crc32c="AAAAAA==") == "404 NOT FOUND"
    assert with_clip(generation=7) == "200 OK", "the same bytes, restored since"
    assert with_clip(uri="gs://secrets/u1.wav") == "404 NOT FOUND"
    assert with_clip(uri="file:///etc/passwd", generation=None) == "404 NOT FOUND"
    assert with_clip(size_bytes=MOST_BYTES + 1) == "404 NOT FOUND"
    copied.calls.put("u1.wav", builders.audio_bytes(2))
    assert with_clip() == "404 NOT FOUND"
    with pytest.raises(NotFound):
        read_sound(copied.audio, get_pin(copied.ports, 1, "train-errors", "u1"), None)


def test_a_model_is_shown_with_lineage_manifest_and_sets(made: World) -> None:
    page = look(made, "/models/1")
    assert "Trained from v0" in page.one("section", id="lineage").text
    links = [link.attributes["href"] for link in page.one("section", id="lineage").all("a")]
    assert links[0] == "../models/0"
    assert "model.safetensors" in page.one("section", id="manifest").text
    assert "holdout" in page.one("section", id="suites").text
    first = look(made, "/models/0")
    assert "It was not judged: a person brought it" in first.one("section", id="verdict").text
    assert "evidence" not in first.one("section", id="lineage").text, "the first model stands against nothing"
    assert "promote v0 as the first model" in first.one("section", id="moves").text


def test_doubtful_gold_can_be_heard_before_somebody_decides() -> None:
    made = World(store=MemoryStore(BUCKET))
    made.store.put(keys.state(1), document_bytes(builders.cycle_state(Status.TRAINING)))
    clip = UnlabelledClip(utterance_id="u1", cluster="c", audio=builders.pin(1), hypothesis="call back")
    made.store.put(keys.clips(1, keys.UNLABELLED_SET), lines_bytes([clip]))
    made.record_calls([1])
    common: dict[str, Any] = {"model": "m", "samples": ("fall back",), "agreement": 1.0, "scores": None}
    gold = [
        GoldRecord(utterance_id="u1", decision="review", text=HOSTILE, reason="the sound is unclear", **common),
        GoldRecord(utterance_id="u2", decision="accepted", text="fall back", **common),
    ]
    made.store.put(keys.gold(1), lines_bytes(gold))
    doubtful = look(made, "/cycles/1").one("section", id="doubtful")
    assert doubtful.one("h2").text == "Gold that a person must decide: 1"
    assert f"heard call back proposed {HOSTILE}" in doubtful.text
    heard = ask(made, doubtful.one("audio").attributes["src"].removeprefix(".."))
    assert heard.get_data() == builders.audio_bytes(1)


def test_the_full_report_may_style_itself_and_nothing_else(made: World) -> None:
    answer = ask(made, "/cycles/1/report")
    policy = answer.headers["Content-Security-Policy"]
    assert policy.endswith("sandbox")
    assert "script-src" not in policy
    assert "default-src 'none'" in policy
    assert answer.get_data() == made.store.get(keys.report_html(1)).data


@pytest.mark.parametrize(
    "path", ["/cycles/99", "/cycles/0", "/models/99", "/cycles/99/report", "/cycles/007", "/cycles/1234567", "/models/-1"]
)
def test_what_is_not_there_is_said_to_be_not_there(made: World, path: str) -> None:
    answer = ask(made, path)
    assert answer.status_code == HTTPStatus.NOT_FOUND
    page = read(answer.get_data(as_text=True))
    assert page.one("link", rel="stylesheet").attributes["href"] == "../" * (path.count("/") - 1) + "style.css"


def test_no_text_of_others_gets_through(made: World) -> None:
    copied = World(store=MemoryStore(made.store.uri))
    for info in made.store.list(""):
        data = made.store.get(info.key).data
        if info.key.startswith(("verdicts/000001/report.json", "cycles/000001/state", "models/000001/manifest", "registry/")):
            for text in (b"thursday", b"launcher", b"holdout/errors", b"first model", b"accent"):
                data = data.replace(text, HOSTILE.encode())
        copied.store.put(info.key, data, metadata=info.metadata)
    for path in ("/", "/cycles/1", "/models/1", "/models/0"):
        assert HOSTILE in look(copied, path).text, f"shown as text on {path}"


def test_pages_read_a_bounded_number_of_objects(made: World) -> None:
    calls: Counter[str] = Counter()
    made.store.before = lambda operation, _key: calls.update([operation])
    try:
        read_cycle_details(made.ports, 2)
        assert calls.keys() == {"get"}
        assert calls.total() <= 25
        read_model_details(made.ports, 2)
        assert calls.keys() == {"get"}
        assert calls.total() <= 45
    finally:
        made.store.before = lambda _operation, _key: None
