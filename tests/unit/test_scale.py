"""What must not grow with years of work and with a long ledger, held by counting the operations on the store."""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace

import pytest

from functions.crossing import announce_crossing
from functions.launcher import scatter
from functions.launcher.counting import exact_trigger
from functions.launcher.facts import read_facts
from functions.launcher.history import Corpora, past_uses
from functions.launcher.opening import LaunchDeps
from functions.launcher.seal import make_dataset, read_split_key, seal
from functions.launcher.window import read_window
from functions.runtime import Ports
from functions.states import recent_states
from functions.sweeper.handler import sweep
from infra.status import look
from shared import keys, ledger, spool
from shared.audio_source import AudioSource
from shared.config import Settings
from shared.dataset import CONSUME_HORIZON, Row
from shared.line_objects import get_lines, lines_of
from shared.splits import split_of
from shared.testing.builders import CALLS
from shared.testing.clock import FakeClock
from shared.testing.memory_store import MemoryStore
from tests.benchmarks.scale.counted import CountingStore
from tests.benchmarks.scale.measure import Everywhere, Nobody
from tests.benchmarks.scale.state import NOW, POLICY, SPLIT_KEY, Size, first_moment, opened_at, write_bucket
from tests.world import BUCKET, FakeTrainers

FEW, MANY = Size(100, 3, compacted=True), Size(100, 300, compacted=True)
LONG = Size(10_000, 3, compacted=True)


class Bucket:
    """A prepared bucket, and the functions' ports on it."""

    def __init__(self, size: Size) -> None:
        clock = FakeClock(first_moment(size))
        self.size = size
        self.store = CountingStore(MemoryStore(BUCKET, clock=clock))
        write_bucket(self.store, clock, size)
        settings = Settings(bucket=BUCKET, project="test", audio_prefixes=(CALLS,), policy=POLICY)
        self.ports = Ports(self.store, Nobody(), clock, settings)
        self.audio = AudioSource(lambda _: Everywhere(), (CALLS,))  # type: ignore[arg-type,return-value]  # pins alone are made

    def count_exactly(self) -> bool:
        states = recent_states(self.ports, self.size.open_cycle)
        return exact_trigger(self.ports, self.size.open_cycle, states, forced=False).should_trigger

    def operations(self, work: Callable[["Bucket"], object]) -> dict[str, int]:
        self.store.forget()
        work(self)
        return dict(self.store.operations)

    def datasets_read(self, work: Callable[["Bucket"], object]) -> set[int]:
        self.store.forget()
        work(self)
        return {keys.cycle_of(key) for key in self.store.keys if key.endswith("/dataset.jsonl")}


@pytest.fixture(scope="module")
def buckets() -> dict[Size, Bucket]:
    return {size: Bucket(size) for size in (FEW, MANY, LONG)}


EVERY_MINUTE: dict[str, Callable[[Bucket], object]] = {
    "count": lambda bucket: ledger.count(bucket.store, bucket.size.open_cycle),
    "decide": lambda bucket: announce_crossing(bucket.ports),
    "tick": lambda bucket: sweep(LaunchDeps(bucket.ports, bucket.audio, FakeTrainers())),
    "status": lambda bucket: look(bucket.ports),
}


@pytest.mark.parametrize("other", [MANY, LONG], ids=["300 past cycles", "10,000 events"])
@pytest.mark.parametrize("name", EVERY_MINUTE)
def test_what_is_done_every_minute_takes_the_same_operations(buckets: dict[Size, Bucket], name: str, other: Size) -> None:
    assert buckets[other].operations(EVERY_MINUTE[name]) == buckets[FEW].operations(EVERY_MINUTE[name])


def test_an_opening_reads_no_dataset_behind_the_window_but_the_one_that_ends_it(buckets: dict[Size, Bucket]) -> None:
    bucket = buckets[MANY]
    assert bucket.count_exactly(), "the first one reads all that there is, and keeps what it says"
    opened = opened_at(MANY, MANY.cycles)
    inside = {cycle for cycle in range(1, MANY.cycles + 1) if opened_at(MANY, cycle) >= opened - CONSUME_HORIZON}
    assert len(inside) == CONSUME_HORIZON.days + 1
    ends = min(inside) - 1
    assert bucket.datasets_read(Bucket.count_exactly) == {ends, *inside}
    own = bucket.size.open_cycle
    assert bucket.datasets_read(lambda one: seal(one.ports, one.audio, own)) == {ends, *inside, own}


def test_what_is_kept_of_former_cycles_says_what_their_datasets_say(buckets: dict[Size, Bucket]) -> None:
    store, head = buckets[MANY].store, MANY.open_cycle
    datasets = [get_lines(store, keys.dataset(cycle), lines_of(Row, what="dataset")) for cycle in range(1, head)]

    def history(settled: int) -> object:
        found = list(read_facts(store, SPLIT_KEY, head, datasets[settled:], settled))
        return past_uses(found, Corpora(suites=(), replay=()), lambda cluster: split_of(cluster, POLICY))

    everything = history(0)
    for settled in (1, 100, 206):
        assert history(settled) == everything
    assert read_window(buckets[MANY].ports, head).settled == 206
    store.forget()
    history(206)
    blocks = [key for key in store.keys if key.endswith("/former.jsonl")]
    assert blocks == [keys.former(number) for number in (206, 205, 204, 203, 202, 201, 200, 100)]


def test_a_block_keeps_hashes_alone(buckets: dict[Size, Bucket]) -> None:
    store = buckets[MANY].store
    assert list(read_facts(store, read_split_key(buckets[MANY].ports), 2, (), 1))
    data = store.get(keys.former(1)).data
    assert b"speaker:" not in data
    assert b"call-1-" not in data


def test_a_holdout_that_fills_its_cap_is_not_read_to_its_beginning(buckets: dict[Size, Bucket]) -> None:
    bucket = buckets[MANY]
    capped = POLICY.model_copy(update={"holdout_cap": 10})
    ports = bucket.ports
    try:
        bucket.ports = replace(ports, settings=ports.settings.model_copy(update={"policy": capped}))
        bucket.count_exactly()
        bucket.store.forget()
        bucket.count_exactly()
    finally:
        bucket.ports = ports
    read = [key for key in bucket.store.keys if key.startswith(keys.HOLDOUT) and not key.endswith("*")]
    assert 1 <= len(read) < 20
    assert read[0] == keys.holdout(MANY.cycles)


def test_the_clock_of_a_prepared_bucket_stands_at_its_end(buckets: dict[Size, Bucket]) -> None:
    assert all(bucket.ports.clock.now() == NOW for bucket in buckets.values())


def test_the_memory_of_a_seal_does_not_grow_with_its_ledger_as_its_rows_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen times as many events, of which a fifth hang together: hashes and one group are held, no rows."""
    monkeypatch.setattr(scatter, "MOST", 100)
    monkeypatch.setattr(spool, "IN_MEMORY_BYTES", 1)
    monkeypatch.setattr(spool, "BLOCK_BYTES", 1 << 12)

    def peak(events: int) -> int:
        bucket = Bucket(Size(events, 3, compacted=True))
        tracemalloc.start()
        rows = make_dataset(bucket.ports, bucket.audio, bucket.size.open_cycle).rows
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(rows) >= events
        return found

    peak(500)  # what is loaded once
    few, many = peak(500), peak(8_000)
    assert (many - few) / 7_500 < 2_000, "bytes an event; a row as an object takes 4,000"
