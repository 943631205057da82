"""`retune models ...` and `retune rollback --to` on in-memory ports: what they say, and what they leave in the store."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from typer.testing import Result

import infra.acts_cli
import infra.cli
import infra.models.cli
import infra.models.gc
from shared import keys
from shared.cycle import Status
from shared.documents import document_bytes, parse_document, sha256_hex
from shared.head import begin_head
from shared.manifest import FileDigest, ModelManifest
from shared.objectstore import crc32c_base64
from shared.registry import CODEC, Move
from shared.testing import builders
from tests.command_line import Retune, command_line, last_line
from tests.world import POLICY, World


@pytest.fixture
def world() -> World:
    made = World(POLICY.model_copy(update={"keep_models": 2}))
    made.install_model()
    made.record_calls(range(200))
    return made


@pytest.fixture
def retune(world: World, monkeypatch: pytest.MonkeyPatch) -> Retune:
    return command_line(world, monkeypatch, answered=True)


def document(answered: Result) -> Any:
    """Return the document that a command printed: the functions log to the same standard output here."""
    return json.loads("\n".join(line for line in answered.stdout.splitlines() if not line.startswith('{"severity"')))


def with_models(world: World, retune: Retune, *versions: int) -> None:
    """Make versions stable one after the other."""
    for version in versions:
        world.write_model(version, base=version - 1, learned=(version,))
        assert retune("promote", str(version), "--override", "--reason", "tests").exit_code == 0


def files_of(world: World, version: int) -> list[str]:
    return [info.key.rpartition("/")[2] for info in world.store.list(keys.model(version))]


# rollback --to


def test_a_rollback_goes_to_the_version_that_is_named(world: World, retune: Retune) -> None:
    with_models(world, retune, 1, 2, 3)
    back = retune("rollback", "--to", "v1", "--reason", "both are bad")
    assert (back.exit_code, last_line(back)) == (0, "rollback v3: v1 is stable")
    assert (world.production().stable, world.production().previous, world.production().withdrawn) == (1, (0,), (3,))
    refused = retune("rollback", "--to", "3")
    assert (refused.exit_code, refused.stdout) == (1, "v3 is withdrawn: promote it with an override and a reason\n")


def test_a_rollback_that_passed_over_a_damaged_model_says_so(world: World, retune: Retune) -> None:
    with_models(world, retune, 1, 2)
    world.store.delete(f"{keys.model(1)}model.safetensors")
    back = retune("rollback", "--reason", "it is bad")
    found = "rollback v2: v0 is stable (v1: expected model.safetensors, found no such object: passed over; it is bad)"
    assert (back.exit_code, last_line(back)) == (0, found)


# withdraw, pin, unpin


def test_pin_unpin_and_withdraw_are_answered_and_refused_with_the_reason(world: World, retune: Retune) -> None:
    world.write_model(5, base=0, learned=(5,))
    assert retune("models", "pin", "v5", "--reason", "compare later").stdout.endswith("pin v5: v0 is stable\n")
    assert retune("models", "withdraw", "v5").stdout == "v5 is pinned: unpin it first\n"
    assert [view["pinned"] for view in document(retune("models", "list", "--json"))] == [False, True]
    assert "pinned" in retune("models", "list").stdout
    assert "pinned: its files stay" in retune("models", "show", "5").stdout
    assert retune("models", "unpin", "v5").exit_code == 0
    assert retune("models", "withdraw", "v5", "--by", "ana", "--reason", "it whispers").exit_code == 0
    assert retune("models", "withdraw", "v0").stdout == "v0 is live: roll it back\n"
    assert retune("models", "withdraw", "v9").exit_code == 1
    last = world.production().moves[-1]
    assert (last.kind, last.by, last.reason, world.production().withdrawn) == ("withdraw", "ana (claimed)", "it whispers", (5,))


# override, for ever


def test_an_override_is_shown_also_when_the_alias_has_forgotten_its_move(world: World, retune: Retune) -> None:
    with_models(world, retune, 1)
    world.clock.advance(timedelta(days=40).total_seconds())
    with_models(world, retune, 2)
    assert [move.version for move in world.production().moves] == [2]
    shown = retune("models", "show", "v1").stdout
    assert "override: made stable without its evidence by" in shown
    assert "tests" in shown
    listed = document(retune("models", "list", "--json"))
    assert [[move["seq"] for move in view["overrides"]] for view in listed] == [[], [2], [3]], "the first model stands against no evidence"
    assert retune("models", "list").stdout.count("override") == 2


def test_an_override_whose_audit_record_is_not_written_yet_is_shown(world: World, retune: Retune) -> None:
    with_models(world, retune, 1)
    world.store.delete(keys.registry_log(2))
    assert "override: made stable" in retune("models", "show", "v1").stdout


# verify


def test_a_whole_model_is_called_whole(world: World, retune: Retune) -> None:
    answered = retune("models", "verify", "v0")
    assert (answered.exit_code, answered.stdout.splitlines()[0]) == (0, "v0 is whole")
    world.store.put(f"{keys.model(0)}left-over.bin", b"an attempt died")
    beside = retune("models", "verify", "v0")
    assert (beside.exit_code, "never loaded: models/000000/left-over.bin" in beside.stdout) == (0, True)


WEIGHTS = f"{keys.model(0)}model.safetensors"


def other_manifest(world: World, **change: Any) -> None:
    """Replace the manifest of v0."""
    manifest = parse_document(ModelManifest, world.store.get(keys.manifest(0)).data, what="manifest")
    world.store.put(keys.manifest(0), document_bytes(manifest.model_copy(update=change)))


def wrong_sha256(world: World) -> None:
    file = FileDigest(name="model.safetensors", sha256="0" * 64, crc32c=crc32c_base64(b"weights of v0"), size_bytes=13)
    other_manifest(world, files=(file,))


def code_in_a_model(world: World) -> None:
    world.store.put(f"{keys.model(0)}model.py", b"")
    other_manifest(world, files=(FileDigest(name="model.py", sha256=sha256_hex(b""), crc32c=crc32c_base64(b""), size_bytes=0),))


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda world: world.store.delete(WEIGHTS), "expected an object, found none"),
        (lambda world: world.store.put(WEIGHTS, b"weights"), "bytes: expected 13, found 7; CRC32C: expected "),
        (lambda world: world.store.put(WEIGHTS, b"Weights of v0"), "SHA-256: expected "),
        (wrong_sha256, f"SHA-256: expected {'0' * 64}, found "),
        (code_in_a_model, "manifest: expected only ['.json', '.safetensors', '.txt'] files, found ['model.py']"),
        (lambda world: other_manifest(world, version=3), "manifest: expected v0, found v3"),
        (lambda world: world.store.put(keys.manifest(0), b"{}"), "expected a valid ModelManifest"),
    ],
)
def test_what_is_wrong_with_a_model_is_said(world: World, retune: Retune, damage: Callable[[World], object], problem: str) -> None:
    damage(world)
    answered = retune("models", "verify", "v0", "--json")
    assert answered.exit_code == 1
    found = document(answered)
    problems = [*found["problems"], *(file["problem"] or "" for file in found["files"])]
    assert any(problem in said for said in problems), problems
    assert "damaged" in retune("models", "verify", "v0").stdout


def test_a_manifest_that_is_not_the_one_that_was_promoted_is_found(world: World, retune: Retune) -> None:
    promoted = sha256_hex(world.store.get(keys.manifest(0)).data)
    production = world.production()
    (move,) = production.moves
    carried = move.model_copy(update={"manifest_sha256": promoted})
    world.store.put(keys.PRODUCTION, CODEC.dump(production.model_copy(update={"moves": (carried,)})))
    assert retune("models", "verify", "0").exit_code == 0
    other_manifest(world, normaliser="another")
    answered = document(retune("models", "verify", "0", "--json"))
    assert answered["problems"][0].startswith(f"manifest: expected the one that carried move 1 ({promoted[:12]}...), found ")


# diff


def compared(retune: Retune, a: str, b: str) -> dict[tuple[str, str], tuple[object, object]]:
    rows = document(retune("models", "diff", a, b, "--json"))["rows"]
    return {(row["section"], row["name"]): (row["a"], row["b"]) for row in rows}


def test_two_models_are_compared_and_what_is_the_same_is_counted(world: World, retune: Retune) -> None:
    world.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in range(60)), *(builders.error(n) for n in range(60)))
    world.settle()
    world.train(1)
    world.settle()
    details = {"attempt": 1, "outcome": {"config": {"lora": {"rank": 8}}, "scale": 0.7}, "packages": {"torch": "2"}}
    for version, rank in ((8, 8), (9, 16)):
        world.write_model(version, base=1, learned=(1, version))
        stored = parse_document(ModelManifest, world.store.get(keys.manifest(version)).data, what="manifest")
        changed = {**details, "outcome": {"config": {"lora": {"rank": rank}}, "scale": 0.7}}
        world.store.put(keys.manifest(version), document_bytes(stored.model_copy(update={"details": changed})))
    rows = compared(retune, "8", "9")
    assert rows["config", "lora.rank"] == (8, 16)
    assert rows["config", "chosen scale"] == (0.7, 0.7)
    assert rows["lineage", "base"] == ("v1", "v1")
    assert rows["lineage", "cycles learned"] == ("1, 8", "1, 9")
    assert rows["lineage", "package torch"] == ("2", "2")
    assert rows["files", "model.safetensors"] == (sha256_hex(b"weights of v8"), sha256_hex(b"weights of v9"))
    text = retune("models", "diff", "v8", "v9").stdout
    assert "lora.rank" in text
    assert "package torch" not in text
    judged = compared(retune, "0", "1")
    assert judged["validation", "verdict"] == (None, "accepted")
    assert judged["validation", "holdout: WER"] == (None, 0.0)
    assert judged["lineage", "origin"] == ("imported", "trained")
    assert retune("models", "diff", "0", "77").exit_code == 1


# gc


def test_a_dry_run_says_what_would_go_and_touches_nothing(world: World, retune: Retune) -> None:
    for version in (3, 5, 6, 7):
        world.write_model(version, base=None, learned=())
    before = [info.key for info in world.store.list("")]
    report = document(retune("models", "gc", "--dry-run", "--json"))
    assert [(fate["version"], fate["collect"]) for fate in report["fates"]] == [(0, False), (3, True), (5, True), (6, False), (7, False)]
    assert (report["dry_run"], report["deleted"]) == (True, [])
    text = retune("models", "gc", "--dry-run").stdout
    assert text.count("would go") == 2
    assert "among the newest 2" in text
    assert [info.key for info in world.store.list("")] == before
    assert world.production().seq == 1


def test_what_nobody_needs_is_withdrawn_first_and_then_its_files_go_and_its_manifest_stays(world: World, retune: Retune) -> None:
    for version in (3, 5, 6, 7):
        world.write_model(version, base=None, learned=())
    retune("models", "pin", "5")
    answered = retune("models", "gc", "--by", "ana")
    assert answered.exit_code == 0
    assert (world.production().withdrawn, world.production().collected) == ((3,), (3,))
    assert [files_of(world, version) for version in (0, 3, 5)] == [
        ["manifest.json", "model.safetensors"],
        ["manifest.json"],
        ["manifest.json", "model.safetensors"],
    ]
    record = parse_document(Move, world.store.get(keys.registry_log(world.production().seq)).data, what="audit record")
    assert (record.kind, record.version, record.by) == ("withdraw", 3, "ana (claimed)")
    assert record.reason.startswith("retention: neither serves nor")
    role = {view["version"]: view["role"] for view in document(retune("models", "list", "--json"))}
    assert (role[0], role[3], role[5]) == ("stable", "collected", "")
    refused = retune("promote", "3", "--override", "--reason", "x")
    assert (refused.exit_code, refused.stdout) == (1, "v3: expected model.safetensors, found no such object\n")
    again = document(retune("models", "gc", "--json"))
    assert (again["deleted"], world.production().seq) == ([], record.seq)


def test_a_collection_that_died_between_mark_and_delete_is_finished_by_the_next(world: World, retune: Retune) -> None:
    for version in (3, 5, 6):
        world.write_model(version, base=None, learned=())
    world.type("model-commands", '{"withdraw": 3, "collect": true}')
    world.settle()
    assert files_of(world, 3) == ["manifest.json", "model.safetensors"]
    report = document(retune("models", "gc", "--json"))
    assert (report["deleted"], files_of(world, 3), world.production().seq) == ([3], ["manifest.json"], 2)


def test_what_a_dead_trainer_left_goes_when_its_cycle_has_ended_and_a_day_is_over(world: World, retune: Retune) -> None:
    begin_head(world.store)
    for version, status in ((1, Status.FAILED), (2, Status.TRAINING)):
        world.store.put(f"{keys.model(version)}model.safetensors", b"half")
        world.store.put(keys.state(version), document_bytes(builders.cycle_state(status, cycle=version)))
    assert document(retune("models", "gc", "--json"))["deleted"] == [], "it may be on its way"
    world.clock.advance(timedelta(days=1, seconds=1).total_seconds())
    planned = retune("models", "gc", "--dry-run").stdout
    assert "would go" in next(line for line in planned.splitlines() if "whoever uploaded it died" in line)
    assert files_of(world, 1) == ["model.safetensors"]
    report = document(retune("models", "gc", "--json"))
    assert {fate["version"]: (fate["collect"], fate["size_bytes"]) for fate in report["fates"]} == {
        0: (False, 13),
        1: (True, 4),
        2: (False, 4),
    }
    assert (report["deleted"], world.production().seq) == ([1], 1)
    assert (files_of(world, 1), files_of(world, 2)) == ([], ["model.safetensors"]), "a cycle that runs keeps what it uploads"


def test_what_a_dead_import_left_goes_too_but_not_a_stable_model_that_lost_its_manifest(world: World, retune: Retune) -> None:
    begin_head(world.store)
    world.store.put(f"{keys.model(1)}model.safetensors", b"half")
    world.store.put(keys.state(1), document_bytes(builders.cycle_state(Status.INCONCLUSIVE, cycle=1)))
    world.store.delete(keys.manifest(0))
    world.clock.advance(timedelta(days=2).total_seconds())
    report = document(retune("models", "gc", "--json"))
    assert [(fate["version"], fate["why"]) for fate in report["fates"]] == [
        (0, "no manifest, but stable"),
        (1, "no manifest: whoever uploaded it died, and its cycle has ended"),
    ]
    assert (files_of(world, 0), files_of(world, 1)) == (["model.safetensors"], [])


def test_a_file_that_came_after_the_look_is_not_deleted(world: World, retune: Retune) -> None:
    begin_head(world.store)
    world.store.put(f"{keys.model(1)}model.safetensors", b"half")
    world.store.put(keys.state(1), document_bytes(builders.cycle_state(Status.FAILED, cycle=1)))
    world.clock.advance(timedelta(days=2).total_seconds())

    def upload_late(operation: str, key: str) -> None:
        if operation == "delete":
            world.store.before = lambda _operation, _key: None
            world.store.put(f"{keys.model(1)}vocab.json", b"{}")

    world.store.before = upload_late
    assert document(retune("models", "gc", "--json"))["deleted"] == [1]
    assert files_of(world, 1) == ["vocab.json"]


def test_what_became_needed_after_the_plan_is_left_with_the_reason(world: World, retune: Retune, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in (3, 5, 6):
        world.write_model(version, base=None, learned=())
    planned = infra.models.gc.plan(world.ports)
    world.type("model-commands", '{"promote": 3, "override": true, "reason": "we need it"}')
    world.settle()
    monkeypatch.setattr(infra.models.gc, "plan", lambda _: planned)
    answered = retune("models", "gc", "--json")
    assert answered.exit_code == 1
    assert document(answered)["left"] == {"3": "v3 is live: roll it back"}
    assert files_of(world, 3) == ["manifest.json", "model.safetensors"]
