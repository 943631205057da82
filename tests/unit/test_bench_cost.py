"""The cost model: its page follows from what was measured and the constants, and what was measured is what the code does."""

import asyncio
import re

import pytest

from functions.collector.handler import Collector
from functions.runtime import Ports
from infra.bundle import ROOT
from shared import keys
from shared.cas import find
from shared.config import Settings
from shared.head import move_head
from shared.messages import outgoing
from shared.testing import builders
from shared.testing.clock import FakeClock
from shared.testing.memory_bus import MemoryBus
from shared.testing.memory_store import MemoryStore
from tests.benchmarks._minute import Minute, Ops, billed, busy_s, error, most_at_once
from tests.benchmarks.cost import BILLED_MESSAGE_BYTES, MINUTES, PAGE, Bill, message_bytes, object_per_event, ours, page, read_figures
from tests.world import World

MINUTE = Minute(
    errors=100,
    segments=50,
    collecting=Ops(a=60, b=200, free=10),
    busy_s=20.0,
    most_in_flight=3,
    p50_s=0.2,
    p99_s=0.3,
    cpu_s=0.1,
    log_bytes=20_000,
    stored_bytes=40_000,
    sweeping=Ops(a=5, b=110, free=50),
    sweep_s=7.0,
    idle_sweeping=Ops(a=3, b=18, free=4),
    idle_sweep_s=1.0,
)


class Billed:
    """Counts the calls of a store as Cloud Storage bills its client's: a read is two, its description and its data."""

    def __init__(self) -> None:
        self.a = self.b = self.free = 0

    def before(self, operation: str, _key: str) -> None:
        self.a += operation in {"put", "list"}
        self.free += operation in {"get", "stat", "delete"}

    def after(self, operation: str, _key: str) -> None:
        found = {"get": 2, "stat": 1}.get(operation, 0)
        self.b += found
        self.free -= found > 0


def test_the_page_follows_from_what_was_measured() -> None:
    assert page(read_figures()) == PAGE.read_text(), "run `python -m tests.benchmarks.cost --write`"


def test_an_error_alone_makes_the_calls_that_were_measured() -> None:
    world = World()
    world.install_model()
    move_head(world.store, 1)
    settings = Settings(bucket="gs://retune-test", project="test", audio_prefixes=(builders.CALLS,), count_interval_s=0, linger_s=0)
    collector = Collector(Ports(world.store, MemoryBus(FakeClock()), world.clock, settings), lambda _uri: None)
    asyncio.run(collector.collect(builders.message(builders.error(1))))
    assert find(world.store, keys.ledger_index(2)) is None
    counted = Billed()
    world.store.before, world.store.after = counted.before, counted.after
    asyncio.run(collector.collect(builders.message(builders.error(2))))
    alone = read_figures().minutes[1]
    measured = alone.collecting.times(1 / alone.errors)
    # In the measured bucket an earlier tick has folded segments, so that there is an index to be read: two of class B for one not billed.
    assert (counted.a, counted.b + 2, counted.free - 1) == (measured.a, measured.b, measured.free), (
        "the collector makes other calls now: run `python -m tests.benchmarks.cost --measure`"
    )


@pytest.mark.parametrize(
    ("method", "path", "status", "expected"),
    [
        ("POST", ("upload", "storage", "v1", "b", "x", "o"), 200, "a"),
        ("GET", ("storage", "v1", "b", "x", "o"), 200, "a"),
        ("GET", ("storage", "v1", "b", "x", "o", "cycles/head.json"), 200, "b"),
        ("GET", ("storage", "v1", "b", "x", "o", "cycles/head.json"), 404, "free"),
        ("POST", ("upload", "storage", "v1", "b", "x", "o"), 412, "free"),
        ("DELETE", ("storage", "v1", "b", "x", "o", "a"), 204, "free"),
    ],
)
def test_calls_are_billed_by_their_class(method: str, path: tuple[str, ...], status: int, expected: str) -> None:
    assert billed(method, path, status) == expected


def test_an_instance_is_busy_while_requests_overlap_and_each_stretch_is_rounded_up() -> None:
    spans = [(0.0, 0.25), (0.2, 0.42), (1.0, 1.01)]
    assert busy_s(spans) == pytest.approx(0.5 + 0.1)
    assert most_at_once(spans) == 2
    assert busy_s([]) == 0


def test_our_bill_counts_what_a_minute_took() -> None:
    used = ours(100, MINUTE, 500).used
    assert used["class_a"] == (60 + 5) * MINUTES
    assert used["class_b"] == (200 + 110 + 2) * MINUTES
    assert used["requests"] == 101 * MINUTES
    assert used["vcpu"] == 27.0 * MINUTES
    assert used["memory"] == (20.0 * 0.5 + 7.0) * MINUTES
    assert used["pubsub"] * 2**30 == pytest.approx(101 * 2 * BILLED_MESSAGE_BYTES * MINUTES)


def test_what_is_free_is_taken_off_each_line() -> None:
    bill = Bill(used={"requests": 3_000_000, "class_a": 1_000})
    assert bill.total_usd == pytest.approx(1.20 + 0.005)
    assert bill.after_free_usd == pytest.approx(0.40)


def test_a_counter_beyond_one_write_a_second_is_said_not_to_work() -> None:
    assert object_per_event(60, MINUTE, 500).hurdle == ""
    assert "at most 60" in object_per_event(61, MINUTE, 500).hurdle


def test_a_sweep_beyond_what_the_sweepers_do_is_said_to_fall_behind() -> None:
    assert ours(100, MINUTE, 500).hurdle == ""
    assert "falls behind" in ours(100, MINUTE.model_copy(update={"sweep_s": 121.0}), 500).hurdle


def test_the_sizes_are_terraforms() -> None:
    text = (ROOT / "infra" / "wiring.tf").read_text()
    sizes = dict(re.findall(r"^    (collector|sweeper) = \{.*?size\s+= \{ timeout_s = \d+, (.*?) \}", text, re.DOTALL | re.MULTILINE))
    assert sizes == {
        "collector": 'memory = "512Mi", cpu = "1", concurrency = 80, max_instances = 20',
        "sweeper": 'memory = "1Gi", cpu = "1", concurrency = 1, max_instances = 2',
    }
    assert "message_retention_duration = local.month" in (ROOT / "infra/modules/topic/main.tf").read_text()
    assert "retention_duration_seconds = 604800" in (ROOT / "infra/modules/store/main.tf").read_text()


def test_a_message_is_below_what_a_request_is_billed_for_at_least() -> None:
    assert len(outgoing(error("1")).data) < message_bytes() < BILLED_MESSAGE_BYTES


def test_the_store_in_memory_is_counted_as_the_client_is_billed() -> None:
    counted = Billed()
    store = MemoryStore(before=counted.before, after=counted.after)
    store.put("a", b"1")
    store.get("a")
    store.stat("a")
    assert find(store, "b") is None
    assert list(store.list("a"))
    store.delete("a")
    assert (counted.a, counted.b, counted.free) == (2, 3, 2)
