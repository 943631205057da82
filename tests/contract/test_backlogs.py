"""How many dead letters wait is told without touching one: against our server, Google's own description of the API, and odd answers."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from flask import Request
from typer.testing import CliRunner
from werkzeug.test import EnvironBuilder

import infra.cli
from functions.dashboard.handler import Console
from functions.views.dead_letters import DeadLetters, read_dead_letters
from functions.views.status import look as look_at_all
from functions.views.status import without_time
from functions.wiring import dead_letter_topic, subscriptions
from infra.dlq import letters
from infra.local.pubsub_server import PubSubServer
from infra.session import Session
from shared.backlog import NotTold
from shared.bus import Outgoing
from shared.clock import SystemClock
from shared.monitoring import OVERRIDE, WAITING, MonitoringBacklogs, NobodyTells, open_backlogs
from shared.testing.clock import START
from shared.testing.loopback import LoopbackHandler, LoopbackServer
from shared.testing.memory_bus import MemoryBus
from tests.google_api.discovery import Discovery
from tests.html_check import read
from tests.world import World

PROJECT = "backlogs"
DEAD = [dead_letter_topic(name) for name in subscriptions()]
COLLECTOR, LAUNCHER = "collector-stt-errors-dead", "launcher-training-events-dead"


@pytest.fixture
def bus() -> MemoryBus:
    made = MemoryBus(SystemClock(), PROJECT)
    for name in (*DEAD, "elsewhere-dead"):
        made.create_topic(name)
        made.create_subscription(name, name, min_backoff_s=0.0, max_backoff_s=0.0)
    return made


@pytest.fixture
def served(bus: MemoryBus) -> Iterator[str]:
    with PubSubServer(bus) as server:
        yield server.rest_url


def bury(bus: MemoryBus, name: str, count: int) -> None:
    for number in range(count):
        bus.publish(Outgoing(name, f"letter {number}".encode(), {}))


def look(served: str) -> DeadLetters:
    return read_dead_letters(MonitoringBacklogs(PROJECT, served), SystemClock().now())


def test_what_waits_is_counted_and_nothing_is_touched(bus: MemoryBus, served: str) -> None:
    assert (look(served).told, look(served).waiting, look(served).text) == (len(DEAD), (), f"none in {len(DEAD)} subscriptions")
    bury(bus, LAUNCHER, 2)
    bury(bus, COLLECTOR, 3)
    bury(bus, "elsewhere-dead", 9)
    found = look(served)
    assert [(each.subscription, each.waiting) for each in found.waiting] == [(COLLECTOR, 3), (LAUNCHER, 2)]
    assert "3 in collector-stt-errors-dead, the oldest for 0 s" in found.text
    for _ in range(20):
        look(served)
    held = bus.pull(COLLECTOR, limit=10)
    assert [each.message.data for each in held] == [b"letter 0", b"letter 1", b"letter 2"], "all are due, in their order: none was leased"
    assert look(served).waiting[0].waiting == 3, "what somebody holds waits still"
    bus.ack(COLLECTOR, [each.ack_id for each in held])
    assert [each.subscription for each in look(served).waiting] == [LAUNCHER]


def test_the_age_is_that_of_the_oldest_whether_it_is_due_held_or_backs_off() -> None:
    world = World()
    world.bus.create_topic("calls")
    world.bus.create_subscription("calls", "calls", min_backoff_s=10.0)
    assert world.bus.engine.oldest("projects/local/subscriptions/calls") is None
    bury(world.bus, "calls", 1)
    world.clock.advance(60)
    bury(world.bus, "calls", 1)
    for _ in range(2):
        assert world.bus.engine.oldest("projects/local/subscriptions/calls") == START
        held = world.bus.pull("calls", limit=1)
        assert world.bus.engine.oldest("projects/local/subscriptions/calls") == START
    world.bus.nack("calls", [each.ack_id for each in held])
    assert world.bus.engine.oldest("projects/local/subscriptions/calls") == START


class Answers(LoopbackServer):
    """Cloud Monitoring as a test wants it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: tuple[int, bytes] = (200, b"{}")
        super().__init__(_Handler, "monitoring")


class _Handler(LoopbackHandler):
    server: Answers

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        status, body = self.server.answer
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def answers() -> Iterator[Answers]:
    with Answers() as server:
        yield server


def test_questions_and_answers_are_those_of_googles_description(answers: Answers, bus: MemoryBus, served: str) -> None:
    described = Discovery("monitoring.v3")
    bury(bus, COLLECTOR, 1)
    assert look(answers.root).told == 0
    assert len(answers.asked) == 2
    for target in answers.asked:
        url = urlsplit(target)
        call = described.match("GET", url.path)
        assert call is not None
        assert call.method == "monitoring.projects.timeSeries.list"
        assert described.problems(call, parse_qs(url.query), None) == []
        ours = requests.get(served.rstrip("/") + target, timeout=5)
        assert ours.status_code == 200
        assert described.answer_problems(call, ours.json()) == []
        assert {series["resource"]["labels"]["subscription_id"] for series in ours.json()["timeSeries"]} == set(DEAD)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((403, b"{}"), "ask for the role Monitoring Viewer"),
        ((500, b"oh"), "expected an answer, found 500"),
        ((200, b"no JSON"), "Cloud Monitoring's answer: expected a valid"),
        ((200, b'{"timeSeries": [{"points": 3}]}'), "Cloud Monitoring's answer: expected a valid"),
        ((200, b" " * (5 << 20)), "5242880 bytes"),
        ((200, b'{"timeSeries": [], "unit": "1"}'), f"nobody has said anything of {len(DEAD)} subscriptions"),
    ],
)
def test_what_is_not_told_is_said_and_breaks_nothing(answers: Answers, answer: tuple[int, bytes], said: str) -> None:
    answers.answer = answer
    assert said in look(answers.root).text
    assert look(answers.root).text.startswith("not known: ")


def test_the_newest_point_counts_and_fields_of_a_later_release_do_no_harm(answers: Answers) -> None:
    def point(value: int, minute: int) -> dict[str, object]:
        return {"interval": {"endTime": f"2026-01-05T09:0{minute}:00Z"}, "value": {"int64Value": str(value)}, "new": 1}

    series = {"resource": {"type": "pubsub_subscription", "labels": {"subscription_id": COLLECTOR}}, "points": [point(7, 5), point(2, 4)]}
    answers.answer = (200, json.dumps({"timeSeries": [series, {"resource": {"labels": {}}, "points": []}]}).encode())
    (found,) = look(answers.root).waiting
    assert (found.waiting, found.oldest_s, found.at.minute) == (7, 7.0, 5)


def test_nobody_answers_or_nobody_could() -> None:
    assert "expected an answer, found ConnectionError" in look("http://127.0.0.1:1").text
    with pytest.raises(NotTold, match="does not tell how much waits"):
        NobodyTells().look(DEAD, START)


def test_who_is_asked_is_told_by_the_environment() -> None:
    assert isinstance(open_backlogs("p", {}), MonitoringBacklogs)
    assert isinstance(open_backlogs("p", {"PUBSUB_EMULATOR_HOST": "127.0.0.1:1"}), NobodyTells)
    assert isinstance(open_backlogs("p", {"PUBSUB_EMULATOR_HOST": "127.0.0.1:1", OVERRIDE: "http://127.0.0.1:2/"}), MonitoringBacklogs)


def test_our_server_refuses_what_it_does_not_measure(served: str) -> None:
    def ask(**query: str) -> int:
        return requests.get(f"{served}v3/projects/{PROJECT}/timeSeries", params=query, timeout=5).status_code

    times = {"interval.startTime": "2026-01-05T09:00:00Z", "interval.endTime": "2026-01-05T09:10:00Z"}
    assert ask(filter=f'metric.type="{WAITING}"') == 400
    assert ask(**times) == 400
    assert ask(filter='metric.type="pubsub.googleapis.com/subscription/push_request_count"', **times) == 501
    assert ask(filter=f'metric.type="{WAITING}" AND resource.labels.subscription_id=monitoring.regex.full_match("(")', **times) == 400
    assert ask(filter=f'metric.type="{WAITING}"', **times) == 200


def test_status_and_the_console_show_them_and_how_to_act(bus: MemoryBus, served: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    backlogs = MonitoringBacklogs(PROJECT, served)
    monkeypatch.setattr(infra.cli, "open_session", lambda: nullcontext(Session(world.ports, bus, backlogs)))

    def status(*arguments: str) -> str:
        return CliRunner().invoke(infra.cli.app, ["status", *arguments]).stdout

    def section() -> str:
        answer = Console(world.ports, world.audio, backlogs=backlogs).answer(Request(EnvironBuilder("/").get_environ()))
        return read(answer.get_data(as_text=True)).one("section", id="refused").text

    assert f"Dead letters: none in {len(DEAD)} subscriptions" in status()
    assert f"Waiting: none in {len(DEAD)} subscriptions." in section()
    bury(bus, COLLECTOR, 2)
    shown = " ".join(status().split())
    assert "Dead letters: 2 in collector-stt-errors-dead, the oldest for 0 s run `retune dlq list`" in shown
    assert json.loads(status("--json"))["dead"]["waiting"][0]["waiting"] == 2
    assert "collector-stt-errors-dead 2 0 s" in section()
    assert "retune dlq replay --all" in section()
    assert len(letters.pull_all(Session(world.ports, bus), ["collector-stt-errors"])["collector-stt-errors"]) == 2

    before = look_at_all(world.ports, backlogs=backlogs)
    world.clock.advance(timedelta(minutes=5).total_seconds())
    assert without_time(look_at_all(world.ports, backlogs=backlogs)) == without_time(before), "time alone is no news"
