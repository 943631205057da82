"""Runs a schedule over the real handlers, lets everything come to rest, and checks the books."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta

from functions.launcher.trainers import NoCapacity, Refused
from functions.wiring import READS, subscription_name
from shared import ledger
from shared.bus import Outgoing
from shared.cas import find
from shared.cycle import Status
from shared.errors import CommitUnknown, Conflict, InvalidMessage, InvariantBroken, NotFound, Retryable, RetuneError
from shared.events import MODEL_EVENTS, STT_ERRORS, TOPICS, parse_event
from shared.keys import state as state_key
from shared.testing import builders
from tests.chaos.audit import Breach, audit
from tests.chaos.books import Outside, Publish
from tests.chaos.faulty import Crash, Point
from tests.chaos.reading import read_books
from tests.chaos.schedule import POLICIES, Fault, Schedule, Step
from tests.chaos.simulated import SAMPLES_FROM, UTTERANCES, Life, SimulatedWorld, repeatable
from tests.world import right, wrong

EXPECTED = (CommitUnknown, Conflict, NotFound, Retryable)
"""What a handler may raise under faults: the message is delivered again."""
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
        self.reported = 0
        self.events = 0
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
                ACTS[step.kind](self, step)
        try:
            self._come_to_rest()
        except InvariantBroken as error:
            self._breach("everything_comes_to_rest", str(error))
        for failure in world.bus.failures:
            if not isinstance(failure.error, EXPECTED):
                self._breach("handlers_fail_only_with_what_is_expected", f"{failure.subscription}: {failure.error!r}")
        for text in world.witness.premature:
            self._breach("persist_then_publish", text)
        self.breaches += audit(read_books(world.store, self._outside(), world.seen))
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

    # what the outside does

    def report(self, step: Step, *, referenced: bool = True) -> None:
        """Report errors and, at rate 1, as many samples of calls that nobody objected to."""
        now = self.world.clock.now()
        numbers = range(self.reported, min(self.reported + step.number, UTTERANCES))
        self.reported = numbers.stop if numbers else self.reported
        reference = "fall back" if referenced else None
        self.world.publish(*(builders.sample(SAMPLES_FROM + n, at=now, sample_rate=1.0) for n in numbers))
        self.world.publish(*(builders.error(n, at=now, reference=reference) for n in numbers))

    def correct(self, step: Step) -> None:
        """A person corrects an utterance, which may not have been reported yet."""
        self.world.publish(builders.correction(step.number, at=self.world.clock.now()))

    def report_again(self, step: Step) -> None:
        """A client sends a report again that it takes for lost."""
        found = self.world.bus.published(STT_ERRORS)
        if found:
            message = found[step.number % len(found)]
            self.world.bus.publish(Outgoing(STT_ERRORS, message.data, message.attributes))

    def serve(self, step: Step) -> None:
        """The live versions serve."""
        production, now = self.world.production(), self.world.clock.now()
        for version in (production.stable, production.canary.version if production.canary else None):
            if version is not None:
                self.events += 1
                self.world.publish(builders.traffic(self.events, step.number, version=version, at=now))

    def malformed(self, step: Step) -> None:
        """Somebody publishes what is no event."""
        self.world.type(step.text, "{no event")

    def type(self, step: Step) -> None:
        """A person types a message."""
        topic, _, text = step.text.partition(" ")
        self.world.type(topic, text)

    # time, delivery, faults that last

    def tick(self, step: Step) -> None:
        """Time passes, and the scheduler says so."""
        self.world.clock.advance(step.number)
        self.world.publish_tick()

    def deliver(self, step: Step) -> None:
        """Some messages are delivered."""
        self.world.deliver(step.number)

    def deliver_again(self, step: Step) -> None:
        """The bus delivers an old message once more, to whoever reads it."""
        found = self.world.bus.published(step.text)
        for function, topics in READS.items():
            if found and step.text in topics:
                self.world.bus.duplicate(subscription_name(function, step.text), found[step.number % len(found)].message_id)

    def reorder(self, step: Step) -> None:
        """From now on messages are delivered in an order that is drawn."""
        self.world.bus.shuffle(random.Random(self.schedule.seed + step.number))

    def partition(self, step: Step) -> None:
        """An actor reaches neither store nor bus for a while."""
        self.world.injector.cut_off(step.text, self.world.clock.now() + timedelta(seconds=step.number))

    def skew(self, step: Step) -> None:
        """An actor's clock is off from now on."""
        self.world.injector.skews[step.text] = step.number

    def capacity(self, step: Step) -> None:
        """Machines are to be had, or not."""
        answers: dict[str, NoCapacity | Refused | None] = {
            "none": NoCapacity("no GPU anywhere"),
            "refused": Refused("quota"),
            "there": None,
        }
        self.world.machines.answer = answers[step.text]

    # trainers

    def work(self, step: Step) -> None:
        """Every trainer does all of its work; 1: the candidate is no better; 2: the machines stay when they are done."""
        for life in list(self.world.machines.lives.values()):
            self._act(life, lambda life: self._finish(life, better=step.number != 1, stays=step.number == 2))

    def begin(self, step: Step) -> None:
        """A trainer does its first act."""
        self._pick(step, self._begin)

    def beat(self, step: Step) -> None:
        """A trainer gives a sign of life."""
        self._pick(step, lambda life: self.world.trainer_of(life).beat() if life.begin is not None else None)

    def fail(self, step: Step) -> None:
        """A trainer gives up and says why."""

        def give_up(life: Life) -> None:
            if self._begin(life):
                self.world.trainer_of(life).fail(step.text)
                self.world.machines.delete(life.run.name)

        self._pick(step, give_up)

    def preempt(self, step: Step) -> None:
        """A machine is taken away, with a notice; a trainer that has not begun gives none."""

        def take(life: Life) -> None:
            if life.begin is not None:
                self.world.trainer_of(life).preempt()
            self.world.machines.delete(life.run.name)

        self._pick(step, take)

    def kill(self, step: Step) -> None:
        """A machine is gone without a word."""
        self._pick(step, lambda life: self.world.machines.delete(life.run.name))

    def hang(self, step: Step) -> None:
        """A trainer does nothing any more, and its machine stays."""

        def hang(life: Life) -> None:
            life.hangs = True

        self._pick(step, hang)

    def _pick(self, step: Step, act: Callable[[Life], object]) -> None:
        lives = list(self.world.machines.lives.values())
        if lives:
            self._act(lives[step.number % len(lives)], act)

    def _act(self, life: Life, act: Callable[[Life], object]) -> None:
        """Let a trainer act; whatever it cannot bear ends it and its machine."""
        name, world = life.run.name, self.world
        if life.hangs or life.end is not None:
            return
        try:
            said = act(life)
            world.timeline.tell(f"   {name}: {said if said is not None else 'done'}")
        except Crash as error:
            world.timeline.tell(f"   {name}: dead, {error}")
            world.machines.delete(name)
        except RetuneError as error:
            world.timeline.tell(f"   {name}: gives up, {error}")
            if not isinstance(error, EXPECTED):
                self._breach("trainers_fail_only_with_what_is_expected", repr(error))
            world.machines.delete(name)

    def _begin(self, life: Life) -> bool:
        """Return whether the trainer may work; one that may not is gone."""
        why_not = self.world.trainer_of(life).begin()
        if why_not:
            self.world.timeline.tell(f"   {life.run.name}: {why_not}")
            self.world.machines.delete(life.run.name)
        elif life.begin is None:
            life.begin = self.world.machines.observe()
        return not why_not

    def _finish(self, life: Life, *, better: bool, stays: bool) -> str:
        if not self._begin(life):
            return "gone"
        said = self.world.trainer_of(life).finish(wrong, right if better else wrong)
        if stays:
            life.end, life.hangs = self.world.machines.observe(), True
        else:
            self.world.machines.delete(life.run.name)
        return said

    # rest

    def _cycles(self) -> Iterator[int]:
        head = ledger.read_head(self.world.store)
        return (cycle for cycle in range(ledger.FIRST_CYCLE, head + 1) if find(self.world.store, state_key(cycle)) is not None)

    def _come_to_rest(self) -> None:
        """End what lasts, let everybody do their work until nothing moves, then have one more dataset sealed."""
        world = self.world
        world.timeline.lines.append("everything heals")
        world.injector.heal()
        world.machines.answer = None
        self._rest()
        for text in ('{"cancel": true}', '{"force": true}', '{"cancel": true}'):
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
        waiting = {name: self.world.bus.backlog(name) for name in _subscriptions() if self.world.bus.backlog(name)}
        self._breach("everything_comes_to_rest", f"after {MOST_ROUNDS} ticks: cycles {moving}, messages {waiting}")

    def _rounds(self, count: int, *, work: bool = False) -> None:
        for _ in range(count):
            if work:
                self.work(Step("work"))
            self.world.clock.advance(ROUND_S)
            self.world.publish_tick()
            failed, struck = len(self.world.bus.failures), self.world.injector.struck
            self.world.deliver(1000)
            for failure in self.world.bus.failures[failed:]:
                if struck == self.world.injector.struck:
                    self._breach("nothing_fails_without_a_fault", f"{failure.subscription}: {failure.error!r}")

    def _rests(self) -> bool:
        world = self.world
        # Where a person decides, a canary that has proved itself waits for them.
        restless = RESTLESS if world.ports.settings.policy.auto_deploy else RESTLESS - {Status.CANARY}
        moving = any(world.state(cycle).status in restless for cycle in self._cycles())
        return not moving and not any(world.bus.backlog(name) for name in _subscriptions())

    def _outside(self) -> Outside:
        world = self.world
        clocks_agree = not any(isinstance(step, Step) and step.kind == "skew" for step in self.schedule.steps)
        return Outside(
            publishes=tuple(self._publishes()),
            announced=frozenset(parse_event(message).event_id for message in world.bus.published(MODEL_EVENTS)),
            waiting={name: world.bus.backlog(name) for name in _subscriptions()},
            machines=tuple(world.trainers.list_names()),
            spans=world.machines.spans(),
            clocks_agree=clocks_agree,
        )

    def _publishes(self) -> Iterator[Publish]:
        for topic in TOPICS:
            for message in self.world.bus.published(topic):
                try:
                    event_id: str | None = parse_event(message).event_id
                except InvalidMessage:
                    event_id = None
                yield Publish(message.message_id, topic, event_id)


def _subscriptions() -> Iterator[str]:
    return (subscription_name(function, topic) for function, topics in READS.items() for topic in topics)


ACTS: Mapping[str, Callable[[_Run, Step], None]] = {
    "report": _Run.report,
    "report without reference": lambda run, step: run.report(step, referenced=False),
    "correct": _Run.correct,
    "report again": _Run.report_again,
    "serve": _Run.serve,
    "malformed": _Run.malformed,
    "type": _Run.type,
    "tick": _Run.tick,
    "deliver": _Run.deliver,
    "deliver again": _Run.deliver_again,
    "reorder": _Run.reorder,
    "partition": _Run.partition,
    "skew": _Run.skew,
    "capacity": _Run.capacity,
    "work": _Run.work,
    "begin": _Run.begin,
    "beat": _Run.beat,
    "fail": _Run.fail,
    "preempt": _Run.preempt,
    "kill": _Run.kill,
    "hang": _Run.hang,
}
"""What each kind of step does."""
