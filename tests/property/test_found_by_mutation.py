"""Decisions of the launcher whose loss neither the simulation nor another test would see: what follows in their place hides it."""

import pytest

from functions.launcher.handler import handle as launch
from functions.launcher.trainers import NoCapacity, Refused, Started, TrainerRun
from shared import keys
from shared.cas import find
from shared.cycle import Status
from shared.events import ThresholdCrossed
from shared.testing import builders
from shared.testing.clock import START
from tests.property.test_traces import Killed, cancel, die_at, force, ready


def test_a_launcher_that_was_overtaken_by_a_cancel_ends_the_trainer_that_it_started() -> None:
    world = ready()
    start = world.trainers.start

    def slow(run: TrainerRun) -> Started | NoCapacity | Refused:
        cancel(world)
        return start(run)

    world.trainers.start = slow  # type: ignore[method-assign]
    force(world)
    assert world.state(1).status == Status.CANCELLED
    assert world.trainers.started == ["retune-trainer-000001-1"]
    assert world.trainers.list_names() == []  # without waiting for the sweeper


def test_a_cancel_ends_the_trainer_at_once() -> None:
    world = ready()
    force(world)
    assert world.trainers.list_names() == ["retune-trainer-000001-1"]
    cancel(world)
    assert world.trainers.list_names() == []  # it costs nothing until the next tick


def test_a_request_beside_a_cycle_that_stands_still_carries_that_on_at_once() -> None:
    world = ready()
    die_at(world.store, "put", keys.spec(1))
    with pytest.raises(Killed):
        force(world)
    assert force(world, 2) == "cycle 1 is preparing: one cycle at a time"
    assert world.trainers.list_names() == ["retune-trainer-000001-1"]


def test_a_stale_crossing_says_nothing_of_the_cycle_that_collects() -> None:
    world = ready()
    force(world)
    world.train(1)
    world.settle()
    stale = ThresholdCrossed(event_id="crossed-1", occurred_at=START, cycle=1, reasons=("20 errors",))
    assert launch(builders.message(stale), world.deps) == "crossing of cycle 1, but cycle 2 is collecting: stale"
    assert find(world.store, keys.declined(2)) is None
