"""The whole system under simulation: the real handlers, each on faulty ports of its own, and machines that come and go."""

import base64
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import cache, lru_cache
from types import SimpleNamespace
from typing import Any, Self, TextIO
from unittest.mock import patch

from pydantic import BaseModel

from functions.collector.handler import Collector
from functions.deployer.handler import handler as deployer
from functions.launcher.handler import handler as launcher
from functions.launcher.opening import LaunchDeps
from functions.launcher.trainers import NoCapacity, Refused, Started, TrainerRun
from functions.push import body_of, quarantine
from functions.runtime import Ports
from functions.sweeper.handler import handler as sweeper
from functions.validator.handler import handler as validator
from shared import keys
from shared.bus import Message
from shared.documents import Frozen
from shared.errors import InvalidMessage
from shared.messages import parse_event
from shared.policy import Policy
from shared.registry import CODEC as PRODUCTION
from shared.testing import builders
from shared.testing.memory_store import MemoryStore
from tests.chaos.books import Seen, Span
from tests.chaos.faulty import Crash, FaultyPublisher, FaultyStore, FaultyTrainers, Injector, SkewedClock
from tests.chaos.reading import incomplete
from tests.chaos.schedule import TRAINER
from tests.chaos.witness import Witness
from tests.stand_in import StandIn
from tests.world import FakeTrainers, World

DEEPEST = 2
"""So many handlers may be overtaken at a time."""
OVERTAKEN_BY = 2
"""So many messages are handled while a handler waits for one reply."""
UTTERANCES = 60
"""So many utterances are reported at most, and as many are sampled: each delivery counts the whole ledger here."""
SAMPLES_FROM = 1000


@dataclass
class Life:
    """One life of a machine: from its start until it is gone.

    Attributes:
        begin, end: of its trainer's work, in the order of what was observed; None = not yet.
        hangs: it is there and does nothing any more.
    """

    run: TrainerRun
    begin: int | None = None
    end: int | None = None
    hangs: bool = False


class Machines(FakeTrainers):
    """Machines by name; every life of each is remembered."""

    def __init__(self) -> None:
        super().__init__()
        self.lives: dict[str, Life] = {}
        self.past: list[Life] = []
        self.observed = 0

    def observe(self) -> int:
        """Count one more thing that was seen."""
        self.observed += 1
        return self.observed

    def start(self, run: TrainerRun) -> Started | NoCapacity | Refused:
        """Start a machine, unless one of its name is there."""
        answer = super().start(run)
        if isinstance(answer, Started) and run.name not in self.lives:
            self.lives[run.name] = Life(run)
        return answer

    def delete(self, name: str) -> None:
        """End a machine; whatever works on it works no more."""
        super().delete(name)
        life = self.lives.pop(name, None)
        if life is not None:
            life.end = self.observe()
            self.past.append(life)

    def spans(self) -> tuple[Span, ...]:
        """Return when trainers were at work."""
        lives = (*self.past, *self.lives.values())
        return tuple(Span(life.run.cycle, life.run.attempt, life.begin, life.end) for life in lives if life.begin is not None)


@dataclass
class Timeline:
    """What happened, line by line."""

    lines: list[str] = field(default_factory=list)
    depth: int = 0

    def tell(self, line: str) -> None:
        """Write one more line, indented as deep as the handlers that are overtaken."""
        self.lines.append("   " * self.depth + line)


class SimulatedWorld(World):
    """`tests.world.World` with an instance of its own for each function.

    Attributes:
        witness: has seen what was published before it was true.
        seen: writes of states, specs, the alias and its log, in order.
    """

    def deploy(self, policy: Policy) -> None:
        """Build every function anew on faulty ports."""
        self.timeline = Timeline()
        self.machines = self.trainers = Machines()
        self.witness = Witness(self.bus, self.store)
        self.injector = Injector(self.clock, self._say, self._due, self._overtake, lambda: None)
        self.seen: list[Seen] = []
        self.calls = recordings()
        super().deploy(policy)
        self.store.after = self._look
        for function in tuple(self.handlers):
            self.restart(function)

    def restart(self, function: str) -> None:
        """Replace the instance of a function by a fresh one."""
        settings = self.ports.settings
        store, publisher = FaultyStore(self.store, self.injector, function), FaultyPublisher(self.witness, self.injector, function)
        ports = Ports(store, publisher, SkewedClock(self.injector, function), settings)
        deps = LaunchDeps(ports, self.audio, FaultyTrainers(self.machines, self.injector, function))
        make: dict[str, Callable[[], Callable[[Message], str]]] = {
            "collector": lambda: Collector(ports, self.audio.check),
            "launcher": lambda: launcher(deps),
            "validator": lambda: validator(ports),
            "deployer": lambda: deployer(ports),
            "sweeper": lambda: sweeper(deps),
        }
        self.handlers[function] = make[function]()

    def trainer_of(self, life: Life) -> StandIn:
        """Return the trainer that works in a life of a machine: with that it ends, wherever it stands."""

        def check() -> None:
            if life.end is not None or life.hangs:
                raise Crash(f"{life.run.name} is gone")

        store = FaultyStore(self.store, self.injector, TRAINER, check)
        return StandIn(store, FaultyPublisher(self.witness, self.injector, TRAINER), SkewedClock(self.injector, TRAINER), life.run)

    def deliver(self, limit: int) -> int:
        """Deliver at most so many messages that are due; a crash in between leaves its message leased."""
        done = 0
        while done < limit:
            try:
                if not self.bus._deliver_one():
                    return done
            except Crash:
                pass
            done += 1
        return done

    def _deliver(self, function: str, message: Message) -> None:
        name = name_of(message)
        depth, self.timeline.depth = self.timeline.depth, self.timeline.depth + 1
        try:
            outcome = self._handle(function, message)
        except Crash:
            self.restart(function)
            outcome = "dead"
            raise
        except Exception as error:
            outcome = f"{type(error).__name__}: {error}"
            raise
        finally:
            self.timeline.depth = depth
            self._say(f"{function} <- {name}: {outcome}")

    def _handle(self, function: str, message: Message) -> str:
        try:
            return self.handlers[function](message)
        except InvalidMessage as error:
            store = FaultyStore(self.store, self.injector, function)
            key = quarantine(store, function=function, reason=str(error), body=body_of(envelope(message)), now=self.clock.now())
            return f"{key}: {error}"

    def _say(self, line: str) -> None:
        self.timeline.tell(f"{self.clock.now():%d %H:%M:%S} {line}")

    def _due(self) -> bool:
        return self.timeline.depth <= DEEPEST and self.bus.any_due()

    def _overtake(self) -> None:
        self.deliver(OVERTAKEN_BY)

    def _look(self, operation: str, key: str) -> None:
        if operation == "put" and (key.endswith(("/state.json", "/spec.json")) or key.startswith("registry/")):
            self.store.after = lambda _operation, _key: None
            data = self.store.get(key).data
            problem = None
            if key == keys.PRODUCTION:
                production = PRODUCTION.parse(data)
                problem = incomplete(self.store, (production.stable, production.canary.version if production.canary else None))
            self.seen.append(Seen(key, data, problem))
            self.store.after = self._look


@cache
def recordings() -> MemoryStore:
    """Return the recordings of every utterance that a history may report; nobody writes there."""
    store = MemoryStore(builders.CALLS)
    for number in (*range(UTTERANCES), *range(SAMPLES_FROM, SAMPLES_FROM + UTTERANCES)):
        store.put(f"u{number}.wav", builders.audio_bytes(number))
    return store


def name_of(message: Message) -> str:
    """Return a message's type and id, for people."""
    try:
        event = parse_event(message)
    except InvalidMessage:
        return f"malformed {message.message_id}"
    return f"{type(event).__name__} {event.event_id.removeprefix(type(event).__name__ + '-')[:24]}"


def envelope(message: Message) -> bytes:
    """Return a message as Pub/Sub pushes it."""
    inner = {"data": base64.b64encode(message.data).decode(), "attributes": dict(message.attributes), "messageId": message.message_id}
    return json.dumps({"message": inner}).encode()


class SerialPool:
    """In place of a ThreadPoolExecutor: the calls are made one after the other, in order, so that each run is the same."""

    def __init__(self, max_workers: int) -> None:
        self.max_workers = max_workers

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
        """Call the function for each item."""
        return iter([function(item) for item in items])


class Nowhere:
    """A stream that keeps nothing."""

    def write(self, text: str) -> int:
        """Forget a text."""
        return len(text)

    def flush(self) -> None:
        """Do nothing."""


_parse_once = lru_cache(maxsize=1 << 14)(BaseModel.model_validate_json.__func__)  # type: ignore[attr-defined]


def _parsed(cls: type[Frozen], data: bytes) -> Frozen:
    found: Frozen = _parse_once(cls, data)
    return found


@contextmanager
def repeatable() -> Iterator[None]:
    """Take out what differs between two runs: random tokens, threads, waits; logs go nowhere, and documents, which nobody can change, are parsed once."""
    numbers = iter(range(1, 10**9))
    tokens = SimpleNamespace(token_hex=lambda size: f"{next(numbers):0{2 * size}x}")
    nowhere: TextIO = Nowhere()  # type: ignore[assignment]
    with (
        patch("shared.ids.secrets", tokens),
        patch("shared.cas._pause", lambda _seconds: None),
        patch("functions.launcher.drafting.ThreadPoolExecutor", SerialPool),
        patch.object(Frozen, "model_validate_json", classmethod(_parsed)),
        redirect_stdout(nowhere),
    ):
        yield
