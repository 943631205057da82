"""All functions on in-memory ports, wired as in production, with a trainer that only tests have.

The trainer of tests is `tests.stand_in`: its hypotheses are what the test says.
"""

from collections.abc import Callable, Sequence
from functools import partial

from functions.collector.handler import Collector
from functions.deployer.handler import handler as deployer
from functions.launcher.handler import handler as launcher
from functions.launcher.opening import LaunchDeps
from functions.launcher.trainers import NoCapacity, Refused, Started, TrainerRun
from functions.runtime import Ports
from functions.sweeper.handler import handler as sweeper
from functions.validator.handler import handler as validator
from functions.wiring import READS, subscription_name
from infra.simulate.trainers import store_model
from shared import keys
from shared.audio_source import AudioSource
from shared.bus import Message, Outgoing
from shared.cas import find
from shared.config import Settings
from shared.corpora import CorpusClip
from shared.cycle import CODEC, CycleState
from shared.documents import lines_bytes
from shared.errors import InvalidMessage
from shared.events import TOPICS, Event, Tick
from shared.messages import outgoing, parse_event
from shared.objectstore import ObjectStore
from shared.policy import Policy
from shared.registry import CODEC as PRODUCTION
from shared.registry import Production
from shared.testing import builders
from shared.testing.clock import FakeClock
from shared.testing.memory_bus import MemoryBus
from shared.testing.memory_store import MemoryStore
from shared.training import ObjectRef
from tests.stand_in import Hypothesis, StandIn, right, wrong

__all__ = ["BUCKET", "POLICY", "FakeTrainers", "World", "right", "wrong"]

BUCKET = "gs://retune-test"
POLICY = Policy(
    min_error_cases=60,
    min_corrected_cases=10_000,
    auto_approve_finetuning=True,
    auto_deploy=True,
    cooldown_s=0.0,
    min_trainable_clips=1,
    min_speakers=2,
)


class FakeTrainers:
    """Trainers that exist by name; `run` does the work of one when the test says so."""

    def __init__(self) -> None:
        self.runs: dict[str, TrainerRun] = {}
        self.started: list[str] = []
        self.answer: NoCapacity | Refused | None = None

    def start(self, run: TrainerRun) -> Started | NoCapacity | Refused:
        if self.answer is not None:
            return self.answer
        if run.name not in self.runs:
            self.runs[run.name] = run
            self.started.append(run.name)
        return Started("here")

    def delete(self, name: str) -> None:
        self.runs.pop(name, None)

    def list_names(self) -> list[str]:
        return sorted(self.runs)


class World:
    """The whole system in memory; `settle` delivers until nothing is due."""

    def __init__(
        self, policy: Policy = POLICY, *, store: MemoryStore | None = None, open_bus: Callable[[FakeClock], MemoryBus] = MemoryBus
    ) -> None:
        self.clock = FakeClock()
        self.store = store or MemoryStore(BUCKET, clock=self.clock)
        self.calls = MemoryStore(builders.CALLS, clock=self.clock)
        self.bus = open_bus(self.clock)
        self.audio = AudioSource(self.open_store, (builders.CALLS, f"{BUCKET}/corpora/"))
        self.trainers = FakeTrainers()
        self.outcomes: list[str] = []
        self.quarantined: list[str] = []
        self.acknowledged: set[str] = set()
        self.deploy(policy)
        self.store.put(keys.SPLIT_KEY, b"a key that tests share")
        self._wire()

    def deploy(self, policy: Policy) -> None:
        """Deploy all functions with a policy, as they are when an operator has changed it."""
        settings = Settings(bucket=BUCKET, project="test", audio_prefixes=(builders.CALLS,), policy=policy, count_interval_s=0, linger_s=0)
        self.ports = Ports(self.store, self.bus, self.clock, settings)
        self.deps = LaunchDeps(self.ports, self.audio, self.trainers)
        self.handlers: dict[str, Callable[[Message], str]] = {
            "collector": Collector(self.ports, self.audio.check),
            "launcher": launcher(self.deps),
            "validator": validator(self.ports),
            "deployer": deployer(self.ports),
            "sweeper": sweeper(self.deps),
        }

    def open_store(self, uri: str) -> ObjectStore:
        return {BUCKET: self.store, builders.CALLS: self.calls}[uri]

    def _wire(self) -> None:
        for topic in TOPICS:
            self.bus.create_topic(topic)
        for function, topics in READS.items():
            for topic in topics:
                name = subscription_name(function, topic)
                self.bus.create_subscription(topic, name)
                self.bus.subscribe(name, partial(self._deliver, function))

    def _deliver(self, function: str, message: Message) -> None:
        try:
            self.outcomes.append(f"{function}: {self.handlers[function](message)}")
            if function == "collector":
                self.acknowledged.add(parse_event(message).event_id)
        except InvalidMessage as error:
            self.quarantined.append(f"{function}: {error}")

    def publish(self, *events: Event) -> None:
        for event in events:
            self.bus.publish(outgoing(event))

    def type(self, topic: str, text: str) -> None:
        """Publish what a person types."""
        self.bus.publish(Outgoing(topic, text.encode()))

    def settle(self) -> None:
        self.bus.drain(5_000)

    def tick(self, seconds: float = 60.0) -> None:
        """Let time pass, publish a tick and settle."""
        self.clock.advance(seconds)
        self.publish_tick()
        self.settle()

    def publish_tick(self) -> None:
        now = self.clock.now()
        self.publish(Tick(event_id=f"tick-{now.isoformat()}", occurred_at=now))

    def record_calls(self, numbers: Sequence[int]) -> None:
        """Put the audio of utterances where their audio_uri says."""
        for number in numbers:
            self.calls.put(f"u{number}.wav", builders.audio_bytes(number))

    def install_model(self, version: int = 0) -> None:
        """Make an imported model stable, as `retune models import --promote` does."""
        self.write_model(version, base=None, learned=())
        self.type("model-commands", f'{{"promote": {version}, "override": true, "reason": "first model", "by": "ana"}}')
        self.settle()

    def write_model(self, version: int, *, base: int | None, learned: tuple[int, ...]) -> ObjectRef:
        return store_model(self.store, self.clock, version, base=base, learned=learned)

    def add_suite(self, name: str, numbers: Sequence[int]) -> None:
        clips = [CorpusClip(utterance_id=f"u{n}", audio=builders.pin(n), reference="fall back", speaker=f"speaker:s{n}") for n in numbers]
        self.store.put(keys.suite(name), lines_bytes(clips))

    def state(self, cycle: int) -> CycleState:
        found = find(self.store, keys.state(cycle))
        assert found is not None, f"cycle {cycle} has no state; outcomes: {self.outcomes}"
        return CODEC.parse(found.data)

    def production(self) -> Production:
        found = find(self.store, keys.PRODUCTION)
        return PRODUCTION.parse(found.data) if found else Production()

    def train(self, cycle: int, *, base: Hypothesis = wrong, candidate: Hypothesis = right) -> str:
        """Do the work of the trainer that was started for a cycle."""
        run = next((run for run in self.trainers.runs.values() if run.cycle == cycle), None)
        if run is None:
            return "no trainer"
        return self.work(run, base=base, candidate=candidate)

    def trainer(self, run: TrainerRun) -> StandIn:
        return StandIn(self.store, self.bus, self.clock, run)

    def work(self, run: TrainerRun, *, base: Hypothesis = wrong, candidate: Hypothesis = right) -> str:
        outcome = self.trainer(run).work(base=base, candidate=candidate)
        self.trainers.delete(run.name)
        return outcome

    def begin(self, run: TrainerRun) -> str:
        """Do the trainer's first act; return why it must not work."""
        return self.trainer(run).begin()

    def fail(self, cycle: int, reason: str = "internal") -> None:
        run = next(run for run in self.trainers.runs.values() if run.cycle == cycle)
        assert self.begin(run) == ""
        self.trainer(run).fail(reason)


def opened_world(**policy: object) -> World:
    """Return a world in which v0 is stable, and the trainer of the first cycle has been started."""
    made = World(POLICY.model_copy(update=policy))
    made.install_model()
    made.record_calls(range(200))
    made.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in range(60)), *(builders.error(n) for n in range(60)))
    made.settle()
    return made


def trained_world(**policy: object) -> World:
    """Return a world in which v0 is stable and the first cycle has been trained; nobody has judged it yet."""
    made = opened_world(**policy)
    assert made.train(1) == "completed"
    return made


def copy_of(world: World) -> MemoryStore:
    """Return a store that holds what the world's does."""
    store = MemoryStore(BUCKET, clock=world.clock)
    for info in world.store.list(""):
        store.put(info.key, world.store.get(info.key).data, metadata=info.metadata)
    return store
