"""The collector: group commit, what is taken, and how often the level is looked at."""

import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import datetime, timedelta
from typing import Any, Self

import pytest

from functions.collector.batcher import GroupCommit
from functions.collector.decide import check_report
from functions.collector.handler import Collector
from functions.runtime import Ports
from shared import keys, ledger
from shared.audio_source import AudioSource
from shared.config import Settings
from shared.errors import InvalidMessage, Retryable
from shared.events import FINETUNE_TRIGGERS, Event, Tick
from shared.ids import derived_event_id
from shared.policy import Policy
from shared.testing import builders
from shared.testing.clock import START, FakeClock
from shared.testing.memory_bus import MemoryBus
from shared.testing.memory_store import MemoryStore

WAIT_S = 30.0
FOR_EVER_S = 3600.0
DAY = timedelta(days=1)


def ids(events: Sequence[Event]) -> set[str]:
    return {event.event_id for event in events}


class Requests:
    """Threads that each submit one event, as a function's requests do."""

    def __init__(self, submit: Callable[[Event], object]) -> None:
        self._submit = submit
        self._pool = ThreadPoolExecutor(16)

    def send(self, *numbers: int) -> list[Future[object]]:
        return [self._pool.submit(self._submit, builders.error(number)) for number in numbers]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()


class Blocked:
    """A write that stays under way until the test lets it end."""

    def __init__(self, failure: BaseException | None = None) -> None:
        self.begun = threading.Event()
        self.release = threading.Event()
        self.written: list[list[Event]] = []
        self._failure = failure

    def __call__(self, events: Sequence[Event]) -> None:
        self.begun.set()
        assert self.release.wait(WAIT_S)
        if self._failure is not None:
            raise self._failure
        self.written.append(list(events))


def test_requests_that_come_together_share_one_write() -> None:
    written: list[set[str]] = []
    commit = GroupCommit(lambda events: written.append(ids(events)), max_events=16, linger_s=FOR_EVER_S)
    with Requests(commit.submit) as requests:
        for request in requests.send(*range(16)):
            request.result(WAIT_S)
    assert written == [{f"e{number}" for number in range(16)}]


def test_no_request_returns_before_the_write_has() -> None:
    write = Blocked()
    commit = GroupCommit(write, max_events=3, linger_s=FOR_EVER_S)
    with Requests(commit.submit) as requests:
        sent = requests.send(1, 2, 3)
        assert write.begun.wait(WAIT_S)
        assert not any(request.done() for request in sent)
        write.release.set()
        for request in sent:
            request.result(WAIT_S)


def test_a_lone_request_waits_only_the_linger() -> None:
    written: list[set[str]] = []
    GroupCommit(lambda events: written.append(ids(events)), linger_s=0.0).submit(builders.error(1))
    assert written == [{"e1"}]


def test_a_full_batch_does_not_wait_for_the_linger_and_the_next_request_opens_another() -> None:
    written: list[set[str]] = []
    commit = GroupCommit(lambda events: written.append(ids(events)), max_events=2, linger_s=FOR_EVER_S)
    with Requests(commit.submit) as requests:
        for request in requests.send(1, 2, 3, 4):
            request.result(WAIT_S)
    assert sorted(len(batch) for batch in written) == [2, 2]
    assert set.union(*written) == {"e1", "e2", "e3", "e4"}


def test_batches_do_not_wait_for_each_other() -> None:
    both_write = threading.Barrier(2)
    commit = GroupCommit(lambda _events: both_write.wait(WAIT_S), max_events=1, linger_s=FOR_EVER_S)
    with Requests(commit.submit) as requests:
        for request in requests.send(1, 2):
            request.result(WAIT_S)
    assert not both_write.broken


@pytest.mark.parametrize("failure", [Retryable("the store is away"), InvalidMessage("cycles/head.json: expected a Head")])
def test_a_failing_write_fails_all_of_its_requests_as_something_to_deliver_again(failure: Exception) -> None:
    write = Blocked(failure)
    write.release.set()
    commit = GroupCommit(write, max_events=5, linger_s=FOR_EVER_S)
    with Requests(commit.submit) as requests:
        for number, request in enumerate(requests.send(*range(5))):
            with pytest.raises(Retryable, match=f"event e{number}: its batch was not written: {failure}") as caught:
                request.result(WAIT_S)
            assert caught.value.__cause__ is failure


def test_a_failed_batch_leaves_nothing_behind_for_the_next() -> None:
    outcomes = iter([Retryable("once"), None])

    def write(_events: Sequence[Event]) -> None:
        failure = next(outcomes)
        if failure is not None:
            raise failure

    commit = GroupCommit(write, linger_s=0.0)
    with pytest.raises(Retryable, match="once"):
        commit.submit(builders.error(1))
    commit.submit(builders.error(1))


class Interrupted(BaseException):
    """What a framework raises in a thread that takes too long."""


def test_a_leader_that_is_interrupted_acknowledges_nobody() -> None:
    write = Blocked(Interrupted())
    write.release.set()
    commit = GroupCommit(write, max_events=3, linger_s=FOR_EVER_S)
    with Requests(commit.submit) as requests:
        errors = [request.exception(WAIT_S) for request in requests.send(1, 2, 3)]
    assert sorted(type(error).__name__ for error in errors) == ["Interrupted", "Retryable", "Retryable"]


def test_a_request_gives_up_on_a_write_that_takes_too_long() -> None:
    write = Blocked()
    commit = GroupCommit(write, max_events=2, linger_s=FOR_EVER_S, patience_s=0.01)
    with Requests(commit.submit) as requests:
        done, waiting = wait(requests.send(1, 2), WAIT_S, FIRST_COMPLETED)
        (gave_up,), (leads,) = done, waiting
        write.release.set()
        assert "expected its batch to be written in 0.01 s, it still is under way" in str(gave_up.exception())
        leads.result(WAIT_S)


class Collecting:
    """A collector on in-memory ports."""

    def __init__(self, *, min_errors: int = 1000, count_interval_s: float = 0.0) -> None:
        self.clock = FakeClock()
        self.store = MemoryStore("gs://retune-test", clock=self.clock)
        self.bus = MemoryBus(self.clock)
        self.bus.create_topic(FINETUNE_TRIGGERS)
        settings = Settings(
            bucket="gs://retune-test",
            project="test",
            audio_prefixes=(builders.CALLS,),
            policy=Policy(min_error_cases=min_errors),
            linger_s=0.0,
            count_interval_s=count_interval_s,
        )
        self.ports = Ports(self.store, self.bus, self.clock, settings)
        self.collector = Collector(self.ports, AudioSource(allowed_prefixes=settings.audio_prefixes).check)

    def report(self, event: Event) -> str:
        return self.collector(builders.message(event))

    def announced(self) -> list[dict[str, Any]]:
        return [json.loads(message.data) for message in self.bus.published(FINETUNE_TRIGGERS)]

    def held_by(self, cycle: int) -> set[str]:
        return ids(ledger.read_events(self.store, cycle))


def test_a_report_stands_in_the_ledger_of_the_present_cycle_when_it_is_acknowledged() -> None:
    world = Collecting()
    ledger.move_head(world.store, 4)
    assert world.report(builders.error(1)) == "collected"
    assert world.held_by(5) == {"e1"}


def test_a_head_that_moves_during_the_append_gets_the_events_before_they_are_acknowledged() -> None:
    world = Collecting()
    second_write, release = threading.Event(), threading.Event()

    def move_head_after_the_first(operation: str, key: str) -> None:
        if operation == "put" and key.startswith(keys.ledger(1)):
            ledger.move_head(world.store, 1)

    def hold_the_second(operation: str, key: str) -> None:
        if operation == "put" and key.startswith(keys.ledger(2)):
            second_write.set()
            assert release.wait(WAIT_S)

    world.store.after, world.store.before = move_head_after_the_first, hold_the_second
    with Requests(world.report) as requests:
        (sent,) = requests.send(1)
        assert second_write.wait(WAIT_S)
        assert (world.held_by(1), world.held_by(2), sent.done()) == ({"e1"}, set(), False)
        release.set()
        assert sent.result(WAIT_S) == "collected"
    assert world.held_by(2) == {"e1"}


def test_a_report_that_could_not_be_written_is_not_acknowledged() -> None:
    world = Collecting()

    def away(operation: str, _key: str) -> None:
        if operation == "put":
            raise Retryable("the store is away")

    world.store.before = away
    with pytest.raises(Retryable, match=r"event e1: its batch was not written: .*the store is away"):
        world.report(builders.error(1))


@pytest.mark.parametrize("occurred", [START - 90 * DAY, START - DAY, START, START + DAY])
def test_a_report_of_the_last_90_days_is_taken_by_whatever_clock(occurred: datetime) -> None:
    check_report(builders.error(1, at=occurred), now=START, check_uri=lambda _uri: None)


@pytest.mark.parametrize(
    ("occurred", "reason"),
    [
        (START - 90 * DAY - timedelta(seconds=1), "expected at most 90 days old, found 2025-10-07T08:59:59"),
        (START + DAY + timedelta(seconds=1), "expected a time that has come, found 2026-01-06T09:00:01"),
    ],
)
def test_a_report_from_long_ago_or_from_the_future_is_refused(occurred: datetime, reason: str) -> None:
    world = Collecting()
    for event in (builders.error(1, at=occurred), builders.traffic(1, 10, at=occurred)):
        with pytest.raises(InvalidMessage, match=f"event {event.event_id}: {reason}"):
            world.report(event)
    assert list(world.store.list("")) == []


@pytest.mark.parametrize("uri", ["gs://calls-evil/u1.wav", "gs://calls/../u1.wav", "file:///etc/passwd", "https://calls/u1.wav"])
def test_audio_from_elsewhere_is_refused(uri: str) -> None:
    world = Collecting()
    for event in (builders.error(1, audio_uri=uri), builders.sample(1, audio_uri=uri)):
        with pytest.raises(InvalidMessage, match="audio "):
            world.report(event)
    assert list(world.store.list("")) == []


def test_events_of_other_topics_are_refused() -> None:
    with pytest.raises(InvalidMessage, match=r"expected one of .*SttError.*, found Tick"):
        Collecting().report(Tick(event_id="t", occurred_at=START))


def test_errors_corrections_samples_and_traffic_are_all_collected() -> None:
    world = Collecting()
    for event in (builders.error(1), builders.correction(1), builders.sample(2), builders.traffic(3, 100)):
        assert world.report(event) == "collected"
    totals = ledger.count(world.store, 1)
    assert (totals.errors, totals.corrections, totals.samples, totals.utterances_by_version) == (1, 1, 1, {0: 100})


def test_a_threshold_is_announced_once_in_an_interval_by_an_id_that_stays() -> None:
    world = Collecting(min_errors=2, count_interval_s=10.0)
    assert world.report(builders.error(1)) == "collected"
    assert world.report(builders.error(2)) == "collected", "the level was looked at a moment ago"
    world.clock.advance(10)
    assert world.report(builders.error(3)).startswith("cycle 1 crossed: 3 errors")
    assert world.report(builders.error(4)) == "collected"
    assert len(world.announced()) == 1
    world.clock.advance(10)
    world.report(builders.error(5))
    first, again = world.announced()
    assert first["cycle"] == again["cycle"] == 1
    assert first["event_id"] == again["event_id"] == derived_event_id("ThresholdCrossed", "cycle 1", "1")


def test_another_cycle_is_another_crossing() -> None:
    world = Collecting(min_errors=1)
    world.report(builders.error(1))
    ledger.move_head(world.store, 1)
    world.report(builders.error(2))
    first, second = world.announced()
    assert (first["cycle"], second["cycle"]) == (1, 2)
    assert first["event_id"] != second["event_id"]


def test_of_concurrent_requests_one_looks_at_the_level() -> None:
    world = Collecting(min_errors=1, count_interval_s=10.0)
    with Requests(world.report) as requests:
        outcomes = [str(request.result(WAIT_S)) for request in requests.send(*range(12))]
    assert sum(outcome.startswith("cycle 1 crossed") for outcome in outcomes) == 1
    assert len(world.announced()) == 1


def test_a_report_is_durable_when_the_announcement_fails_and_its_redelivery_announces() -> None:
    world = Collecting(min_errors=1)
    world.bus.fail_publishes()
    with pytest.raises(Retryable):
        world.report(builders.error(1))
    assert world.held_by(1) == {"e1"}
    assert world.report(builders.error(1)).startswith("cycle 1 crossed")
    assert len(world.announced()) == 1
