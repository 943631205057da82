"""The reporter: nothing is lost silently, nothing blocks the caller, the sample is fair."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import retune_client
from retune_client import ErrorReporter, Utterance
from retune_client.sampling import MAX_VERSIONS, Sampler
from retune_client.spool import MAX_AGE_S
from retune_client.testing import ManualClock, MemoryPublisher

GIVEN_UP_S = 30.0
"""A wait that ends only when the test has failed."""


def utterance(number: int, **fields: Any) -> Utterance:
    values: dict[str, Any] = {"audio_uri": f"gs://audio/{number}.wav", "hypothesis": "hello", "model_version": 3, **fields}
    return Utterance(utterance_id=f"u-{number}", **values)


def reporter_with(publisher: Any, clock: ManualClock | None = None, **settings: Any) -> ErrorReporter:
    settings = {"sample_rate": 0.0, "rng": random.Random(7), **settings}
    return ErrorReporter("p", publisher=publisher, clock=clock or ManualClock(), **settings)


def until(reporter: ErrorReporter, fact: Callable[[], bool]) -> None:
    """Wait for the background thread to bring a fact about."""
    condition = reporter._outbox._cond
    with condition:
        assert condition.wait_for(fact, timeout=GIVEN_UP_S)


def bodies(publisher: MemoryPublisher, event_type: str | None = None) -> list[dict[str, Any]]:
    wanted = [each for each in publisher.messages if event_type in {None, each.attributes["type"]}]
    return [json.loads(each.data) for each in wanted]


def names(publisher: MemoryPublisher) -> list[str]:
    return [body["utterance_id"] for body in bodies(publisher)]


def spooled_ids(folder: Path) -> list[str]:
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
    return [json.loads(json.loads(line)["data"])["event_id"] for line in lines]


def test_events_are_published_in_the_order_of_the_calls_under_ids_of_their_own() -> None:
    publisher = MemoryPublisher()
    with reporter_with(publisher) as reporter:
        for number in range(1200):
            reporter.report_error(utterance(number))
        assert reporter.flush(GIVEN_UP_S)
        stats = reporter.stats()
    assert names(publisher) == [f"u-{number}" for number in range(1200)]
    assert len({body["event_id"] for body in bodies(publisher)}) == 1200
    assert (stats.accepted, stats.published, stats.waiting, stats.dropped, stats.last_problem) == (1200, 1200, 0, {}, None)


def test_a_publisher_that_blocks_never_blocks_the_caller_and_drops_are_counted() -> None:
    publisher = MemoryPublisher()
    publisher.gate.clear()
    reporter = reporter_with(publisher, max_queue=3)
    reporter.report_error(utterance(0))
    assert publisher.attempted.wait(GIVEN_UP_S)  # u-0 is in the hands of the thread, which hangs
    for number in range(1, 11):
        reporter.report_error(utterance(number))
    assert not reporter.flush(0.0)
    stats = reporter.stats()
    assert (stats.accepted, stats.waiting, stats.dropped) == (4, 4, {"queue_full": 7})
    reporter.close(0.0)
    reporter.report_error(utterance(11))
    assert reporter.stats().dropped == {"queue_full": 7, "closed": 5}
    assert reporter.stats().waiting == 0
    publisher.gate.set()


def test_what_a_hanging_publisher_holds_up_is_spooled_at_the_end_and_sent_by_the_next_reporter(tmp_path: Path) -> None:
    hanging, publisher = MemoryPublisher(), MemoryPublisher()
    hanging.gate.clear()
    reporter = reporter_with(hanging, spool_dir=tmp_path)
    reporter.report_error(utterance(0))
    assert hanging.attempted.wait(GIVEN_UP_S)
    reporter.report_error(utterance(1))
    reporter.close(0.0)
    assert (reporter.stats().spooled, reporter.stats().dropped) == (2, {})
    ids = spooled_ids(tmp_path)
    with reporter_with(publisher, spool_dir=tmp_path) as successor:
        assert successor.flush(GIVEN_UP_S)
    assert names(publisher) == ["u-0", "u-1"]
    assert [body["event_id"] for body in bodies(publisher)] == ids
    assert list(tmp_path.iterdir()) == []
    hanging.gate.set()


def test_while_pubsub_is_away_events_go_to_disk_and_later_out_in_order_with_their_ids_and_times(tmp_path: Path) -> None:
    publisher, clock = MemoryPublisher(), ManualClock()
    publisher.away = True
    with reporter_with(publisher, clock, spool_dir=tmp_path) as reporter:
        for number in range(3):
            reporter.report_error(utterance(number))
        until(reporter, lambda: reporter.stats().spooled == 3)
        clock.advance(0.4)  # the first pause is at least half a second
        reporter.report_error(utterance(3))
        until(reporter, lambda: reporter.stats().spooled == 4)
        ids = spooled_ids(tmp_path)
        assert "Pub/Sub is away" in str(reporter.stats().last_problem)
        publisher.away = False
        clock.advance(1.0)
        until(reporter, lambda: reporter.stats().published == 4)
        reporter.report_error(utterance(4))
        assert reporter.flush(GIVEN_UP_S)
    assert names(publisher) == ["u-0", "u-1", "u-2", "u-3", "u-4"]
    assert [body["event_id"] for body in bodies(publisher)][:4] == ids
    at = [body["occurred_at"] for body in bodies(publisher)]
    assert at[:4] == ["2026-01-05T09:00:00+00:00"] * 3 + ["2026-01-05T09:00:00.400000+00:00"]
    assert list(tmp_path.iterdir()) == []


def test_without_a_spool_events_wait_in_memory_and_keep_their_order() -> None:
    publisher, clock = MemoryPublisher(), ManualClock()
    publisher.away = True
    with reporter_with(publisher, clock) as reporter:
        reporter.report_error(utterance(0))
        assert publisher.attempted.wait(GIVEN_UP_S)
        reporter.report_error(utterance(1))
        assert not reporter.flush(0.0)
        publisher.away = False
        assert reporter.flush(GIVEN_UP_S)
    assert names(publisher) == ["u-0", "u-1"]


def test_a_failing_publish_is_left_alone_for_a_while_longer_each_time() -> None:
    publisher, clock = MemoryPublisher(), ManualClock()
    publisher.away = True
    with reporter_with(publisher, clock, traffic_interval_s=1e6) as reporter:
        reporter.report_error(utterance(0))
        for pause_s in (1, 2, 4, 8, 16, 32, 60, 60):
            assert publisher.attempted.wait(GIVEN_UP_S)
            until(reporter, lambda: reporter._outbox._retry_at > clock.monotonic())
            left_s = reporter._outbox._retry_at - clock.monotonic()
            assert pause_s / 2 <= left_s <= pause_s
            publisher.attempted.clear()
            clock.advance(left_s)
        publisher.away = False
        assert reporter.flush(GIVEN_UP_S)


def test_a_crashed_process_leaves_its_spool_to_the_next_one(tmp_path: Path) -> None:
    crash = """if True:
        import os, sys
        from retune_client import ErrorReporter, Utterance
        from retune_client.testing import ManualClock, MemoryPublisher
        publisher = MemoryPublisher()
        publisher.away = True
        reporter = ErrorReporter("p", sample_rate=0.0, publisher=publisher, clock=ManualClock(), spool_dir=sys.argv[1])
        for number in range(3):
            reporter.report_error(Utterance(utterance_id=f"u-{number}", audio_uri="gs://a/b", hypothesis="", model_version=1))
        condition = reporter._outbox._cond
        with condition:
            condition.wait_for(lambda: reporter.stats().spooled == 3)
        os._exit(7)
    """
    environment = {**os.environ, "PYTHONPATH": str(Path(retune_client.__file__).parent.parent)}
    assert subprocess.run([sys.executable, "-c", crash, str(tmp_path)], env=environment, check=False, timeout=60).returncode == 7
    (segment,) = tmp_path.glob("*.jsonl")
    ids = spooled_ids(tmp_path)
    with segment.open("a") as torn:
        torn.write('{"type": "SttError", "da')
    publisher = MemoryPublisher()
    with reporter_with(publisher, spool_dir=tmp_path) as reporter:
        assert reporter.flush(GIVEN_UP_S)
        assert reporter.stats().dropped == {"spool_corrupt": 1}
    assert [body["event_id"] for body in bodies(publisher)] == ids
    assert names(publisher) == ["u-0", "u-1", "u-2"]
    assert list(tmp_path.iterdir()) == []


def test_a_full_spool_leaves_the_rest_in_memory_and_then_drops_and_counts(tmp_path: Path) -> None:
    publisher, clock = MemoryPublisher(), ManualClock()
    publisher.away = True
    reporter = reporter_with(publisher, clock, spool_dir=tmp_path, spool_max_bytes=400, max_queue=2)
    reporter.report_error(utterance(0))
    until(reporter, lambda: reporter.stats().spooled == 1)
    for number in range(1, 6):  # a line has about 250 bytes: the second does not fit
        reporter.report_error(utterance(number))
    stats = reporter.stats()
    assert (stats.spooled, stats.waiting, stats.dropped) == (1, 2, {"queue_full": 3})
    publisher.away = False
    assert reporter.flush(GIVEN_UP_S)
    reporter.close()
    assert names(publisher) == ["u-0", "u-1", "u-2"]


def test_events_that_are_too_old_for_retune_are_given_up_and_counted(tmp_path: Path) -> None:
    publisher, clock = MemoryPublisher(), ManualClock()
    publisher.away = True
    reporter = reporter_with(publisher, clock, spool_dir=tmp_path)
    reporter.report_error(utterance(0))
    reporter.close(0.0)
    clock.advance(MAX_AGE_S + 1)
    publisher.away = False
    with reporter_with(publisher, clock, spool_dir=tmp_path) as successor:
        assert successor.flush(GIVEN_UP_S)
        assert successor.stats().dropped == {"spool_expired": 1}
    assert publisher.messages == []


def test_what_the_publisher_refuses_for_good_does_not_hold_up_the_rest() -> None:
    class Picky(MemoryPublisher):
        def publish(self, topic: str, data: bytes, **attributes: str) -> Any:
            if b"u-1" in data:
                raise ValueError("too large")
            return super().publish(topic, data, **attributes)

    publisher = Picky()
    with reporter_with(publisher) as reporter:
        for number in range(3):
            reporter.report_error(utterance(number))
        assert reporter.flush(GIVEN_UP_S)
        assert reporter.stats().dropped == {"refused": 1}
    assert names(publisher) == ["u-0", "u-2"]


def test_traffic_is_counted_per_version_and_reported_at_every_interval() -> None:
    publisher, clock = MemoryPublisher(), ManualClock()
    with reporter_with(publisher, clock, traffic_interval_s=60.0) as reporter:
        for number in range(5):
            reporter.observe(utterance(number, model_version=3 if number < 3 else 4))
        assert publisher.messages == []
        clock.advance(60.0)
        until(reporter, lambda: reporter.stats().published == 2)
        clock.advance(45.0)
        reporter.observe(utterance(5))
    rows = [(body["model_version"], body["utterances"], body["interval_s"]) for body in bodies(publisher, "SttTraffic")]
    assert rows == [(3, 3, 60.0), (4, 2, 60.0), (3, 1, 45.0)]
    assert reporter.stats().observed == 6


def test_traffic_that_finds_the_queue_full_is_reported_with_the_next_interval() -> None:
    publisher, clock = MemoryPublisher(), ManualClock()
    publisher.gate.clear()
    reporter = reporter_with(publisher, clock, max_queue=1)
    reporter.report_error(utterance(0))
    assert publisher.attempted.wait(GIVEN_UP_S)
    reporter.report_error(utterance(1))
    reporter.observe(utterance(0))
    clock.advance(60.0)
    assert not reporter.flush(0.0)
    publisher.gate.set()
    until(reporter, lambda: reporter.stats().published == 2)
    reporter.observe(utterance(1))
    clock.advance(15.0)
    reporter.close(GIVEN_UP_S)
    assert [(body["utterances"], body["interval_s"]) for body in bodies(publisher, "SttTraffic")] == [(2, 75.0)]


def test_the_number_of_versions_in_an_interval_is_bounded() -> None:
    with reporter_with(MemoryPublisher()) as reporter:
        for version in range(MAX_VERSIONS + 2):
            reporter.observe(utterance(version, model_version=version))
        stats = reporter.stats()
    assert (stats.observed, stats.invalid) == (MAX_VERSIONS, 2)


def test_the_sample_is_a_binomial_share_of_the_traffic_and_of_the_errors_in_it() -> None:
    publisher = MemoryPublisher()
    with reporter_with(publisher, sample_rate=0.05, max_queue=100_000) as reporter:
        for number in range(20_000):
            reporter.observe(utterance(number))
            if number % 10 == 0:
                reporter.report_error(utterance(number))
        assert reporter.flush(GIVEN_UP_S)
        stats = reporter.stats()
    sampled = {body["utterance_id"] for body in bodies(publisher, "SttSample")}
    assert len(sampled) == stats.sampled
    # 20,000 x 0.05 = 1,000 with a standard deviation of sqrt(20,000 x 0.05 x 0.95) = 30.8; four of them are 124
    assert abs(len(sampled) - 1000) <= 124
    # 2,000 errors: 100, standard deviation 9.75, four are 39
    errors = {f"u-{number}" for number in range(0, 20_000, 10)}
    assert abs(len(sampled & errors) - 100) <= 39
    assert len(bodies(publisher, "SttError")) == 2000


def test_an_utterance_is_drawn_or_not_whether_it_is_an_error_or_not_and_however_often_it_is_observed() -> None:
    def sample(*, with_errors: bool) -> set[str]:
        publisher = MemoryPublisher()
        with reporter_with(publisher, sample_rate=0.3) as reporter:
            for number in range(500):
                if with_errors:
                    reporter.report_error(utterance(number))
                    reporter.observe(utterance(number))
                reporter.observe(utterance(number))
        return {body["utterance_id"] for body in bodies(publisher, "SttSample")}

    assert sample(with_errors=True) == sample(with_errors=False) != set()


def test_each_process_draws_with_a_salt_of_its_own() -> None:
    first, second = Sampler(0.5, b"a" * 32), Sampler(0.5, b"b" * 32)
    ids = [f"u-{number}" for number in range(1000)]
    # two independent draws agree half of the time: 500, standard deviation 15.8, four are 63
    assert abs(sum(first.draws(each) == second.draws(each) for each in ids) - 500) <= 63


@pytest.mark.parametrize(("rate", "drawn"), [(0.0, 0), (1.0, 100)])
def test_the_ends_of_the_sample_rate_draw_nobody_and_everybody(rate: float, drawn: int) -> None:
    sampler = Sampler(rate, b"salt")
    assert sum(sampler.draws(f"u-{number}") for number in range(100)) == drawn


@pytest.mark.parametrize("settings", [{"sample_rate": 1.5}, {"sample_rate": float("nan")}, {"max_queue": 0}, {"traffic_interval_s": 0}])
def test_a_setting_out_of_range_is_refused_at_once(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected"):
        reporter_with(MemoryPublisher(), **settings)


def test_a_reporter_that_was_never_used_starts_no_thread_and_publishes_nothing() -> None:
    publisher = MemoryPublisher()
    with reporter_with(publisher) as reporter:
        pass
    assert reporter._outbox._thread is None
    assert publisher.messages == []
