"""What each kind of act does to a burning stack. None of them waits for its end: publishing is left to threads."""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from shared import keys
from shared.bus import Outgoing
from shared.cas import find
from shared.errors import Retryable
from shared.events import STT_ERRORS, CandidateAccepted, Tick
from shared.messages import outgoing
from shared.registry import CODEC as PRODUCTION
from shared.registry import Production
from shared.testing import builders
from tests.chaos.fire.machines import FATES
from tests.chaos.fire.schedule import Act
from tests.chaos.fire.stack import BurningStack
from tests.chaos.simulated import SAMPLES_FROM

PUBLISHERS = 8
LOOK_EVERY_S = 0.02
KILLED_S = 30.0
UNTIL_KILLED = "until killed"
UNTIL_PUBLISHED = "until published"
LEADING = frozenset({UNTIL_KILLED, UNTIL_PUBLISHED})
"""Acts that are never drawn: they are for plans that lead somewhere."""
SAMPLES_FROM_HERE = 1000 * SAMPLES_FROM


def wait_until(holds: Callable[[], bool], seconds: float) -> bool:
    """Wait until something holds, at most so long in real time; return whether it does."""
    end, never = time.monotonic() + seconds, threading.Event()
    while not (held := holds()) and time.monotonic() < end:
        never.wait(LOOK_EVERY_S)
    return held


class Actors:
    """Everybody but the functions and the trainers: production, people, the scheduler, the bus, and fate."""

    def __init__(self, stack: BurningStack) -> None:
        self.stack = stack
        self._reported = 0
        self._traffic = 0
        self._pool = ThreadPoolExecutor(PUBLISHERS, thread_name_prefix="production")
        self._publishing: list[Future[None]] = []

    def act(self, act: Act) -> None:
        """Do one thing."""
        if act.kind != "tick":
            self.stack.timeline.tell(f"* {act}")
        ACTS[act.kind](self, act)

    def finish(self) -> None:
        """Wait until everything has been published."""
        while self._publishing:
            self._publishing.pop().result()

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def publish(self, *messages: Outgoing) -> None:
        """Publish each message through the real client, again and again until it is acknowledged."""
        self._publishing += [self._pool.submit(self._publish, message) for message in messages]

    def _publish(self, message: Outgoing) -> None:
        while True:
            try:
                self.stack.production.publish(message)
            except Retryable as error:
                self.stack.timeline.tell(f"production publishes again: {error}")
            else:
                return

    # what the outside does

    def report(self, act: Act, *, referenced: bool = True) -> None:
        """Report errors and, at rate 1, as many samples of calls that nobody objected to."""
        now = self.stack.clock.now()
        numbers = range(self._reported, self._reported + act.number)
        self._reported = numbers.stop
        samples = range(SAMPLES_FROM_HERE + numbers.start, SAMPLES_FROM_HERE + numbers.stop)
        for number in (*numbers, *samples):
            self.stack.calls.put(f"u{number}.wav", builders.audio_bytes(number))
        reference = "fall back" if referenced else None
        self.publish(*(outgoing(builders.sample(number, at=now, sample_rate=1.0)) for number in samples))
        self.publish(*(outgoing(builders.error(number, at=now, reference=reference)) for number in numbers))

    def correct(self, act: Act) -> None:
        """A person corrects an utterance, which may not have been reported yet."""
        self.publish(outgoing(builders.correction(act.number, at=self.stack.clock.now())))

    def report_again(self, act: Act) -> None:
        """A client sends a report again that it takes for lost."""
        found = self.stack.acknowledged.published(STT_ERRORS)
        if found:
            message = found[act.number % len(found)]
            self.publish(Outgoing(STT_ERRORS, message.data, message.attributes))

    def serve(self, act: Act) -> None:
        """The live versions serve."""
        production, now = self._production(), self.stack.clock.now()
        for version in (production.stable, production.canary.version if production.canary else None):
            if version is not None:
                self._traffic += 1
                self.publish(outgoing(builders.traffic(self._traffic, act.number, version=version, at=now)))

    def malformed(self, act: Act) -> None:
        """Somebody publishes what is no event."""
        self.publish(Outgoing(act.text, b"{no event", {}))

    def forge(self, act: Act) -> None:
        """Somebody claims that a candidate was accepted: a message alone can deploy nothing."""
        now = self.stack.clock.now()
        claim = CandidateAccepted(
            event_id=f"forged-{now.isoformat()}", occurred_at=now, cycle=act.number, report_sha256="0" * 64, manifest_sha256="0" * 64
        )
        self.publish(outgoing(claim))

    def type(self, act: Act) -> None:
        """A person types a message."""
        topic, _, text = act.text.partition(" ")
        self.publish(Outgoing(topic, text.encode(), {}))

    def promote_the_newest(self, _act: Act) -> None:
        """A person promotes the model that was made last, whatever became of it."""
        versions = [keys.cycle_of(info.key) for info in self.stack.store.list(keys.MODELS) if info.key.endswith("/manifest.json")]
        self.type(Act("type", text=f'model-commands {{"promote": {max(versions)}}}'))

    def tick(self, _act: Act) -> None:
        """The scheduler says that a minute has passed; it is never away."""
        now = self.stack.clock.now()
        self.publish(outgoing(Tick(event_id=f"tick-{now.isoformat()}", occurred_at=now)))

    # what goes wrong

    def trouble(self, act: Act) -> None:
        """Something goes wrong for a while."""
        self.stack.weather.bring(*act.troubles)

    def kill(self, act: Act) -> None:
        """A process is killed, wherever it stands."""
        self._pool.submit(self.stack.kill, act.text)

    def until_killed(self, act: Act) -> None:
        """Wait until a process has been killed, if only its own write does it."""
        wait_until(lambda: self.stack.restarts[act.text] > 0, KILLED_S)

    def until_published(self, _act: Act) -> None:
        """Wait until everything has been published that was to be."""
        self.finish()

    def skew(self, act: Act) -> None:
        """A process's clock is off from now on."""
        self.stack.clock.skew(act.text, act.number)

    def machine(self, act: Act) -> None:
        """Something happens to a machine."""
        self._pool.submit(self.stack.compute.harm, act.text)

    def inserts(self, act: Act) -> None:
        """Some of the next machines that are asked for come to something else."""
        for zone in self.stack.compute.zones:
            self.stack.compute.script[zone] += [FATES[act.text]] * act.number

    def deliver_again(self, act: Act) -> None:
        """The bus delivers an old message once more, to whoever reads it."""
        self.stack.ask("deliver_again", act.text, act.number)

    def reorder(self, act: Act) -> None:
        """From now on messages are delivered in an order that is drawn."""
        self.stack.shuffle(act.number)

    def _production(self) -> Production:
        found = find(self.stack.store, keys.PRODUCTION)
        return PRODUCTION.parse(found.data) if found else Production()


ACTS: Mapping[str, Callable[[Actors, Act], None]] = {
    "report": Actors.report,
    "report without reference": lambda run, act: run.report(act, referenced=False),
    "correct": Actors.correct,
    "report again": Actors.report_again,
    "serve": Actors.serve,
    "malformed": Actors.malformed,
    "forge": Actors.forge,
    "type": Actors.type,
    "promote the newest": Actors.promote_the_newest,
    "tick": Actors.tick,
    "trouble": Actors.trouble,
    "partition": Actors.trouble,
    "kill": Actors.kill,
    UNTIL_KILLED: Actors.until_killed,
    UNTIL_PUBLISHED: Actors.until_published,
    "skew": Actors.skew,
    "machine": Actors.machine,
    "inserts": Actors.inserts,
    "deliver again": Actors.deliver_again,
    "reorder": Actors.reorder,
}
"""What each kind of act does."""
