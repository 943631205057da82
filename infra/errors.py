"""How a command can end, and the exit code that says so."""

from typing import Final

from shared.errors import Refused, RetuneError

__all__ = ["EXIT_CODES", "OK", "REFUSED", "TIMEOUT", "UNREACHABLE", "USAGE", "NoAnswer", "Refused", "Unreachable"]

OK: Final = 0
REFUSED: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
TIMEOUT: Final = 4

EXIT_CODES = (
    "Exit codes: 0 done or yes; 1 refused or no; 2 wrong usage; 3 settings are missing or something cannot be reached; 4 no answer in time."
)


class Unreachable(RetuneError):  # noqa: N818 - the taxonomy's names say the fact
    """A setting is missing or something outside is away: the text says what to set or start."""


class NoAnswer(RetuneError):  # noqa: N818
    """What was asked for did not happen in time; it may still happen."""
