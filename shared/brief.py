"""What was found, in a few characters: for messages about values that strangers sent."""

SHOWN_CHARS = 60


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
