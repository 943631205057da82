"""What each kind of step does to a simulated world: the outside, time and delivery, faults that last, trainers."""

import random
from collections.abc import Callable, Mapping
from datetime import timedelta

from functions.launcher.trainers import NoCapacity, Refused
from functions.wiring import READS, subscription_name
from shared.bus import Outgoing
from shared.errors import CommitUnknown, Conflict, NotFound, Retryable, RetuneError
from shared.events import STT_ERRORS
from shared.testing import builders
from shared.testing.memory_bus import MemoryBus
from tests.chaos.faulty import Crash
from tests.chaos.schedule import Step
from tests.chaos.simulated import SAMPLES_FROM, UTTERANCES, Life, SimulatedWorld
from tests.world import right, wrong

EXPECTED = (CommitUnknown, Conflict, NotFound, Retryable)
"""What a handler or a trainer may raise under faults: the message is delivered again, the attempt is repeated."""


def deliver_again(bus: MemoryBus, topic: str, number: int) -> None:
    """Deliver a message that was published before to whoever reads its topic, whether or not it was acknowledged."""
    found = bus.published(topic)
    for function, topics in READS.items():
        if found and topic in topics:
            bus.duplicate(subscription_name(function, topic), found[number % len(found)].message_id)


class Actors:
    """Everybody but the functions: production, people, the scheduler, the bus and the trainers.

    Attributes:
        unexpected: what trainers raised that no fault explains.
    """

    def __init__(self, world: SimulatedWorld, seed: int) -> None:
        self.world = world
        world.injector.finish = lambda: self.work(Step("work"))
        self.unexpected: list[str] = []
        self._seed = seed
        self._reported = 0
        self._traffic = 0

    # what the outside does

    def report(self, step: Step, *, referenced: bool = True) -> None:
        """Report errors and, at rate 1, as many samples of calls that nobody objected to."""
        now = self.world.clock.now()
        numbers = range(self._reported, min(self._reported + step.number, UTTERANCES))
        self._reported = numbers.stop if numbers else self._reported
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
                self._traffic += 1
                self.world.publish(builders.traffic(self._traffic, step.number, version=version, at=now))

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
        deliver_again(self.world.bus, step.text, step.number)

    def reorder(self, step: Step) -> None:
        """From now on messages are delivered in an order that is drawn."""
        self.world.bus.shuffle(random.Random(self._seed + step.number))

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

    def notice(self, step: Step) -> None:
        """A machine is about to be taken away: the trainer says so, and has its last seconds."""
        self._pick(step, lambda life: self.world.trainer_of(life).preempt() if life.begin is not None else None)

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
                self.unexpected.append(repr(error))
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


ACTS: Mapping[str, Callable[[Actors, Step], None]] = {
    "report": Actors.report,
    "report without reference": lambda run, step: run.report(step, referenced=False),
    "correct": Actors.correct,
    "report again": Actors.report_again,
    "serve": Actors.serve,
    "malformed": Actors.malformed,
    "type": Actors.type,
    "tick": Actors.tick,
    "deliver": Actors.deliver,
    "deliver again": Actors.deliver_again,
    "reorder": Actors.reorder,
    "partition": Actors.partition,
    "skew": Actors.skew,
    "capacity": Actors.capacity,
    "work": Actors.work,
    "begin": Actors.begin,
    "beat": Actors.beat,
    "fail": Actors.fail,
    "preempt": Actors.preempt,
    "preempt notice": Actors.notice,
    "kill": Actors.kill,
    "hang": Actors.hang,
}
"""What each kind of step does."""
