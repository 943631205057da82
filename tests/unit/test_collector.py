"""The collector: what is taken, when it is acknowledged, and how often the level is looked at."""

import asyncio
import json
import threading
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest

from functions.collector.checks import check_report
from functions.collector.handler import Collector
from functions.runtime import Ports
from shared import keys, ledger
from shared.audio_source import AudioSource
from shared.bus import Outgoing
from shared.config import Settings
from shared.errors import InvalidMessage, Retryable
from shared.events import FINETUNE_TRIGGERS, Event, Tick
from shared.head import begin_head, move_head
from shared.ids import derived_event_id
from shared.log import fresh, log
from shared.policy import Policy
from shared.testing import builders
from shared.testing.clock import START, FakeClock
from shared.testing.memory_bus import MemoryBus
from shared.testing.memory_store import MemoryStore

WAIT_S = 30.0
DAY = timedelta(days=1)


def ids(events: Sequence[Event]) -> set[str]:
    return {event.event_id for event in events}


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

    async def collect(self, event: Event) -> str:
        return await self.collector.collect(builders.message(event))

    def collected(self, *events: Event) -> list[Any]:
        """Report events at the same time; return what came of each, or what it raised."""

        async def together() -> list[Any]:
            return await asyncio.gather(*map(self.collect, events), return_exceptions=True)

        return asyncio.run(asyncio.wait_for(together(), WAIT_S))

    def segments(self) -> int:
        return len([info for info in self.store.list("ledger/") if "segment-" in info.key])

    def announced(self) -> list[dict[str, Any]]:
        return [json.loads(message.data) for message in self.bus.published(FINETUNE_TRIGGERS)]

    def held_by(self, cycle: int) -> set[str]:
        return ids(ledger.read_events(self.store, cycle))


def test_a_report_stands_in_the_ledger_of_the_present_cycle_when_it_is_acknowledged() -> None:
    world = Collecting()
    move_head(world.store, 4)
    assert world.report(builders.error(1)) == "collected"
    assert world.held_by(5) == {"e1"}


def test_a_head_that_moves_during_the_append_gets_the_events_before_they_are_acknowledged() -> None:
    world = Collecting()
    second_write, release = threading.Event(), threading.Event()

    def move_head_after_the_first(operation: str, key: str) -> None:
        if operation == "put" and key.startswith(keys.ledger(1)):
            move_head(world.store, 1)

    def hold_the_second(operation: str, key: str) -> None:
        if operation == "put" and key.startswith(keys.ledger(2)):
            second_write.set()
            assert release.wait(WAIT_S)

    async def test() -> None:
        report = asyncio.create_task(world.collect(builders.error(1)))
        assert await asyncio.to_thread(second_write.wait, WAIT_S)
        assert (world.held_by(1), world.held_by(2), report.done()) == ({"e1"}, set(), False)
        release.set()
        assert await report == "collected"

    world.store.after, world.store.before = move_head_after_the_first, hold_the_second
    asyncio.run(asyncio.wait_for(test(), WAIT_S))
    assert world.held_by(2) == {"e1"}


def test_a_report_that_could_not_be_written_is_not_acknowledged() -> None:
    world = Collecting()

    def away(operation: str, _key: str) -> None:
        if operation == "put":
            raise Retryable("the store is away")

    world.store.before = away
    with pytest.raises(Retryable, match=r"event e1: its batch was not written: .*the store is away"):
        world.report(builders.error(1))


def test_reports_that_come_together_stand_in_one_segment() -> None:
    world = Collecting()
    assert world.collected(builders.error(1), builders.correction(1), builders.sample(2)) == ["collected"] * 3
    assert (world.held_by(1), world.segments()) == ({"e1", "c1", "p2"}, 1)


def test_a_report_that_can_never_be_used_is_refused_alone() -> None:
    world = Collecting()
    wrong = builders.error(2, audio_uri="gs://elsewhere/u2.wav")
    first, refused, third = world.collected(builders.error(1), wrong, builders.error(3))
    assert (first, third, str(refused)[:6], type(refused)) == ("collected", "collected", "audio ", InvalidMessage)
    assert world.held_by(1) == {"e1", "e3"}


def test_a_batch_of_what_can_never_be_used_writes_nothing() -> None:
    world = Collecting()
    assert [type(error) for error in world.collected(Tick(event_id="t", occurred_at=START))] == [InvalidMessage]
    assert list(world.store.list("")) == []


@pytest.mark.parametrize("failure", [Retryable("the store is away"), InvalidMessage("cycles/head.json: expected a Head"), KeyError("x")])
def test_a_write_that_fails_has_each_report_delivered_again_under_its_own_name(failure: Exception) -> None:
    world = Collecting()

    def away(operation: str, _key: str) -> None:
        if operation == "stat":  # the look at the head after the write: the events are there, and nobody may say so
            raise failure

    begin_head(world.store)
    world.collected(builders.error(0))
    world.store.before = away
    for number, error in enumerate(world.collected(builders.error(1), builders.error(2)), 1):
        assert isinstance(error, Retryable)
        assert str(error) == f"event e{number}: its batch was not written: {failure}"


def test_the_log_names_the_event_whatever_came_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    world = Collecting()

    async def test(number: int) -> None:
        fresh()
        with suppress(Retryable):
            await world.collect(builders.error(number))
        log("said")

    asyncio.run(test(1))
    world.store.before = lambda _operation, _key: (_ for _ in ()).throw(Retryable("away"))
    asyncio.run(test(2))
    assert [json.loads(line)["event_id"] for line in capsys.readouterr().out.splitlines()] == ["e1", "e2"]


def test_who_looks_at_the_level_keeps_no_other_report_waiting() -> None:
    world = Collecting(min_errors=1, count_interval_s=10.0)
    publishing, release = threading.Event(), threading.Event()
    publish = world.bus.publish

    def hold(message: Outgoing) -> str:
        publishing.set()
        assert release.wait(WAIT_S)
        return publish(message)

    world.bus.publish = hold  # type: ignore[method-assign]

    async def test() -> None:
        first, second = (asyncio.create_task(world.collect(builders.error(number))) for number in (1, 2))
        assert await asyncio.to_thread(publishing.wait, WAIT_S)
        assert await second == "collected"
        assert not first.done()
        release.set()
        assert (await first).startswith("cycle 1 crossed")

    asyncio.run(asyncio.wait_for(test(), WAIT_S))


def test_a_head_that_was_known_costs_one_look_after_the_write() -> None:
    world = Collecting(count_interval_s=1e6)
    begin_head(world.store)
    world.collected(builders.error(1))
    calls: list[str] = []
    world.store.before = lambda operation, key: calls.append(f"{operation} {key.partition('/')[0]}")
    world.collected(builders.error(2))
    assert calls == ["put ledger", "stat cycles"]
    move_head(world.store, 1)
    calls.clear()
    world.collected(builders.error(3))
    assert calls == ["put ledger", "stat cycles", "get cycles", "put ledger", "stat cycles"]
    assert world.held_by(2) == {"e3"}


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
    move_head(world.store, 1)
    world.report(builders.error(2))
    first, second = world.announced()
    assert (first["cycle"], second["cycle"]) == (1, 2)
    assert first["event_id"] != second["event_id"]


def test_of_concurrent_requests_one_looks_at_the_level() -> None:
    world = Collecting(min_errors=1, count_interval_s=10.0)
    outcomes = world.collected(*map(builders.error, range(12)))
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
