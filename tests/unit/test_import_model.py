"""A person's model comes into the registry: its number, its files, and when it is refused."""

import os
from pathlib import Path
from typing import Any

import pytest

from infra.errors import Refused
from infra.models.importing import Imported, import_model
from infra.models.stored import list_models
from infra.people import Person
from shared import keys
from shared.code_identity import code_identity
from shared.cycle import Status
from shared.dataset import Row
from shared.documents import parse_document, parse_lines, sha256_hex
from shared.head import read_head
from shared.manifest import ModelManifest
from shared.testing import builders
from tests.command_line import session_of
from tests.world import POLICY, World

ANA = Person(by="ana", wait_s=1.0)


def convert(source: str, folder: Path) -> dict[str, Any]:
    """Write a folder as the trainer's converter does, without a model in it."""
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(f"weights of {source}".encode())
    (folder / "config.json").write_text("{}")
    return {"source": source, "parameters": 7}


def bring_in(world: World, source: str, *, make_stable: bool | None = None) -> Imported:
    return import_model(session_of(world, answered=True).ports, source, ANA, make_stable=make_stable, convert=convert, tell=lambda _: None)


def test_the_first_model_is_v0_and_stable() -> None:
    world = World()
    imported = bring_in(world, "first")
    assert (imported.version, world.production().stable) == (0, 0)
    manifest = parse_document(ModelManifest, world.store.get(keys.manifest(0)).data, what="manifest")
    assert (manifest.origin, manifest.learned, manifest.details["parameters"]) == ("imported", (), 7)
    assert manifest.details["code"] == code_identity(os.environ)
    assert [file.name for file in manifest.files] == ["config.json", "model.safetensors"]
    for file in manifest.files:
        assert sha256_hex(world.store.get(file.key(keys.model(0))).data) == file.sha256
    assert world.production().moves[-1].reason == "imported from first"


def test_a_later_import_takes_the_next_cycles_number_and_waits_to_be_promoted() -> None:
    world = World()
    bring_in(world, "first")
    imported = bring_in(world, "second")
    assert (imported.version, imported.promotion, world.production().stable) == (1, None, 0)
    assert (world.state(1).status, world.state(1).reason) == (Status.INCONCLUSIVE, "imported; nothing was measured")
    assert read_head(world.store) == 2
    assert bring_in(world, "third", make_stable=True).version == 2
    assert world.production().stable == 2


def test_what_was_collected_under_the_taken_number_is_trained_on_later() -> None:
    world = World()
    bring_in(world, "first")
    world.record_calls(range(60))
    world.publish(*(builders.error(n) for n in range(30)))
    world.settle()
    bring_in(world, "second")
    world.publish(*(builders.error(n) for n in range(30, 60)))
    world.settle()
    world.type("finetune-triggers", '{"force": true}')
    world.settle()
    taken, trained = (parse_lines(Row, world.store.get(keys.dataset(cycle)).data, what="dataset") for cycle in (1, 2))
    assert {row.event_id for row in taken} == {f"e{n}" for n in range(30)}
    assert {row.event_id for row in taken if row.trainable} <= {row.event_id for row in trained if row.trainable}


def test_while_a_cycle_runs_no_model_is_brought_in() -> None:
    world = World(POLICY.model_copy(update={"auto_approve_finetuning": False}))
    bring_in(world, "first")
    world.record_calls(range(60))
    world.publish(*(builders.error(n) for n in range(60)))
    world.settle()
    with pytest.raises(Refused, match="cycle 1 is awaiting_approval: an imported model takes the next cycle's number"):
        bring_in(world, "second")
    assert read_head(world.store) == 1


def test_an_import_that_died_half_way_does_not_block_the_next() -> None:
    world = World()
    world.store.put(f"{keys.model(0)}model.safetensors", b"half of the wei")
    assert bring_in(world, "again").version == 0
    assert [view.role for view in list_models(world.ports)] == ["stable"]
