"""Builds the launcher's dependencies from the environment; the sweeper uses the same code."""

from functions.launcher.compute_engine.launcher import ComputeEngineLauncher
from functions.launcher.local import LocalLauncher
from functions.launcher.opening import LaunchDeps
from functions.launcher.trainers import TrainerLauncher
from functions.runtime import Ports, ports_from_env
from shared.audio_source import AudioSource


def launch_deps() -> LaunchDeps:
    """Build the real ports and the configured trainer launcher.

    Raises:
        BadSettings: the environment is not complete.
    """
    ports = ports_from_env()
    prefixes = (*ports.settings.audio_prefixes, f"{ports.store.uri}/corpora/")
    return LaunchDeps(ports, AudioSource(allowed_prefixes=prefixes), _trainers(ports))


def _trainers(ports: Ports) -> TrainerLauncher:
    settings = ports.settings
    if settings.launcher == "compute_engine":
        return ComputeEngineLauncher(settings, ports.clock)
    return LocalLauncher(settings.trainers_dir)
