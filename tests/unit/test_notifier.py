"""Who is told of verdicts, deployments and rollbacks, in which words, and what a webhook that is away or wrong costs."""

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from functions.notifier.handler import Notifier
from functions.notifier.notices import SIGNATURE, TOLD, Notice, json_body, notice_of
from functions.notifier.webhooks import VARIABLE, Webhook, WebhookRefused, post, read_webhooks
from shared import keys
from shared.bus import Message
from shared.config import BadSettings
from shared.errors import InvalidMessage, Retryable
from shared.events import (
    MODEL_EVENTS,
    TOPIC_OF,
    VALIDATION_EVENTS,
    CanaryEnded,
    CanaryStarted,
    CandidateAccepted,
    CandidateInconclusive,
    CandidateRejected,
    ErrorsResolved,
    Event,
    Judged,
    ModelDeployed,
    ModelRolledBack,
    RegistryEvent,
    Tick,
)
from shared.messages import outgoing, parse_event
from shared.testing import builders
from shared.testing.clock import START
from shared.verdict import parse_report
from shared.wording import percent
from tests.world import World, right


@pytest.fixture(scope="module")
def judged() -> World:
    """A world whose v1 was accepted, deployed and rolled back by Ann."""
    made = World()
    made.install_model()
    made.record_calls(range(200))
    made.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in range(60)), *(builders.error(n) for n in range(60)))
    made.settle()
    made.train(1, candidate=right)
    made.settle()
    made.type("model-commands", '{"rollback": 1, "by": "ann", "reason": "drops <the> ends & more"}')
    made.settle()
    return made


def published(world: World, topic: str) -> list[Event]:
    """Return the events that the functions published on a topic, in order."""
    return [parse_event(message) for message in world.bus.published(topic)]


class Taken:
    """Webhooks that take what is posted, or answer as they are told."""

    def __init__(self) -> None:
        self.bodies: dict[str, list[bytes]] = {}
        self.headers: list[Mapping[str, str]] = []
        self.problems: dict[str, Exception] = {}

    def __call__(self, webhook: Webhook, body: bytes, headers: Mapping[str, str]) -> None:
        if webhook.url in self.problems:
            raise self.problems[webhook.url]
        self.bodies.setdefault(webhook.url, []).append(body)
        self.headers.append(headers)


def message(event: Event) -> Message:
    sent = outgoing(event)
    return Message(data=sent.data, attributes=sent.attributes, message_id="m1", publish_time=START)


SLACK = Webhook(url="https://hooks.example/slack", form="slack")
PLAIN = Webhook(url="https://ops.example/retune", secret="between us")
MOVE: dict[str, Any] = {"event_id": "m", "occurred_at": START, "seq": 1, "version": 3, "reason": "why"}


def test_a_verdict_is_told_with_its_reasons_and_numbers(judged: World) -> None:
    taken = Taken()
    (event,) = published(judged, "validation-events")
    assert Notifier(judged.store, (SLACK,), taken)(message(event)) == "told 1 of 1: v1: PASS beside v0"
    text = json.loads(taken.bodies[SLACK.url][0])["text"]
    assert text.startswith("*v1: PASS beside v0*\nThe candidate is better")
    assert "holdout: WER 20.5% -&gt; 0.0%, -20.45 points" in text


def test_a_report_that_is_not_the_one_that_is_named_is_not_quoted(judged: World) -> None:
    taken = Taken()
    (event,) = published(judged, "validation-events")
    assert isinstance(event, CandidateAccepted)
    forged = event.model_copy(update={"report_sha256": "0" * 64})
    Notifier(judged.store, (SLACK,), taken)(message(forged))
    assert "could not be read" in taken.bodies[SLACK.url][0].decode()


def test_a_rollback_warns_and_what_people_said_is_no_markup(judged: World) -> None:
    taken = Taken()
    rolled_back = next(event for event in published(judged, "model-events") if isinstance(event, ModelRolledBack))
    Notifier(judged.store, (SLACK, PLAIN), taken)(message(rolled_back))
    text = json.loads(taken.bodies[SLACK.url][0])["text"]
    assert text.startswith(":warning: *v1 was rolled back; v0 serves*")
    assert "drops &lt;the&gt; ends &amp; more" in text
    told = json.loads(taken.bodies[PLAIN.url][0])
    assert (told["notice"]["severity"], told["event"]["version"]) == ("warning", 1)
    assert told["notice"]["event_id"] == rolled_back.event_id


def test_a_body_is_signed_where_a_secret_is_agreed(judged: World) -> None:
    taken = Taken()
    event = published(judged, "model-events")[0]
    Notifier(judged.store, (PLAIN,), taken)(message(event))
    wanted = hmac.new(b"between us", taken.bodies[PLAIN.url][0], hashlib.sha256).hexdigest()
    assert taken.headers[0][SIGNATURE] == f"sha256={wanted}"


def test_every_event_of_its_topics_is_one_that_it_takes() -> None:
    assert {cls.__name__ for cls in TOLD} == {name for name, topic in TOPIC_OF.items() if topic in {VALIDATION_EVENTS, MODEL_EVENTS}}


@pytest.mark.parametrize(
    ("kind", "title", "severity"),
    [
        (CandidateAccepted, "v7 was judged: accepted", "info"),
        (CandidateRejected, "v7 was judged: rejected", "warning"),
        (CandidateInconclusive, "v7 was judged: inconclusive", "info"),
    ],
)
def test_a_verdict_is_told_although_its_report_cannot_be_read(kind: type[Judged], title: str, severity: str) -> None:
    event = kind(event_id="e7", occurred_at=START, cycle=7, report_sha256="0" * 64, manifest_sha256="1" * 64)
    assert notice_of(event, None) == Notice(
        event_id="e7",
        type=kind.__name__,
        severity=severity,
        title=title,
        text=("its report could not be read", "`retune explain v7` tells more"),
    )


def test_a_set_without_words_is_told_without_numbers(judged: World) -> None:
    (event,) = published(judged, "validation-events")
    report = parse_report(judged.store.get(keys.report(1)).data)
    (decides,) = (each for each in report.sets if each.decides)
    silent = decides.model_copy(
        update={"delta": None, **{side: getattr(decides, side).model_copy(update={"wer": None}) for side in ("base", "candidate")}}
    )
    notice = notice_of(event, report.model_copy(update={"sets": (silent,)}))
    assert notice is not None
    assert notice.text[-2] == f"holdout: WER {percent(None)} -> {percent(None)}"


@pytest.mark.parametrize(
    ("event", "title", "severity"),
    [
        (ModelDeployed(stable=3, **MOVE), "v3 is deployed", "info"),
        (CanaryStarted(stable=2, percent=10, **MOVE), "v3 serves 10% of the sessions", "info"),
        (CanaryStarted(stable=2, percent=0, **MOVE), "v3 transcribes beside and serves nobody", "info"),
        (CanaryEnded(stable=2, **MOVE), "v3 is on canary no more; v2 serves", "warning"),
        (ModelRolledBack(stable=2, **MOVE), "v3 was rolled back; v2 serves", "warning"),
        (ModelRolledBack(stable=None, **MOVE), "v3 was rolled back; no version serves", "warning"),
    ],
)
def test_a_move_is_told_as_what_it_is(event: RegistryEvent, title: str, severity: str) -> None:
    notice = notice_of(event, None)
    assert notice is not None
    assert (notice.type, notice.severity, notice.title, notice.text) == (type(event).__name__, severity, title, ("why",))
    told = json.loads(json_body(notice, event))
    assert told["notice"]["title"] == title
    assert ("stable" in told["event"]) == (event.stable is not None)


def test_what_has_no_words_for_people_is_not_told() -> None:
    assert notice_of(ErrorsResolved(event_id="r", occurred_at=START, version=3), None) is None


def test_one_webhook_that_is_away_does_not_have_the_others_told_again(judged: World) -> None:
    taken, event = Taken(), published(judged, "model-events")[0]
    notifier = Notifier(judged.store, (SLACK, PLAIN), taken)
    taken.problems[PLAIN.url] = Retryable("away")
    with pytest.raises(Retryable, match="away"):
        notifier(message(event))
    del taken.problems[PLAIN.url]
    notifier(message(event))
    assert (len(taken.bodies[SLACK.url]), len(taken.bodies[PLAIN.url])) == (1, 1)


def test_a_webhook_that_will_never_take_it_is_logged_and_holds_nothing_up(judged: World, capsys: pytest.CaptureFixture[str]) -> None:
    taken, event = Taken(), published(judged, "model-events")[0]
    taken.problems[SLACK.url] = WebhookRefused("webhook hooks.example: expected it to take a notice, found 404")
    assert Notifier(judged.store, (SLACK, PLAIN), taken)(message(event)).startswith("told 1 of 2")
    assert "found 404" in capsys.readouterr().out


def test_without_a_webhook_nobody_is_told(judged: World) -> None:
    assert Notifier(judged.store, ())(message(published(judged, "model-events")[0])) == "nobody is told"


def test_an_event_of_another_topic_is_refused(judged: World) -> None:
    with pytest.raises(InvalidMessage, match="found Tick"):
        Notifier(judged.store, ())(message(Tick(event_id="t", occurred_at=START)))


def test_a_broken_report_is_told_without_its_numbers() -> None:
    world, taken = World(), Taken()
    data = b"{}"
    world.store.put(keys.report(1), data)
    event = CandidateAccepted(
        event_id="a", occurred_at=START, cycle=1, report_sha256=hashlib.sha256(data).hexdigest(), manifest_sha256="0" * 64
    )
    Notifier(world.store, (SLACK,), taken)(message(event))
    assert "could not be read" in taken.bodies[SLACK.url][0].decode()
    with pytest.raises(Exception, match="validation report"):
        parse_report(data)


# where notices go


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ("https://hooks.example/secret-token", "expected a JSON list"),
        ('[{"url": "http://hooks.example/secret-token"}]', "0.url: Value error, expected https://"),
        ('[{"url": "https://hooks.example/secret-token", "form": "teams"}]', "0.form"),
        ('{"url": "https://hooks.example/secret-token"}', "list"),
    ],
)
def test_what_is_no_list_of_webhooks_is_refused_without_quoting_it(raw: str, said: str) -> None:
    with pytest.raises(BadSettings, match=VARIABLE) as refused:
        read_webhooks({VARIABLE: raw})
    assert said in str(refused.value)
    assert "secret-token" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_webhooks_are_read_and_nothing_set_is_nowhere() -> None:
    assert read_webhooks({}) == ()
    assert read_webhooks({VARIABLE: '[{"url": "https://a.example/x", "form": "slack"}]'}) == (
        Webhook(url="https://a.example/x", form="slack"),
    )


class _Receiver(BaseHTTPRequestHandler):
    status = 200
    seen: list[bytes]

    def do_POST(self) -> None:
        type(self).seen.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(type(self).status)
        self.send_header("Location", "http://127.0.0.1:9/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[tuple[type[_Receiver], Webhook]]:
    class Receiver(_Receiver):
        seen: list[bytes] = []

    server = HTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield Receiver, Webhook(url=f"http://127.0.0.1:{server.server_port}/hook")
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "raised"), [(200, None), (503, Retryable), (429, Retryable), (404, WebhookRefused), (302, WebhookRefused)]
)
def test_what_a_webhook_answers_decides_whether_it_is_asked_again(
    receiver: tuple[type[_Receiver], Webhook], status: int, raised: type[Exception] | None
) -> None:
    answers, webhook = receiver
    answers.status = status
    if raised is None:
        post(webhook, b"{}", {})
    else:
        with pytest.raises(raised, match=f"webhook 127.0.0.1: .*{status}"):
            post(webhook, b"{}", {})
    assert answers.seen == [b"{}"], "a redirect is not followed"


def test_a_webhook_that_does_not_answer_is_asked_again_and_its_address_stays_secret() -> None:
    with pytest.raises(Retryable) as late:
        post(Webhook(url="http://127.0.0.1:9/secret-token"), b"{}", {})
    assert "secret-token" not in str(late.value)
