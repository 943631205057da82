"""Dead letters over the wire: what the collector refuses until it is given up is listed, shown, published again or dropped by the real
commands, against our servers and against Google's emulator."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import flask
import pytest
from typer.testing import CliRunner, Result
from werkzeug.serving import make_server

import functions.push
import infra.cli
import infra.session
from functions.collector.handler import Collector
from functions.runtime import Ports
from functions.wiring import READS, dead_letter_topic, subscription_name
from infra.fsck.command import fsck
from infra.local.emulator import PubSubEmulator, find_emulator
from infra.local.gcs_server import GcsServer
from infra.local.pubsub_server import PubSubServer
from shared import keys, ledger
from shared.bus import Outgoing
from shared.clock import SystemClock
from shared.config import Settings
from shared.cycle import Status
from shared.documents import document_bytes
from shared.events import STT_ERRORS, TOPICS, SttError
from shared.gcs_store import GcsStore
from shared.messages import outgoing
from shared.pubsub import PubSubBus
from shared.testing import builders
from shared.testing.memory_bus import MemoryBus

PROJECT = "dead-letters"
BUCKET = "retune-dead"
COLLECTOR = subscription_name("collector", STT_ERRORS)
ATTEMPTS = 5
TIMEOUT_S = 60.0
OURS = pytest.mark.parametrize("pubsub", ["server"], indirect=True)
BOTH = pytest.mark.parametrize("pubsub", ["server", pytest.param("emulator", marks=pytest.mark.emulator)], indirect=True)


@pytest.fixture
def pubsub(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "server":
        with PubSubServer(MemoryBus(SystemClock(), PROJECT)) as server:
            yield server.grpc_target
        return
    if find_emulator() is None and os.environ.get("RETUNE_REQUIRE_EMULATOR") != "1":
        pytest.skip("the Pub/Sub emulator is not installed")
    with PubSubEmulator() as emulator:
        yield emulator.target


@dataclass(frozen=True)
class Wired:
    """A collector that Pub/Sub pushes to, and the store in which it writes."""

    bus: PubSubBus
    store: GcsStore
    answers: list[int]

    def retune(self, *arguments: str) -> Result:
        return CliRunner().invoke(infra.cli.app, list(arguments))

    def answered(self, *arguments: str) -> Result:
        """Run a command until it has done something: Google's emulator keeps a letter that was given back to itself for a while."""
        results: list[Result] = []

        def done() -> bool:
            results.append(self.retune(*arguments))
            return results[-1].exit_code == 0

        self.until(done, " ".join(arguments))
        return results[-1]

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait for what happens on other machines: there is nobody here who could tell."""
        ended = time.monotonic() + TIMEOUT_S
        waiting = threading.Event()
        while not holds():
            assert time.monotonic() < ended, f"expected {what} in {TIMEOUT_S} s; answers: {self.answers}"
            waiting.wait(0.05)

    def dead(self) -> list[dict[str, object]]:
        answered = self.retune("dlq", "list", "--json")
        assert answered.exit_code == 0, answered.stderr
        return list(json.loads(answered.stdout)["dead"])

    def collected(self) -> list[str]:
        return [event.event_id for event in ledger.read_events(self.store, 2)]


def wire(bus: PubSubBus, endpoint: str) -> None:
    for topic in TOPICS:
        bus.create_topic(topic)
    for function, topics in READS.items():
        for topic in topics:
            name = subscription_name(function, topic)
            dead = dead_letter_topic(name)
            bus.create_topic(dead)
            bus.create_subscription(dead, dead, ack_deadline_s=60, min_backoff_s=0.0, max_backoff_s=0.0)
            if function == "collector":
                bus.create_subscription(
                    topic,
                    name,
                    push_endpoint=endpoint,
                    dead_letter_topic=dead,
                    max_delivery_attempts=ATTEMPTS,
                    min_backoff_s=0.1,
                    max_backoff_s=0.2,
                )


@pytest.fixture
def wired(pubsub: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Wired]:
    (tmp_path / BUCKET).mkdir()
    monkeypatch.setattr(infra.session, "PULL_WAIT_S", 0.2 if request.node.callspec.params["pubsub"] == "server" else 2.0)
    monkeypatch.setattr(functions.push, "log", lambda *_, **__: None)  # here it shares standard output with the commands
    settings = Settings(bucket=f"gs://{BUCKET}", project=PROJECT, audio_prefixes=(builders.CALLS,), count_interval_s=3600, linger_s=0)
    with GcsServer(tmp_path) as gcs:
        variables = {"STORAGE_EMULATOR_HOST": gcs.url, "PUBSUB_EMULATOR_HOST": pubsub, **settings.to_env()}
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        store = GcsStore(BUCKET)
        with closing(PubSubBus(PROJECT)) as bus:
            ports = Ports(store, bus, SystemClock(), settings)
            collector, answers = Collector(ports, lambda _: None), list[int]()
            app = flask.Flask(__name__)

            @app.post("/")
            def push() -> tuple[str, int]:
                try:
                    answer = functions.push.serve(flask.request, collector, function="collector", ports=ports)
                except Exception:  # noqa: BLE001 - as the functions framework answers
                    answer = ("", 500)
                answers.append(answer[1])
                return answer

            server = make_server("127.0.0.1", 0, app, threaded=True)
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            try:
                wire(bus, f"http://127.0.0.1:{server.server_port}/")
                yield Wired(bus, store, answers)
            finally:
                server.shutdown()
                thread.join()


def report(number: int) -> SttError:
    return builders.error(number, occurred_at=SystemClock().now())


def without_head(wired: Wired) -> None:
    """Leave a bucket that lost its head: cycle 1 has ended, cycle 2 collects, and nothing says so."""
    ended = builders.cycle_state(Status.INCONCLUSIVE, cycle=1)
    wired.store.put(keys.state(1), document_bytes(ended))
    wired.store.put(keys.dataset(1), b"")


@BOTH
def test_a_message_makes_the_round_and_another_is_dropped(wired: Wired) -> None:
    without_head(wired)
    for number in (7, 8):
        wired.bus.publish(outgoing(report(number)))
    wired.until(lambda: len(wired.answers) >= 2 * (ATTEMPTS - 1), "as many tries as there are")  # the emulator counts one less
    wired.until(lambda: len(wired.dead()) == 2, "two dead letters")
    assert wired.answers == [500] * len(wired.answers)
    letters = {letter["original_id"]: letter for letter in wired.dead()}
    assert {letter["subscription"] for letter in letters.values()} == {COLLECTOR}
    assert wired.collected() == []

    shown = wired.answered("dlq", "show", "e7")
    assert '"event_id":"e7"' in shown.stdout
    assert "CloudPubSubDeadLetterSourceDeliveryCount" in shown.stdout

    mended = wired.retune("registry", "rebuild-head")
    assert (mended.exit_code, mended.stdout) == (0, "cycle 2 is collecting: the newest state is of cycle 1\n")
    replayed = wired.answered("dlq", "replay", "--id", "e7")
    assert (replayed.exit_code, replayed.stdout) == (0, f"e7 to {STT_ERRORS}\n")
    wired.until(lambda: wired.collected() == ["e7"], "the event in the ledger")

    dropped = wired.answered("dlq", "drop", "--id", "e8", "--by", "ana", "--reason", "a test call")
    assert dropped.stdout.startswith("e8 is dropped; kept as quarantine/")
    assert wired.dead() == []
    assert wired.collected() == ["e7"]
    (kept,) = wired.store.list("quarantine/")
    assert json.loads(wired.store.get(kept.key).data)["reason"] == "dropped by ana (claimed): a test call"
    again = wired.retune("dlq", "show", kept.key)
    assert '"event_id":"e8"' in again.stdout
    assert {finding.where for finding in fsck(wired.store).findings} <= {keys.state(1), keys.REGISTRY_LOG}


@OURS
def test_what_keeps_its_own_id_is_known_by_it_after_a_replay(wired: Wired) -> None:
    without_head(wired)
    payload = json.loads(outgoing(report(9)).data)
    del payload["event_id"]
    message_id = wired.bus.publish(Outgoing(STT_ERRORS, json.dumps(payload).encode(), {"type": "SttError"}))
    wired.until(lambda: len(wired.dead()) == 1, "a dead letter")
    (letter,) = wired.dead()
    wired.retune("registry", "rebuild-head")
    assert wired.retune("dlq", "replay", "--all").exit_code == 0
    wired.until(lambda: len(wired.collected()) == 1, "the event in the ledger")
    assert wired.collected() == [letter["original_id"]]
    assert message_id != letter["message_id"]


@OURS
def test_what_can_never_be_handled_goes_into_quarantine_and_is_dropped_there(wired: Wired) -> None:
    wired.bus.publish(Outgoing(STT_ERRORS, b'{"no": "event"}', {"type": "SttError"}))
    wired.until(lambda: wired.answers == [204], "one answer")
    (item,) = json.loads(wired.retune("dlq", "list", "--json").stdout)["quarantined"]
    refused = wired.retune("dlq", "replay", "--id", item["key"])
    assert (refused.exit_code, "not published again: collector refused it for good" in refused.stderr) == (1, True)
    assert wired.retune("dlq", "drop", "--id", item["key"], "--by", "ana", "--reason", "known").exit_code == 0
    assert wired.dead() == []
