"""Pages of docs/ that are made from the code say what it says, and the site builds without a warning."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra.cli import app
from infra.pages import commands, reference, rooms
from infra.pages.__main__ import write
from infra.pages.all import DOCS, all_pages, owned
from infra.pages.fields import field_table, meanings
from infra.pages.site import with_paths
from shared import keys
from shared.events import EVENT_TYPES, SttSample
from tests.stored import STORED

ROOT = Path(__file__).parent.parent.parent


def test_the_pages_are_what_make_pages_writes() -> None:
    made = all_pages()
    stale = [name for name, text in made.items() if not (DOCS / name).is_file() or (DOCS / name).read_text(encoding="utf-8") != text]
    assert stale == [], "run `make pages`"
    assert {path.relative_to(DOCS).as_posix() for path in owned(DOCS)} <= made.keys(), "run `make pages`"


def test_pages_that_nothing_makes_any_more_are_removed(tmp_path: Path) -> None:
    (tmp_path / "commands").mkdir()
    (tmp_path / "commands" / "vanished.md").write_text("# `retune vanished`")
    write(tmp_path)
    assert not (tmp_path / "commands" / "vanished.md").exists()
    assert (tmp_path / "commands" / "explain.md").is_file()


def test_every_command_stands_in_the_index() -> None:
    made = commands.pages()
    names = {name.removeprefix("commands/") for name in made} - {"README.md"}
    assert len(names) == len(app.registered_commands) + len(app.registered_groups)
    assert all(f"]({name})" in made["commands/README.md"] for name in names)


def test_every_event_stands_under_its_topic_with_its_fields() -> None:
    page = reference.pages()["reference/events.md"]
    assert set(re.findall(r"^### (\w+)$", page, re.MULTILINE)) == set(EVENT_TYPES)
    assert "| `sample_rate` | number (more than 0, at most 1) or null, optional | the probability in (0, 1]" in page


def test_a_field_is_explained_by_its_class_before_its_bases() -> None:
    told = meanings(SttSample)
    assert told["shadow_version"] == "that version."
    assert told["utterance_id"].startswith("the service's name of the utterance")
    assert any(line.startswith("| `event_id` | string (at least 1 characters") for line in field_table(SttSample))


def test_every_object_that_a_bucket_of_a_release_holds_stands_in_the_reference() -> None:
    forms = [re.escape(re.sub(r"00000007|0000\d\d|2026-01-05", "NUMBER", stored.key)) for stored in reference.OBJECTS]
    forms = [re.sub("NUMBER|TOKEN|NAME|FUNCTION-SHA256|SHA256|SET", "[^/]+", form) + (".*" if form.endswith("/") else "") for form in forms]
    release = STORED / "0.1.0"
    stored = [path.relative_to(release).as_posix() for path in release.rglob("*") if path.is_file() and path.name != "metadata.json"]
    known = re.compile("|".join([*forms, r"models/[^/]+/[^/]+"]))
    assert len(stored) > 50
    assert [key for key in stored if not known.fullmatch(key)] == []


def test_every_file_of_code_says_what_it_is_for() -> None:
    page = rooms.pages()["architecture/rooms.md"]
    silent = [
        path.relative_to(ROOT).as_posix()
        for folder in ("shared", "functions", "trainer", "infra")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.stat().st_size and "build" not in path.parts and not rooms.purpose(path)
    ]
    assert silent == []
    assert "| `ledger.py` | The ledger of a cycle:" in page
    assert page.count("### functions/launcher/compute_engine/") == 1


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("see [the guide](deploy.md)", "see [the guide](deploy.md)"),
        ("see [gate](../benchmarks/gate.md#power)", "see [gate](../benchmarks/gate.md#power)"),
        ("see [the table](../../infra/README.md#inputs)", "see the table (`infra/README.md`)"),
        ("in [tests/infra/inventory.txt](../../tests/infra/inventory.txt)", "in `tests/infra/inventory.txt`"),
    ],
)
def test_what_lies_outside_of_the_site_is_named_by_its_path(written: str, shown: str) -> None:
    assert with_paths(written, "guides/deploy.md") == shown


def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert "WARNING" not in built.stderr
    assert (tmp_path / "site" / "guides" / "deploy" / "index.html").is_file()


NO_KEYS = {"padded", "beyond_cycle", "cycle_of", "segments", "parts"}
"""Functions of `shared.keys` that return no object's key."""


def test_every_object_that_has_a_key_stands_on_the_page() -> None:
    known = [re.sub(r"[A-Z][A-Z0-9-]*|[0-9][0-9-]*", "[^/]+", stored.key) for stored in reference.OBJECTS]
    makers = [made for made in vars(keys).values() if inspect.isfunction(made) and made.__module__ == keys.__name__]
    found = {
        made.__name__: made(*map(_example, inspect.signature(made).parameters.values())) for made in makers if made.__name__ not in NO_KEYS
    }
    files = {name: key for name, key in found.items() if not key.endswith("/")}
    assert len(files) > 25
    assert [name for name, key in files.items() if not any(re.fullmatch(each, key) for each in known)] == []


def _example(parameter: inspect.Parameter) -> int | str:
    return 12 if parameter.annotation is int else "any"
