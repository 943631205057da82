"""Times, lengths and sizes as the console's pages say them."""

from datetime import datetime, timedelta

from markupsafe import Markup

from shared.wording import lasting


def moment(at: datetime) -> Markup:
    """Return a time element, in UTC to the minute; its title has the second."""
    iso = at.isoformat(timespec="seconds")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso, iso, f"{at:%Y-%m-%d %H:%M}")


def ago(length: timedelta) -> str:
    """Return a length of time in words; see `shared.wording.lasting`. What is still to come has lasted for 0 s."""
    return lasting(max(length.total_seconds(), 0.0))


def size(size_bytes: int) -> str:
    """Return a size: `3.4 MiB`."""
    return f"{size_bytes / (1 << 20):.1f} MiB" if size_bytes >= 1 << 20 else f"{size_bytes / 1024:.1f} KiB"


def words(text: str) -> str:
    """Return a name as people read it: `waiting for capacity`."""
    return text.replace("_", " ")
