"""A real MLflow server: a version is registered once, its alias follows production, and a model comes back out of it.

The server has an environment of its own (`make test-mlflow` makes it): it pins other versions than the product does.
"""

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from infra.errors import Refused, Unreachable
from infra.local.baseline import MODEL_DIR
from infra.models.importing import convert_with_trainer, import_model
from infra.models.stored import show_model
from infra.people import Person
from infra.publish.mlflow_client import fetch
from infra.publish.mlflow_registry import Registered, publish
from shared import keys
from shared.manifest import digest_folder
from tests.unit.test_import_model import bring_in
from tests.world import World

SERVER = Path(os.environ.get("MLFLOW_VENV", ".venv-mlflow")) / "bin" / "mlflow"
NAME = "retune-test"
ANA = Person(by="ana", wait_s=1.0)
pytestmark = [pytest.mark.torch, pytest.mark.timeout(180)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@retry(retry=retry_if_exception_type(requests.RequestException), wait=wait_fixed(0.2), stop=stop_after_delay(90), reraise=True)
def answering(uri: str) -> None:
    requests.get(f"{uri}/health", timeout=5).raise_for_status()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not SERVER.is_file():
        if os.environ.get("RETUNE_REQUIRE_MLFLOW") == "1":
            pytest.fail(f"RETUNE_REQUIRE_MLFLOW=1 and there is no {SERVER}: run `make test-mlflow`")
        pytest.skip(f"no MLflow server at {SERVER}: run `make test-mlflow`")
    folder, port = tmp_path_factory.mktemp("mlflow"), free_port()
    command = [str(SERVER.resolve()), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += [
        "--backend-store-uri",
        f"sqlite:///{folder}/books.db",
        "--artifacts-destination",
        str(folder / "artifacts"),
        "--serve-artifacts",
    ]
    clean = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    with (folder / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd=folder, env=clean, start_new_session=True)
    uri = f"http://127.0.0.1:{port}"
    try:
        answering(uri)
        yield uri
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=30)


@pytest.fixture(scope="module")
def world() -> World:
    """A world whose v0 is the model that ships."""
    made = World()
    imported = import_model(made.ports, str(MODEL_DIR), ANA.model_copy(update={"wait_s": None}), convert=convert_with_trainer, tell=print)
    made.settle()
    assert (imported.version, made.production().stable) == (0, 0)
    return made


@pytest.fixture(scope="module")
def registered(server: str, world: World) -> Registered:
    return publish(world.ports, 0, server, NAME)


def test_a_version_is_registered_with_its_alias_and_where_it_comes_from(server: str, registered: Registered) -> None:
    import mlflow

    assert (registered.new, registered.alias, registered.model_version) == (True, "stable", "1")
    client = mlflow.MlflowClient(tracking_uri=server)
    entry = client.get_model_version_by_alias(NAME, "stable")
    assert (str(entry.version), entry.tags["retune.version"], entry.tags["retune.verdict"]) == ("1", "v0", "not judged")
    run = client.get_run(registered.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["version"] == "v0"
    assert {each.path for each in client.list_artifacts(registered.run_id, "model")} >= {"model/README.md", "model/model.safetensors"}


def test_publishing_again_registers_nothing_new(server: str, world: World, registered: Registered) -> None:
    again = publish(world.ports, 0, server, NAME)
    assert (again.new, again.model_version, again.run_id) == (False, registered.model_version, registered.run_id)


def test_a_registered_model_comes_back_byte_for_byte_and_is_imported(
    server: str, world: World, registered: Registered, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    folder = fetch(f"models:/{NAME}@stable", tmp_path / "fetched")
    stored = {file.name: file.sha256 for file in show_model(world.ports, 0).manifest.files}
    fetched = {file.name: file.sha256 for file in digest_folder(folder) if file.name in stored}
    assert fetched == stored
    other = World()
    imported = import_model(other.ports, f"models:/{NAME}@stable", ANA.model_copy(update={"wait_s": None}), tell=print)
    assert imported.details["source_kind"] == "mlflow"
    first = {file.name: file.sha256 for file in imported.files}
    assert first["model.safetensors"] == stored["model.safetensors"]


def test_the_alias_follows_production_and_leaves_a_version_that_serves_no_more(server: str) -> None:
    import mlflow

    made = World()
    bring_in(made, "first")
    publish(made.ports, 0, server, "moving")
    bring_in(made, "second", make_stable=True)
    second = publish(made.ports, 1, server, "moving")
    client = mlflow.MlflowClient(tracking_uri=server)
    assert str(client.get_model_version_by_alias("moving", "stable").version) == second.model_version
    old = publish(made.ports, 0, server, "moving")
    assert (old.alias, old.moved) == (None, ())
    assert str(client.get_model_version_by_alias("moving", "stable").version) == second.model_version


def test_what_is_not_there_is_refused_and_who_is_away_is_named(
    server: str, world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    with pytest.raises(Refused, match="nobody"):
        fetch("models:/nobody@stable", tmp_path / "none")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(Unreachable, match=away):
        publish(world.ports, 0, away, NAME)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    with pytest.raises(Unreachable, match="MLFLOW_TRACKING_URI"):
        fetch(f"models:/{NAME}@stable", tmp_path / "none")


def test_a_damaged_model_is_not_registered(server: str) -> None:
    import mlflow

    made = World()
    bring_in(made, "first")
    view = show_model(made.ports, 0)
    made.store.put(view.manifest.files[0].key(keys.model(0)), b"other")
    with pytest.raises(Refused, match="v0 is not exported"):
        publish(made.ports, 0, server, "damaged")
    client = mlflow.MlflowClient(tracking_uri=server)
    assert client.search_registered_models("name = 'damaged'") == []
