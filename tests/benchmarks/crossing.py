"""From the last error published to the threshold message, on the local stack; and whether any crossing is missed or counted twice.

Everything is real but the trainer: Google's clients, the local Cloud Storage and Pub/Sub servers, collector, launcher and sweeper under
functions-framework. In each repetition a new cycle collects: errors are published up to the threshold, the clock runs from the moment
before the last of them is published until `ThresholdCrossed` arrives at a subscription of its own, the launcher opens the cycle
(`awaiting_approval`, so that no trainer starts), and a person cancels it, which has the next cycle collect. A sample shows the collector
that it does: its first write after a move goes into both ledgers, and whoever seals may count it there. After five cycles ledgers and
states are taken away and the first cycle collects again: the exact count of a crossing looks at all earlier ledgers.

What a double crossing is follows from functions/crossing.py. A crossing is a level, not an edge: whoever looks while it stands
announces it, and each announcement of one cycle is the same event, since its id follows from the cycle's number alone. Several
announcements are one crossing, and are counted here as what they cost. Double is: two event ids for one cycle, or more than one cycle that
was opened for one crossing. Missed is: none within 30 s of a tick. Early is: announced before the last error was published.

    alone       the last error comes alone, and the collector's interval between two counts has passed
    alone_40ms  the same with 40 ms a call of Cloud Storage
    burst       all 50 errors come at once, the interval has passed
    throttled   the last error comes just after a count: the sweeper's next tick sees it

Where the tick decides, the time is counted from the tick: what comes before is the rest of the minute.
Run as `python -m tests.benchmarks.crossing [SCENARIO ...]`.
"""

import argparse
import json
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from google.cloud import pubsub_v1

from infra.local.gcs_server.routes import GcsApi
from infra.local.gcs_server.wire import Request, Response
from infra.local.stack import Stack, StackConfig
from infra.local.state_folder import variables_set
from shared import keys, ledger
from shared.bus import Message, Outgoing
from shared.cas import find
from shared.clock import SystemClock
from shared.cycle import CODEC
from shared.documents import document_bytes
from shared.events import FINETUNE_TRIGGERS, STT_ERRORS, Event, ThresholdCrossed, Tick
from shared.head import FIRST_CYCLE, Head, read_head
from shared.messages import outgoing, parse_event
from shared.policy import Policy
from shared.pubsub import PubSubBus
from shared.testing import builders
from tests.e2e.local_stack import CALLS, install_model

DEADLINE_S = 30.0
CYCLES = 5
"""So many follow each other before the first collects again."""
LOOK_S = 0.002
NO_TICKS_S = 1e6
"""The benchmark publishes its own."""


@dataclass(frozen=True)
class Scenario:
    """One way in which the last error comes.

    Attributes:
        threshold: so many errors cross.
        at_once: so many of them are published together; the others before, until the ledger has them.
        interval_s: least time between two counts of the collector.
        rest_s: how long nothing is published before the last errors.
        patience_s: a crossing that has not been announced so long after the errors were durable is left to the tick.
        latency_s: how long each call of Cloud Storage is held back.
    """

    repetitions: int
    threshold: int
    at_once: int
    interval_s: float
    rest_s: float
    patience_s: float
    latency_s: float = 0.0


SCENARIOS = {
    "alone": Scenario(repetitions=1000, threshold=3, at_once=1, interval_s=0.05, rest_s=0.06, patience_s=2.0),
    "alone_40ms": Scenario(repetitions=60, threshold=3, at_once=1, interval_s=0.8, rest_s=1.0, patience_s=3.0, latency_s=0.04),
    "burst": Scenario(repetitions=60, threshold=50, at_once=50, interval_s=1.0, rest_s=1.0, patience_s=0.5),
    "throttled": Scenario(repetitions=300, threshold=3, at_once=1, interval_s=3600.0, rest_s=0.0, patience_s=0.05),
}
"""The production interval is 10 s; what matters is whether it has passed when the last error comes."""


@dataclass(frozen=True)
class Repetition:
    """What came of one cycle.

    Attributes:
        waited_s: from the last error, or from the tick where that announced it, to the message; None = missed.
        ticked: the collector did not announce it, the sweeper did.
        opened: cycles that were opened.
        announced, event_ids: messages about the cycle, and their different ids.
        early: it was announced before the last error was published.
    """

    cycle: int
    waited_s: float | None
    ticked: bool
    opened: int
    announced: int = 0
    event_ids: int = 0
    early: bool = False


Heard = tuple[float, str]
"""When a message came, and its event id."""


@dataclass
class Watch:
    """Hears the threshold messages.

    Attributes:
        heard: by cycle; of the cycles since the first one collected last.
    """

    changed: threading.Condition = field(default_factory=threading.Condition)
    heard: dict[int, list[Heard]] = field(default_factory=lambda: defaultdict(list))

    def __call__(self, message: Message) -> None:
        """Take one message of `finetune-triggers`."""
        now = time.perf_counter()
        event = parse_event(message)
        if isinstance(event, ThresholdCrossed):
            with self.changed:
                self.heard[event.cycle].append((now, event.event_id))
                self.changed.notify_all()

    def wait(self, cycle: int, timeout_s: float) -> float | None:
        """Return when a cycle's first message came, or None where none does in time."""
        with self.changed:
            self.changed.wait_for(lambda: self.heard[cycle], timeout_s)
            return self.heard[cycle][0][0] if self.heard[cycle] else None

    def forget(self) -> dict[int, list[Heard]]:
        """Return what was heard, and hear the next cycles."""
        with self.changed:
            heard, self.heard = self.heard, defaultdict(list)
            return heard


@dataclass
class Delay:
    """How long each call of Cloud Storage is held back now."""

    seconds: float = 0.0


class Bench:
    """A stack with a model, ready to collect cycle after cycle."""

    def __init__(self, stack: Stack, scenario: Scenario, delay: Delay, bus: PubSubBus, publisher: Any, watch: Watch) -> None:
        self._stack = stack
        self._scenario = scenario
        self._delay = delay
        self._bus = bus
        self._publisher = publisher
        self._watch = watch
        self._topic = f"projects/{stack.config.project}/topics/{STT_ERRORS}"

    def follow(self, cycles: int) -> list[Repetition]:
        """Let so many cycles follow each other from the first one on, and judge each by all that was heard of it."""
        made = [self._repeat() for _ in range(cycles)]
        heard = self._watch.forget()
        for prefix in ("ledger/", "cycles/"):
            for info in self._stack.store.list(prefix):
                self._stack.store.delete(info.key)
        self._stack.store.put(keys.HEAD, document_bytes(Head(cycle=FIRST_CYCLE)))  # without it a head would be lost
        return [_judged(repetition, published, heard[repetition.cycle]) for repetition, published in made]

    def _repeat(self) -> tuple[Repetition, float]:
        """Cross the threshold of the cycle that collects; return what came of it, and when its last error was published."""
        scenario, store = self._scenario, self._stack.store
        cycle = read_head(store)
        self._settle_head(cycle)
        self._delay.seconds = scenario.latency_s
        errors = self._errors(cycle)
        before, last = errors[: -scenario.at_once], errors[-scenario.at_once :]
        if before:
            self._publish(before)
            until(lambda: ledger.count(store, cycle).errors >= len(before), f"{len(before)} errors in ledger {cycle}")
        time.sleep(scenario.rest_s)
        published = self._publish(last)
        arrived, ticked = self._wait(cycle)
        since = self._tick() if ticked else published
        arrived = self._watch.wait(cycle, DEADLINE_S) if ticked else arrived
        self._delay.seconds = 0.0
        opened = self._end(cycle) if arrived is not None else 0
        return Repetition(cycle, None if arrived is None else arrived - since, ticked, opened), published

    def _settle_head(self, cycle: int) -> None:
        """Have the collector see that the head has moved: what it writes before may be consumed by the cycle that was opened."""
        now, name = SystemClock().now(), f"s{cycle}-{uuid.uuid4().hex}"
        self._publish([builders.sample(0, at=now, event_id=name, utterance_id=name, audio_uri=f"{CALLS}/u0.wav")])
        store = self._stack.store
        until(lambda: name in {event.event_id for event in ledger.read_events(store, cycle)}, f"{name} in ledger {cycle}")

    def _errors(self, cycle: int) -> list[Event]:
        now = SystemClock().now()
        return [
            builders.error(n, at=now, event_id=f"e{cycle}-{n}", utterance_id=f"u{cycle}-{n}", audio_uri=f"{CALLS}/u{n}.wav")
            for n in range(self._scenario.threshold)
        ]

    def _publish(self, events: Sequence[Event]) -> float:
        """Publish, and return when the last one was about to be."""
        sent = [outgoing(event) for event in events]
        if len(sent) == 1:
            begun = time.perf_counter()
            self._bus.publish(sent[0])
            return begun
        futures = []
        for each in sent:
            begun = time.perf_counter()
            futures.append(self._publisher.publish(self._topic, each.data, **each.attributes))
        for future in futures:
            future.result(DEADLINE_S)
        return begun

    def _wait(self, cycle: int) -> tuple[float | None, bool]:
        """Return when the collector announced the crossing, or that it left it to the tick."""
        store, scenario = self._stack.store, self._scenario
        until(
            lambda: self._watch.wait(cycle, timeout_s=0.02) or ledger.count(store, cycle).errors >= scenario.threshold,
            f"{scenario.threshold} errors in ledger {cycle}",
        )
        arrived = self._watch.wait(cycle, scenario.patience_s)
        return arrived, arrived is None

    def _tick(self) -> float:
        begun = time.perf_counter()
        self._bus.publish(outgoing(Tick(event_id=uuid.uuid4().hex, occurred_at=SystemClock().now())))
        return begun

    def _end(self, cycle: int) -> int:
        """Wait until the launcher has opened the cycle, cancel it as a person does, and return how many cycles the crossing opened."""
        store = self._stack.store
        until(lambda: find(store, keys.state(cycle)), f"cycle {cycle} to be opened")
        self._bus.publish(Outgoing(FINETUNE_TRIGGERS, json.dumps({"cancel": cycle}).encode()))
        until(lambda: read_head(store) > cycle, f"cycle {cycle} to be cancelled")
        states = [CODEC.parse(store.get(info.key).data) for info in store.list("cycles/") if info.key.endswith("/state.json")]
        return sum(state.cycle >= cycle for state in states)


def until(fact: Callable[[], object], what: str) -> None:
    """Wait until it is true. Raises TimeoutError where it does not become so."""
    deadline = time.monotonic() + DEADLINE_S
    while not fact():
        if time.monotonic() > deadline:
            raise TimeoutError(f"expected {what} within {DEADLINE_S:g} s")
        time.sleep(LOOK_S)


@contextmanager
def bench(folder: Path, scenario: Scenario, delay: Delay) -> Iterator[Bench]:
    """Start a stack with a model and listen to the threshold messages."""
    policy = Policy(
        min_error_cases=scenario.threshold,
        min_corrected_cases=1_000_000,
        cooldown_s=0.0,
        decline_backoff_s=0.0,
        min_trainable_clips=1,
        min_speakers=1,
        min_audio=1,
        dev_share=1e-6,  # nearly all speakers train: a cycle of three errors that none may train on would be declined
        holdout_share=1e-6,
    )
    config = StackConfig(
        directory=folder / "stack",
        policy=policy,
        tick_s=NO_TICKS_S,
        environ={"RETUNE_COUNT_INTERVAL_S": str(scenario.interval_s)},
    )
    watch = Watch()
    with Stack(config) as stack, variables_set(stack.env):
        install_model(stack)
        for number in range(scenario.threshold):
            stack.calls.put(f"u{number}.wav", builders.audio_bytes(number))
        stack.bus.create_subscription(FINETUNE_TRIGGERS, "watch", ack_deadline_s=60)
        bus, publisher = PubSubBus(config.project), pubsub_v1.PublisherClient()
        listening = bus.subscribe("watch", watch)
        try:
            yield Bench(stack, scenario, delay, bus, publisher, watch)
        finally:
            listening.close()
            publisher.stop()
            publisher.transport.close()
            bus.close()


def run(folder: Path, scenario: Scenario) -> list[Repetition]:
    """Repeat a scenario on one stack; the first cycles warm it up and are not counted."""
    handle, delay = GcsApi.handle, Delay()

    def late(api: GcsApi, request: Request) -> Response:
        time.sleep(delay.seconds)
        return handle(api, request)

    slow: Any = patch.object(GcsApi, "handle", late) if scenario.latency_s else nullcontext()
    with slow, bench(folder, scenario, delay) as made:
        made.follow(CYCLES)
        return [each for _ in range(scenario.repetitions // CYCLES) for each in made.follow(CYCLES)]


def _judged(repetition: Repetition, published: float, heard: Sequence[Heard]) -> Repetition:
    """Add what was heard of a cycle until the end of the run."""
    return Repetition(
        **{
            **asdict(repetition),
            "announced": len(heard),
            "event_ids": len({event_id for _, event_id in heard}),
            "early": any(at < published for at, _ in heard),
        }
    )


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile of at least two values."""
    return quantiles(values, n=100, method="inclusive")[percent - 1]


def summary(repetitions: Sequence[Repetition]) -> dict[str, float | int | None]:
    """Return the figures of a scenario."""
    figures: dict[str, float | int | None] = {"repetitions": len(repetitions)}
    for name, ticked in (("collector", False), ("tick", True)):
        waited = [each.waited_s for each in repetitions if each.ticked == ticked and each.waited_s is not None]
        figures[f"by_{name}"] = len(waited)
        figures |= {f"{name}_p{percent}_s": percentile(waited, percent) if len(waited) > 1 else None for percent in (50, 99)}
    return figures | {
        "missed": sum(each.waited_s is None for each in repetitions),
        "double": sum(each.event_ids > 1 or each.opened > 1 for each in repetitions),
        "not_opened": sum(each.opened == 0 for each in repetitions),
        "early": sum(each.early for each in repetitions),
        "announcements": sum(each.announced for each in repetitions),
    }


def main() -> None:
    """Print and store the figures of the scenarios that the command line names, or of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)}; none = all")
    parser.add_argument("--repetitions", type=int, help=f"instead of each scenario's own number; whole multiples of {CYCLES}")
    options = parser.parse_args()
    unknown = sorted(set(options.scenarios) - SCENARIOS.keys())
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    out = Path("bench-results")
    out.mkdir(exist_ok=True)
    for name in options.scenarios or SCENARIOS:
        scenario = SCENARIOS[name]
        if options.repetitions:
            scenario = Scenario(**{**asdict(scenario), "repetitions": options.repetitions})
        with TemporaryDirectory(prefix="retune-crossing-") as folder:
            repetitions = run(Path(folder), scenario)
        figures = summary(repetitions)
        for figure, value in figures.items():
            print(f"crossing_{name}_{figure}: {f'{value:.3f} s' if isinstance(value, float) else value}")
        document = {"scenario": asdict(scenario), "figures": figures, "each": [asdict(each) for each in repetitions]}
        (out / f"crossing_{name}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
