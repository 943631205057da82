"""Builds the launcher's dependencies from the environment; the sweeper uses the same code."""

from functions.launcher.local import LocalLauncher
from functions.launcher.opening import LaunchDeps
from functions.runtime import ports_from_env
from shared.audio_source import AudioSource


def launch_deps() -> LaunchDeps:
    """Build the real ports and the configured trainer launcher.

    Raises:
        BadSettings: the environment is not complete.
    """
    ports = ports_from_env()
    settings = ports.settings
    prefixes = (*settings.audio_prefixes, f"{ports.store.uri}/corpora/")
    return LaunchDeps(ports, AudioSource(allowed_prefixes=prefixes), LocalLauncher(settings.trainers_dir))
