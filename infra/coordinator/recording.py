"""Names of recordings on the local disk and in the folder's store."""

import re

_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}$")


def suffix_of(name: str) -> str:
    """Return the end that tells a file's kind, as `.wav`; empty where it ends otherwise, whatever that is. Pure."""
    found = _SUFFIX.search(name)
    return found[0].lower() if found else ""
