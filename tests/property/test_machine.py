"""A Hypothesis machine over ledger, cycle and registry: duplicates, reordering, crashes between writes, lost replies.

What must hold after every step, whatever happened: every acknowledged event is fresh in at most one dataset and is in a
dataset or in a ledger that is not sealed; one cycle at a time; the alias names a complete, accepted (or imported)
model. At the end, with the faults gone, what nobody has learned is in the next dataset.
"""

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from hypothesis import HealthCheck, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from functions.deployer.evidence import check_model
from functions.launcher.lineage import read_lineage
from functions.launcher.window import find_dataset
from functions.wiring import READS, subscription_name
from shared import keys, ledger
from shared.cas import find
from shared.cycle import Status
from shared.dataset import Row
from shared.errors import CommitUnknown, Retryable, RetuneError
from shared.head import read_head
from shared.policy import CanaryPolicy
from shared.testing import builders
from shared.totals import count_events
from shared.verdict import parse_report
from tests.world import POLICY, World, right, wrong

POLICY_HERE = POLICY.model_copy(update={"min_error_cases": 30, "max_attempts": 3, "min_speakers": 1, "auto_approve_finetuning": True})


MOST_UTTERANCES = 120
"""Each delivery counts the whole ledger here, so the work grows with the square of this."""


WITH_CANARY = POLICY_HERE.model_copy(
    update={
        "canary": CanaryPolicy(
            percent=10, session_s=0, min_duration_s=0, max_duration_s=3000, min_utterances=1, on_deadline="promote", guard_s=3000
        )
    }
)
"""Silence and the deadline decide here, in both directions: the test of the rates needs more looks than a history of the machine has."""


class Killed(RetuneError):
    """The process died between two calls."""


class Loop(RuleBasedStateMachine):
    policy = POLICY_HERE

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.policy)
        self.world.store.before = self._before
        self.world.store.after = self._after
        self.dies_in = 0
        self.loses_reply_in = 0
        self.imported = {0}
        self.next_utterance = 0
        self.served = 0
        self.world.install_model()
        self.world.record_calls(range(2000))
        self.failing_publishes = 0
        self._report(40, referenced=True)
        self.world.settle()

    # faults

    def _before(self, operation: str, key: str) -> None:
        if operation in {"put", "delete"} and self.dies_in:
            self.dies_in -= 1
            if not self.dies_in:
                raise Killed(f"{operation} {key}")

    def _after(self, operation: str, key: str) -> None:
        if operation == "put" and self.loses_reply_in:
            self.loses_reply_in -= 1
            if not self.loses_reply_in:
                raise CommitUnknown(f"reply lost: {key}")

    @rule(writes=st.integers(1, 12))
    def the_next_process_dies_after_some_writes(self, writes: int) -> None:
        self.dies_in = writes

    @rule(writes=st.integers(1, 6))
    def a_reply_will_be_lost(self, writes: int) -> None:
        self.loses_reply_in = writes

    @rule()
    def the_bus_is_away_for_one_publish(self) -> None:
        self.failing_publishes += 1
        self.world.bus.fail_publishes(1, stored=bool(self.next_utterance % 2))

    @rule(seed=st.integers(0, 5))
    def messages_come_in_another_order(self, seed: int) -> None:
        self.world.bus.shuffle(random.Random(seed))

    @rule(topic=st.sampled_from(["finetune-triggers", "training-events", "validation-events", "model-commands"]), pick=st.integers(0, 9))
    def an_old_message_comes_again(self, topic: str, pick: int) -> None:
        published = self.world.bus.published(topic)
        for function, topics in READS.items():
            if published and topic in topics:
                self.world.bus.duplicate(subscription_name(function, topic), published[pick % len(published)].message_id)

    # what the outside does

    def _outside(self, act: Callable[[], None]) -> None:
        with suppress(Retryable):  # the publisher saw the failure; whether the message is there, nobody knows
            act()

    @precondition(lambda self: self.next_utterance < MOST_UTTERANCES)
    @rule(count=st.integers(1, 12), referenced=st.booleans())
    def production_reports_errors(self, count: int, referenced: bool) -> None:
        self._outside(lambda: self._report(count, referenced=referenced))

    def _report(self, count: int, *, referenced: bool) -> None:
        """Report errors and, at rate 1, as many samples of calls that nobody objected to."""
        numbers = range(self.next_utterance, self.next_utterance + count)
        self.next_utterance += count
        errors = [builders.error(n, at=self.world.clock.now(), **({} if referenced else {"reference": None})) for n in numbers]
        self.world.publish(*(builders.sample(1000 + n, at=self.world.clock.now(), sample_rate=1.0) for n in numbers), *errors)

    @precondition(lambda self: self.next_utterance > 0)
    @rule(number=st.integers(0, 30))
    def a_person_corrects(self, number: int) -> None:
        event = builders.correction(number % self.next_utterance, at=self.world.clock.now())
        self._outside(lambda: self.world.publish(event))

    @precondition(lambda self: self.next_utterance > 0)
    @rule(number=st.integers(0, 30))
    def an_error_is_reported_again(self, number: int) -> None:
        self._outside(lambda: self.world.publish(builders.error(number % self.next_utterance)))

    @rule(text=st.sampled_from(['{"force": true}', '{"cancel": true}', '{"approve": true}']))
    def a_person_commands_the_launcher(self, text: str) -> None:
        self._outside(lambda: self.world.type("finetune-triggers", text))

    @rule(
        text=st.sampled_from(
            [*(f'{{"{verb}": {n}}}' for verb in ("rollback", "promote", "canary", "withdraw") for n in (1, 2)), '{"rollback": true}']
        )
    )
    def a_person_commands_the_deployer(self, text: str) -> None:
        self._outside(lambda: self.world.type("model-commands", text))

    @rule(seconds=st.sampled_from([5, 60, 1000]))
    def a_tick(self, seconds: int) -> None:
        self.world.clock.advance(seconds)
        self._outside(self.world.publish_tick)

    @rule(deliveries=st.integers(1, 30))
    def messages_are_delivered(self, deliveries: int) -> None:
        self.world.bus.deliver_due(deliveries)

    @rule(better=st.booleans())
    def a_trainer_does_its_work(self, better: bool) -> None:
        for run in list(self.world.trainers.runs.values()):
            try:
                self.world.work(run, candidate=right if better else wrong)
            except (Killed, CommitUnknown, Retryable):
                self.world.trainers.delete(run.name)

    @rule(utterances=st.integers(1, 500))
    def the_live_versions_serve(self, utterances: int) -> None:
        production, now = self.world.production(), self.world.clock.now()
        self.served += 1
        live = [production.stable, production.canary.version if production.canary else None]
        events = [builders.traffic(1000 * self.served + n, utterances, version=n, at=now) for n in live if n is not None]
        self._outside(lambda: self.world.publish(*events))

    @rule()
    def a_trainer_is_killed(self) -> None:
        for run in list(self.world.trainers.runs.values())[:1]:
            with suppress(Killed, CommitUnknown, Retryable):
                self.world.begin(run)
            self.world.trainers.delete(run.name)

    # what must hold

    def _datasets(self) -> dict[int, list[Row]]:
        head = read_head(self.world.store)
        found = {cycle: find_dataset(self.world.ports, cycle) for cycle in range(1, head + 1)}
        return {cycle: list(sealed.rows) for cycle, sealed in found.items() if sealed is not None}

    @invariant()
    def every_acknowledged_event_is_somewhere_and_fresh_once(self) -> None:
        datasets = self._datasets()
        fresh = Counter(row.event_id for rows in datasets.values() for row in rows if row.origin == "fresh")
        assert not [event_id for event_id, times in fresh.items() if times > 1]
        open_ledgers = range(1, read_head(self.world.store) + 1)
        waiting = {
            event.event_id for cycle in open_ledgers if cycle not in datasets for event in ledger.read_events(self.world.store, cycle)
        }
        assert self.world.acknowledged <= waiting | set(fresh)

    @invariant()
    def one_cycle_at_a_time(self) -> None:
        head = read_head(self.world.store)
        states = [self.world.state(n) for n in range(1, head + 1) if find(self.world.store, keys.state(n))]
        assert sum(not state.ended for state in states) <= 1, [(state.cycle, state.status) for state in states]

    @invariant()
    def the_alias_names_a_complete_accepted_model(self) -> None:
        stable = self.world.production().stable
        assert stable is not None
        assert check_model(self.world.ports, stable) is None
        if stable not in self.imported:
            assert parse_report(self.world.store.get(keys.report(stable)).data).outcome == "accepted"
        assert stable not in self.world.production().withdrawn

    @invariant()
    def a_canary_is_a_complete_accepted_model_beside_the_stable_one(self) -> None:
        production = self.world.production()
        if production.canary is not None:
            version = production.canary.version
            assert version not in {production.stable, *production.withdrawn}
            assert check_model(self.world.ports, version) is None
            assert parse_report(self.world.store.get(keys.report(version)).data).outcome == "accepted"

    @invariant()
    def the_open_ledger_is_never_counted_too_low(self) -> None:
        head = read_head(self.world.store)
        exact = count_events(ledger.read_events(self.world.store, head))
        assert ledger.count(self.world.store, head).errors >= exact.errors

    def teardown(self) -> None:
        """Without faults, what the stable model has not learned is in the next dataset."""
        world = self.world
        self.dies_in = self.loses_reply_in = 0
        world.bus.shuffle(None)
        for _ in range(self.failing_publishes):  # uses up the failures that were asked for
            self._outside(world.publish_tick)
        for _ in range(4):
            world.tick(1000)
        self._check_no_canary_is_left()
        world.type("finetune-triggers", '{"cancel": true}')
        world.settle()
        sealed = set(self._datasets())
        world.type("finetune-triggers", '{"force": true}')
        world.settle()
        datasets = self._datasets()
        new = [cycle for cycle in datasets if cycle not in sealed]
        if new:
            self._check_nothing_left_behind(datasets, max(new))
        self.every_acknowledged_event_is_somewhere_and_fresh_once()
        self.one_cycle_at_a_time()
        event(f"stable at the end: v{world.production().stable}")

    def _check_no_canary_is_left(self) -> None:
        """The ticks took longer than a canary may last; one that a person began in the last of them would still be there."""
        canary = self.world.production().canary
        assert canary is None or (self.world.clock.now() - canary.since).total_seconds() < self.policy.canary.max_duration_s + 1000
        for cycle in range(1, read_head(self.world.store) + 1):
            if find(self.world.store, keys.state(cycle)) and self.world.state(cycle).status == Status.CANARY:
                assert canary is not None
                assert canary.version == cycle, f"cycle {cycle} is on canary, and no session is served by it"

    def _check_nothing_left_behind(self, datasets: dict[int, list[Row]], newest: int) -> None:
        learned = read_lineage(self.world.ports).learned
        here = {row.utterance_id for row in datasets[newest] if row.kind == "error"}
        for cycle, rows in datasets.items():
            if cycle == newest or cycle in learned:
                continue
            done = {row.utterance_id for c in learned if c in datasets for row in datasets[c] if row.trainable}
            left = {row.utterance_id for row in rows if row.trainable and row.utterance_id not in done} - here
            assert not left, f"cycle {cycle} was not learned by {sorted(learned)}, and {sorted(map(str, left))} are not in dataset {newest}"


class CanaryLoop(Loop):
    policy = WITH_CANARY


SETTINGS = settings(
    max_examples=30, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
TestLoop = Loop.TestCase
TestLoop.settings = SETTINGS
TestCanaryLoop = CanaryLoop.TestCase
TestCanaryLoop.settings = SETTINGS
