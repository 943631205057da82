"""The collector: group commit, what is taken, and how often the level is looked at."""

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import pytest

from functions.collector.batcher import LONELY_LINGERS, MAX_LINGERS, GroupCommit
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
FOR_EVER_S = 3600.0
DAY = timedelta(days=1)


def ids(events: Sequence[Event]) -> set[str]:
    return {event.event_id for event in events}


class Held:
    """A batch handler that notes what it gets, and stays under way until the test lets it end."""

    def __init__(self, failure: BaseException | None = None, *, open_at_once: bool = True) -> None:
        self.batches: list[list[int]] = []
        self.begun = threading.Event()
        self.release = threading.Event()
        self._failure = failure
        if open_at_once:
            self.release.set()

    def __call__(self, items: Sequence[int]) -> list[str]:
        self.begun.set()
        assert self.release.wait(WAIT_S)
        if self._failure is not None:
            raise self._failure
        self.batches.append(list(items))
        return [f"done {item}" for item in items]


Made = Callable[..., GroupCommit[int, str]]


def run(test: Callable[[Made], Coroutine[Any, Any, None]]) -> None:
    """Run a test on an event loop; it makes its group commit on a pool that is closed in the end."""
    with ThreadPoolExecutor(4) as pool:

        def made(handle_all: Callable[[Sequence[int]], Sequence[str]], **numbers: Any) -> GroupCommit[int, str]:
            return GroupCommit(handle_all, pool, **{"max_items": 250, "linger_s": FOR_EVER_S, **numbers})

        asyncio.run(asyncio.wait_for(test(made), WAIT_S))


def sent(commit: GroupCommit[int, str], *numbers: int) -> list[asyncio.Task[str]]:
    return [asyncio.create_task(commit.submit(number)) for number in numbers]


async def arrived(tasks: Sequence[asyncio.Task[str]]) -> None:
    """Let each task run until it waits."""
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)


class Lingers:
    """Stands in for the time that a batch waits: in each linger so many requests come."""

    def __init__(self, *coming: int) -> None:
        self.waited = 0
        self.company: list[asyncio.Task[str]] = []
        self.commit: GroupCommit[int, str]
        self._coming = iter(coming)

    async def __call__(self, full: asyncio.Event, _seconds: float) -> bool:
        self.waited += 1
        self.company += sent(self.commit, *range(next(self._coming)))
        await asyncio.sleep(0)
        return full.is_set()


def test_requests_that_come_together_share_one_call_and_each_gets_its_own_outcome() -> None:
    async def test(made: Made) -> None:
        held = Held()
        commit = made(held, max_items=16)
        assert await asyncio.gather(*sent(commit, *range(16))) == [f"done {number}" for number in range(16)]
        assert held.batches == [list(range(16))]

    run(test)


def test_no_request_returns_before_the_call_has() -> None:
    async def test(made: Made) -> None:
        held = Held(open_at_once=False)
        requests = sent(made(held, max_items=3), 1, 2, 3)
        await asyncio.to_thread(held.begun.wait, WAIT_S)
        assert not any(request.done() for request in requests)
        held.release.set()
        assert await asyncio.gather(*requests) == ["done 1", "done 2", "done 3"]

    run(test)


def test_what_comes_long_after_the_one_before_waits_for_nobody() -> None:
    async def test(made: Made) -> None:
        held, now = Held(), iter([100.0, 100.0 + (LONELY_LINGERS + 1) * FOR_EVER_S])
        commit = made(held, clock=lambda: next(now))
        assert [await commit.submit(1), await commit.submit(2)] == ["done 1", "done 2"]
        assert held.batches == [[1], [2]]

    run(test)


def test_what_comes_soon_after_another_waits_a_linger_for_company() -> None:
    async def test(made: Made) -> None:
        held, now = Held(), iter([0.0, 1.0, 2.0])
        commit = made(held, clock=lambda: next(now), max_items=2)
        await commit.submit(1)
        (waiting,) = sent(commit, 2)
        await arrived([waiting])
        assert held.batches == [[1]]
        await commit.submit(3)
        await waiting
        assert held.batches == [[1], [2, 3]]

    run(test)


@pytest.mark.parametrize(
    ("coming", "lingers", "together"),
    [((0,), 1, 1), ((2, 0), 2, 3), ((2, 1, 3, 1, 1, 1), MAX_LINGERS, 9), ((2, 7), 2, 10)],
    ids=["nobody", "some, then nobody", "some all the time", "until it is full"],
)
def test_a_batch_waits_on_while_company_keeps_coming(coming: tuple[int, ...], lingers: int, together: int) -> None:
    async def test(made: Made) -> None:
        held, linger = Held(), Lingers(*coming)
        commit = linger.commit = made(held, linger=linger, clock=lambda: 0.0, max_items=10)
        await commit.submit(0)  # nobody came before it, so it does not wait
        await commit.submit(0)
        await asyncio.gather(*linger.company)
        assert [len(batch) for batch in held.batches] == [1, together]
        assert linger.waited == lingers

    run(test)


def test_a_full_batch_does_not_wait_for_the_linger_and_the_next_request_opens_another() -> None:
    async def test(made: Made) -> None:
        held = Held()
        await asyncio.gather(*sent(made(held, max_items=2), 1, 2, 3, 4))
        assert sorted(held.batches) == [[1, 2], [3, 4]]

    run(test)


def test_batches_do_not_wait_for_each_other() -> None:
    async def test(made: Made) -> None:
        both = threading.Barrier(2)

        def handle_all(items: Sequence[int]) -> list[str]:
            both.wait(WAIT_S)
            return ["" for _ in items]

        await asyncio.gather(*sent(made(handle_all, max_items=1), 1, 2))

    run(test)


@pytest.mark.parametrize("failure", [Retryable("the store is away"), InvalidMessage("cycles/head.json: expected a Head"), KeyError("x")])
def test_a_failing_call_fails_all_of_its_requests_as_something_to_deliver_again(failure: Exception) -> None:
    async def test(made: Made) -> None:
        for error in await asyncio.gather(*sent(made(Held(failure), max_items=5), *range(5)), return_exceptions=True):
            assert isinstance(error, Retryable)
            assert str(error) == f"the batch was not written: {failure}"
            assert error.__cause__ is failure

    run(test)


def test_a_failed_batch_leaves_nothing_behind_for_the_next() -> None:
    async def test(made: Made) -> None:
        outcomes = iter([Retryable("once"), None])

        def handle_all(items: Sequence[int]) -> list[str]:
            if (failure := next(outcomes)) is not None:
                raise failure
            return ["" for _ in items]

        commit = made(handle_all, max_items=1)
        with pytest.raises(Retryable, match="once"):
            await commit.submit(1)
        assert await commit.submit(1) == ""

    run(test)


class Interrupted(BaseException):
    """What stops a thread whatever it does."""


def test_a_batch_that_is_interrupted_acknowledges_nobody() -> None:
    async def test(made: Made) -> None:
        held = Held(Interrupted())
        commit = made(held, max_items=3)
        requests = sent(commit, 1, 2, 3)
        with pytest.raises(Interrupted):
            await asyncio.gather(*await led(commit))
        errors = await asyncio.gather(*requests, return_exceptions=True)
        assert [str(error) for error in errors] == ["the batch was given up before it was written"] * 3

    run(test)


async def led(commit: GroupCommit[int, str]) -> list[asyncio.Task[None]]:
    """Return who leads the batches that have been opened."""
    await asyncio.sleep(0)
    return list(commit._leaders)


def test_a_leader_that_is_cancelled_leaves_nobody_waiting() -> None:
    async def test(made: Made) -> None:
        held = Held(open_at_once=False)
        commit = made(held, max_items=2)
        requests = sent(commit, 1, 2)
        (leader,) = await led(commit)
        await asyncio.to_thread(held.begun.wait, WAIT_S)
        leader.cancel()
        errors = await asyncio.gather(*requests, return_exceptions=True)
        held.release.set()
        assert [type(error) for error in errors] == [Retryable, Retryable]

    run(test)


def test_a_request_that_was_given_up_keeps_the_others_from_nothing() -> None:
    async def test(made: Made) -> None:
        held = Held(open_at_once=False)
        first, second = sent(made(held, max_items=2), 1, 2)
        await asyncio.to_thread(held.begun.wait, WAIT_S)
        first.cancel()
        held.release.set()
        assert await second == "done 2"

    run(test)


def test_requests_give_up_on_a_call_that_takes_too_long() -> None:
    async def test(made: Made) -> None:
        held = Held(open_at_once=False)
        errors = await asyncio.gather(*sent(made(held, max_items=2, patience_s=0.01), 1, 2), return_exceptions=True)
        held.release.set()
        assert {str(error) for error in errors} == {"expected the batch to be written in 0.01 s, it still is under way"}

    run(test)


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
