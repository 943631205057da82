"""Commands to the deployer, each as a history: messages in; alias, state of the cycle and audit record out."""

import json
from collections.abc import Callable

import pytest

from functions.acts import people
from functions.acts.people import Asker
from functions.validator.judge import judge
from shared import keys
from shared.cas import Decision, apply_with_cas, find
from shared.cycle import CODEC, CycleState, Status, move
from shared.documents import document_bytes, parse_document, sha256_hex
from shared.errors import Refused
from shared.manifest import FileDigest, ModelManifest
from shared.objectstore import crc32c_base64
from shared.registry import Move
from shared.testing import builders
from shared.testing.clock import START
from shared.verdict import dump_report, parse_report
from tests.world import POLICY, World


def accepted(
    *, auto_deploy: bool = False, expect: Status = Status.ACCEPTED, before_judging: Callable[[World], None] = lambda _: None
) -> World:
    """Return a world in which v0 is stable and v1 is accepted, and waits for a person unless `auto_deploy`."""
    made = World(POLICY.model_copy(update={"auto_deploy": auto_deploy}))
    made.install_model()
    made.record_calls(range(200))
    made.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in range(60)), *(builders.error(n) for n in range(60)))
    made.settle()
    made.train(1)
    before_judging(made)
    made.settle()
    assert made.state(1).status == expect
    return made


def command(world: World, text: str) -> str:
    """Let a person publish a command; return what the deployer said to it."""
    world.type("model-commands", text)
    world.settle()
    return world.outcomes[-1]


def install(world: World, *versions: int) -> None:
    """Make versions stable, one after the other, by override."""
    for version in versions:
        world.write_model(version, base=None, learned=())
        command(world, f'{{"promote": {version}, "override": true, "reason": "imported"}}')


def audit(world: World, seq: int) -> Move:
    return parse_document(Move, world.store.get(keys.registry_log(seq)).data, what="audit record")


def announced(world: World) -> list[str]:
    return [message.attributes["type"] for message in world.bus.published("model-events")]


# a canary whose champion changed


def test_a_canary_whose_champion_changed_ends_at_its_promotion_and_the_next_cycle_can_open() -> None:
    world = accepted()
    command(world, '{"canary": 1, "percent": 10}')
    assert world.state(1).status == Status.CANARY
    install(world, 90)
    said = command(world, '{"promote": 1}')
    assert "validated against v0, but v90 is stable now" in said
    assert world.state(1).status == Status.INCONCLUSIVE
    assert "validated against v0, but v90 is stable now" in world.state(1).reason
    assert (world.production().stable, world.production().canary, world.production().withdrawn) == (90, None, ())
    assert announced(world)[-1] == "CanaryEnded"
    world.type("finetune-triggers", '{"force": true}')
    world.settle()
    assert find(world.store, keys.state(2)) is not None or any("no clip can be trained on" in said for said in world.outcomes)


def test_a_canary_whose_champion_changed_ends_when_its_share_is_changed() -> None:
    world = accepted()
    command(world, '{"canary": 1}')
    install(world, 90)
    command(world, '{"canary": 1, "percent": 50}')
    assert (world.production().canary, world.state(1).status) == (None, Status.INCONCLUSIVE)


def test_stale_evidence_is_refused_on_the_very_alias_that_was_decided_on() -> None:
    world = accepted()
    install(world, 90)
    read: list[str] = []
    world.store.before = lambda operation, key: read.append(key) if operation == "get" else None
    assert "validated against v0, but v90 is stable now" in command(world, '{"promote": 1}')
    assert world.state(1).status == Status.INCONCLUSIVE
    assert read.count(keys.PRODUCTION) == 2, "whether the event was answered before; what to decide on"


def test_a_command_that_the_deployer_could_not_read_is_refused_before_it_is_sent() -> None:
    with pytest.raises(Refused, match="CanaryRequested: percent: Input should be less than or equal to 99"):
        people.canary(World().ports, Asker(by="ana", event_id="e1"), 1, 150)


# what carried a move


def test_a_promotion_and_a_canary_are_on_record_with_the_digests_that_carried_them() -> None:
    world = accepted()
    digests = tuple(sha256_hex(world.store.get(key).data) for key in (keys.report(1), keys.manifest(1)))
    command(world, '{"canary": 1}')
    command(world, '{"promote": 1}')
    started, promoted = audit(world, 2), audit(world, 3)
    assert (started.kind, promoted.kind) == ("canary", "promote")
    assert [(move.report_sha256, move.manifest_sha256) for move in (started, promoted)] == [digests] * 2
    assert world.production().moves[1:] == (started, promoted)
    assert (audit(world, 1).report_sha256, audit(world, 1).override) == (None, True)


def test_a_promotion_without_a_person_is_on_record_with_its_digests_too() -> None:
    world = accepted(auto_deploy=True, expect=Status.DEPLOYED)
    assert audit(world, 2).report_sha256 == sha256_hex(world.store.get(keys.report(1)).data)


def test_evidence_against_a_champion_whose_manifest_is_another_one_now_is_refused() -> None:
    world = accepted()
    report = parse_report(world.store.get(keys.report(1)).data)
    assert report.base_manifest_sha256 == sha256_hex(world.store.get(keys.manifest(0)).data)
    forged = world.store.get(keys.manifest(0)).data.replace(b'"imported"', b'"trained"')
    world.store.put(keys.manifest(0), forged)
    said = command(world, '{"promote": 1}')
    expected = (
        f"v1: judged against the manifest {report.base_manifest_sha256[:12]}... of v0, found {sha256_hex(forged)[:12]}... in its place"
    )
    assert said == f"deployer: refused: {expected}"
    assert world.production().stable == 0


def test_a_report_of_an_earlier_release_keeps_its_digest_and_carries_its_promotion() -> None:
    world = accepted(auto_deploy=True, expect=Status.DEPLOYED, before_judging=_write_an_old_report)
    stored = world.store.get(keys.report(1)).data
    assert b"base_manifest_sha256" not in stored
    assert world.production().stable == 1, world.outcomes[-5:]
    assert audit(world, 2).report_sha256 == sha256_hex(stored)


def _write_an_old_report(world: World) -> None:
    """Write the report of cycle 1 as a validator did that knew no digest of the base."""

    def begin(state: CycleState | None) -> Decision[CycleState]:
        assert state is not None
        return Decision(move(state, Status.VALIDATING, at=START, by="validator", cause="c"))

    apply_with_cas(world.store, keys.state(1), CODEC, begin)
    report = json.loads(dump_report(judge(world.ports, 1)[0]))
    del report["base_manifest_sha256"]
    world.store.put(keys.report(1), json.dumps(report).encode())


# rollback


def test_a_persons_plain_message_rolls_back_and_a_second_one_never_goes_back_to_what_was_withdrawn() -> None:
    world = accepted()
    install(world, 5, 6, 7)
    assert command(world, '{"rollback": true}') == "deployer: rollback v7: asked for by a person"
    assert (world.production().stable, world.production().withdrawn) == (6, (7,))
    command(world, '{"rollback": 6}')
    assert (world.production().stable, world.production().withdrawn) == (5, (7, 6))
    command(world, '{"rollback": true, "to": 0, "by": "ana", "reason": "all are bad"}')
    assert (world.production().stable, world.production().withdrawn) == (0, (7, 6, 5))
    assert command(world, '{"rollback": true}').startswith("deployer: alias unchanged: v0 has no good version before it")
    assert (audit(world, 7).by, audit(world, 7).reason, audit(world, 7).stable_after) == ("ana (claimed)", "all are bad", 0)


def test_a_rollback_to_a_version_is_refused_where_that_is_not_in_line() -> None:
    world = accepted()
    install(world, 5, 6)
    assert "v1 is not in line for a rollback: expected one of the stable versions before (v5, v0)" in command(
        world, '{"rollback": true, "to": 1}'
    )
    assert world.production().stable == 6


def test_a_rollback_passes_over_a_damaged_model_and_the_reason_is_on_record() -> None:
    world = accepted()
    install(world, 5, 6, 7)
    world.store.put(f"{keys.model(6)}model.safetensors", b"rotten")
    said = command(world, '{"rollback": true, "reason": "it whispers"}')
    assert (world.production().stable, world.production().withdrawn) == (5, (7,))
    assert "v6: expected model.safetensors of 13 bytes" in said
    found = f"found 6 bytes with {crc32c_base64(b'rotten')}"
    assert audit(world, 5).reason.endswith(f"{found}: passed over; it whispers")


# withdraw, pin


def test_an_accepted_version_that_is_withdrawn_ends_its_cycle_and_is_not_promoted() -> None:
    world = accepted()
    assert command(world, '{"withdraw": 1, "by": "ana", "reason": "it whispers"}') == "deployer: withdraw v1: it whispers"
    assert (world.production().withdrawn, world.state(1).status) == ((1,), Status.INCONCLUSIVE)
    assert (audit(world, 2).kind, audit(world, 2).by, audit(world, 2).reason) == ("withdraw", "ana (claimed)", "it whispers")
    assert "v1: expected an accepted cycle, found it inconclusive" in command(world, '{"promote": 1}')
    assert set(announced(world)) == {"ModelDeployed"}, "nobody serves it: there is nothing to tell"


def test_pins_are_on_record_and_a_version_that_is_none_cannot_be_pinned_or_withdrawn() -> None:
    world = accepted()
    command(world, '{"pin": 1, "by": "ana"}')
    assert world.production().pinned == (1,)
    assert "v1 is pinned: unpin it first" in command(world, '{"withdraw": 1}')
    command(world, '{"unpin": 1}')
    assert (world.production().pinned, [audit(world, seq).kind for seq in (2, 3)]) == ((), ["pin", "unpin"])
    for text in ('{"pin": 8}', '{"withdraw": 8}'):
        assert command(world, text) == "deployer: refused: v8: expected models/000008/manifest.json, found no such object"


def test_a_withdrawal_and_a_pin_delivered_twice_happen_once() -> None:
    world = accepted()
    for text in ('{"withdraw": 1}', '{"pin": 0}'):
        command(world, text)
        seq = world.production().seq
        world.bus.duplicate("deployer-model-commands", world.bus.published("model-commands")[-1].message_id)
        world.settle()
        assert (world.production().seq, world.outcomes[-1]) == (seq, "deployer: alias unchanged: already applied")


@pytest.mark.parametrize("name", ["weights.bin", "model.py", "model.pkl", "weights"])
def test_a_model_that_could_hold_code_is_not_deployed_on_anybodys_word(name: str) -> None:
    world = accepted()
    digest = FileDigest(name=name, sha256=sha256_hex(b"x"), crc32c=crc32c_base64(b"x"), size_bytes=1)
    manifest = ModelManifest(version=8, origin="imported", created_at=START, files=(digest,))
    world.store.put(f"{keys.model(8)}{name}", b"x")
    world.store.put(keys.manifest(8), document_bytes(manifest))
    said = command(world, '{"promote": 8, "override": true, "reason": "trust me"}')
    assert f"v8: expected only ['.json', '.safetensors', '.txt'] files, found ['{name}']" in said
    assert world.production().stable == 0
