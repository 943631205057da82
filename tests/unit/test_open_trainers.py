"""Which launcher the settings choose; nothing is contacted and no credentials are asked for before the first call."""

import pytest

from functions.launcher.build import open_trainers
from functions.launcher.cloud_run.launcher import CloudRunLauncher
from functions.launcher.compute_engine.launcher import ComputeEngineLauncher
from functions.launcher.local import LocalLauncher
from shared.clock import SystemClock
from tests.google_api.settings import google_settings

CHOICES = {"local": LocalLauncher, "compute_engine": ComputeEngineLauncher, "cloud_run": CloudRunLauncher}


@pytest.mark.parametrize("launcher", CHOICES)
def test_the_settings_choose_the_launcher(launcher: str) -> None:
    assert type(open_trainers(google_settings(launcher=launcher), SystemClock())) is CHOICES[launcher]
