"""What a look at the store tells that the look before did not."""

from infra.local.watch import look, news
from shared.testing import builders
from tests.world import World


def test_each_move_is_told_once_in_order() -> None:
    world = World()
    world.record_calls(range(60))
    nothing = look(world.store)
    world.install_model()
    world.publish(*(builders.error(n) for n in range(60)))
    world.settle()
    world.fail(1)
    world.settle()
    seen = look(world.store)
    first, *others = [line.text for line in news(nothing, seen)]
    assert first.startswith("cycle 1 is preparing: 60 errors, at least 60 wanted; advice until 2 cycles have been measured: ")
    assert others == [
        "cycle 1 is training: attempt 1 started",
        "cycle 1 is interrupted: internal",
        "cycle 1 is preparing: attempt 2 of 3",
        "promote v0, v0 is stable: first model",
    ]
    assert news(seen, look(world.store)) == []


def test_a_refusal_is_told() -> None:
    world = World()
    before = look(world.store)
    world.type("finetune-triggers", '{"force": true}')
    world.settle()
    (line,) = news(before, look(world.store))
    assert line.text.startswith("cycle 1 declined: no model is stable yet: run `retune models import")
