"""Names of things: ids that follow from a cause, ids drawn at random, and a version as people call it."""

import hashlib
import secrets


def derived_event_id(event_type: str, cause: str, subject: str) -> str:
    """Return the id of an event that a handler emits because of `cause` about `subject`.

    The same message delivered again emits the very same ids, so that whoever reads them can drop the copies.
    """
    digest = hashlib.sha256(f"{event_type}\x1f{cause}\x1f{subject}".encode()).hexdigest()
    return f"{event_type}-{digest[:32]}"


def new_token() -> str:
    """Return 128 random bits in hexadecimal: unique to one write, flush or request."""
    return secrets.token_hex(16)


def version_name(version: int) -> str:
    """Return the name people use: `v12`, the model that cycle 12 made or imported."""
    return f"v{version}"
