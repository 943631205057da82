"""How the console knows who somebody is: IAP's assertion on Google Cloud, the user of the machine on the local stack."""

from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from werkzeug.datastructures import Headers

from functions.dashboard.iap import HEADER, AssertionRefused, KeyRing, fetch_keys, key_id, verified_address
from functions.dashboard.settings import ConsoleSettings
from functions.dashboard.viewer import Viewer, decide_viewer
from shared.clock import Clock
from shared.config import LOOPBACK
from shared.errors import Retryable
from shared.log import log


class Identity(Protocol):
    """How a console knows people."""

    @property
    def secure(self) -> bool:
        """Browsers reach it by https alone."""
        ...

    def refuse(self, host: str) -> str:
        """Return why a request for a host is not answered at all; empty = it is."""
        ...

    def viewer(self, headers: Headers) -> Viewer:
        """Return who sent a request."""
        ...


@dataclass(frozen=True)
class NobodyKnown:
    """Of a console that may only be looked at."""

    secure: bool = True

    def refuse(self, host: str) -> str:  # noqa: ARG002 - the protocol's
        """Refuse no host."""
        return ""

    def viewer(self, headers: Headers) -> Viewer:  # noqa: ARG002 - the protocol's
        """Return nobody."""
        return Viewer()


@dataclass(frozen=True)
class LocalUser:
    """Of a console on the loopback interface: whoever reaches it is at this machine, as its user if the user alone is."""

    name: str
    secure: bool = False

    def refuse(self, host: str) -> str:
        """Refuse every name but the machine's own: a stranger's name that leads here is DNS rebinding."""
        try:
            name = urlsplit(f"//{host}").hostname
        except ValueError:
            name = None
        return "" if name in LOOPBACK else "This console is for this machine alone: open it as http://127.0.0.1 or http://localhost."

    def viewer(self, headers: Headers) -> Viewer:  # noqa: ARG002 - the protocol's
        """Return the user."""
        return Viewer(name=self.name, refusal="")


@dataclass(frozen=True)
class IapUsers:
    """Of a console behind IAP."""

    settings: ConsoleSettings
    ring: KeyRing
    secure: bool = True

    def refuse(self, host: str) -> str:  # noqa: ARG002 - the protocol's
        """Refuse no host: Google routes by it."""
        return ""

    def viewer(self, headers: Headers) -> Viewer:
        """Return whom IAP's assertion names."""
        if not self.settings.operators:
            return Viewer()
        assertion = headers.get(HEADER, "")
        if not assertion:
            return Viewer(refusal="Nobody can tell who you are: the request came past IAP, which would have said so.")
        try:
            address = verified_address(assertion, self.ring.keys_for(key_id(assertion)), self.settings.audience)
        except AssertionRefused as error:
            log(f"an assertion of IAP was refused: {error}", severity="WARNING")
            return Viewer(refusal="Nobody can tell who you are: what came as IAP's assertion does not hold.")
        except Retryable as error:
            log(f"an assertion of IAP was not checked: {error}", severity="WARNING")
            return Viewer(refusal="Nobody can tell who you are: IAP's public keys cannot be had at the moment.")
        return decide_viewer(address, self.settings.operators)


def identity_of(settings: ConsoleSettings, clock: Clock) -> Identity:
    """Return how a console with these settings knows people."""
    if settings.local_user:
        return LocalUser(settings.local_user)
    return IapUsers(settings, KeyRing(fetch_keys, clock)) if settings.audience else NobodyKnown()
