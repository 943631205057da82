"""From the environment to the ports that every command uses, the same on a laptop and on Google Cloud [io]."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from functions.runtime import Ports
from infra.errors import Unreachable
from shared.backlog import Backlogs
from shared.bus import Bus
from shared.clock import SystemClock
from shared.config import BadSettings, Settings
from shared.policy import Policy

HOW_TO_SET = """For the local stack: run `retune up` in one terminal and `eval "$(retune env)"` in this one.
For Google Cloud: export the variables above with your project's values."""
CONNECT_S = 2.0
PULL_WAIT_S = 2.0


@dataclass(frozen=True)
class Session:
    """The outside world of a command.

    Attributes:
        ports: store, publisher, clock and settings, as the functions have them.
        bus: the whole message port.
        backlogs: tells how many dead letters wait; None = nobody is asked.
    """

    ports: Ports
    bus: Bus
    backlogs: Backlogs | None = None


def read_policy(default: Policy) -> Policy:
    """Return the policy in RETUNE_POLICY, or `default` where it is not set.

    Raises:
        Unreachable: it is not a policy; the text lists every problem.
    """
    if not os.environ.get("RETUNE_POLICY", "").strip():
        return default
    elsewhere = {"RETUNE_BUCKET": "gs://unused", "GOOGLE_CLOUD_PROJECT": "unused", "RETUNE_AUDIO_PREFIXES": "gs://unused"}
    try:
        return Settings.from_env({**elsewhere, "RETUNE_POLICY": os.environ["RETUNE_POLICY"]}).policy
    except BadSettings as error:
        raise Unreachable(str(error)) from error


def read_settings() -> Settings:
    """Return the settings that the environment holds.

    Raises:
        Unreachable: one is missing or wrong; the text lists every problem.
    """
    try:
        return Settings.from_env()
    except BadSettings as error:
        raise Unreachable(f"{error}\n{HOW_TO_SET}") from error


@contextmanager
def open_session() -> Iterator[Session]:
    """Read the settings and yield the ports; close the connections afterwards.

    Raises:
        Unreachable: a setting is missing or wrong, or an emulator that the environment names does not answer.
    """
    settings = read_settings()
    for variable in ("STORAGE_EMULATOR_HOST", "PUBSUB_EMULATOR_HOST"):
        check_reachable(variable, os.environ.get(variable))
    # the Google libraries take a second to import: not before the settings are known to be complete
    from shared.monitoring import open_backlogs
    from shared.pubsub import PubSubBus
    from shared.stores import open_store

    bus = PubSubBus(settings.project, pull_wait_s=PULL_WAIT_S)
    try:
        yield Session(Ports(open_store(settings.bucket), bus, SystemClock(), settings), bus, open_backlogs(settings.project))
    finally:
        bus.close()


def check_reachable(variable: str, address: str | None) -> None:
    """Connect once to an emulator's address: Google's clients would try for a minute before they say that nobody is there.

    Raises:
        Unreachable: nobody listens there.
    """
    if not address:
        return
    url = urlsplit(address if "://" in address else f"http://{address}")
    try:
        socket.create_connection((url.hostname or "", url.port or 80), timeout=CONNECT_S).close()
    except OSError as error:
        raise Unreachable(
            f"{variable}={address}: expected the local stack there, found {error}\n"
            'It has other ports each time: run `retune up`, then `eval "$(retune env)"` in this terminal again; '
            f"or `unset {variable}` to talk to Google Cloud."
        ) from error
