"""Builds the console from the environment."""

from functions.dashboard.handler import Console
from functions.runtime import Ports
from shared.audio_source import AudioSource
from shared.bus import Outgoing
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
    """Build the console.

    Raises:
        BadSettings: the environment is not complete.
    """
    settings = Settings.from_env()
    store = open_store(settings.bucket)
    audio = AudioSource(allowed_prefixes=(*settings.audio_prefixes, f"{store.uri}/corpora/"))
    return Console(Ports(store, Silent(), SystemClock(), settings), audio, open_backlogs(settings.project))
