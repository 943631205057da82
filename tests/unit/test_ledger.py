"""The ledger: what it counts, what compaction leaves, and where an append ends up."""

import random
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import compaction, keys, ledger
from shared.arrivals import Arrival, arrived
from shared.cas import commit, create, find
from shared.compaction import collect_garbage, compact, touch_index
from shared.cycle import CODEC, Status
from shared.documents import document_bytes, parse_document
from shared.errors import Conflict, CorruptObject, InvariantBroken, Retryable
from shared.events import Event
from shared.head import KnownHead, begin_head, move_head, read_head
from shared.ledger import Index
from shared.objectstore import ABSENT
from shared.testing.builders import correction, cycle_state, error, sample, traffic
from shared.testing.clock import START
from shared.testing.memory_store import MemoryStore
from shared.totals import Totals, count_events

HOUR = timedelta(hours=1)


def filled(*flushes: Sequence[Event]) -> MemoryStore:
    """Return a store whose first ledger holds one segment per flush: `a`, `b`, ..."""
    store = MemoryStore()
    for number, events in enumerate(flushes):
        ledger.append(store, events, chr(ord("a") + number))
    return store


def names(store: MemoryStore, cycle: int = 1) -> set[str]:
    """Return what lies in a ledger, the random names of parts shortened."""
    found = {info.key.removeprefix(keys.ledger(cycle)) for info in store.list(keys.ledger(cycle))}
    return {"part" if name.startswith("part-") else name for name in found}


def index_of(store: MemoryStore) -> Index:
    return parse_document(Index, store.get(keys.ledger_index(1)).data, what="index")


def once(store: MemoryStore, operation: str, key: str, act: Callable[[], object], *, before: bool = True) -> None:
    """Do something right before (or after) the next such call of the store."""
    left = [act]

    def hook(found_operation: str, found_key: str) -> None:
        if left and found_operation == operation and found_key.startswith(key):
            left.pop()()

    setattr(store, "before" if before else "after", hook)


# totals


def test_totals_count_each_kind_and_the_references() -> None:
    events = [
        error(1),
        error(2, reference=None, model_version=4),
        error(7, at=START + HOUR),
        correction(2),
        sample(3),
        traffic(4, 70),
        traffic(5, 30),
        traffic(6, 5, version=4),
    ]
    assert count_events(events) == Totals(
        events=8,
        errors=3,
        corrected=3,  # two errors that came with a reference, and a correction
        corrections=1,
        samples=1,
        errors_by_version={0: 2, 4: 1},
        utterances_by_version={0: 100, 4: 5},
        oldest=START,
    )


def test_the_oldest_is_the_oldest_error_and_nothing_else() -> None:
    assert count_events([error(1, at=START + HOUR), error(2), error(3, at=START + 2 * HOUR)]).oldest == START
    assert count_events([sample(1), correction(2), traffic(3, 9)]).oldest is None


def test_the_sum_has_the_older_oldest_and_one_that_is_missing_does_not_count() -> None:
    old, new, none = Totals(oldest=START), Totals(oldest=START + HOUR), Totals()
    assert [(a + b).oldest for a, b in ((old, new), (new, old), (old, none), (none, new), (none, none))] == [
        START,
        START,
        START,
        START + HOUR,
        None,
    ]


events = st.one_of(
    st.builds(
        lambda n, hours, version, reference: error(n, at=START + hours * HOUR, model_version=version, reference=reference),
        st.integers(0, 30),
        st.integers(0, 9),
        st.integers(0, 2),
        st.sampled_from([None, "fall back"]),
    ),
    st.builds(sample, st.integers(0, 30)),
    st.builds(correction, st.integers(0, 30)),
    st.builds(
        lambda n, utterances, version: traffic(n, utterances, version=version), st.integers(0, 30), st.integers(1, 99), st.integers(0, 2)
    ),
)


@settings(deadline=None)
@given(st.lists(events, max_size=8), st.lists(events, max_size=8))
def test_totals_add_up(some: list[Event], others: list[Event]) -> None:
    assert count_events(some) + count_events(others) == count_events([*some, *others])


@settings(deadline=None)
@given(st.lists(events, min_size=1, max_size=20, unique_by=lambda event: event.event_id), st.randoms(use_true_random=False))
def test_without_duplicates_the_count_is_exact_however_often_the_ledger_was_compacted(every: list[Event], rng: random.Random) -> None:
    store = MemoryStore()
    for number, event in enumerate(every):
        ledger.append(store, [event], f"token {number}")
        if rng.random() < 0.3:
            compact(store, 1, at_least=rng.randint(1, 4))
    assert ledger.count(store, 1) == count_events(ledger.read_events(store, 1)) == count_events(every)


def test_events_that_were_delivered_twice_are_counted_twice_and_read_once_in_the_order_of_time() -> None:
    store = filled([error(2, at=START + HOUR), error(1)], [error(1), error(0, at=START + HOUR)])
    assert ledger.count(store, 1).errors == 4
    assert [event.event_id for event in ledger.read_events(store, 1)] == ["e1", "e0", "e2"]


def test_an_empty_ledger_counts_and_reads_as_nothing() -> None:
    store = MemoryStore()
    assert ledger.count(store, 1) == Totals()
    assert ledger.read_events(store, 1) == []


def test_a_count_opens_no_segment() -> None:
    store = filled([error(1)], [error(2)])
    gets: list[str] = []
    store.before = lambda operation, key: gets.append(key) if operation == "get" else None
    ledger.count(store, 1)
    assert gets == [keys.ledger_index(1)]


def test_a_segment_without_its_counts_needs_a_person() -> None:
    store = filled([error(1)])
    store.put(keys.segment(1, "b"), b"")
    with pytest.raises(InvariantBroken, match=r"ledger/000001/segment-b\.jsonl: expected metadata 'totals', found \[\]"):
        ledger.count(store, 1)
    store.put(keys.segment(1, "b"), b"", metadata={"totals": '{"errors": "many"}'})
    with pytest.raises(CorruptObject, match=r"metadata of ledger/000001/segment-b\.jsonl: expected a valid Totals, found errors"):
        ledger.count(store, 1)


def test_an_index_that_cannot_be_read_is_named() -> None:
    store = filled([error(1)])
    store.put(keys.ledger_index(1), b"{")
    with pytest.raises(CorruptObject, match=r"ledger/000001/index\.json: expected a valid Index"):
        ledger.count(store, 1)


# compaction


def test_a_compaction_folds_the_segments_into_one_part_and_deletes_them() -> None:
    store = filled([error(1)], [error(2), traffic(1, 7)])
    assert compact(store, 1) == 2
    assert names(store) == {"index.json", "part"}
    index = index_of(store)
    assert index.totals == count_events([error(1), error(2), traffic(1, 7)])
    assert index.pending == (keys.segment(1, "a"), keys.segment(1, "b"))
    assert store.stat(index.parts[0]).content_type == "application/x-ndjson"


def test_whoever_touches_the_index_leaves_it_as_it_is_and_lets_a_compactor_that_began_before_lose() -> None:
    store = filled([error(1)], [error(2)])
    once(store, "put", "ledger/000001/part-", lambda: touch_index(store, 1))
    assert compact(store, 1) == 0
    assert index_of(store) == Index()
    assert compact(store, 1) == 2
    written, generation = index_of(store), store.stat(keys.ledger_index(1)).generation
    touch_index(store, 1)
    assert index_of(store) == written
    assert store.stat(keys.ledger_index(1)).generation > generation
    assert names(store, 2) == set()


def test_whoever_touches_the_index_beside_a_compactor_that_is_faster_is_told() -> None:
    store = filled([error(1)], [error(2)])
    once(store, "put", keys.ledger_index(1), lambda: compact(store, 1))
    with pytest.raises(Conflict):
        touch_index(store, 1)
    assert index_of(store).totals.errors == 2


def test_the_next_compaction_adds_a_part_and_forgets_what_was_pending_before() -> None:
    store = filled([error(1)], [error(2)])
    compact(store, 1)
    first = index_of(store)
    ledger.append(store, [error(3)], "c")
    assert compact(store, 1, at_least=1) == 1
    second = index_of(store)
    assert second.parts[:1] == first.parts
    assert len(second.parts) == 2
    assert second.pending == (keys.segment(1, "c"),)
    assert second.totals.errors == 3


def test_few_segments_are_left_alone() -> None:
    store = filled([error(1)])
    assert compact(store, 1) == 0
    assert names(store) == {"segment-a.jsonl"}


def test_a_segment_that_is_pending_and_still_there_is_counted_and_read_once_and_then_deleted() -> None:
    store = filled([error(1)], [error(2)])
    left = store.get(keys.segment(1, "a"))
    compact(store, 1)
    store.put(left.info.key, left.data, metadata=left.info.metadata)  # its deletion never happened
    assert ledger.look(store, 1).live == ()
    assert ledger.count(store, 1).errors == 2
    assert len(ledger.read_events(store, 1)) == 2
    assert compact(store, 1) == 0
    assert names(store) == {"index.json", "part"}


def test_a_compactor_that_was_overtaken_deletes_nothing() -> None:
    store = filled([error(1)], [error(2)])
    faster = document_bytes(Index(totals=Totals(), parts=()))
    once(store, "put", keys.ledger_index(1), lambda: commit(store, keys.ledger_index(1), faster, if_generation_match=ABSENT))
    assert compact(store, 1) == 0
    assert names(store) >= {"segment-a.jsonl", "segment-b.jsonl"}
    assert ledger.count(store, 1).errors == 2


def test_a_compactor_whose_segments_vanish_leaves_the_work_to_the_other() -> None:
    store = filled([error(1)], [error(2)])
    once(store, "get", keys.segment(1, "a"), lambda: compact(store, 1))
    assert compact(store, 1) == 0
    assert ledger.count(store, 1).errors == 2


def test_a_reader_whose_segments_vanish_lists_again() -> None:
    store = filled([error(1)], [error(2)])
    once(store, "get", keys.segment(1, "a"), lambda: compact(store, 1))
    assert len(ledger.read_events(store, 1)) == 2


def test_a_reader_of_a_ledger_that_is_being_collected_is_sent_to_the_dataset() -> None:
    store = filled(*([error(number)] for number in range(2 * ledger.READ_TRIES)))
    store.put(keys.dataset(1), b"")

    def one_step_ahead(operation: str, key: str) -> None:
        if operation == "get" and key.startswith(keys.segment(1, "").removesuffix(".jsonl")):
            store.delete(key)

    store.before = one_step_ahead
    with pytest.raises(Retryable, match=f"ledger 1: expected its events, found {keys.dataset(1)} sealed meanwhile and them gone"):
        ledger.read_events(store, 1)


def test_a_reader_that_is_shown_what_is_never_there_gives_up() -> None:
    store = filled([error(1)])
    store.put(keys.ledger_index(1), document_bytes(Index(parts=("ledger/000001/part-gone.jsonl",))))
    with pytest.raises(InvariantBroken, match="ledger 1: expected a stable listing within 10 tries"):
        ledger.read_events(store, 1)


# head and append


def test_the_head_starts_at_one_and_only_moves_forward() -> None:
    store = MemoryStore()
    assert read_head(store) == 1
    assert move_head(store, 1) == 2
    assert move_head(store, 4) == 5
    generation = store.stat(keys.HEAD).generation
    assert [move_head(store, past) for past in (1, 3, 4)] == [5, 5, 5]
    assert store.stat(keys.HEAD).generation == generation, "nothing was written"


def test_a_head_that_is_there_costs_one_read() -> None:
    store = MemoryStore()
    move_head(store, 1)
    calls: list[tuple[str, str]] = []
    store.before = lambda operation, key: calls.append((operation, key))
    assert begin_head(store) == 2
    assert calls == [("get", keys.HEAD)]


def test_a_head_that_somebody_writes_while_it_is_looked_for_is_no_lost_one() -> None:
    store = MemoryStore()
    once(store, "list", keys.CYCLES, lambda: store.put(keys.HEAD, b'{"cycle": 2}') and store.put(keys.segment(2, "a"), b""))
    assert read_head(store) == 2


@pytest.mark.parametrize(
    ("key", "tells"),
    [
        (keys.declined(1), False),  # written while the first cycle collects
        (keys.watch(1), False),
        (keys.dataset(1), True),
        (keys.declined(2), True),
        (keys.segment(1, "a"), False),
        (keys.segment(2, "a"), True),
        ("cycles/000001", True),
        ("cycles/a", False),  # what is of no cycle
    ],
)
def test_what_only_a_head_can_have_led_to_tells_of_its_loss(key: str, tells: bool) -> None:
    store = MemoryStore()
    store.put(key, b"")
    if tells:
        with pytest.raises(InvariantBroken, match=f"expected the cycle that is collecting, since {key} is there, found none"):
            read_head(store)
    else:
        assert read_head(store) == 1


def test_an_approval_that_the_first_cycle_waits_for_is_older_than_a_head_and_nothing_else_of_its_state_is() -> None:
    store = MemoryStore()
    store.put(keys.state(1), CODEC.dump(cycle_state(Status.AWAITING_APPROVAL)))
    assert read_head(store) == 1
    store.put(keys.state(1), CODEC.dump(cycle_state(Status.PREPARING)))
    with pytest.raises(InvariantBroken, match=f"since {keys.state(1)} is there"):
        read_head(store)
    once(store, "get", keys.state(1), lambda: store.delete(keys.state(1)))
    assert read_head(store) == 1, "it went while it was looked at"


def test_a_head_that_is_lost_while_it_is_moved_is_not_begun_anew() -> None:
    store = MemoryStore()
    begin_head(store)
    once(store, "get", keys.HEAD, lambda: once(store, "get", keys.HEAD, lambda: store.delete(keys.HEAD)))
    with pytest.raises(InvariantBroken, match=r"head.*: expected the cycle that is collecting, found none. Nothing is collected until"):
        move_head(store, 1)
    assert find(store, keys.HEAD) is None


def test_an_append_follows_a_head_that_moves_twice_meanwhile() -> None:
    store = MemoryStore()
    first, second = keys.segment(1, "t"), keys.segment(2, "t")

    def move_the_head(operation: str, key: str) -> None:
        if operation == "put" and key in {first, second}:
            store.put(keys.HEAD, b'{"cycle": 2}' if key == first else b'{"cycle": 3}')

    store.after = move_the_head
    assert ledger.append(store, [error(1)], "t") == 3
    assert [names(store, cycle) for cycle in (1, 2, 3)] == [{"segment-t.jsonl"}] * 3
    assert [event.event_id for event in ledger.read_events(store, 3)] == ["e1"]


def test_a_known_head_is_read_again_only_when_it_has_moved() -> None:
    store, head = filled([error(1)]), KnownHead()
    begin_head(store)
    calls: list[str] = []
    store.before = lambda operation, key: calls.append(operation) if key == keys.HEAD else None
    assert [head.last(store), head.last(store), head.read(store)] == [1, 1, 1]
    assert calls == ["get", "stat"]
    move_head(store, 1)
    calls.clear()
    assert [head.last(store), head.read(store), head.last(store), head.read(store)] == [1, 2, 2, 2]
    assert calls == ["stat", "get", "stat"]


def test_a_head_that_is_absent_is_asked_for_each_time() -> None:
    store, head = filled([error(1)]), KnownHead()
    assert [head.last(store), head.read(store)] == [1, 1]
    move_head(store, 1)
    assert head.last(store) == 2


def test_a_known_head_that_is_lost_lets_nothing_be_acknowledged() -> None:
    store, head = MemoryStore(), KnownHead()
    move_head(store, 4)
    ledger.append(store, [error(1)], "a", head)
    store.delete(keys.HEAD)
    with pytest.raises(InvariantBroken, match="expected the cycle that is collecting"):
        ledger.append(store, [error(2)], "b", head)


def test_a_flush_that_knows_an_old_head_writes_again_where_it_stands_now() -> None:
    store, head = MemoryStore(), KnownHead()
    begin_head(store)
    ledger.append(store, [error(1)], "a", head)
    move_head(store, 1)
    assert ledger.append(store, [error(2)], "b", head) == 2
    assert [names(store, cycle) for cycle in (1, 2)] == [{"segment-a.jsonl", "segment-b.jsonl"}, {"segment-b.jsonl"}]


def test_a_flush_that_is_tried_again_writes_its_segment_once() -> None:
    store = filled([error(1)])

    def die() -> None:
        raise RuntimeError("killed after the write")

    once(store, "put", keys.segment(1, "b"), die, before=False)
    with pytest.raises(RuntimeError, match="killed"):
        ledger.append(store, [error(2)], "b")
    written = store.stat(keys.segment(1, "b"))
    assert ledger.append(store, [error(2)], "b") == 1
    assert store.stat(keys.segment(1, "b")) == written
    assert written.content_type == "application/x-ndjson"
    assert ledger.count(store, 1).errors == 2


def test_what_was_written_reads_back_whatever_its_text() -> None:
    odd = error(1, reference='caf\u00e9 \u2028 line\nbreak \x85 "quoted"', hypothesis="")
    store = filled([odd, sample(2)], [error(3)])
    compact(store, 1)
    assert odd in ledger.read_events(store, 1)
    assert len(ledger.read_events(store, 1)) == 3


def test_how_a_report_came_is_read_back_where_it_was_kept() -> None:
    came = Arrival(published_at=START + HOUR, collected_at=START + 2 * HOUR)
    store = MemoryStore()
    ledger.append(store, [error(1), error(2)], "a", arrivals={"e2": came})
    ledger.append(store, [error(3)], "b")
    assert list(ledger.read_arrivals(store, 1)) == [arrived(error(2), came)]
    assert len(ledger.read_events(store, 1)) == 3


# garbage


def test_a_ledger_without_its_dataset_is_no_garbage() -> None:
    store = filled([error(1)])
    with pytest.raises(InvariantBroken, match=f"ledger 1: expected {keys.dataset(1)} before its garbage is collected, found none"):
        collect_garbage(store, 1)
    assert names(store) == {"segment-a.jsonl"}


def test_a_sealed_ledger_is_collected_as_a_whole_and_no_other() -> None:
    store = filled([error(1)], [error(2)])
    compact(store, 1)
    ledger.append(store, [error(3)], "c")
    move_head(store, 1)
    ledger.append(store, [error(4)], "d")
    create(store, keys.dataset(1), b"")
    assert collect_garbage(store, 1) == 3
    assert (names(store), names(store, 2)) == (set(), {"segment-d.jsonl"})
    assert find(store, keys.dataset(1)) is not None


def fill(store: MemoryStore, number: int) -> None:
    ledger.append(store, [error(number)], f"t{number:04d}")


def test_months_of_compactions_leave_few_parts_that_hold_every_event_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "PART_BYTES", 20_000)
    store = MemoryStore()
    for number in range(300):
        fill(store, number)
        compact(store, 1, at_least=1)
    index = ledger.look(store, 1).index
    assert ledger.count(store, 1).errors == 300
    assert sorted(int(event.event_id[1:]) for event in ledger.read_events(store, 1)) == list(range(300))
    held = [len(store.get(name).data) for name in index.parts]
    assert len(held) < compaction.SMALL_PARTS + sum(held) // (20_000 // compaction.SMALL_PARTS)
    assert len(held) < 40, "without joining there were 300"
    assert max(held) < 2 * 20_000
    lines = [line for name in index.parts for line in store.get(name).data.splitlines()]
    assert lines == [error(number).model_dump_json(exclude_none=True).encode() for number in range(300)]


def test_whoever_has_read_the_index_before_finds_the_parts_that_were_joined_since() -> None:
    store = MemoryStore()
    for number in range(compaction.SMALL_PARTS):
        fill(store, number)
        compact(store, 1, at_least=1)
    before = ledger.look(store, 1).index
    fill(store, 99)
    compact(store, 1, at_least=1)
    assert len(before.parts) == compaction.SMALL_PARTS
    assert len(ledger.look(store, 1).index.parts) == 1
    assert all(store.get(name).data for name in before.parts)


def test_a_compactor_with_a_long_way_to_go_takes_one_step_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "MOST_FOLDED", 10)
    store = MemoryStore()
    for number in range(25):
        fill(store, number)
    for left in (15, 5):
        assert compact(store, 1) == 10
        assert len(ledger.look(store, 1).live) == left
        assert ledger.count(store, 1).errors == 25
        assert len(ledger.read_events(store, 1)) == 25
    assert compact(store, 1) == 5


def test_a_compactor_holds_no_more_than_a_part_but_always_gets_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "PART_BYTES", 1)
    store = MemoryStore()
    for number in range(3):
        fill(store, number)
    assert [compact(store, 1, at_least=1) for _ in range(4)] == [1, 1, 1, 0]
    assert ledger.count(store, 1).errors == 3


def test_segments_that_fill_a_part_to_the_byte_are_folded_together(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    for number in range(3):
        fill(store, number)
    monkeypatch.setattr(compaction, "PART_BYTES", 2 * len(store.get(keys.segment(1, "t0000")).data))
    assert compact(store, 1) == 2


def parts_of_one_event(store: MemoryStore, number: int) -> int:
    """Compact so many times, one event each; return the bytes of each part."""
    for event in range(number):
        fill(store, event)
        assert compact(store, 1, at_least=1) == 1
    return len(store.get(index_of(store).parts[0]).data)


@pytest.mark.parametrize(("bytes_more", "parts_then"), [(1, 1), (0, 4), (-1, 4)])
def test_small_parts_are_joined_only_where_so_many_together_are_less_than_a_part(
    monkeypatch: pytest.MonkeyPatch, bytes_more: int, parts_then: int
) -> None:
    monkeypatch.setattr(compaction, "SMALL_PARTS", 3)
    store = MemoryStore()
    size = parts_of_one_event(store, 3)
    monkeypatch.setattr(compaction, "PART_BYTES", 3 * size + bytes_more)
    fill(store, 9)
    compact(store, 1, at_least=1)
    assert len(index_of(store).parts) == parts_then
    assert len(ledger.read_events(store, 1)) == 4


def test_large_parts_are_kept_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "SMALL_PARTS", 3)
    store = MemoryStore()
    monkeypatch.setattr(compaction, "PART_BYTES", parts_of_one_event(store, 3))
    fill(store, 9)
    compact(store, 1, at_least=1)
    assert len(index_of(store).parts) == 4
    assert len(ledger.read_events(store, 1)) == 4


def test_a_part_that_is_lost_stays_named_and_stops_no_compactor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "SMALL_PARTS", 3)
    store = MemoryStore()
    parts_of_one_event(store, 3)
    lost = index_of(store).parts[1]
    store.delete(lost)
    fill(store, 9)
    assert compact(store, 1, at_least=1) == 1
    assert lost in index_of(store).parts
