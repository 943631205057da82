"""The spec of a cycle is written once, whatever died before."""

from shared import keys
from shared.cas import find
from shared.documents import parse_document, sha256_hex
from shared.policy import Policy
from shared.testing.builders import error
from shared.training import TrainingSpec
from tests.faults import Killed
from tests.world import POLICY, World

FIRST = POLICY.model_copy(update={"min_error_cases": 10_000, "cooldown_s": 1.0})


def test_a_launcher_that_died_before_the_spec_leaves_no_policy_to_one_that_has_another() -> None:
    world = World(FIRST)
    world.install_model()
    world.record_calls(range(40))
    world.publish(*(error(number, event_id=f"e{number}") for number in range(40)))
    seen: list[str] = []

    def die(operation: str, key: str) -> None:
        if operation == "put" and key.startswith(f"{keys.CYCLES}000001/policies/") and not seen:
            seen.append(key)
            raise Killed("dead")

    world.store.after = die
    world.type("finetune-triggers", '{"force": true}')
    world.settle()
    assert len(seen) == 1
    assert find(world.store, keys.spec(1)) is None
    later = World(
        FIRST.model_copy(update={"cooldown_s": 2.0, "training": FIRST.training.model_copy(update={"epochs": 7})}), store=world.store
    )
    later.record_calls(range(40))
    later.clock.advance(3600)
    later.tick()
    later.tick()
    spec = parse_document(TrainingSpec, world.store.get(keys.spec(1)).data, what="spec")
    assert spec.policy is not None
    stored = world.store.get(spec.policy.key)
    assert sha256_hex(stored.data) == spec.policy.sha256
    assert parse_document(Policy, stored.data, what="policy").training == spec.config == later.ports.settings.policy.training
    assert spec.policy.key != seen[0]
