"""Times as people read them."""

from datetime import datetime


def when(at: datetime) -> str:
    """Return a time in this machine's zone, to the second: `2026-01-05 10:00:00`."""
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"
