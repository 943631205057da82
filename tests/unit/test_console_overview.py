"""The console's first page: what it shows, how much it reads, and that no text of others gets through."""

import re
from collections import Counter
from datetime import timedelta

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from functions.dashboard import figures
from functions.dashboard.answers import HEADERS
from functions.dashboard.figures import confused_words, count_error_types, error_types, thresholds, trend
from functions.dashboard.handler import Console
from functions.dashboard.overview import read_overview
from functions.views.snapshot import Snapshot
from infra import status
from shared import keys
from shared.cycle import Status
from shared.documents import document_bytes
from shared.errors import InvariantBroken, NotFound, Retryable
from shared.head import Head
from shared.policy import Policy
from shared.testing import builders
from shared.testing.clock import START
from shared.testing.memory_store import MemoryStore
from shared.totals import Totals
from shared.training import EvaluationRow
from shared.watch import Subject, Verdict, Watch
from tests.console_world import HOSTILE, console, seen_world
from tests.html_check import Element, read
from tests.world import BUCKET, World, copy_of


@pytest.fixture(scope="module")
def training() -> World:
    return seen_world()


@pytest.fixture(scope="module")
def canary() -> World:
    return seen_world(4, "canary")


def look(made: World | Console, path: str = "/", *, status_code: int = 200, method: str = "GET") -> Element:
    shown = console(made) if isinstance(made, World) else made
    answer = shown.answer(Request(EnvironBuilder(path, method=method).get_environ()))
    assert answer.status_code == status_code
    assert {name: answer.headers[name] for name in HEADERS} == HEADERS
    return read(answer.get_data(as_text=True))


def section(page: Element, name: str) -> str:
    return page.one("section", id=name).text


def test_an_empty_bucket_has_a_page_that_says_what_to_do() -> None:
    page = look(World())
    assert page.one("h1").text == "no model is stable; cycle 1 collects"
    assert "retune models import" in section(page, "serving")
    assert "No cycle was opened yet" in section(page, "run")


def test_thresholds_are_shown_with_why_nothing_was_triggered(training: World) -> None:
    page = look(training)
    text = section(page, "next")
    assert "Nothing is triggered: cycle 5 is training: one cycle at a time; no threshold is reached" in text
    assert "Errors 34 of 40" in text
    assert "; threshold: 15.0%" in text
    bars = page.one("section", id="next").all("progress")
    assert [bar.attributes["value"] for bar in bars] == ["0.8500", "0.0019"]


def test_the_running_cycle_is_shown_with_loss_dev_wer_time_left_and_cost(training: World) -> None:
    text = section(look(training), "run")
    assert "training 77 of 120; last sign of life 9 s ago" in text
    for told in ("Time left in this phase about 5.2 min", "Loss of the last step 0.712", "Dev WER on errors 36.3%", "Cost so far 0.17 USD"):
        assert told in text
    assert "7 0.803 36.3% 7.4%" in text, "the last epoch's row"


def test_progress_of_an_earlier_attempt_is_not_shown(training: World) -> None:
    made = World(store=copy_of(training))
    state = training.state(5).model_copy(update={"attempt": 2})
    made.store.put(keys.state(5), document_bytes(state))
    view = read_overview(made.ports)
    assert view.run is not None
    assert view.run.progress is None


def test_canary_and_stable_are_compared(canary: World) -> None:
    page = look(canary)
    assert "Time left" not in section(page, "run"), "no trainer works any more"
    assert "v2 is stable; v4 serves 10% of the sessions" in section(page, "serving")
    text = section(page, "serving")
    counted = re.search(r"v4 (\d+) 320 [\d.]+% v2 (\d+) 2400", text)
    assert counted is not None, text
    assert "wait : v4" in text


def test_verdicts_over_time_are_drawn_and_told_as_tables(training: World) -> None:
    page = look(training)
    assert "v4 beside v2" in section(page, "verdict")
    table = page.one("section", id="wer").all("table")[0]
    assert [cell.text for cell in table.all("th", scope="col")] == ["Version", "v1", "v2", "v3", "v4"]
    view = read_overview(training.ports)
    assert [point.cycle for point in view.points] == [1, 2, 3, 4]
    first = view.points[0].wer
    assert first is not None
    assert table.all("td")[0].text == f"{100 * first.estimate:.1f}%"
    names = {line.name for line in view.parts}
    assert {"holdout/errors", "holdout/traffic", "error type: noise", "device: phone"} <= names


def test_error_types_and_confused_words_are_counted(training: World) -> None:
    view = read_overview(training.ports)
    assert view.types.cycles == (1, 2, 3, 4, 5)
    assert sum(numbers[0] for numbers in view.types.counts.values()) == 44, "the 45th came after the seal: it is in the next"
    page = look(training)
    assert "router rooter" in section(page, "confused")


def test_dead_letters_are_shown_with_their_age_and_how_to_act(training: World) -> None:
    shown = section(look(training), "refused")
    assert "collector-stt-errors-dead 3 3 h" in shown
    assert "Look with retune dlq list ; once the cause is mended retune dlq replay --all , or give them up with retune dlq drop" in shown
    unasked = section(look(Console(training.ports, training.audio)), "refused")
    assert "collector-stt-errors-dead" not in unasked
    assert "retune dlq list" in unasked


def test_no_text_of_others_gets_through(training: World) -> None:
    made = World(store=copy_of(training))
    state = training.state(5)
    entry = state.history[-1].model_copy(update={"reason": HOSTILE, "by": f"{HOSTILE} (claimed)"})
    made.store.put(keys.state(5), document_bytes(state.model_copy(update={"history": (*state.history[:-1], entry)})))
    page = look(made)
    for name in ("run", "audit", "refused"):
        assert HOSTILE in section(page, name), f"shown as text in {name}"


def test_the_page_reads_as_much_after_3000_cycles_as_after_30() -> None:
    calls = {number: count_calls(number) for number in (3, 30, 3000)}
    assert calls[30] == calls[3000]
    assert calls[3].total() < calls[30].total() < 100
    assert calls[3000]["list"] == 3, "the open ledger, the quarantine, and, where there is no alias, whether one was lost"


def count_calls(cycles: int) -> Counter[str]:
    counted: Counter[str] = Counter()
    store = MemoryStore(BUCKET)
    for number in range(1, cycles + 1):
        state = builders.cycle_state(Status.REJECTED, cycle=number, at=START - timedelta(days=cycles - number))
        store.put(keys.state(number), document_bytes(state))
    store.put(keys.HEAD, document_bytes(Head(cycle=cycles + 1)))
    made = World(store=store)
    store.before = lambda operation, _key: counted.update([operation])
    assert len(read_overview(made.ports).cycles) == min(cycles, 19)
    return counted


def test_older_cycles_are_a_link_away() -> None:
    store = MemoryStore(BUCKET)
    for number in range(1, 41):
        store.put(keys.state(number), document_bytes(builders.cycle_state(Status.REJECTED, cycle=number)))
    store.put(keys.HEAD, document_bytes(Head(cycle=41)))
    made = World(store=store)
    first = look(made)
    links = [link.attributes["href"] for link in first.one("section", id="cycles").all("a")]
    assert links[0] == "cycles/40"
    assert links[-1] == "?before=22&cycles=20"
    second = look(made, "/?before=22&cycles=20")
    assert second.one("section", id="cycles").all("a")[0].text == "cycle 21"
    assert second.one("section", id="next").text == first.one("section", id="next").text, "what is now is shown on both"


@pytest.mark.parametrize("query", ["cycles=0", "cycles=99999999999", "before=-1", "before=0", "before=x", "cycles=%00&before=1"])
def test_a_query_that_makes_no_sense_does_no_harm(query: str) -> None:
    look(World(), f"/?{query}")


def test_an_address_without_a_page_and_a_method_that_changes_are_refused() -> None:
    assert look(World(), f"/cycles/{HOSTILE}", status_code=404).one("h1").text == "Not found"
    look(World(), "/", status_code=405, method="POST")
    look(World(), "/../../etc/passwd", status_code=404)


def test_a_store_that_is_away_is_told() -> None:
    def away(_operation: str, _key: str) -> None:
        raise Retryable("bucket: away")

    made = World()
    made.store.before = away
    assert look(made, status_code=503).one("h1").text == "The store does not answer"


def test_records_that_are_broken_or_lost_are_told_with_what_is_wrong(training: World) -> None:
    made = World(store=copy_of(training))
    made.store.put(keys.state(5), b"{")
    assert "cycle state: expected a valid CycleState" in look(made, status_code=500).one("main", id="main").text
    lost = World(store=copy_of(training))
    lost.store.delete(keys.PRODUCTION)
    page = look(lost, status_code=500)
    assert page.one("h1").text == "The records do not fit together"
    assert "registry/production.json" in page.text


def test_the_command_line_and_the_console_look_at_the_same(training: World) -> None:
    assert read_overview(training.ports).status == status.look(training.ports).model_copy(update={"spends": ()})


def test_a_snapshot_reads_once_and_writes_nothing() -> None:
    calls: list[str] = []
    store = MemoryStore(BUCKET, before=lambda operation, key: calls.append(f"{operation} {key}"))
    store.put("a", b"1")
    seen = Snapshot(store)
    seen.prefetch(["a", "b", "a"])
    assert seen.get("a").data == b"1"
    with pytest.raises(NotFound):
        seen.get("b")
    assert sorted(calls) == ["get a", "get b", "put a"]
    for write in (lambda: seen.put("a", b"2"), lambda: seen.delete("a")):
        with pytest.raises(InvariantBroken):
            write()


def test_thresholds_say_how_far_they_are() -> None:
    policy = Policy(min_error_cases=10, min_corrected_cases=4, max_age_s=7200.0, trigger_on_error_rate=True, error_rate_threshold=0.2)
    totals = Totals(errors=5, corrected=6, oldest=START)
    shown = thresholds(totals, {"error_rate_lower_bound": 0.1}, policy, START + timedelta(hours=1))
    assert [(each.name, each.share, each.off) for each in shown] == [
        ("Errors", 0.5, False),
        ("Corrected errors", 1.0, False),
        ("Error rate", 0.5, False),
        ("Age of the oldest error", 0.5, False),
    ]


def test_types_of_fresh_errors_are_counted_and_rare_ones_joined() -> None:
    lines = [
        b'{"kind":"error","origin":"fresh","error_type":"noise"}',
        b'{"kind":"error","origin":"fresh"}',
        b'{"kind":"error","origin":"carried","error_type":"noise"}',
        b'{"kind":"sample","origin":"fresh","error_type":"error"}',
    ]
    assert count_error_types(b"\n".join(lines)) == {"noise": 1, figures.NO_TYPE: 1}
    many = Counter({f"type {number}": 10 - number for number in range(8)})
    found = error_types({3: many, 2: Counter({"type 0": 1})})
    assert found.cycles == (2, 3)
    assert found.counts["type 0"] == (1, 10)
    assert found.counts[figures.OTHER] == (0, 4 + 3)
    assert found.lines[0].values == (1.0, 10 / 52)


def test_words_that_are_confused_are_counted_with_both_models() -> None:
    def row(number: int, said: str, before: str, after: str) -> EvaluationRow:
        return EvaluationRow(
            utterance_id=f"u{number}", cluster="c", stratum="errors", reference=said, base_hypothesis=before, candidate_hypothesis=after
        )

    rows = [
        row(1, "the red bus", "the read bus", "the red bus"),
        row(2, "red light", "read light", "read light"),
        row(3, "no", "no no", ""),
    ]
    found = [(each.said, each.heard, each.before, each.after) for each in confused_words(rows)]
    assert found == [("red", "read", 2, 1), ("", "no", 1, 0), ("no", "", 0, 1)]


def test_a_trend_adds_up_and_a_guard_is_held_against_what_was_before() -> None:
    subject = Subject(kind="canary", version=2, against=1, since=START, percent=10)
    verdict = Verdict(action="wait", reason="so far", at=START)
    watch = Watch(subject=subject, seen={}, began=START, looked=START, intervals=((1, 10, 4, 100), (0, 10, 6, 100)), verdict=verdict)
    found = trend(watch)
    assert (found.errors, found.utterances) == ((1, 10), (20, 200))
    assert [line.values for line in found.lines] == [(0.1, 0.05), (0.04, 0.05)]
    guard = watch.model_copy(update={"subject": subject.model_copy(update={"kind": "guard"}), "base": (3, 30)})
    assert trend(guard).lines[1].values == (0.1, 0.1)
    long = watch.model_copy(update={"intervals": ((1, 10, 1, 10),) * 500})
    assert len(trend(long).lines[0].values) <= figures.MOST_TREND


def test_looking_writes_nothing(training: World) -> None:
    before = [(info.key, info.generation) for info in training.store.list("")]
    look(training)
    assert [(info.key, info.generation) for info in training.store.list("")] == before
