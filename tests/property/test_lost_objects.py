"""A bucket that lost its newest objects: fsck names what is lost, nobody makes it worse, and the documented procedure mends it.

The procedure is that of docs/guides/operations.md, "After a loss": what the bucket held at a time before the loss is put back, by the
noncurrent generations that Cloud Storage keeps.
"""

import re
from collections.abc import Iterator
from functools import cache

from hypothesis import example, given, settings
from hypothesis import strategies as st

from infra.fsck.command import FsckReport, fsck
from infra.fsck.recollect import recollect
from shared import keys, ledger
from shared.cycle import Status
from shared.errors import NotFound
from shared.objectstore import Generation, ObjectInfo, StoredObject
from shared.registry import CODEC
from shared.testing import builders
from shared.testing.memory_store import MemoryStore
from tests.stored import GOLDEN_POLICY
from tests.world import BUCKET, World, wrong

NAMED = re.compile(
    r"cycles/(head\.json|\d+/(state|spec)\.json|\d+/dataset\.jsonl|\d+/(clips|policies)/.*)|runs/\d+/(result\.json|evaluation/.*)"
    r"|verdicts/\d+/report\.json|models/.*|registry/.*"
)
"""What fsck can miss: the rest is audio, records that are made anew, and events, which nothing else names."""
IMMUTABLE = re.compile(
    r"cycles/\d+/(spec\.json|dataset\.jsonl|(clips|policies)/.*)|runs/\d+/(result\.json|evaluation/.*)|verdicts/\d+/report\.json"
    r"|models/.*|registry/log/.*"
)
KEPT_ANYWAY = ("ledger/", "quarantine/", "corpora/audio/")
"""What came after the loss under new names and stays: what services reported meanwhile."""


@cache
def written() -> tuple[dict[str, StoredObject], tuple[str, ...], World]:
    """Return the objects of a loop at rest, their keys in the order of their last writes, and the world that made them."""
    made = World(GOLDEN_POLICY)
    made.install_model()
    made.record_calls(range(300))
    for cycle in (1, 2, 3):
        numbers = range(20 * cycle, 20 * cycle + 12)
        made.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in numbers), *(builders.error(n) for n in numbers))
        made.settle()
        made.train(cycle, **({"candidate": wrong} if cycle == 2 else {}))
        made.settle()
        made.tick(601)
        made.tick(601)
    made.publish(builders.error(90))
    made.settle()
    objects = {info.key: made.store.get(info.key) for info in made.store.list("")}
    return objects, tuple(sorted(objects, key=lambda key: objects[key].info.generation)), made


class Kept(MemoryStore):
    """A store that begins with given objects, at the generations that they had."""

    def __init__(self, objects: dict[str, StoredObject], world: World) -> None:
        super().__init__(BUCKET, clock=world.clock)
        self._objects = dict(objects)
        self._keys = sorted(objects)
        self._generation = max((each.info.generation for each in objects.values()), default=Generation(0)) + 1000


def world_on(store: MemoryStore) -> World:
    made = World(GOLDEN_POLICY, store=store)
    made.clock.advance((written()[2].clock.now() - made.clock.now()).total_seconds())
    made.record_calls(range(300))
    return made


def restore(store: MemoryStore, before: dict[str, StoredObject]) -> None:
    """Do what the guide says: the bucket as it was, beside what was reported since."""
    for key, stored in before.items():
        if not same(store, stored.info):
            store.put(key, stored.data, metadata=stored.info.metadata)
    for info in list(store.list("")):
        if info.key not in before and not info.key.startswith(KEPT_ANYWAY):
            store.delete(info.key)
    recollect(store)


def same(store: MemoryStore, info: ObjectInfo) -> bool:
    try:
        return store.stat(info.key).crc32c == info.crc32c
    except NotFound:
        return False


def newest(count: int) -> frozenset[str]:
    return frozenset(written()[1][-count:])


def losses() -> st.SearchStrategy[frozenset[str]]:
    """Draw what is lost: the newest objects, or only some of the newest."""
    order = written()[1]
    suffix = st.integers(1, len(order)).map(newest)
    some = st.lists(st.sampled_from(order[-60:]), min_size=1, max_size=8).map(frozenset)
    return st.one_of(suffix, some)


def after(lost: frozenset[str]) -> Kept:
    objects, _, made = written()
    return Kept({key: stored for key, stored in objects.items() if key not in lost}, made)


def missed(lost: frozenset[str], report: FsckReport) -> bool:
    """Tell whether something that can be named is lost, and nothing is said. A bucket with nothing in it is a new one."""
    rest = written()[0].keys() - lost
    return bool(rest) and any(NAMED.fullmatch(key) for key in rest) and any(NAMED.fullmatch(key) for key in lost) and report.clean


def test_the_loop_that_loses_objects_was_clean_before() -> None:
    assert fsck(after(frozenset()), full=True).findings == ()


@settings(max_examples=150)
@given(losses())
@example(frozenset({keys.PRODUCTION}))
@example(frozenset({keys.HEAD}))
def test_what_is_lost_is_named(lost: frozenset[str]) -> None:
    assert not missed(lost, fsck(after(lost))), sorted(lost)


def test_each_object_that_can_be_named_is_named_when_it_alone_is_lost() -> None:
    for key in filter(NAMED.fullmatch, written()[1]):
        findings = fsck(after(frozenset({key}))).findings
        assert findings, key
        assert all(finding.advice for finding in findings)


def disturb(world: World, number: int) -> Iterator[str]:
    """Let everybody work on what is left, report new errors, and yield the ids of the events that were acknowledged."""
    world.publish(*(builders.error(n) for n in range(number, number + 3)))
    world.settle()
    for _ in range(3):
        world.tick(601)
    yield from sorted(world.acknowledged)


@settings(max_examples=60)
@given(losses())
@example(frozenset({keys.PRODUCTION}))
@example(frozenset({keys.HEAD}))
@example(frozenset({keys.PRODUCTION, keys.HEAD}))
def test_nobody_makes_it_worse_and_the_procedure_mends_it(lost: frozenset[str]) -> None:
    before = written()[0]
    store = after(lost)
    survivors = {key: stored for key, stored in before.items() if key not in lost and IMMUTABLE.fullmatch(key)}
    world = world_on(store)
    acknowledged = list(disturb(world, 250))
    for key, stored in survivors.items():
        assert store.get(key).data == stored.data, key

    restore(store, before)
    assert fsck(store, full=True).findings == ()
    assert CODEC.parse(store.get(keys.PRODUCTION).data) == CODEC.parse(before[keys.PRODUCTION].data)

    again = world_on(store)
    again.clock.advance(7200)
    events = {event.event_id for event in ledger.read_events(store, 4)}
    assert events >= {"e90", *acknowledged}
    again.publish(*(builders.error(n) for n in range(200, 212)))
    again.settle()
    for _ in range(3):
        again.tick(1000)
    assert again.state(4).status in {Status.PREPARING, Status.TRAINING}
    assert again.train(4) == "completed"
    for _ in range(4):
        again.tick(601)
    assert again.state(4).status == Status.DEPLOYED
    assert fsck(store, full=True).findings == ()
