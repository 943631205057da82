"""The validator under faults: crashes between any two writes, lost replies, a bus that is away, duplicates, disorder, two at once.

Whatever happens, a redelivery ends where an undisturbed delivery would have: one report, the state that it says, and an event that
names the very bytes of that report.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.runtime import Ports
from functions.validator.handler import handle
from shared import keys
from shared.bus import Message
from shared.cas import find
from shared.cycle import CODEC, CycleState, Status
from shared.documents import document_bytes, parse_document, sha256_hex
from shared.errors import CorruptObject, InvariantBroken, Retryable
from shared.events import TrainingCompleted
from shared.testing import builders
from shared.testing.clock import FakeClock
from shared.testing.memory_store import MemoryStore
from shared.training import ObjectRef, TrainingResult
from shared.verdict import ValidationReport, parse_report
from tests.faults import INJECTIONS, Sink, heal, outcome_of
from tests.interleave import interleave
from tests.world import World, copy_of, trained_world

WRITTEN = (keys.closure(1), keys.report(1), keys.report_html(1))


@cache
def world() -> World:
    """Return the world that each test starts from a copy of: v0 stable, v1 trained."""
    return trained_world()


@dataclass
class Bench:
    """One validator's outside world: a copy of the store, and a publisher."""

    store: MemoryStore
    sink: Sink
    ports: Ports

    def handle(self, message: Message) -> str:
        return handle(message, self.ports)

    def try_to_handle(self, message: Message) -> str | Exception:
        return outcome_of(lambda: self.handle(message))

    def later(self) -> "Bench":
        """Return a second validator on the same store, whose clock is a minute ahead."""
        clock = FakeClock(self.ports.clock.now() + timedelta(minutes=1))
        return Bench(self.store, self.sink, replace(self.ports, clock=clock))

    def state(self) -> CycleState:
        return CODEC.parse(self.store.get(keys.state(1)).data)

    def report(self) -> ValidationReport:
        return parse_report(self.store.get(keys.report(1)).data)

    def heal(self) -> None:
        heal(self.store)
        self.sink.away_for = 0

    def outcome(self) -> tuple[object, ...]:
        """Return all that a validator leaves behind."""
        entries = [(entry.status, entry.by, entry.cause, entry.reason) for entry in self.state().history]
        return entries, [self.store.get(key).data for key in WRITTEN], {message.data for message in self.sink.sent}


def bench() -> Bench:
    """Return a bench on a copy of the trained world."""
    store, sink = copy_of(world()), Sink()
    return Bench(store, sink, replace(world().ports, store=store, publisher=sink))


def completed() -> Message:
    (message,) = world().bus.published("training-events")
    return message


@cache
def undisturbed() -> Bench:
    made = bench()
    made.handle(completed())
    assert made.state().status == Status.ACCEPTED
    return made


def check(made: Bench) -> None:
    """Check what must hold when every message was handled to its end, however many validators were at work."""
    report = made.report()
    assert all(find(made.store, key) for key in WRITTEN)
    statuses = [entry.status for entry in made.state().history]
    assert statuses == [*(entry.status for entry in CODEC.parse(world().store.get(keys.state(1)).data).history), "validating", "accepted"]
    assert made.state().reason == report.reasons[0]
    told = {message.data for message in made.sink.sent}
    assert [json.loads(data)["report_sha256"] for data in told] == [sha256_hex(made.store.get(keys.report(1)).data)]


@pytest.mark.parametrize("fault", INJECTIONS)
def test_a_redelivery_ends_where_an_undisturbed_delivery_does(fault: str) -> None:
    struck, number = True, 0
    while struck:
        number += 1
        made = bench()
        fuse = INJECTIONS[fault](made.store, number)
        made.try_to_handle(completed())
        struck = fuse.struck
        made.heal()
        made.handle(completed())
        check(made)
        assert made.outcome() == undisturbed().outcome()
    assert number > 5, "a validation writes the state, what became of errors, the report, its page, and the state again"


def test_while_the_bus_is_away_every_delivery_fails_and_the_next_one_tells_the_very_same() -> None:
    made = bench()
    made.sink.away_for = 6
    assert all(isinstance(made.try_to_handle(completed()), Retryable) for _ in range(6))
    assert made.state().status == Status.ACCEPTED
    assert made.sink.sent == []
    made.later().handle(completed())
    assert made.outcome() == undisturbed().outcome()


Some = settings(max_examples=40, deadline=None)
schedules = st.lists(st.integers(0, 1), max_size=60)


@Some
@given(schedules)
def test_two_validators_at_once_write_one_report_and_announce_that_one(schedule: list[int]) -> None:
    made = bench()
    outcomes = interleave(made.store, schedule, lambda: made.handle(completed()), lambda: made.later().handle(completed()))
    assert not any(isinstance(outcome, Exception) for outcome in outcomes), outcomes
    check(made)


@Some
@given(schedules, st.sampled_from(sorted(INJECTIONS)), st.integers(1, 12))
def test_a_validator_that_fails_beside_a_second_one_leaves_nothing_to_be_judged_twice(schedule: list[int], fault: str, number: int) -> None:
    made = bench()
    INJECTIONS[fault](made.store, number)
    interleave(made.store, schedule, lambda: made.try_to_handle(completed()), lambda: made.later().try_to_handle(completed()))
    made.heal()
    made.later().handle(completed())
    check(made)


# duplicates and disorder


def test_a_completion_that_comes_again_tells_the_very_same_verdict_and_writes_nothing() -> None:
    made = bench()
    made.handle(completed())
    generations = [info.generation for info in made.store.list("")]
    made.later().handle(completed())
    assert [info.generation for info in made.store.list("")] == generations
    assert len(made.sink.sent) == 2
    check(made)


def test_the_state_is_read_for_the_moves_that_are_made_of_it_alone() -> None:
    made = bench()
    read: list[str] = []
    made.store.before = lambda operation, key: read.append(key) if operation == "get" else None
    made.handle(completed())
    assert read.count(keys.state(1)) == 2, "to begin, and to conclude"


def test_a_completion_of_another_attempt_judges_nothing() -> None:
    made = bench()
    event = TrainingCompleted.model_validate_json(completed().data)
    for attempt in (2, 3):
        other = event.model_copy(update={"attempt": attempt, "event_id": f"attempt {attempt}"})
        assert made.handle(builders.message(other)) == f"cycle 1: attempt {attempt} is not the present one"
    assert (made.state().status, made.sink.sent) == (Status.TRAINING, [])


@pytest.mark.parametrize("status", [Status.PREPARING, Status.CANCELLED, Status.FAILED])
def test_a_completion_out_of_order_judges_nothing(status: Status) -> None:
    made = bench()
    made.store.put(keys.state(1), CODEC.dump(builders.cycle_state(status)))
    assert made.handle(completed()) == f"cycle 1 is {status}"
    assert (made.state().status, made.sink.sent, find(made.store, keys.report(1))) == (status, [], None)


@pytest.mark.parametrize("status", [Status.CANARY, Status.DEPLOYED, Status.ROLLED_BACK, Status.INCONCLUSIVE])
def test_a_completion_that_comes_again_after_a_later_move_changes_no_state(status: Status) -> None:
    made = bench()
    made.handle(completed())
    made.store.put(keys.state(1), CODEC.dump(builders.cycle_state(status)))
    made.later().handle(completed())
    assert made.state().status == status
    assert len({message.data for message in made.sink.sent}) == 1


# what is stored is damaged


def drop(key: str) -> Callable[[MemoryStore], object]:
    return lambda store: store.delete(key)


def cut(key: str) -> Callable[[MemoryStore], object]:
    return lambda store: store.put(key, store.get(key).data[:-20])


def alter(key: str, old: bytes, new: bytes) -> Callable[[MemoryStore], object]:
    def replaced(store: MemoryStore) -> None:
        data = store.get(key).data
        assert old in data
        store.put(key, data.replace(old, new, 1))

    return replaced


def claim(**claims: object) -> Callable[[MemoryStore], object]:
    def replaced(store: MemoryStore) -> None:
        result = parse_document(TrainingResult, store.get(keys.result(1)).data, what="result")
        store.put(keys.result(1), document_bytes(result.model_copy(update=claims)))

    return replaced


def to_holdout(damage: Callable[[str], Callable[[MemoryStore], object]]) -> Callable[[MemoryStore], object]:
    """Return the damage done to what the models heard in the holdout; its name holds a digest."""

    def damaged(store: MemoryStore) -> None:
        result = parse_document(TrainingResult, store.get(keys.result(1)).data, what="result")
        damage(next(each.ref.key for each in result.evaluations if each.name == keys.HOLDOUT_SET))(store)

    return damaged


HOLDOUT = "runs/000001/evaluation/holdout-"
DAMAGES: dict[str, tuple[Callable[[MemoryStore], object], str]] = {
    "manifest missing": (drop(keys.manifest(1)), "models/000001/manifest.json: expected an object, found none"),
    "manifest truncated": (cut(keys.manifest(1)), "models/000001/manifest.json"),
    "manifest altered": (alter(keys.manifest(1), b'"trained"', b'"imported"'), "models/000001/manifest.json: expected SHA-256"),
    "manifest of another model": (
        lambda store: store.put(keys.manifest(1), store.get(keys.manifest(0)).data),
        "models/000001/manifest.json: expected SHA-256",
    ),
    "base manifest missing": (drop(keys.manifest(0)), "models/000000/manifest.json: expected an object, found none"),
    "base manifest altered": (alter(keys.manifest(0), b'"imported"', b'"trained"'), "models/000000/manifest.json: expected SHA-256"),
    "evaluation missing": (to_holdout(drop), HOLDOUT),
    "evaluation truncated": (to_holdout(cut), HOLDOUT),
    "evaluation altered": (to_holdout(lambda key: alter(key, b"call back", b"fall back")), HOLDOUT),
    "dataset missing": (drop(keys.dataset(1)), f"{keys.dataset(1)}: expected an object, found none"),
    "result of another run": (claim(spec_sha256="0" * 64), "result of cycle 1: expected the spec"),
    "result of another model": (
        claim(manifest=ObjectRef(key=keys.manifest(1), sha256="0" * 64)),
        f"models/000001/manifest.json: expected SHA-256 {'0' * 64}",
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_evidence_is_inconclusive_with_the_reason_on_record(damage: str) -> None:
    made = bench()
    spoil, reason = DAMAGES[damage]
    spoil(made.store)
    made.handle(completed())
    report = made.report()
    assert report.outcome == made.state().status == "inconclusive"
    assert reason in report.reasons[0]
    assert made.state().reason == report.reasons[0]
    assert "CandidateInconclusive" in [message.attributes["type"] for message in made.sink.sent]


@pytest.mark.parametrize(("data", "error"), [("foreign", InvariantBroken), ("cut", CorruptObject)])
def test_a_report_of_another_model_or_a_torn_one_is_not_announced_and_moves_no_cycle(data: str, error: type[Exception]) -> None:
    made = bench()
    stored = undisturbed().store.get(keys.report(1)).data
    foreign = parse_report(stored).model_copy(update={"cycle": 5, "version": 5}).model_dump_json().encode()
    made.store.put(keys.report(1), foreign if data == "foreign" else stored[:-20])
    with pytest.raises(error, match=r"verdicts/000001/report\.json|report"):
        made.handle(completed())
    assert (made.state().status, made.sink.sent) == (Status.VALIDATING, [])
