"""Runs a schedule over the real handlers, lets everything come to rest, and checks the books."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from functions.wiring import READS, subscription_name
from shared.bus import Message
from shared.cas import find
from shared.cycle import Status
from shared.errors import InvalidMessage, InvariantBroken
from shared.events import MODEL_EVENTS, TOPICS
from shared.head import FIRST_CYCLE, read_head
from shared.keys import state as state_key
from shared.messages import parse_event
from shared.policy import Policy
from tests.chaos.acts import ACTS, EXPECTED, Actors
from tests.chaos.audit import Breach, audit
from tests.chaos.books import Outside, Publish
from tests.chaos.faulty import Point
from tests.chaos.reading import read_books
from tests.chaos.schedule import POLICIES, Fault, Schedule, Step
from tests.chaos.simulated import SimulatedWorld, repeatable

RESTLESS = frozenset(Status) - {
    Status.AWAITING_APPROVAL,
    Status.ACCEPTED,
    Status.DEPLOYED,
    Status.REJECTED,
    Status.INCONCLUSIVE,
    Status.FAILED,
    Status.CANCELLED,
    Status.ROLLED_BACK,
}
"""A cycle in one of these is carried on by somebody; in any other it has ended or waits for a person."""
LAST_WORDS = ('{"cancel": true}', '{"force": true}', '{"cancel": true}')
"""What a person types at the end, so that one more dataset is sealed."""
MOST_ROUNDS = 40
ROUND_S = 310.0


@dataclass(frozen=True)
class Outcome:
    """What came of a schedule.

    Attributes:
        breaches: none = the books balance and everything came to rest.
        timeline: what happened, for people.
        met, crashed: the sides of write points on which a process stood, and on which one died.
        struck: how many faults struck.
        ended: how each cycle stands.
    """

    schedule: Schedule
    breaches: tuple[Breach, ...]
    timeline: tuple[str, ...]
    met: frozenset[tuple[Point, str]]
    crashed: frozenset[tuple[Point, str]]
    struck: int
    ended: tuple[str, ...]


def run(schedule: Schedule) -> Outcome:
    """Run a schedule from an empty bucket to the audit; the same schedule gives the same outcome."""
    with repeatable():
        return _Run(schedule).outcome()


class _Run:
    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule
        self.world = SimulatedWorld(POLICIES[schedule.policy])
        self.acts = Actors(self.world, schedule.seed)
        self.breaches: list[Breach] = []
        self.world.install_model()
        self.world.injector.met.clear()  # nothing can strike before the first step

    def outcome(self) -> Outcome:
        world = self.world
        for number, step in enumerate(self.schedule.steps, 1):
            world.timeline.lines.append(f"{number}. {step}")
            if isinstance(step, Fault):
                world.injector.arm(step)
            else:
                ACTS[step.kind](self.acts, step)
        try:
            self._come_to_rest()
        except InvariantBroken as error:
            self._breach("everything_comes_to_rest", str(error))
        for failure in world.bus.failures:
            if not isinstance(failure.error, EXPECTED):
                self._breach("handlers_fail_only_with_what_is_expected", f"{failure.subscription}: {failure.error!r}")
        for text in self.acts.unexpected:
            self._breach("trainers_fail_only_with_what_is_expected", text)
        for text in world.witness.premature:
            self._breach("persist_then_publish", text)
        self.breaches += audit(read_books(world.store, self._outside(), world.seen), uploads_may_die=True)
        injector = world.injector
        return Outcome(
            self.schedule,
            tuple(self.breaches),
            tuple(world.timeline.lines),
            frozenset(injector.met),
            frozenset(injector.crashed),
            injector.struck,
            tuple(str(world.state(cycle).status) for cycle in self._cycles()),
        )

    def _breach(self, rule: str, text: str) -> None:
        self.breaches.append(Breach(rule, text))

    # rest

    def _cycles(self) -> Iterator[int]:
        head = read_head(self.world.store)
        return (cycle for cycle in range(FIRST_CYCLE, head + 1) if find(self.world.store, state_key(cycle)) is not None)

    def _come_to_rest(self) -> None:
        """End what lasts, let everybody do their work until nothing moves, then have one more dataset sealed."""
        world = self.world
        world.timeline.lines.append("everything heals")
        world.injector.heal()
        world.machines.answer = None
        self._rest()
        for text in LAST_WORDS:
            world.timeline.lines.append(f"at the end: {text}")
            world.type("finetune-triggers", text)
            self._rounds(1)
            world.deliver(1000)
        self._rest()

    def _rest(self) -> None:
        for _ in range(MOST_ROUNDS):
            self._rounds(1, work=True)
            if self._rests():
                return
        moving = {cycle: str(self.world.state(cycle).status) for cycle in self._cycles() if self.world.state(cycle).status in RESTLESS}
        waiting = {name: self.world.bus.backlog(name) for name in subscriptions() if self.world.bus.backlog(name)}
        self._breach("everything_comes_to_rest", f"after {MOST_ROUNDS} ticks: cycles {moving}, messages {waiting}")

    def _rounds(self, count: int, *, work: bool = False) -> None:
        for _ in range(count):
            if work:
                self.acts.work(Step("work"))
            self.world.clock.advance(ROUND_S)
            self.world.publish_tick()
            failed, struck = len(self.world.bus.failures), self.world.injector.struck
            self.world.deliver(1000)
            for failure in self.world.bus.failures[failed:]:
                if struck == self.world.injector.struck:
                    self._breach("nothing_fails_without_a_fault", f"{failure.subscription}: {failure.error!r}")

    def _rests(self) -> bool:
        world = self.world
        restless = restless_under(world.ports.settings.policy)
        moving = any(world.state(cycle).status in restless for cycle in self._cycles())
        return not moving and not any(world.bus.backlog(name) for name in subscriptions())

    def _outside(self) -> Outside:
        world = self.world
        clocks_agree = not any(isinstance(step, Step) and step.kind == "skew" for step in self.schedule.steps)
        return Outside(
            publishes=tuple(publishes(world.bus)),
            announced=frozenset(parse_event(message).event_id for message in world.bus.published(MODEL_EVENTS)),
            waiting={name: world.bus.backlog(name) for name in subscriptions()},
            machines=tuple(world.trainers.list_names()),
            spans=world.machines.spans(),
            clocks_agree=clocks_agree,
        )


def restless_under(policy: Policy) -> frozenset[Status]:
    """Return in which status a cycle is carried on: where a person decides, a canary that has proved itself waits for them."""
    return RESTLESS if policy.auto_deploy else RESTLESS - {Status.CANARY}


class Published(Protocol):
    """Knows what a bus has acknowledged."""

    def published(self, topic: str) -> list[Message]:
        """Return the messages of a topic."""
        ...


def publishes(bus: Published) -> Iterator[Publish]:
    """Yield everything that a bus has acknowledged."""
    for topic in TOPICS:
        for message in bus.published(topic):
            try:
                event_id: str | None = parse_event(message).event_id
            except InvalidMessage:
                event_id = None
            yield Publish(message.message_id, topic, event_id)


def subscriptions() -> Iterator[str]:
    """Return the name of every subscription of a function."""
    return (subscription_name(function, topic) for function, topics in READS.items() for topic in topics)
