"""What every launcher of trainers promises, whatever a trainer is there."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.launcher.local import LocalLauncher
from functions.launcher.trainers import Started, TrainerLauncher, TrainerRun, parse_name
from tests.google_api.compute import Compute, compute_server, launcher_on
from tests.google_api.run import CloudRun, jobs_on, run_server
from tests.google_api.settings import google_settings
from tests.world import FakeTrainers

FIRST = TrainerRun(12, 1, "gs://retune/cycles/000012/spec.json")
SECOND = TrainerRun(12, 2, "gs://retune/cycles/000012/spec.json")


@pytest.fixture(params=["memory", "local", "compute_engine", "cloud_run"])
def launcher(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[TrainerLauncher]:
    if request.param == "memory":
        yield FakeTrainers()
        return
    if request.param == "compute_engine":
        compute = Compute()
        with compute_server(compute) as server:
            yield launcher_on(server, compute.clock, google_settings())
        return
    if request.param == "cloud_run":
        cloud = CloudRun()
        with run_server(cloud) as server:
            yield jobs_on(server, cloud.clock, google_settings(launcher="cloud_run"))
        return
    local = LocalLauncher(tmp_path, command=(sys.executable, "-c", "import signal; signal.pause()"))
    yield local
    for name in local.list_names():
        local.delete(name)


def test_a_started_trainer_is_listed_until_it_is_deleted(launcher: TrainerLauncher) -> None:
    assert launcher.list_names() == []
    assert isinstance(launcher.start(FIRST), Started)
    assert isinstance(launcher.start(SECOND), Started)
    assert launcher.list_names() == [FIRST.name, SECOND.name]
    launcher.delete(FIRST.name)
    assert launcher.list_names() == [SECOND.name]


def test_one_that_is_there_already_is_success(launcher: TrainerLauncher) -> None:
    assert isinstance(launcher.start(FIRST), Started)
    assert isinstance(launcher.start(FIRST), Started)
    assert launcher.list_names() == [FIRST.name]


def test_one_that_was_never_there_is_deleted_without_error(launcher: TrainerLauncher) -> None:
    launcher.delete(FIRST.name)
    assert launcher.list_names() == []


def test_a_deleted_one_can_be_started_again(launcher: TrainerLauncher) -> None:
    launcher.start(FIRST)
    launcher.delete(FIRST.name)
    assert isinstance(launcher.start(FIRST), Started)
    assert launcher.list_names() == [FIRST.name]


def test_a_name_tells_its_cycle_and_attempt() -> None:
    assert parse_name(FIRST.name) == TrainerRun(12, 1)
    assert parse_name("somebody-elses-vm") is None
