"""The loop in memory with trainers on one of Google's APIs, which a server of loopback plays; one clock for all."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from functions.launcher.handler import handler as launcher
from functions.launcher.trainers import TrainerLauncher, TrainerRun
from functions.sweeper.handler import handler as sweeper
from shared.config import Settings
from shared.testing import builders
from shared.testing.clock import FakeClock
from tests.google_api.server import GoogleApi
from tests.world import POLICY, World

ERRORS = range(60)


class CloudWorld(World):
    """Functions and stores in memory, trainers elsewhere."""

    def __init__(
        self, server: GoogleApi, trainers: Callable[[GoogleApi, FakeClock, Settings], TrainerLauncher], settings: Settings, **policy: Any
    ) -> None:
        super().__init__(POLICY.model_copy(update=policy))
        google = settings.model_copy(update={"policy": self.ports.settings.policy})
        ports = replace(self.ports, settings=google.model_copy(update={"bucket": self.ports.settings.bucket}))
        self.cloud = replace(self.deps, trainers=trainers(server, self.clock, google), ports=ports)
        self.handlers |= {"launcher": launcher(self.cloud), "sweeper": sweeper(self.cloud)}

    def open_first_cycle(self) -> TrainerRun:
        """Let the threshold be crossed; return the run that comes of it."""
        self.install_model()
        self.record_calls(range(200))
        self.publish(*(builders.sample(n + 100, sample_rate=1.0) for n in range(60)), *(builders.error(n) for n in ERRORS))
        self.settle()
        return TrainerRun(1, 1)
