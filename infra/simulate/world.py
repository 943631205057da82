"""The product's own functions on in-memory ports, wired by the table that deployments are wired by; the clock moves when told to."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from functions.collector.handler import Collector
from functions.deployer.handler import handler as deployer
from functions.launcher.handler import handler as launcher
from functions.launcher.opening import LaunchDeps
from functions.runtime import Ports
from functions.sweeper.handler import handler as sweeper
from functions.validator.handler import handler as validator
from functions.wiring import READS, subscription_name
from infra.simulate.assumptions import Assumptions
from infra.simulate.calls import CALLS, Calls, Serving
from infra.simulate.trainers import SimulatedTrainers, store_model
from shared import keys
from shared.alias import find_production
from shared.audio_source import AudioSource
from shared.bus import Message, Outgoing
from shared.config import Settings
from shared.documents import sha256_hex
from shared.errors import InvalidMessage, InvariantBroken
from shared.events import TOPICS, Event, Tick
from shared.messages import outgoing
from shared.objectstore import ObjectStore
from shared.policy import Policy
from shared.registry import Production
from shared.testing.clock import FakeClock
from shared.testing.memory_bus import MemoryBus
from shared.testing.memory_store import MemoryStore

BUCKET = "gs://simulated-retune"
MOST_DELIVERIES = 1_000_000


class World:
    """A bucket, a bus, five functions and trainers, with v0 in production.

    Args:
        clock: set by whoever simulates.
        policy: the one that is tried.
        calls: what production hears.
        assumptions, seed: of the trainers.
    """

    def __init__(self, clock: FakeClock, policy: Policy, calls: Calls, assumptions: Assumptions, seed: int) -> None:
        self.clock = clock
        self.store = MemoryStore(BUCKET, clock=clock)
        self._audio = MemoryStore(CALLS, clock=clock)
        self.bus = MemoryBus(clock)
        self.calls = calls
        self.refused = 0
        # one count for each tick is enough: nothing is decided in between
        settings = Settings(
            bucket=BUCKET,
            project="simulated",
            audio_prefixes=(CALLS,),
            policy=policy,
            count_interval_s=assumptions.resolution_s,
            linger_s=0,
        )
        self.ports = Ports(self.store, self.bus, clock, settings)
        self.trainers = SimulatedTrainers(self.store, self.bus, clock, calls.speech, calls.rows, assumptions, seed)
        audio = AudioSource(self._open_store, self.ports.audio_prefixes)
        self._deps = LaunchDeps(self.ports, audio, self.trainers)
        self._handlers: dict[str, Callable[[Message], str]] = {
            "collector": Collector(self.ports, audio.check),
            "launcher": launcher(self._deps),
            "validator": validator(self.ports),
            "deployer": deployer(self.ports),
            "sweeper": sweeper(self._deps),
        }
        for topic in TOPICS:
            self.bus.create_topic(topic)
        for function, topics in READS.items():
            for topic in topics:
                name = subscription_name(function, topic)
                self.bus.create_subscription(topic, name)
                self.bus.subscribe(name, partial(self._deliver, function))
        self.store.put(keys.SPLIT_KEY, sha256_hex(f"split key {seed}".encode()).encode())
        store_model(self.store, clock, 0, base=None, learned=())
        self.type("model-commands", '{"promote": 0, "override": true, "reason": "first model", "by": "simulation"}')

    def let_refusals_stand(self, seconds: float) -> None:
        """Have the launcher look again at what it refuses after so long: each look counts the whole history exactly."""
        policy = self.ports.settings.policy.model_copy(update={"decline_backoff_s": seconds})
        settings = self.ports.settings.model_copy(update={"policy": policy})
        self._handlers["launcher"] = launcher(replace(self._deps, ports=replace(self.ports, settings=settings)))

    def step(self) -> None:
        """Report what has come since the last step, let trainers work, and sweep; the clock has moved already."""
        self.trainers.work()
        self.settle()
        now = self.clock.now()
        self.publish(Tick(event_id=f"tick-{now.isoformat()}", occurred_at=now))
        self.settle()

    def report(self, event: Event) -> None:
        """Publish what production reports, its audio first."""
        name = self.calls.audio_name(event)
        if name is not None:
            self._audio.put(name, f"audio of {name}".encode())
        self.publish(event)

    def publish(self, event: Event) -> None:
        """Publish an event; `settle` delivers it."""
        self.bus.publish(outgoing(event))

    def type(self, topic: str, text: str) -> None:
        """Publish what a person types, and have it handled."""
        self.bus.publish(Outgoing(topic, text.encode()))
        self.settle()

    def settle(self) -> None:
        """Deliver until nothing is due.

        Raises:
            InvariantBroken: a function failed, which it never may on ports that never fail.
        """
        self.bus.drain(MOST_DELIVERIES)
        if self.bus.failures:
            failure = self.bus.failures[0]
            raise InvariantBroken(f"{failure.subscription}: expected its message to be handled, found {failure.error!r}") from failure.error

    def production(self) -> Production:
        """Return what serves."""
        return find_production(self.store) or Production()

    def serving(self) -> Serving:
        """Return which versions serve, and whom."""
        return Serving.of(self.production())

    def _open_store(self, uri: str) -> ObjectStore:
        return {BUCKET: self.store, CALLS: self._audio}[uri]

    def _deliver(self, function: str, message: Message) -> None:
        try:
            self._handlers[function](message)
        except InvalidMessage:
            self.refused += 1
