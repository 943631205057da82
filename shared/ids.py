"""Names of things: event ids, versions and ids that follow from a cause."""

import hashlib
import secrets
from typing import NewType

EventId = NewType("EventId", str)
Version = NewType("Version", int)
"""Number of a cycle and of the model that it makes: "v12" is cycle 12."""


def derived_event_id(event_type: str, cause: str, subject: str) -> EventId:
    """Return the id of an event that a handler emits because of `cause` about `subject`.

    The same message delivered again emits the very same ids, so that whoever reads them can drop the copies.
    """
    digest = hashlib.sha256(f"{event_type}\x1f{cause}\x1f{subject}".encode()).hexdigest()
    return EventId(f"{event_type}-{digest[:32]}")


def new_token() -> str:
    """Return 128 random bits in hexadecimal: unique to one write, flush or request."""
    return secrets.token_hex(16)


def version_name(version: int) -> str:
    """Return the name people use: `v12`."""
    return f"v{version}"
