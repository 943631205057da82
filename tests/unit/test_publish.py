"""A model as a folder with a model card: verified, complete, and with nothing in it that people said as markup."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from functions.views.production import ModelView
from infra.errors import Refused
from infra.models.stored import show_model
from infra.publish.card import card_body, lineage, measured
from infra.publish.folder import export_folder, first_source, model_card
from infra.publish.mlflow_registry import metrics
from shared import keys
from shared.testing import builders
from shared.verdict import ValidationReport
from tests.unit.test_import_model import bring_in
from tests.world import World, right

NOW = datetime(2026, 11, 26, tzinfo=UTC)


@pytest.fixture(scope="module")
def world() -> World:
    """A world whose v1 was trained from v0 and is stable."""
    made = World()
    bring_in(made, "ours/base")
    made.record_calls(range(200))
    made.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in range(60)), *(builders.error(n) for n in range(60)))
    made.settle()
    made.train(1, candidate=right)
    made.settle()
    assert made.production().stable == 1
    return made


def verdict(view: ModelView) -> ValidationReport:
    assert view.verdict is not None
    return view.verdict


def test_the_card_says_what_was_measured_and_on_what(world: World) -> None:
    view = show_model(world.ports, 1)
    body = card_body(view, "ours/base", NOW)
    assert "**Verdict: PASS** beside v0" in body
    assert "| holdout* | 22 | 22 | 20.5% " in body
    assert next((each.dataset, each.wer) for each in measured(view.verdict)) == ("holdout", 0.0)
    assert "| base | v0 |" in body
    assert "| first ancestor | ours/base |" in body
    assert "cycle 1" in lineage(view.manifest, None)["data learned"]


def test_a_model_that_nobody_judged_has_no_numbers(world: World) -> None:
    view = show_model(world.ports, 0)
    body = card_body(view, "ours/base", NOW)
    assert "**Nothing was measured**" in body
    assert "## Numbers" not in body
    assert (measured(None), metrics(None)) == ((), {})


def test_what_people_said_is_text_in_the_card_and_never_markup(world: World) -> None:
    view = show_model(world.ports, 1)
    hostile = "<script>alert(1)</script> [click](javascript:x) | `code`\n# heading"
    report = verdict(view).model_copy(update={"reasons": (hostile,), "notes": (hostile,)})
    body = card_body(view.model_copy(update={"verdict": report}), hostile, NOW)
    assert "<script>" not in body
    assert "](javascript" not in body
    assert "\n# heading" not in body
    assert body.count("\n# ") == 0


def test_numbers_for_other_registries_are_the_reports_own(world: World) -> None:
    report = verdict(show_model(world.ports, 1))
    holdout = next(each for each in report.sets if each.name == "holdout")
    found = metrics(report)
    assert holdout.base.wer is not None
    assert holdout.delta is not None
    assert (found["holdout/wer_base"], found["holdout/wer_change_low"]) == (holdout.base.wer.estimate, holdout.delta.low)
    assert found["holdout/utterances"] == 22


@pytest.mark.torch
def test_the_folder_holds_the_verified_files_the_manifest_and_a_card_with_the_hubs_header(world: World, tmp_path: Path) -> None:
    exported = export_folder(world.ports, 1, tmp_path / "v1")
    assert exported.verdict == "PASS"
    assert {path.name for path in (tmp_path / "v1").iterdir()} == {*exported.files, "README.md", "retune-manifest.json"}
    assert (tmp_path / "v1" / "retune-manifest.json").read_bytes() == world.store.get(keys.manifest(1)).data
    _, header, body = (tmp_path / "v1" / "README.md").read_text().split("---\n", 2)
    told = yaml.safe_load(header)
    assert told["pipeline_tag"] == "automatic-speech-recognition"
    result = told["model-index"][0]["results"][0]
    assert (result["dataset"]["name"], result["metrics"][0]["type"], result["metrics"][0]["value"]) == ("holdout", "wer", 0.0)
    assert told["base_model"] == "ours/base"
    assert body.lstrip().startswith("# v1")


def test_the_source_of_the_first_ancestor_is_found_through_every_version_between(world: World) -> None:
    found = first_source(world.ports, show_model(world.ports, 1).manifest)
    assert found is not None
    assert (found.name, found.kind) == ("ours/base", "hub")


@pytest.mark.torch
def test_a_folder_on_somebodys_disk_is_no_base_model_on_the_hub(tmp_path: Path) -> None:
    made = World()
    (tmp_path / "mine").mkdir()
    bring_in(made, str(tmp_path / "mine"))
    assert "base_model" not in model_card(made.ports, show_model(made.ports, 0))


def test_a_damaged_file_is_not_exported_and_leaves_nothing_behind(world: World, tmp_path: Path) -> None:
    view = show_model(world.ports, 0)
    key = view.manifest.files[0].key(keys.model(0))
    whole = world.store.get(key).data
    world.store.put(key, b"other")
    with pytest.raises(Refused, match=r"v0 is not exported: .*expected sha256"):
        export_folder(world.ports, 0, tmp_path / "v0")
    world.store.put(key, whole)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(world: World, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with pytest.raises(Refused, match="expected a folder that does not exist yet"):
        export_folder(world.ports, 1, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
