"""The validator under faults: whatever happens, a redelivery ends where an undisturbed delivery would have, with the very same report."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.runtime import Ports
from functions.validator.handler import handle
from shared import keys
from shared.bus import Message, Outgoing
from shared.cycle import CODEC as STATES
from shared.cycle import Status
from shared.errors import CommitUnknown, Conflict, NotFound, Retryable, RetuneError
from shared.testing import builders
from shared.testing.memory_store import MemoryStore
from shared.training import TrainingResult, completed_event, parse_document, sha256_hex
from tests.interleave import interleave
from tests.world import BUCKET, POLICY, World

WRITTEN = (keys.closure(1), keys.report(1), keys.report_html(1))


class Killed(RetuneError):
    """The process died between two calls."""


FAULTS = (Killed, CommitUnknown, Retryable, Conflict, NotFound)


@cache
def trained() -> World:
    """Return the world that each test starts from a copy of: v1 is trained, and nobody has judged it."""
    made = World(POLICY.model_copy(update={"auto_deploy": False}))
    made.install_model()
    made.record_calls(range(200))
    made.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in range(60)), *(builders.error(n) for n in range(60)))
    made.settle()
    made.train(1)
    return made


class Sink:
    """A publisher that remembers, and is away for some publishes."""

    def __init__(self) -> None:
        self.told: list[bytes] = []
        self.away_for = 0

    def publish(self, message: Outgoing) -> str:
        if self.away_for:
            self.away_for -= 1
            raise Retryable("Pub/Sub is away")
        self.told.append(message.data)
        return str(len(self.told))


@dataclass
class Desk:
    """One validator's outside world: a copy of the store, and a publisher."""

    store: MemoryStore
    sink: Sink
    ports: Ports

    def handle(self) -> object:
        try:
            return handle(completed(), self.ports)
        except FAULTS as error:
            return error

    def outcome(self) -> tuple[Status, list[bytes], set[bytes]]:
        status = STATES.parse(self.store.get(keys.state(1)).data).status
        return status, [self.store.get(key).data for key in WRITTEN], set(self.sink.told)

    def heal(self) -> None:
        self.store.before = self.store.after = lambda _operation, _key: None
        self.sink.away_for = 0


def desk() -> Desk:
    world, sink = trained(), Sink()
    store = MemoryStore(BUCKET, clock=world.clock)
    for info in world.store.list(""):
        store.put(info.key, world.store.get(info.key).data)
    return Desk(store, sink, replace(world.ports, store=store, publisher=sink))


def completed(attempt: int | None = None) -> Message:
    stored = trained().store.get(keys.result(1)).data
    event = completed_event(parse_document(TrainingResult, stored, what="result"))
    return builders.message(event if attempt is None else event.model_copy(update={"attempt": attempt, "event_id": f"late-{attempt}"}))


@cache
def undisturbed() -> tuple[Status, list[bytes], set[bytes]]:
    made = desk()
    made.handle()
    outcome = made.outcome()
    assert outcome[0] == Status.ACCEPTED
    assert len(outcome[2]) == 1
    return outcome


def nth(number: int, operations: tuple[str, ...], fault: Exception) -> Callable[[str, str], None]:
    """Return a hook of the store that raises once, at the nth such call."""
    left = [number]

    def strike(operation: str, _key: str) -> None:
        if operation in operations:
            left[0] -= 1
            if left[0] == 0:
                raise fault

    return strike


INJECTIONS: dict[str, tuple[str, tuple[str, ...], Exception]] = {
    "dies": ("before", ("put",), Killed("dead")),
    "dies after the write": ("after", ("put",), Killed("dead")),
    "loses a reply": ("after", ("put",), CommitUnknown("the reply was lost")),
    "is refused once": ("before", ("put",), Conflict("412")),
    "meets a store that is away": ("before", ("get", "stat", "put", "list"), Retryable("429 or 503")),
}


@pytest.mark.parametrize("fault", INJECTIONS)
def test_a_validator_that(fault: str) -> None:
    """... at any of its calls is followed by a redelivery that ends where an undisturbed delivery does."""
    hook, operations, error = INJECTIONS[fault]
    struck = 0
    for number in range(1, 60):
        made = desk()
        setattr(made.store, hook, nth(number, operations, error))
        first = made.handle()
        made.heal()
        made.handle()
        assert made.outcome() == undisturbed()
        if not isinstance(first, Exception) and number > len(WRITTEN) + 2:
            break
        struck += isinstance(first, Exception) or fault in {"loses a reply", "is refused once"}
    assert struck >= len(WRITTEN)


def test_while_the_bus_is_away_for_a_minute_every_delivery_fails_and_the_next_one_tells_the_very_same() -> None:
    made = desk()
    made.sink.away_for = 6
    assert all(isinstance(made.handle(), Retryable) for _ in range(6))
    status, written, told = made.outcome()
    assert (status, written, told) == (Status.ACCEPTED, undisturbed()[1], set())
    made.handle()
    assert made.outcome() == undisturbed()


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 1), max_size=80))
def test_two_validators_at_once_write_one_report_and_announce_it_alike(schedule: list[int]) -> None:
    made = desk()
    outcomes = interleave(made.store, schedule, made.handle, made.handle)
    assert not any(isinstance(outcome, Exception) for outcome in outcomes), outcomes
    assert made.outcome() == undisturbed()


def test_what_comes_late_or_twice_changes_nothing() -> None:
    made = desk()
    assert "attempt 2 is not the present one" in handle(completed(attempt=2), made.ports)
    assert made.sink.told == []
    for _ in range(3):
        made.handle()
    assert made.outcome() == undisturbed()
    assert len(made.sink.told) == 3, "each delivery tells again, the same event"


def test_a_result_of_another_model_is_no_evidence() -> None:
    made = desk()
    other = made.store.get(keys.manifest(1)).data.replace(b'"origin"', b' "origin"')
    made.store.put(keys.manifest(1), other)
    made.handle()
    status, (_, report, _), _ = made.outcome()
    assert status == Status.INCONCLUSIVE
    assert b"The stored evidence contradicts itself" in report
    assert sha256_hex(other)[:12].encode() in report
