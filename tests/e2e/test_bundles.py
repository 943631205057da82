"""Each function's zip, as it is deployed: unpacked into an empty folder, in an environment with its own requirements alone."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

from functions.wiring import READS
from infra.bundle import BUNDLES, REQUIREMENTS, ROOT, build_bundle, bundles_json, closure, main
from shared import keys
from shared.dir_store import DirStore
from shared.errors import NotFound
from tests.deployed import MESSAGES, Cloud, Unpacked, clean_environ, embedded_cloud, envelope, get, install_all, post, served, unpack_all

PROBE = """
import importlib.util, json, sys
import main
print(json.dumps({
    "found": [name for name in sys.argv[1:] if importlib.util.find_spec(name)],
    "loaded": sorted(sys.modules),
    "from": [sys.modules["functions"].__file__, sys.modules["shared"].__file__],
}))
"""
INSTALLED = "import importlib.metadata, json; print(json.dumps({d.name: d.version for d in importlib.metadata.distributions()}))"


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return unpack_all(tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="module")
def bundles(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Unpacked]:
    return install_all(folders, tmp_path_factory.mktemp("environments"))


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with embedded_cloud(tmp_path_factory.mktemp("gcs")) as running:
        yield running


def _push_to(function: str, bundle: Unpacked, cloud: Cloud, folder: Path) -> tuple[DirStore, list[dict[str, Any]]]:
    """Push the function's message and a malformed one to the served bundle; return its bucket and what it logged."""
    store, environ = cloud.bucket(function), cloud.environ_of(function, folder / "work")
    with served(bundle, environ, folder) as (port, out):
        statuses = [post(port, envelope(MESSAGES[function])), post(port, b'{"message": 1}')]
        lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert statuses == [204, 204], (lines, (folder / "stderr").read_text())
    (malformed,) = store.list("quarantine/")
    document = json.loads(store.get(malformed.key).data)
    assert (document["function"], document["body"]) == (function, '{"message": 1}')
    assert "expected a Pub/Sub push envelope" in document["reason"]
    return store, lines


def _keys(store: DirStore) -> list[str]:
    return [info.key for info in store.list("") if not info.key.startswith("quarantine/")]


def test_the_collector_writes_a_ledger_segment(bundles: dict[str, Unpacked], cloud: Cloud, tmp_path: Path) -> None:
    store, _ = _push_to("collector", bundles["collector"], cloud, tmp_path)
    (key,) = _keys(store)
    assert key.startswith(keys.ledger(1))
    assert json.loads(store.get(key).data)["event_id"] == "e1"


def test_the_launcher_records_that_it_declines_without_a_stable_model(bundles: dict[str, Unpacked], cloud: Cloud, tmp_path: Path) -> None:
    store, lines = _push_to("launcher", bundles["launcher"], cloud, tmp_path)
    declined = json.loads(store.get(keys.declined(1)).data)
    assert declined["cause"] == "pubsub:1"
    assert any("model" in reason for reason in declined["decision"]["held"]), declined
    assert lines[0]["message"].startswith("cycle 1 declined: ")


def test_the_validator_answers_for_a_cycle_that_nobody_knows(bundles: dict[str, Unpacked], cloud: Cloud, tmp_path: Path) -> None:
    store, lines = _push_to("validator", bundles["validator"], cloud, tmp_path)
    assert lines[0]["message"] == "cycle 7: attempt 1 is not the present one"
    assert _keys(store) == []


def test_the_deployer_refuses_a_rollback_with_nothing_live(bundles: dict[str, Unpacked], cloud: Cloud, tmp_path: Path) -> None:
    store, lines = _push_to("deployer", bundles["deployer"], cloud, tmp_path)
    assert lines[0]["message"].startswith("alias unchanged: ")
    assert _keys(store) == []


def test_the_sweeper_answers_a_tick(bundles: dict[str, Unpacked], cloud: Cloud, tmp_path: Path) -> None:
    store, lines = _push_to("sweeper", bundles["sweeper"], cloud, tmp_path)
    assert (lines[0]["function"], lines[0]["message"]) == ("sweeper", "nothing to do")
    assert _keys(store) == ["cycles/head.json"]  # a new bucket begins with it


def test_the_console_shows_an_empty_bucket_and_writes_nothing(bundles: dict[str, Unpacked], cloud: Cloud, tmp_path: Path) -> None:
    store = cloud.bucket("dashboard")
    environ = {**cloud.environ, "RETUNE_BUCKET": "gs://bucket-dashboard"}
    with served(bundles["dashboard"], environ, tmp_path) as (port, _):
        for path, told in (("/", "no model is stable; cycle 1 collects"), ("/style.css", "color-scheme"), ("/live.js", "use strict")):
            status, text = get(port, path)
            assert (status, told in text) == (200, True), (path, (tmp_path / "stderr").read_text())
    assert list(store.list("")) == []


@pytest.mark.parametrize("function", REQUIREMENTS)
def test_nothing_of_the_trainer_is_there_and_the_code_is_the_bundles_own(function: str, bundles: dict[str, Unpacked]) -> None:
    bundle = bundles[function]
    unwanted = ["torch", "transformers", "peft", "soundfile", "trainer", "infra", "retune_client", "pytest"]
    seen = _ask(bundle, PROBE, *unwanted)
    assert seen["found"] == []
    assert not {"torch", "transformers"} & set(seen["loaded"])
    assert seen["from"] == [str(bundle.folder / "functions/__init__.py"), str(bundle.folder / "shared/__init__.py")]


@pytest.mark.parametrize("function", REQUIREMENTS)
def test_everything_that_gets_installed_is_pinned(function: str, bundles: dict[str, Unpacked]) -> None:
    bundle = bundles[function]
    pinned = dict(line.split("==") for line in (bundle.folder / "requirements.txt").read_text().splitlines() if not line.startswith("#"))
    installed = _ask(bundle, INSTALLED)
    assert {_canonical(name): version for name, version in installed.items()} == pinned


def _ask(bundle: Unpacked, program: str, *arguments: str) -> dict[str, Any]:
    command = [str(bundle.python), "-c", program, *arguments]
    answer = subprocess.run(command, cwd=bundle.folder, env=clean_environ(), capture_output=True, text=True, timeout=60, check=True)
    parsed: dict[str, Any] = json.loads(answer.stdout)
    return parsed


@pytest.mark.parametrize("function", REQUIREMENTS)
def test_the_requirements_are_what_the_function_imports_and_no_more(function: str, folders: dict[str, Path]) -> None:
    owners = _owners(closure(REQUIREMENTS[function]))
    imported = set()
    for names in sorted(_imports(folders[function])):
        owner = next((owners[name] for name in names if name in owners), None)
        assert owner is not None, f"{function} imports {names[0]}: no distribution in infra.bundle.REQUIREMENTS brings it"
        imported.add(owner)
    assert {_canonical(name) for name in REQUIREMENTS[function]} <= imported


def _imports(folder: Path) -> set[tuple[str, str]]:
    """Return what main.py imports of others, directly or through our modules, as (most specific name, its parent).

    Imports inside functions count: they run at some request.
    """
    found: set[tuple[str, str]] = set()
    seen: set[str] = set()
    waiting = ["main"]
    while waiting:
        module = waiting.pop()
        path = _file_of(folder, module)
        if module in seen or path is None:
            continue
        seen.add(module)
        for base, name in _imported_names(ast.parse(path.read_text())):
            top = base.split(".")[0]
            if top in {"functions", "shared"}:
                assert _file_of(folder, base), f"{module} imports {base}, which the bundle does not hold"
                waiting += [*_parents(base), f"{base}.{name}"]
            elif top not in sys.stdlib_module_names:
                found.add((f"{base}.{name}", base))
    return found


def _file_of(folder: Path, module: str) -> Path | None:
    stem = folder / module.replace(".", "/")
    return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)


def _parents(module: str) -> list[str]:
    parts = module.split(".")
    return [".".join(parts[: count + 1]) for count in range(len(parts))]


def _imported_names(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "this code base imports absolutely"
            yield from ((node.module or "", alias.name) for alias in node.names)


def _owners(distributions: set[str]) -> dict[str, str]:
    """Return which distribution brings a module, by dotted name."""
    owners = {}
    for distribution in distributions:
        for file in metadata.files(distribution) or ():
            if file.suffix in {".py", ".so"}:
                module = file.parent if file.name == "__init__.py" else file.parent / file.name.split(".")[0]
                owners[".".join(module.parts)] = distribution
    return owners


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_function_has_a_bundle() -> None:
    assert {path.parent.name for path in (ROOT / "functions").glob("*/main.py")} == set(REQUIREMENTS)
    assert set(READS) <= set(REQUIREMENTS)


def test_equal_sources_give_equal_bytes(tmp_path: Path) -> None:
    first, second = (build_bundle("validator", tmp_path / name).read_bytes() for name in ("a", "b"))
    assert first == second


def test_a_bundle_holds_code_and_templates_and_neither_tests_nor_the_client(tmp_path: Path) -> None:
    names = set(ZipFile(build_bundle("validator", tmp_path)).namelist())
    assert {"main.py", "requirements.txt", "functions/validator/report.html.j2", "shared/gcs_store.py"} <= names
    assert {name.split("/")[0] for name in names} == {"main.py", "requirements.txt", "functions", "shared"}
    assert not [
        name for name in names if name.startswith(("shared/testing/", "shared/client/", "shared/schemas/")) or "__pycache__" in name
    ]


def test_a_bundle_holds_nothing_of_functions_that_it_does_not_import(folders: dict[str, Path]) -> None:
    held = {name: {path.parent.name for path in (folder / "functions").glob("*/*.py")} for name, folder in folders.items()}
    assert held == {
        "collector": {"collector"},
        "launcher": {"launcher"},
        "validator": {"validator"},
        "deployer": {"deployer"},
        "dashboard": {"acts", "dashboard", "deployer", "launcher", "sweeper", "views"},  # whose readers and checks it uses
        "sweeper": {"sweeper", "launcher", "validator"},
        "notifier": {"notifier"},
    }


def test_what_terraform_reads_is_up_to_date() -> None:
    assert bundles_json() == BUNDLES.read_text(), "infra/bundles.json is not what the functions import now: run `make bundles`"


def test_the_command_line_builds_what_it_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--out", str(tmp_path), "sweeper"])
    assert [path.name for path in tmp_path.iterdir()] == ["sweeper.zip"]
    assert re.fullmatch(rf"{tmp_path}/sweeper.zip  \d+ bytes  sha256:[0-9a-f]{{64}}\n", capsys.readouterr().out)
    with pytest.raises(SystemExit):
        main(["--out", str(tmp_path), "collektor"])
    assert "no such function: collektor" in capsys.readouterr().err


def test_a_function_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"function 'collektor': expected one of \['collector'"):
        build_bundle("collektor", tmp_path)
