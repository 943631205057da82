"""The functions of the previous release and of this one at work on one bucket: the books balance, and each goes on from what the other did."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from infra.fsck.command import fsck
from shared import keys, ledger
from shared.cycle import CycleState, Status
from shared.dataset import Row
from shared.documents import parse_lines
from shared.forgotten import Forgotten
from shared.head import read_head
from shared.ledger import Index
from shared.manifest import ModelManifest
from shared.registry import Production
from shared.suites import SuiteInfo
from shared.testing import builders
from shared.training import TrainingResult, TrainingSpec
from shared.watch import Watch
from tests.old_release import ARCHIVES, MixedWorld, Whose, unpack
from tests.stored import GOLDEN_POLICY, releases
from tests.world import wrong

RELEASE = "0.1.0"
FUNCTIONS = ("collector", "launcher", "validator", "deployer", "sweeper")


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpack(RELEASE, tmp_path_factory.mktemp("release"))


def only(old: str) -> Whose:
    """One function is still of the old release."""
    return lambda function: "old" if function == old else "new"


def but(new: str) -> Whose:
    """One function is of this release already."""
    return lambda function: "new" if function == new else "old"


def in_turn() -> Whose:
    """Instances of both releases take turns."""
    turns = cycle(("old", "new"))
    return lambda _: next(turns)


def drawn(seed: int) -> Whose:
    rng = random.Random(seed)
    return lambda _: rng.choice(("old", "new"))


def at_once() -> Whose:
    """Every message is handled by both at the same time."""
    return lambda _: "both"


WHOSE: dict[str, Callable[[], Whose]] = {
    **{f"{name} is old": partial(only, name) for name in FUNCTIONS},
    "launcher is new": partial(but, "launcher"),
    "in turn": in_turn,
    "drawn": partial(drawn, 1),
    "at once": at_once,
}


def come_to_rest(world: MixedWorld) -> None:
    """Deliver everything, also what backs off."""
    for _ in range(40):
        world.settle()
        due = world.bus.next_due()
        if due is None:
            return
        world.clock.advance(max(0.0, (due - world.clock.now()).total_seconds()))
    raise AssertionError(f"expected silence, found {world.refusals[-3:]} {world.bus.failures[-3:]}")


def report(world: MixedWorld, first: int) -> None:
    numbers = range(first, first + 12)
    world.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in numbers), builders.error(first, reference=None))
    world.publish(*(builders.error(n) for n in numbers[1:]), builders.correction(first), builders.traffic(first, 50, version=0))
    come_to_rest(world)
    if not world.trainers.runs:  # what both collected counts twice until it is counted exactly: declined too early, and looked at again
        world.tick(601)
        come_to_rest(world)


def live(world: MixedWorld) -> None:
    """Promote v1 after a canary, find v2 no better, cancel a cycle, and roll back v4 by a person's word."""
    world.install_model()
    come_to_rest(world)
    world.record_calls(range(300))
    for number, candidate in ((1, None), (2, wrong)):
        report(world, 20 * number)
        assert world.train(number, **({"candidate": candidate} if candidate else {})) == "completed"
        for _ in range(3):
            world.tick(601)
            come_to_rest(world)
    world.type("finetune-triggers", '{"force": true, "by": "ana"}')
    come_to_rest(world)
    world.type("finetune-triggers", '{"cancel": true, "by": "ana"}')
    come_to_rest(world)
    report(world, 80)
    assert world.train(4) == "completed"
    for _ in range(3):
        world.tick(601)
        come_to_rest(world)
    world.type("model-commands", '{"rollback": 4, "by": "ana", "reason": "drops endings"}')
    come_to_rest(world)
    world.publish(*(builders.error(n) for n in range(150, 154)))
    come_to_rest(world)
    world.tick()
    come_to_rest(world)


def placed(world: MixedWorld) -> set[str]:
    """Return the events that are in a dataset or in the open ledger."""
    head = read_head(world.bucket)
    sealed: Iterator[Row] = (
        row for number in range(1, head) for row in parse_lines(Row, world.bucket.get(keys.dataset(number)).data, what="dataset")
    )
    return {row.event_id for row in sealed} | {event.event_id for event in ledger.read_events(world.bucket, head)}


def test_the_previous_release_is_the_one_that_left_goldens() -> None:
    assert sorted(path.name.removesuffix(".tar.xz") for path in ARCHIVES.glob("*.tar.xz")) == releases()


WRITTEN_ONLY_WHEN_USED: dict[str, set[str]] = {
    "Row": {".by", ".reason"},  # of a person who reviews gold
    "Settings": {".otlp_endpoint", ".traces_file", ".trainer_machines"},
}
"""New fields of documents, and new words in documents and events, by class: none is stored or sent before somebody uses what is new.

Settings are read from the environment by each release for itself, and stored nowhere.
"""

SCHEMAS = """
import importlib, json, pkgutil, sys
from pydantic import BaseModel
import functions, shared
for package in (shared, functions):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.startswith(("shared.client", "shared.testing", "shared.terminal")) and not module.name.endswith((".main", "__main__")):
            importlib.import_module(module.name)
def below(cls):
    for each in cls.__subclasses__():
        yield each
        yield from below(each)
known = [cls for cls in below(BaseModel) if cls.__module__.startswith(("shared.", "functions."))]
print(json.dumps({cls.__name__: cls.model_json_schema() for cls in known}))
"""


def schemas_of(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the JSON Schema of every document and event of a release, by the name of its class."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-P", "-c", SCHEMAS], env=environment, cwd=folder, capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def said(schema: object, at: str = "") -> Iterator[str]:
    """Yield every field and every word that a schema allows, and where."""
    if isinstance(schema, dict):
        yield from (f"{at}.{name}" for name in schema.get("properties", {}))
        yield from (f"{at}={json.dumps(word)}" for word in [*schema.get("enum", []), *([schema["const"]] if "const" in schema else [])])
        for name, inner in schema.get("properties", {}).items():
            yield from said(inner, f"{at}.{name}")
        for name in ("items", "additionalProperties", "anyOf", "oneOf", "prefixItems"):
            yield from said(schema.get(name), at)
    elif isinstance(schema, list):
        for inner in schema:
            yield from said(inner, at)


def test_the_previous_release_knows_every_field_and_word_that_this_one_may_write(code: Path) -> None:
    before, now = schemas_of(code), schemas_of(Path(__file__).parents[2])
    assert len(before) > 60
    new: dict[str, set[str]] = {}
    for name, schema in now.items():
        if name in before:
            found = set(said(schema)) - set(said(before[name])) - {".v=1"}  # before, `v` could be anything
            if schema.get("additionalProperties") is not False:  # of an event: unknown fields are ignored
                found = {one for one in found if "=" in one}
            new |= {name: found} if found else {}
    assert new == WRITTEN_ONLY_WHEN_USED, "the release before refuses these: see shared/documents.py"


def test_a_new_field_or_word_would_be_seen() -> None:
    schema = {"properties": {"a": {"enum": ["x"]}, "b": {"items": {"const": 1}}, "c": {"anyOf": [{"properties": {"d": {}}}]}}}
    assert set(said(schema)) == {".a", ".b", ".c", '.a="x"', ".b=1", ".c.d"}


@pytest.mark.parametrize("cls", [CycleState, Index, Production, Forgotten, SuiteInfo, TrainingSpec, TrainingResult, ModelManifest, Watch])
def test_a_document_that_a_later_release_writes_in_another_form_is_refused_and_not_misread(cls: type[BaseModel]) -> None:
    with pytest.raises(ValidationError, match="Input should be 1"):
        cls.model_validate({"v": 2})


@pytest.mark.parametrize("who", WHOSE)
def test_two_releases_at_work_at_once_do_not_harm_each_other(who: str, code: Path, tmp_path: Path) -> None:
    with MixedWorld(GOLDEN_POLICY, tmp_path, code, WHOSE[who]()) as world:
        live(world)
        assert min(world.handled.values()) > 3
        assert world.quarantined == []
        states = [world.state(number).status for number in (1, 2, 3, 4)]
        assert states == [Status.DEPLOYED, Status.INCONCLUSIVE, Status.CANCELLED, Status.ROLLED_BACK]
        assert (world.production().stable, world.production().withdrawn) == (1, (4,))
        assert [move.kind for move in world.production().moves] == ["promote", "canary", "promote", "canary", "promote", "rollback"]
        assert {event for event in world.acknowledged if not event.startswith("t")} <= placed(world)
        assert fsck(world.bucket, full=True).findings == ()
