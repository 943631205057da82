"""A function as it is deployed: its bundle in a folder of its own, the interpreter that has its requirements alone, functions-framework."""

import base64
import http.client
import json
import os
import socket
import subprocess
import sys
import time
import venv
import zipfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from infra.bundle import REQUIREMENTS, build_bundle
from infra.local.gcs_server import GcsServer
from infra.local.pubsub_server import PubSubServer
from shared.bus import Outgoing
from shared.clock import SystemClock
from shared.dir_store import DirStore
from shared.events import TOPICS, Tick, TrainingCompleted
from shared.messages import outgoing
from shared.testing import builders
from shared.testing.memory_bus import MemoryBus

START_DEADLINE_S = 60.0
NOW = datetime.now(UTC)

MESSAGES: dict[str, Outgoing] = {
    "collector": outgoing(builders.error(1, at=NOW)),
    "launcher": Outgoing("finetune-triggers", b'{"force": true}'),
    "validator": outgoing(TrainingCompleted(event_id="done-7-1", occurred_at=NOW, cycle=7, attempt=1)),
    "deployer": Outgoing("model-commands", b'{"rollback": true}'),
    "sweeper": outgoing(Tick(event_id="tick-1", occurred_at=NOW)),
}
"""One for each function, which it answers whatever its bucket holds."""


@dataclass(frozen=True)
class Cloud:
    """Embedded Cloud Storage and Pub/Sub, and the environment that points clients at them."""

    root: Path
    environ: dict[str, str]

    def bucket(self, function: str) -> DirStore:
        """Return the bucket that a function has for itself."""
        folder = self.root / f"bucket-{function}"
        folder.mkdir(exist_ok=True)
        return DirStore(folder)

    def environ_of(self, function: str, work_dir: Path) -> dict[str, str]:
        """Return the variables of a function that works on its bucket."""
        return {**self.environ, "RETUNE_BUCKET": f"gs://bucket-{function}", "RETUNE_WORK_DIR": str(work_dir)}


@contextmanager
def embedded_cloud(root: Path) -> Iterator[Cloud]:
    """Serve buckets below `root` and all topics."""
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


@dataclass(frozen=True)
class Unpacked:
    """A bundle in a folder of its own and the interpreter that has what its requirements.txt names."""

    folder: Path
    python: Path


def unpack_all(root: Path) -> dict[str, Path]:
    """Build and unpack every function's bundle; return their folders."""
    folders = {}
    for function in REQUIREMENTS:
        with zipfile.ZipFile(build_bundle(function, root / "zips")) as bundle:
            bundle.extractall(root / function)
        folders[function] = root / function
    return folders


def install_all(folders: Mapping[str, Path], root: Path) -> dict[str, Unpacked]:
    """Install each set of requirements once, the sets side by side: pip mostly waits."""
    by_requirements = {(folder / "requirements.txt").read_text(): folder for folder in folders.values()}
    with ThreadPoolExecutor(len(by_requirements)) as pool:
        made = pool.map(lambda item: _environment(root / str(item[0]), item[1]), enumerate(by_requirements.values()))
        pythons = dict(zip(by_requirements, made, strict=True))
    return {name: Unpacked(folder, pythons[(folder / "requirements.txt").read_text()]) for name, folder in folders.items()}


def _environment(root: Path, folder: Path) -> Path:
    venv.create(root, symlinks=True, with_pip=False)
    python = root / "bin" / "python"
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-compile", "-r", "requirements.txt"]
    done = subprocess.run(command, cwd=folder, env=clean_environ(), capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return python


def clean_environ() -> dict[str, str]:
    """The environment as it is, but for what would let this checkout in."""
    return {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}}


def framework_command(bundle: Unpacked, port: int) -> list[str]:
    """Return how Google's build starts a function."""
    command = [str(bundle.python), "-m", "functions_framework", "--target", "entry", "--source", "main.py"]
    return [*command, "--signature-type", "http", "--host", "127.0.0.1", "--port", str(port)]


@contextmanager
def served(bundle: Unpacked, environ: Mapping[str, str], folder: Path) -> Iterator[tuple[int, Path]]:
    """Run functions-framework until it listens; yield its port and the file of its standard output."""
    with started(bundle, environ, folder) as (process, port):
        _wait_until_it_listens(process, port, folder / "stderr")
        yield port, folder / "stdout"


@contextmanager
def started(bundle: Unpacked, environ: Mapping[str, str], folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """Start functions-framework and yield its process and port at once; its output goes to two files of `folder`."""
    port = free_port()
    with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
        process = subprocess.Popen(
            framework_command(bundle, port), cwd=bundle.folder, env={**clean_environ(), **environ}, stdout=stdout, stderr=stderr
        )
    try:
        yield process, port
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, err: Path, *, look_s: float = 0.05) -> None:
    deadline = time.monotonic() + START_DEADLINE_S
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        except ConnectionRefusedError:
            try:
                process.wait(look_s)
            except subprocess.TimeoutExpired:
                continue
            break
        else:
            return
    raise TimeoutError(f"functions-framework does not listen (exit status {process.poll()}):\n{err.read_text()}")


def get(port: int, path: str = "/") -> tuple[int, str]:
    """Ask for a page; return the status and the text."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def post(port: int, body: bytes) -> int:
    """POST a push and return the status of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("POST", "/", body, {"Content-Type": "application/json"})
        return connection.getresponse().status
    finally:
        connection.close()


def envelope(message: Outgoing) -> bytes:
    """Return a push as Pub/Sub sends it to a subscription with a dead-letter policy."""
    inner = {
        "data": base64.b64encode(message.data).decode(),
        "attributes": dict(message.attributes),
        "messageId": "1",
        "publishTime": NOW.isoformat(),
    }
    return json.dumps({"message": inner, "subscription": "projects/laptop/subscriptions/s", "deliveryAttempt": 1}).encode()
