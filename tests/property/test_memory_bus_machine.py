"""MemoryBus against a plain account of who holds what: nothing is lost, nothing is handed out twice at a time."""

import random
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from infra.local.pubsub_server import SqliteJournal
from shared.bus import Outgoing
from shared.testing.clock import FakeClock
from shared.testing.memory_bus import MemoryBus

ACK_DEADLINE_S = 10
BACKOFF_S = 5


class Delivery(RuleBasedStateMachine):
    """One subscription with a dead-letter policy, one consumer that may do anything at any time."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.bus = self.open()
        self.bus.create_topic("errors")
        self.bus.create_topic("errors-dead")
        self.bus.create_subscription("errors-dead", "dead")
        self.bus.create_subscription(
            "errors", "collector", dead_letter_topic="errors-dead", min_backoff_s=BACKOFF_S, max_backoff_s=BACKOFF_S
        )
        self.copies = 0
        self.acknowledged = 0
        self.leases: dict[str, datetime] = {}

    def open(self) -> MemoryBus:
        return MemoryBus(self.clock)

    def alive(self) -> list[str]:
        return sorted(ack_id for ack_id, until in self.leases.items() if until > self.clock.now())

    @rule(count=st.integers(1, 5))
    def publish(self, count: int) -> None:
        for _ in range(count):
            self.bus.publish(Outgoing("errors", b"1"))
        self.copies += count

    @rule(choice=st.randoms(use_true_random=False))
    def duplicate(self, choice: random.Random) -> None:
        published = self.bus.published("errors")
        if published:
            self.bus.duplicate("collector", choice.choice(published).message_id)
            self.copies += 1

    @rule(seed=st.none() | st.integers(0, 9))
    def change_the_order(self, seed: int | None) -> None:
        self.bus.shuffle(None if seed is None else random.Random(seed))

    @rule(limit=st.integers(1, 10))
    def pull(self, limit: int) -> None:
        due = self.bus.backlog("collector")
        received = self.bus.pull("collector", limit=limit)
        assert len(received) <= min(limit, due)
        assert not {each.ack_id for each in received} & set(self.leases)
        assert all(1 <= (each.message.delivery_attempt or 0) <= 5 for each in received)
        until = self.clock.now() + timedelta(seconds=ACK_DEADLINE_S)
        self.leases.update({each.ack_id: until for each in received})

    @rule(choice=st.randoms(use_true_random=False), late=st.booleans())
    def ack(self, choice: random.Random, late: bool) -> None:
        candidates = sorted(self.leases) if late else self.alive()
        if candidates:
            ack_id = choice.choice(candidates)
            self.acknowledged += ack_id in self.alive()
            self.bus.ack("collector", [ack_id])
            del self.leases[ack_id]

    @rule(choice=st.randoms(use_true_random=False))
    def nack(self, choice: random.Random) -> None:
        if alive := self.alive():
            ack_id = choice.choice(alive)
            self.bus.nack("collector", [ack_id])
            del self.leases[ack_id]

    @rule(seconds=st.integers(1, 599))
    def extend(self, seconds: int) -> None:
        for ack_id in self.alive():
            self.bus.modify_ack_deadline("collector", [ack_id], seconds)
            self.leases[ack_id] = self.clock.now() + timedelta(seconds=seconds)

    @rule(seconds=st.sampled_from([1, 4, 5, 10, 11, 3600]))
    def let_time_pass(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @invariant()
    def every_copy_is_somewhere(self) -> None:
        backlog = self.bus.backlog("collector")  # before the dead letters: it settles what is over
        assert self.copies == self.acknowledged + backlog + self.bus.backlog("dead")
        assert len(self.alive()) <= backlog

    @invariant()
    def what_is_held_is_not_due(self) -> None:
        ready = self.bus.engine.ready("projects/local/subscriptions/collector")
        assert ready + len(self.alive()) <= self.bus.backlog("collector")

    def teardown(self) -> None:
        """In the end a patient consumer has everything."""
        for _ in range(20):
            self.clock.advance(3600)
            for received in self.bus.pull("collector", limit=1000):
                self.bus.ack("collector", [received.ack_id])
        assert self.bus.backlog("collector") == 0


class KilledDelivery(Delivery):
    """The same where the bus may be killed at any time and another one goes on from its journal."""

    def open(self) -> MemoryBus:
        self.folder = TemporaryDirectory()
        self.journal = SqliteJournal(Path(self.folder.name) / "journal")
        return MemoryBus(self.clock, journal=self.journal)

    @rule()
    def kill(self) -> None:
        self.journal.close()  # what was not committed is gone, as with the process
        self.journal = SqliteJournal(Path(self.folder.name) / "journal")
        self.bus = MemoryBus(self.clock, journal=self.journal)
        self.leases = dict.fromkeys(self.leases, self.clock.now())

    def duplicate(self, choice: random.Random) -> None:
        """No rule here: copies are not kept."""

    def teardown(self) -> None:
        super().teardown()
        self.journal.close()
        self.folder.cleanup()


for machine, examples in ((Delivery, 60), (KilledDelivery, 25)):
    machine.TestCase.settings = settings(max_examples=examples, stateful_step_count=30, deadline=None)
TestDelivery = Delivery.TestCase
TestKilledDelivery = KilledDelivery.TestCase
