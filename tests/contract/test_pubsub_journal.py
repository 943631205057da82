"""The journal of the Pub/Sub server: what an engine finds of the one before, and what a file that cannot be used says."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from infra.errors import Unreachable
from infra.local.pubsub_server import PubSubServer, SqliteJournal
from shared.bus import Outgoing
from shared.clock import Clock, SystemClock
from shared.errors import Retryable
from shared.testing.clock import FakeClock
from shared.testing.http_sink import HttpSink
from shared.testing.memory_bus import MemoryBus

TIMEOUT_S = 20.0


@contextmanager
def kept(folder: Path, clock: Clock) -> Iterator[tuple[MemoryBus, SqliteJournal]]:
    """Open the bus of a folder until it is killed: what was not committed is gone then."""
    with closing(SqliteJournal(folder / "pubsub.sqlite3")) as journal:
        yield MemoryBus(clock, "kept", journal), journal


def wired(bus: MemoryBus, **settings: object) -> MemoryBus:
    bus.create_topic("errors")
    bus.create_topic("errors-dead")
    bus.create_subscription("errors-dead", "dead")
    bus.create_subscription("errors", "collector", dead_letter_topic="errors-dead", **settings)  # type: ignore[arg-type]
    return bus


def test_a_message_comes_back_as_it_was_with_its_attempts_and_after_its_back_off(tmp_path: Path) -> None:
    clock = FakeClock()
    with kept(tmp_path, clock) as (bus, _):
        wired(bus, min_backoff_s=10, max_backoff_s=60)
        sent = [bus.publish(Outgoing("errors", data, {"type": "SttError", "v": "1"})) for data in (b"acknowledged", b"held", b"due")]
        first, second = bus.pull("collector", limit=2)
        bus.ack("collector", [first.ack_id])
    clock.advance(1)
    with kept(tmp_path, clock) as (bus, _):
        (due,) = bus.pull("collector")
        assert (due.message.data, due.message.delivery_attempt) == (b"due", 1)
        clock.advance(10)
        (held,) = bus.pull("collector", limit=1)
        assert held.message.message_id == second.message.message_id == sent[1]
        assert held.message.publish_time == second.message.publish_time
        assert (held.message.attributes, held.message.delivery_attempt) == ({"type": "SttError", "v": "1"}, 2)


def test_kills_count_as_refusals_until_the_message_is_a_dead_letter(tmp_path: Path) -> None:
    clock = FakeClock()
    with kept(tmp_path, clock) as (bus, _):
        wired(bus).publish(Outgoing("errors", b"poison"))
    for attempt in range(1, 6):
        with kept(tmp_path, clock) as (bus, _):
            clock.advance(600)
            assert [each.message.delivery_attempt for each in bus.pull("collector")] == [attempt]
    for _ in range(2):  # the letter was moved in one piece, and is kept in its turn
        with kept(tmp_path, clock) as (bus, _):
            assert (bus.backlog("collector"), bus.backlog("dead")) == (0, 1)
            clock.advance(600)
    with kept(tmp_path, clock) as (bus, _):
        (letter,) = bus.pull("dead")
        assert letter.message.data == b"poison"
        assert letter.message.attributes["CloudPubSubDeadLetterSourceDeliveryCount"] == "5"


def test_no_number_is_given_twice_even_where_the_clock_goes_back(tmp_path: Path) -> None:
    clock = FakeClock()
    messages, leases = [], []
    for _ in range(3):
        with kept(tmp_path, clock) as (bus, _):
            wired(bus, min_backoff_s=0, max_backoff_s=0)
            messages += [int(bus.publish(Outgoing("errors", b"1"))) for _ in range(3)]
            leases += [received.ack_id for received in bus.pull("collector")]
        clock.advance(-3600)
    assert messages == sorted(set(messages))
    assert len(set(leases)) == len(leases) == 3 + 6 + 9


def test_an_acknowledgement_from_before_the_kill_acknowledges_nothing(tmp_path: Path) -> None:
    clock = FakeClock()
    with kept(tmp_path, clock) as (bus, _):
        wired(bus, min_backoff_s=0, max_backoff_s=0).publish(Outgoing("errors", b"1"))
        (before,) = bus.pull("collector")
    with kept(tmp_path, clock) as (bus, _):
        (again,) = bus.pull("collector")
        bus.ack("collector", [before.ack_id])
        assert bus.backlog("collector") == 1
        bus.ack("collector", [again.ack_id])
        assert bus.backlog("collector") == 0


def test_what_was_deleted_stays_deleted_and_a_subscription_outlives_its_topic(tmp_path: Path) -> None:
    clock = FakeClock()
    with kept(tmp_path, clock) as (bus, _):
        wired(bus).create_subscription("errors", "other")
        bus.publish(Outgoing("errors", b"1"))
        bus.engine.delete_subscription("projects/kept/subscriptions/other")
        bus.engine.delete_topic("projects/kept/topics/errors")
    with kept(tmp_path, clock) as (bus, _):
        assert bus.engine.topics() == ["projects/kept/topics/errors-dead"]
        assert {config.name.rpartition("/")[2]: config.topic.rpartition("/")[2] for config in bus.engine.subscriptions()} == {
            "collector": "_deleted-topic_",
            "dead": "errors-dead",
        }
        bus.create_topic("errors")
        bus.create_subscription("errors", "other")
        assert (bus.backlog("collector"), bus.backlog("other")) == (1, 0)


def test_a_file_that_another_process_has_or_that_is_none_is_refused(tmp_path: Path) -> None:
    with kept(tmp_path, FakeClock()), pytest.raises(Unreachable, match="database is locked: end the one that runs"):
        SqliteJournal(tmp_path / "pubsub.sqlite3")
    (tmp_path / "text").write_text("no messages " * 100)
    with pytest.raises(Unreachable, match=r"file is not a database: .* move the file away"):
        SqliteJournal(tmp_path / "text")


def test_a_full_disk_refuses_publishers(tmp_path: Path) -> None:
    with kept(tmp_path, FakeClock()) as (bus, journal):
        wired(bus)
        (pages,) = journal._connection.execute("PRAGMA page_count").fetchone()
        journal._connection.execute(f"PRAGMA max_page_count = {pages + 8}")
        with pytest.raises(Retryable, match="the journal could not be written: database or disk is full"):
            bus.publish(Outgoing("errors", bytes(1 << 20)))


def test_pushes_go_on_when_the_journal_can_be_written_again(tmp_path: Path) -> None:
    settings = {"ack_deadline_s": 1, "min_backoff_s": 0.0, "max_backoff_s": 0.0}
    with kept(tmp_path, SystemClock()) as (bus, journal), HttpSink() as sink, PubSubServer(bus):
        wired(bus, push_endpoint=sink.root, **settings)
        with bus.engine.changed:
            bus.publish(Outgoing("errors", b"1"))
            journal._connection.execute("PRAGMA query_only = ON")
            while bus.engine.ready("projects/kept/subscriptions/collector"):
                bus.engine.changed.wait(0.01)  # until it was taken, and could not be pushed
            journal._connection.execute("PRAGMA query_only = OFF")
        sink.wait_for(lambda requests: len(requests) == 1)
        with bus.engine.changed:
            assert bus.engine.changed.wait_for(lambda: bus.backlog("collector") == 0, TIMEOUT_S)
