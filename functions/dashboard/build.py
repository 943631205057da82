"""Builds the console from the environment."""

from functions.dashboard.handler import Console
from functions.dashboard.identity import identity_of
from functions.dashboard.settings import ConsoleSettings
from functions.runtime import Ports
from shared.audio_source import AudioSource
from shared.bus import Outgoing, Publisher
from shared.clock import SystemClock
from shared.config import Settings
from shared.errors import InvariantBroken
from shared.monitoring import open_backlogs
from shared.stores import open_store


class Silent:
    """A publisher of a console that may only be looked at."""

    def publish(self, message: Outgoing) -> str:
        """Refuse.

        Raises:
            InvariantBroken: always.
        """
        raise InvariantBroken(f"topic {message.topic}: expected a console that may act, found one that may only be looked at")


def console() -> Console:
    """Build the console; it can publish only where somebody may act.

    Raises:
        BadSettings: the environment is not complete.
    """
    settings, people = Settings.from_env(), ConsoleSettings.from_env()
    store, clock = open_store(settings.bucket), SystemClock()
    publisher = open_bus(settings.project) if people.operators or people.local_user else Silent()
    ports = Ports(store, publisher, clock, settings)
    return Console(ports, AudioSource(allowed_prefixes=ports.audio_prefixes), identity_of(people, clock), open_backlogs(settings.project))


def open_bus(project: str) -> Publisher:
    """Return Pub/Sub, whose library is loaded only where somebody may act."""
    from shared.pubsub import PubSubBus

    return PubSubBus(project)
