"""The journeys of `docs/architecture/journeys.md`, made in the in-memory world through the functions' own adapters."""

import asyncio
import base64
import json
import random
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from threading import Event
from typing import Any

from flask import Request
from retune_client import ErrorReporter, ModelRouter, Utterance
from retune_client.routing import Served
from starlette.requests import Request as AsyncRequest
from starlette.types import Message as Part
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder

from functions.acts import people
from functions.acts.people import Act
from functions.collector.handler import Collector
from functions.push import serve
from functions.push_async import serve_async
from infra.dlq import letters, show
from infra.dlq.quarantine import drop_quarantined, refuse_replay
from infra.errors import Refused
from infra.people import Answer, Person, ask
from infra.session import Session
from shared import keys
from shared.bus import Message, Outgoing
from shared.clock import Clock
from shared.errors import InvalidMessage
from shared.events import MODEL_EVENTS, STT_ERRORS
from shared.messages import parse_event
from shared.policy import Policy
from shared.testing import builders
from shared.testing.clock import START
from shared.testing.memory_bus import MemoryBus
from tests.recorder import Recorder, Step
from tests.unit.test_dlq import WithDeadLetters
from tests.world import POLICY, World

WAIT_S = 60.0
"""A wait that ends only when the test has failed."""
CALLS = range(60)
HEARD = "call back"
SPOKEN = "fall back"
FOLLOWED = 7
"""The utterance whose error is followed."""


class TellingBus(MemoryBus):
    """Tells the recorder what is published."""

    def __init__(self, clock: Clock, recorder: Recorder) -> None:
        super().__init__(clock)
        self._recorder = recorder

    def publish(self, message: Outgoing) -> str:
        with suppress(InvalidMessage):  # what nobody can read is no event
            event = parse_event(Message(message.data, message.attributes, "1", START))
            self._recorder.make(f"{type(event).__name__} on {message.topic}")
        return super().publish(message)


class PushedWorld(WithDeadLetters):
    """A world in which v0 is stable, every message comes as a push, and what is written and published is recorded."""

    def __init__(self, policy: Policy = POLICY) -> None:
        self.recorder = Recorder()
        super().__init__(policy, open_bus=lambda clock: TellingBus(clock, self.recorder))
        self.store.after = self._tell
        self.install_model()
        self.record_calls(range(200))
        self.tick()

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record while the block runs, with functions that are started in it."""
        with self.recorder.recording():
            self.deploy(self.ports.settings.policy)
            yield

    def _tell(self, operation: str, key: str) -> None:
        if operation == "put":
            status = f" {self.state(keys.cycle_of(key)).status}" if key.startswith(keys.CYCLES) and key.endswith("/state.json") else ""
            self.recorder.make(f"{key}{status}")

    def _deliver(self, function: str, message: Message) -> None:
        body, handle = envelope(message), self.handlers[function]
        common: dict[str, Any] = {"function": function, "ports": self.ports}
        if isinstance(handle, Collector):
            _, status = asyncio.run(_serve_async(body, handle, common))
        else:
            builder = EnvironBuilder(method="POST", data=body, headers=Headers({"content-type": "application/json"}))
            _, status = serve(Request(builder.get_environ()), handle, **common)
        assert status == 204


def envelope(message: Message) -> bytes:
    """Return a message as Pub/Sub pushes it."""
    inner = {
        "data": base64.b64encode(message.data).decode(),
        "attributes": dict(message.attributes),
        "messageId": message.message_id,
        "publishTime": message.publish_time.isoformat(),
    }
    return json.dumps({"message": inner}).encode()


async def _serve_async(body: bytes, handle: Collector, common: dict[str, Any]) -> tuple[str, int]:
    async def receive() -> Part:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-length", str(len(body)).encode())]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    return await serve_async(AsyncRequest(scope, receive), handle.collect, **common)


class _Pulled:
    def __init__(self, message: Message) -> None:
        self.data = message.data

    def ack(self) -> None:
        return None


class Outside:
    """What the service's two clients need of Pub/Sub and of the bucket, in a world.

    Attributes:
        followed: somebody has read the alias.
    """

    def __init__(self, world: World) -> None:
        self.followed = Event()
        self._world = world

    def publish(self, topic: str, data: bytes, **attributes: str) -> Future[str]:
        future: Future[str] = Future()
        future.set_result(self._world.bus.publish(Outgoing(topic.rpartition("/")[2], data, attributes)))
        return future

    def read(self, key: str) -> bytes:
        if key == keys.PRODUCTION:
            self.followed.set()
        return self._world.store.get(key).data

    def download(self, key: str, path: Path) -> None:
        path.write_bytes(self.read(key))

    def subscribe(self, subscription: str, callback: Callable[[Any], Any]) -> "Stream":
        self._world.bus.create_subscription(MODEL_EVENTS, subscription)
        self._world.bus.subscribe(subscription, lambda message: callback(_Pulled(message)))
        return Stream()


class Stream:
    """A subscription that delivers for ever."""

    def cancel(self) -> None:
        return None

    def done(self) -> bool:
        return False

    def exception(self) -> None:
        return None


Recogniser = Callable[[str], str]


def load(_: Path, version: int) -> Recogniser:
    """Return a model that hears what the world's trainer made of it: v0 makes the error, every other does not."""
    return lambda spoken: spoken if version else HEARD


@contextmanager
def service(world: World, folder: Path) -> Iterator[ModelRouter[Recogniser]]:
    """Serve what production names."""
    outside = Outside(world)
    with ModelRouter(outside, folder, load, poll_s=3600.0, subscription="service", subscriber=outside) as router:
        assert outside.followed.wait(WAIT_S)  # the router's thread has looked for the first time, and waits for news from here on
        assert router.refresh().stable == world.production().stable
        yield router


def report(world: World) -> None:
    """Report the error that is followed, as the service does."""
    utterance = Utterance(
        utterance_id=f"u{FOLLOWED}",
        audio_uri=f"{builders.CALLS}/u{FOLLOWED}.wav",
        hypothesis=HEARD,
        model_version=0,
        speaker_id=f"s{FOLLOWED}",
        occurred_at=world.clock.now(),
    )
    with ErrorReporter("test", sample_rate=0.0, publisher=Outside(world), rng=random.Random(7)) as reporter:
        reporter.report_error(utterance, reference=SPOKEN)
        assert reporter.flush(WAIT_S)
        assert reporter.stats().published == 1


def others(world: World, numbers: range = CALLS) -> None:
    """Let everybody else report and be sampled."""
    world.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in numbers), *(builders.error(n) for n in numbers if n != FOLLOWED))
    world.settle()


class _AtOnce:
    """A publisher after which everything that follows is done: nobody waits for an answer."""

    def __init__(self, world: World, follows: Callable[[], bool]) -> None:
        self._world = world
        self._follows = follows

    def publish(self, message: Outgoing) -> str:
        message_id = self._world.bus.publish(message)
        self._world.settle()
        assert self._follows()
        return message_id


def typed(world: World, act: Callable[..., Act | Answer], *arguments: int | None, follows: Callable[[], bool] = lambda: True) -> Answer:
    """Do what a person does on the command line; `follows` waits for what follows outside of the world."""
    return ask(replace(world.ports, publisher=_AtOnce(world, follows)), Person(by="ana", reason="to see"), act, *arguments)


def heard(served: Served[Recogniser]) -> tuple[int, str]:
    return served.version, served.model(SPOKEN)


def one_error(folder: Path) -> list[Step]:
    world = PushedWorld()
    others(world)
    with world.recording(), service(world, folder) as router:
        assert heard(router.choose("a call")) == (0, HEARD)
        report(world)
        world.settle()
        with world.recorder.paused():
            assert world.train(1) == "completed"
        world.settle()
        assert router.wait_for(1, WAIT_S)
        assert heard(router.choose("a call")) == (1, SPOKEN)
        world.tick()
        world.tick(POLICY.canary.guard_s)
    assert world.bus.failures == []
    assert f'"utterance_id":"u{FOLLOWED}"' in world.store.get(keys.closure(1)).data.decode()
    return world.recorder.steps


def one_trigger(_: Path) -> list[Step]:
    world = PushedWorld()
    others(world, range(20))
    with world.recording():
        answer = typed(world, people.trigger)
    assert (answer.outcome, world.state(1).forced) == ("accepted", True)
    return world.recorder.steps


def one_declined_trigger(_: Path) -> list[Step]:
    world = PushedWorld()
    with world.recording():
        assert typed(world, people.trigger).outcome == "refused"
    return world.recorder.steps


def one_rollback(folder: Path) -> list[Step]:
    world = PushedWorld()
    with service(world, folder):
        others(world, range(FOLLOWED + 1, FOLLOWED + 1 + len(CALLS)))
    assert world.train(1) == "completed"
    world.settle()
    with world.recording(), service(world, folder) as router:
        assert heard(router.choose("a call")) == (1, SPOKEN)
        assert (folder / "000000").is_dir()
        answer = typed(world, people.rollback, 1, follows=lambda: router.wait_for(0, WAIT_S))
        assert heard(router.choose("a call")) == (0, HEARD)
    assert (answer.outcome, world.production().withdrawn) == ("accepted", (1,))
    return world.recorder.steps


def one_malformed(_: Path) -> list[Step]:
    world = PushedWorld()
    session = Session(world.ports, world.bus)
    with world.recording():
        world.bus.publish(Outgoing(STT_ERRORS, b'{"utterance_id": "u1"}', {"type": "SttError", "v": "1"}))
        world.settle()
        (refused,) = letters.list_dead(session).quarantined
        (shown,) = show.show_refused(session, refused.key)
        with suppress(Refused):
            refuse_replay(world.store, refused.key)
        dropped = drop_quarantined(world.store, refused.key, by="ana", reason="the sender is mended")
    assert "audio_uri" in (shown.reason or "")
    assert "ana" in dropped.reason
    return world.recorder.steps
