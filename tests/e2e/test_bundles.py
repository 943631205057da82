"""Each function's zip, as it is deployed: unpacked into an empty folder, in an environment with its own requirements alone."""

import ast
import base64
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from functions.wiring import READS
from infra.bundle import BUNDLES, REQUIREMENTS, ROOT, build_bundle, bundles_json, closure, main
from infra.local.gcs_server import GcsServer
from infra.local.pubsub_server import PubSubServer
from shared import keys
from shared.bus import Outgoing
from shared.clock import SystemClock
from shared.dir_store import DirStore
from shared.errors import NotFound
from shared.events import TOPICS, Tick, TrainingCompleted
from shared.messages import outgoing
from shared.testing import builders
from shared.testing.memory_bus import MemoryBus

NOW = datetime.now(UTC)
START_DEADLINE_S = 60.0

MESSAGES: dict[str, Outgoing] = {
    "collector": outgoing(builders.error(1, at=NOW)),
    "launcher": Outgoing("finetune-triggers", b'{"force": true}'),
    "validator": outgoing(TrainingCompleted(event_id="done-7-1", occurred_at=NOW, cycle=7, attempt=1)),
    "deployer": Outgoing("model-commands", b'{"rollback": true}'),
    "sweeper": outgoing(Tick(event_id="tick-1", occurred_at=NOW)),
}

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


@dataclass(frozen=True)
class Unpacked:
    """A bundle in a folder of its own and the interpreter that has what its requirements.txt names."""

    folder: Path
    python: Path


@dataclass(frozen=True)
class Cloud:
    """Embedded Cloud Storage and Pub/Sub, and the environment that points clients at them."""

    root: Path
    environ: dict[str, str]

    def bucket(self, function: str) -> DirStore:
        folder = self.root / f"bucket-{function}"
        folder.mkdir(exist_ok=True)
        return DirStore(folder)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("bundles")
    unpacked = {}
    for function in REQUIREMENTS:
        with zipfile.ZipFile(build_bundle(function, root / "zips")) as bundle:
            bundle.extractall(root / function)
        unpacked[function] = root / function
    return unpacked


@pytest.fixture(scope="module")
def bundles(folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Unpacked]:
    """Install each set of requirements once, the sets side by side: pip mostly waits."""
    by_requirements = {(folder / "requirements.txt").read_text(): folder for folder in folders.values()}
    root = tmp_path_factory.mktemp("environments")
    with ThreadPoolExecutor(len(by_requirements)) as pool:
        made = pool.map(lambda item: _environment(root / str(item[0]), item[1]), enumerate(by_requirements.values()))
        pythons = dict(zip(by_requirements, made, strict=True))
    return {name: Unpacked(folder, pythons[(folder / "requirements.txt").read_text()]) for name, folder in folders.items()}


def _environment(root: Path, folder: Path) -> Path:
    venv.create(root, symlinks=True, with_pip=False)
    python = root / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile", "-r", "requirements.txt"]
    done = subprocess.run(command, cwd=folder, env=_clean_environ(), capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return python


def _clean_environ() -> dict[str, str]:
    """The environment as it is, but for what would let this checkout in."""
    return {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    root = tmp_path_factory.mktemp("gcs")
    bus = MemoryBus(SystemClock(), "laptop")
    for topic in TOPICS:
        bus.create_topic(topic)
    with GcsServer(root) as storage, PubSubServer(bus) as pubsub:
        environ = {
            "STORAGE_EMULATOR_HOST": storage.url,
            "PUBSUB_EMULATOR_HOST": pubsub.grpc_target,
            "GOOGLE_CLOUD_PROJECT": "laptop",
            "RETUNE_AUDIO_PREFIXES": builders.CALLS,
            "RETUNE_COUNT_INTERVAL_S": "0",
        }
        yield Cloud(root, environ)


@contextmanager
def _served(bundle: Unpacked, environ: dict[str, str], folder: Path) -> Iterator[tuple[int, Path]]:
    """Run functions-framework as Google's build does; yield its port and the file of its standard output."""
    port = _free_port()
    command = [str(bundle.python), "-m", "functions_framework", "--target", "entry", "--source", "main.py"]
    command += ["--signature-type", "http", "--host", "127.0.0.1", "--port", str(port)]
    out, err = folder / "stdout", folder / "stderr"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(command, cwd=bundle.folder, env={**_clean_environ(), **environ}, stdout=stdout, stderr=stderr)
    try:
        _wait_until_it_listens(process, port, err)
        yield port, out
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, err: Path) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            try:
                process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
            break
        else:
            return
    pytest.fail(f"functions-framework does not listen (exit status {process.poll()}):\n{err.read_text()}")


def _post(port: int, body: bytes) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/", body, {"Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


def _envelope(message: Outgoing) -> bytes:
    """Return a push as Pub/Sub sends it to a subscription with a dead-letter policy."""
    inner = {
        "data": base64.b64encode(message.data).decode(),
        "attributes": dict(message.attributes),
        "messageId": "1",
        "publishTime": NOW.isoformat(),
    }
    return json.dumps({"message": inner, "subscription": "projects/laptop/subscriptions/s", "deliveryAttempt": 1}).encode()


def _push_to(function: str, bundle: Unpacked, cloud: Cloud, folder: Path) -> tuple[DirStore, list[dict[str, Any]]]:
    """Push the function's message and a malformed one to the served bundle; return its bucket and what it logged."""
    store = cloud.bucket(function)
    environ = {**cloud.environ, "RETUNE_BUCKET": f"gs://bucket-{function}", "RETUNE_WORK_DIR": str(folder / "work")}
    with _served(bundle, environ, folder) as (port, out):
        statuses = [_post(port, _envelope(MESSAGES[function])), _post(port, b'{"message": 1}')]
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
    assert _keys(store) == []


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
    answer = subprocess.run(command, cwd=bundle.folder, env=_clean_environ(), capture_output=True, text=True, timeout=60, check=True)
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


def test_a_bundle_holds_code_and_templates_and_neither_tests_nor_the_client(folders: dict[str, Path]) -> None:
    names = {path.relative_to(folders["validator"]).as_posix() for path in folders["validator"].rglob("*") if path.is_file()}
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
