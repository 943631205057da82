"""Builds the launcher's dependencies from the environment; the sweeper uses the same code."""

from functions.launcher.cloud_run.launcher import CloudRunLauncher
from functions.launcher.compute_engine.launcher import ComputeEngineLauncher
from functions.launcher.local import LocalLauncher
from functions.launcher.opening import LaunchDeps
from functions.launcher.trainers import TrainerLauncher
from functions.runtime import ports_from_env
from shared.audio_source import AudioSource
from shared.clock import Clock
from shared.config import Settings


def launch_deps(function: str) -> LaunchDeps:
    """Build the real ports and the configured trainer launcher.

    Args:
        function: whose they are.

    Raises:
        BadSettings: the environment is not complete.
    """
    ports = ports_from_env(function)
    return LaunchDeps(ports, AudioSource(allowed_prefixes=ports.audio_prefixes), open_trainers(ports.settings, ports.clock))


def open_trainers(settings: Settings, clock: Clock) -> TrainerLauncher:
    """Return the configured launcher of trainers; nothing is contacted."""
    if settings.launcher == "compute_engine":
        return ComputeEngineLauncher(settings, clock)
    if settings.launcher == "cloud_run":
        return CloudRunLauncher(settings, clock)
    return LocalLauncher(settings.trainers_dir)
