"""Exceptions that say who must act, and what their texts show of a value that a stranger sent."""

SHOWN_CHARS = 60


class RetuneError(Exception):
    """Root of every error that Retune raises itself."""


class InvalidMessage(RetuneError):  # noqa: N818 - the taxonomy's names say the fact, not "Error"
    """A message or document is malformed for good: quarantine it, never retry it."""


class NotFound(RetuneError):  # noqa: N818
    """A named object does not exist (or not at the asked generation)."""


class Conflict(RetuneError):  # noqa: N818
    """A conditional write lost to another writer: reload and decide again."""


class CommitUnknown(RetuneError):  # noqa: N818
    """Nobody can tell whether a conditional write landed: delete nothing, let the message be redelivered."""


class Retryable(RetuneError):  # noqa: N818
    """Something outside is away for now: the same call may succeed later."""


class CorruptObject(RetuneError):  # noqa: N818
    """Bytes do not match the digest or the form that was promised for them."""


class InvariantBroken(RetuneError):  # noqa: N818
    """Stored state contradicts the protocols: a person must look."""


class Refused(RetuneError):  # noqa: N818
    """What a person asked for is not done, and the text says why."""


def brief(value: object) -> str:
    """Return the beginning of a value as an error message shows it.

    Of text, numbers and nothing; of anything that holds others only the kind and how many, since what is nested deeply enough
    has no text (`repr` raises RecursionError), and what is large has a long one.
    """
    if isinstance(value, str | bytes):
        return repr(value[:SHOWN_CHARS])
    if isinstance(value, dict | list | tuple):
        return f"{type(value).__name__} of {len(value)}"
    if isinstance(value, int) and value.bit_length() > 4 * SHOWN_CHARS:  # Python refuses to write out thousands of digits
        return f"a number of {value.bit_length()} bits"
    return repr(str(value)[:SHOWN_CHARS])
