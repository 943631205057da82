"""Canary, guard and rollback on in-memory ports: each test reads as a history."""

from itertools import count

import pytest

from functions.sweeper.watch import find_watch
from shared import keys
from shared.bus import Message
from shared.cycle import Status
from shared.head import move_head
from shared.policy import CanaryPolicy
from shared.sequential import Counts, Pair, total
from shared.testing import builders
from tests.interleave import interleave
from tests.world import POLICY, World, right

CANARY = CanaryPolicy(percent=10, session_s=60, min_duration_s=1200, max_duration_s=7200, guard_s=7200)
NUMBERS = count(1000)


def world(canary: CanaryPolicy = CANARY, **policy: object) -> World:
    """Return a world in which v0 is stable and v1 was accepted."""
    made = World(POLICY.model_copy(update={"canary": canary, "min_error_cases": 60, **policy}))
    made.install_model()
    made.record_calls(range(200))
    made.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in range(60)), *(builders.error(n) for n in range(60)))
    made.settle()
    made.train(1, candidate=right)
    made.settle()
    return made


def serve(made: World, minutes: int, **rates: tuple[int, int]) -> None:
    """Let minutes pass in which each version serves so many utterances, with so many errors: `v1=(errors, utterances)`."""
    for _ in range(minutes):
        made.clock.advance(60)
        now = made.clock.now()
        for name, (errors, utterances) in rates.items():
            version = int(name[1:])
            made.publish(builders.traffic(next(NUMBERS), utterances, version=version, at=now))
            made.publish(*(builders.error(next(NUMBERS), at=now, model_version=version, reference=None) for _ in range(errors)))
        made.settle()
        made.publish_tick()
        made.settle()


def commands(made: World) -> list[str]:
    return [message.attributes.get("type", "typed") for message in made.bus.published("model-commands")][1:]


def test_an_accepted_model_first_serves_a_share_and_is_promoted_when_it_is_no_worse() -> None:
    made = world()
    serving = made.production()
    assert serving.stable == 0
    assert serving.canary is not None
    assert (serving.canary.version, serving.canary.percent) == (1, 10)
    assert made.state(1).status == Status.CANARY
    assert [m.attributes["type"] for m in made.bus.published("model-events")][-1] == "CanaryStarted"
    serve(made, 18, v0=(20, 200), v1=(1, 200))
    assert made.production().stable == 0, "not before 20 minutes"
    serve(made, 4, v0=(20, 200), v1=(1, 200))
    assert (made.production().stable, made.production().canary) == (1, None)
    assert made.state(1).status == Status.DEPLOYED
    last = made.production().moves[-1]
    assert (last.by, last.override) == ("sweeper (claimed)", False)
    assert "surely less than 20% worse" in last.reason
    assert commands(made) == ["PromoteRequested"]
    assert made.bus.failures == []


def test_a_canary_that_is_worse_is_rolled_back_and_withdrawn_and_stays_so() -> None:
    made = world()
    serve(made, 14, v0=(10, 100), v1=(6, 20))
    assert (made.production().stable, made.production().canary, made.production().withdrawn) == (0, None, (1,))
    assert made.state(1).status == Status.ROLLED_BACK
    assert "surely worse" in made.production().moves[-1].reason
    made.bus.duplicate("deployer-validation-events", made.bus.published("validation-events")[-1].message_id)
    serve(made, 3, v0=(10, 100))
    assert made.production().canary is None
    assert commands(made) == ["RollbackRequested"]


def test_without_any_traffic_the_deadline_takes_the_stated_default() -> None:
    made = world()
    for _ in range(7):
        made.tick(1000)
    assert made.production().canary is not None
    made.tick(1000)
    assert made.production().canary is None
    assert (
        made.production()
        .moves[-1]
        .reason.startswith("no verdict within 2 h, the stated default is to roll it back; v1 0 errors in 0 utterances")
    )


def test_auto_deploy_off_waits_for_a_person_to_begin_the_canary_and_to_promote_it() -> None:
    made = world(auto_deploy=False)
    assert made.production().canary is None
    made.type("model-commands", '{"canary": 1, "percent": 25, "by": "ana"}')
    made.settle()
    serve(made, 25, v0=(20, 200), v1=(1, 200))
    serving = made.production()
    assert serving.stable == 0
    assert serving.canary is not None
    assert serving.canary.percent == 25
    made.type("model-commands", '{"promote": 1, "by": "ana"}')
    made.settle()
    assert (made.production().stable, made.production().canary) == (1, None)


def test_a_canary_is_rolled_back_although_auto_deploy_is_off() -> None:
    made = world(auto_deploy=False)
    made.type("model-commands", '{"canary": 1}')
    made.settle()
    serve(made, 14, v0=(10, 100), v1=(6, 20))
    assert made.production().withdrawn == (1,)


def test_a_bad_model_that_a_person_promoted_is_rolled_back_by_the_guard() -> None:
    made = world(CANARY.model_copy(update={"percent": None}), auto_deploy=False)
    serve(made, 20, v0=(5, 100))
    made.write_model(7, base=None, learned=())
    made.type("model-commands", '{"promote": 7, "override": true, "reason": "I like it", "by": "ana"}')
    made.settle()
    assert made.production().stable == 7
    serve(made, 14, v7=(30, 100))
    assert (made.production().stable, made.production().withdrawn) == (0, (7,))
    assert "v0 before" in made.production().moves[-1].reason
    serve(made, 3, v0=(5, 100))
    assert commands(made)[-1] == "RollbackRequested"


def test_a_guard_that_sees_nothing_wrong_ends() -> None:
    made = world(CANARY.model_copy(update={"percent": None}))
    assert made.production().stable == 1
    for _ in range(9):
        made.tick(1000)
    watch = find_watch(made.ports, 1)
    assert watch is not None
    assert watch.verdict.action == "keep"
    made.tick(1000)
    assert find_watch(made.ports, 1) == watch
    assert made.production().stable == 1


def test_a_person_who_promotes_another_version_ends_the_canary_by_the_next_look() -> None:
    made = world()
    made.write_model(7, base=None, learned=())
    made.type("model-commands", '{"promote": 7, "override": true, "reason": "a hunch", "by": "ana"}')
    made.settle()
    made.tick()
    assert (made.production().stable, made.production().canary, made.production().withdrawn) == (7, None, (1,))
    assert made.production().moves[-1].reason == "v1 was validated against v0, but v7 is stable now"


def test_a_canary_outlives_the_ledger_in_which_it_began() -> None:
    made = world()
    serve(made, 5, v0=(0, 100), v1=(0, 20))
    move_head(made.store, 2)
    made.store.put(keys.dataset(2), b"")
    made.publish_tick()
    made.settle()
    assert list(made.store.list(keys.ledger(2))) == []
    serve(made, 5, v0=(0, 100), v1=(0, 20))
    watch = find_watch(made.ports, 1)
    assert watch is not None
    assert total(watch.pairs) == Pair(Counts(0, 180), Counts(0, 900)), "the first minute settles"


@pytest.mark.parametrize("schedule", [[0, 1] * 40, [0] * 6 + [1] * 40, [1, 1, 0] * 30])
def test_two_sweepers_at_once_count_once(schedule: list[int]) -> None:
    made = world()
    serve(made, 3, v0=(0, 100), v1=(0, 20))
    made.clock.advance(60)
    made.publish(builders.traffic(next(NUMBERS), 50, version=1, at=made.clock.now()))
    made.settle()
    tick = made.handlers["sweeper"]
    message = Message(b"{}", {"type": "Tick", "v": "1"}, "9", made.clock.now())
    results = interleave(made.store, schedule, lambda: tick(message), lambda: tick(message))
    assert all(isinstance(result, str) for result in results), results
    watch = find_watch(made.ports, 1)
    assert watch is not None
    assert total(watch.pairs).new == Counts(0, 90)
