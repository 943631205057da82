"""The trainer that tests have: an outage at its last publish is the sweeper's business, a death is seen by whoever simulates it."""

from dataclasses import replace

import pytest

from shared import keys
from shared.bus import Outgoing
from shared.errors import Retryable
from tests.faults import Killed
from tests.world import World, opened_world, right, wrong


class Failing:
    """A publisher that fails in one way."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def publish(self, message: Outgoing) -> str:
        raise self.error


def finish(world: World, error: Exception) -> str:
    (run,) = world.trainers.runs.values()
    trainer = replace(world.trainer(run), publisher=Failing(error))
    assert trainer.begin() == ""
    return trainer.finish(wrong, right)


def test_a_death_at_the_last_publish_is_not_hidden() -> None:
    world = opened_world()
    with pytest.raises(Killed):
        finish(world, Killed("dead"))
    assert world.store.get(keys.result(1)).data


def test_an_outage_at_the_last_publish_is_survived() -> None:
    world = opened_world()
    assert finish(world, Retryable("away")) == "completed"
    world.tick(1000)
    assert world.state(1).status == "deployed"
