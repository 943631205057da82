"""The Python environment of the trainer's image, made by the commands of its Dockerfile, runs the trainer.

No docker engine is needed, only packages for pip. Making it takes minutes; it is kept under the user's cache, and made anew when the
commands, the requirements or a version that it holds change.
"""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

from packaging.utils import canonicalize_name
from packaging.version import Version

from infra.local.pubsub_server import PubSubServer
from shared.clock import SystemClock
from shared.events import TRAINING_EVENTS
from shared.testing.memory_bus import MemoryBus
from shared.training import LoraConfig, TrainingConfig
from tests.e2e.machine import PROJECT, Machine
from tests.infra.dockerfile import DOCKERFILE, ROOT, read_stages

pytestmark = [pytest.mark.torch, pytest.mark.timeout(1500)]

_, BUILD, FINAL = read_stages(DOCKERFILE.read_text(encoding="utf-8"))
IN_IMAGE = "/opt/trainer"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "retune" / "trainer-environment"
COMPLETE = "complete"
KEPT = 2
PROBE = "annotated-types"


def run(command: str, folder: Path, timeout_s: float = 1200) -> subprocess.CompletedProcess[str]:
    """Run one RUN of the Dockerfile with this Python and its pip."""
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", **BUILD.environment()}
    environ.pop("PIP_NO_CACHE_DIR")  # it keeps an image small, and would fetch everything anew here
    return subprocess.run(
        ["bash", "-euc", command], cwd=folder, env=environ, capture_output=True, text=True, timeout=timeout_s, check=False
    )


def constraints() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def installed(folder: Path) -> dict[str, str]:
    listing = "import importlib.metadata as m, json; print(json.dumps([(d.name, d.version) for d in m.distributions()]))"
    said = subprocess.check_output([folder / "bin" / "python", "-I", "-c", listing], text=True)
    return {canonicalize_name(name): Version(version).public for name, version in json.loads(said)}


def unpinned(folder: Path) -> dict[str, str]:
    """Return what an environment holds in another version than the constraints pin, or that they do not pin."""
    pinned = constraints()
    return {name: version for name, version in installed(folder).items() if pinned.get(name) != version}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the environment that the Dockerfile makes under /opt/trainer, from the cache or made now."""
    build = tmp_path_factory.mktemp("build")
    for name in BUILD.of("COPY")[0].split()[:-1]:
        shutil.copy(ROOT / name, build)
    make_requirements, make_environment, install = BUILD.of("RUN")
    assert run(make_requirements, build).returncode == 0
    inputs = [sys.version, make_environment, install, (build / "requirements.txt").read_text()]
    folder = CACHE / hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:16]
    with locked(CACHE.with_suffix(".lock")):
        if not (folder / COMPLETE).exists() or unpinned(folder):
            _make(folder, build, [make_environment, install])
        os.utime(folder)
        kept = sorted((path for path in CACHE.iterdir() if path.is_dir()), key=lambda path: path.stat().st_mtime, reverse=True)
        for old in kept[KEPT:]:
            shutil.rmtree(old)
    return folder


def _make(folder: Path, build: Path, commands: list[str]) -> None:
    probe = f"pip download --quiet --no-deps --dest probe {PROBE}=={constraints()[PROBE]}"
    try:
        asked = run(probe, build, timeout_s=60)
    except subprocess.TimeoutExpired:
        pytest.skip("pip gets no packages here within a minute: the image's environment was NOT built")
    if asked.returncode:
        said = asked.stderr.strip().splitlines()[-1:]
        pytest.skip(f"pip gets no packages here, so the image's environment was NOT built: {said}")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for command in commands:
        assert IN_IMAGE in command
        done = run(command.replace(IN_IMAGE, str(folder)), build)
        assert done.returncode == 0, f"{command}: {done.stderr[-3000:]}"
    (folder / COMPLETE).touch()


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the code that the image copies, and no other."""
    app = tmp_path_factory.mktemp("app")
    leave = shutil.ignore_patterns("__pycache__", "client")
    for name in ("shared", "trainer"):
        shutil.copytree(ROOT / name, app / name, ignore=leave)
    return app


def image_environ(scratch: Path) -> dict[str, str]:
    """Return the variables of the image, with a scratch folder of this test."""
    told = {name: value.replace("/scratch", str(scratch)) for name, value in FINAL.environment().items() if name != "PATH"}
    return {**told, "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}


def files(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


def test_it_holds_what_the_constraints_pin_and_no_pip(environment: Path) -> None:
    found = installed(environment)
    assert unpinned(environment) == {}
    assert {"torch", "transformers", "peft", "google-cloud-storage", "google-cloud-pubsub"} <= found.keys()
    assert "pip" not in found


def test_its_selftest_trains_a_tiny_model_with_the_copied_code_alone(environment: Path, code: Path, tmp_path: Path) -> None:
    before = files(code)
    command = [str(environment / "bin" / "python"), "-m", "trainer.selftest"]
    done = subprocess.run(
        command, cwd=code, env={**os.environ, **image_environ(tmp_path)}, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert (told["ending"], told["events"]) == ("completed", 1)
    assert Version(told["torch"]).public == constraints()["torch"]
    assert files(code) == before, "something was written beside the scratch folder"


def test_its_entry_point_carries_out_a_cycle(environment: Path, code: Path, tmp_path: Path) -> None:
    before = files(code)
    (tmp_path / "calls").mkdir()
    (tmp_path / "scratch").mkdir()
    python, *arguments = json.loads(FINAL.of("ENTRYPOINT")[0])
    assert (python, arguments) == ("python", ["-m", "trainer"])
    bus = MemoryBus(SystemClock(), PROJECT)
    bus.create_topic(TRAINING_EVENTS)
    config = TrainingConfig(epochs=2, batch_size=2, lora=LoraConfig(rank=4, alpha=8), lambdas=(1.0,))
    with PubSubServer(bus) as server:
        environ = {**image_environ(tmp_path / "scratch"), "RETUNE_MACHINE_TYPE": "g2-standard-8", "RETUNE_PROVISIONING": "spot"}
        machine = Machine(
            tmp_path / "cycle",
            tmp_path / "calls",
            server.grpc_target,
            config,
            python=str(environment / "bin" / python),
            code=code,
            environ=environ,
        )
        result = machine.complete(1)
    assert [message.attributes["type"] for message in bus.published(TRAINING_EVENTS)] == ["TrainingCompleted"]
    assert result.serving is not None
    assert result.serving.smoke_test_passed
    assert files(code) == before, "something was written beside the scratch folder"
    assert not re.findall(r"retune-trainer-\w+", " ".join(path.name for path in (tmp_path / "scratch").iterdir())), (
        "its files go when it ends"
    )
    machine_of = machine.state().history[-1].machine
    assert machine_of is not None
    assert (machine_of.machine_type, machine_of.provisioning) == ("g2-standard-8", "spot")
