"""Pub/Sub takes nothing for a minute, from right after one write on: nothing is lost, nothing happens twice."""

from collections import defaultdict
from contextlib import suppress
from datetime import timedelta
from functools import cache

import pytest

from functions.wiring import MAX_DELIVERY_ATTEMPTS, READS, subscription_name
from shared import keys
from shared.cycle import Status
from shared.errors import Retryable
from shared.events import MODEL_EVENTS, TRAINING_EVENTS, VALIDATION_EVENTS
from tests.faults import heal
from tests.world import World, opened_world

AWAY = timedelta(seconds=60)
WRITES = {
    "the trainer wrote its result": keys.result(1),
    "the validator wrote its report": keys.report(1),
    "the alias moved": keys.PRODUCTION,
    "the deployer wrote its audit record": keys.registry_log(2),
}
away = pytest.mark.parametrize("write", WRITES)
lost = pytest.mark.parametrize("stored", [False, True], ids=["refused", "replies lost"])


@cache
def history(key: str | None = None, *, stored: bool = False) -> World:
    """Return twenty minutes from the end of a training on; Pub/Sub goes away right after the write of `key`."""
    made = opened_world()

    def go_away(operation: str, written: str) -> None:
        if (operation, written) == ("put", key):
            heal(made.store)
            made.bus.fail_publishes_until(made.clock.now() + AWAY, stored=stored)

    made.store.after = go_away
    with suppress(Retryable):  # the trainer's process ends: its result stays
        made.train(1)
    for seconds in range(0, 1200, 10):
        made.settle()
        made.clock.advance(10)
        if seconds % 60 == 0:
            with suppress(Retryable):  # a scheduler tries no second time
                made.publish_tick()
    made.settle()
    return made


def undisturbed() -> World:
    made = history()
    assert made.state(1).status == Status.DEPLOYED
    return made


def told(made: World, topic: str) -> dict[str, set[bytes]]:
    """Return what was published to a topic, by type; a message that was published again is the same one."""
    bodies: dict[str, set[bytes]] = defaultdict(set)
    for message in made.bus.published(topic):
        bodies[message.attributes["type"]].add(message.data)
    return bodies


@away
@lost
def test_a_minute_without_pubsub_ends_where_an_undisturbed_cycle_does(write: str, stored: bool) -> None:
    made = history(WRITES[write], stored=stored)
    assert [entry.status for entry in made.state(1).history] == [entry.status for entry in undisturbed().state(1).history]
    production, expected = made.production(), undisturbed().production()
    assert [(move.seq, move.kind, move.version) for move in production.moves] == [(m.seq, m.kind, m.version) for m in expected.moves]
    assert (production.stable, production.previous) == (1, (0,))
    assert made.quarantined == []


@away
@lost
def test_what_is_told_after_a_minute_without_pubsub_is_told_whole_and_the_very_same_each_time(write: str, stored: bool) -> None:
    made = history(WRITES[write], stored=stored)
    for topic in (TRAINING_EVENTS, VALIDATION_EVENTS, MODEL_EVENTS):
        found, expected = told(made, topic), told(undisturbed(), topic)
        assert {kind: len(bodies) for kind, bodies in found.items()} == {kind: len(bodies) for kind, bodies in expected.items()}
    assert all(made.bus.backlog(subscription_name(function, topic)) == 0 for function, topics in READS.items() for topic in topics)


@pytest.mark.parametrize("write", [write for write in WRITES if "trainer" not in write])
def test_a_minute_without_pubsub_costs_few_deliveries_and_each_says_why(write: str) -> None:
    made = history(WRITES[write])
    assert 2 <= len(made.bus.failures) < MAX_DELIVERY_ATTEMPTS / 10
    assert {type(failure.error) for failure in made.bus.failures} == {Retryable}


def test_a_trainer_that_could_tell_nobody_is_announced_by_the_sweeper_within_two_ticks() -> None:
    made = history(keys.result(1))
    states = {entry.status: entry.at for entry in made.state(1).history}
    assert states[Status.VALIDATING] - states[Status.TRAINING] <= AWAY + timedelta(seconds=60)
    (announced,) = made.bus.published(TRAINING_EVENTS)
    assert announced.publish_time > states[Status.TRAINING]
