"""What a person typed into a form, and what is wrong with it. Pure."""

import re
from collections.abc import Mapping

from shared.documents import Frozen
from shared.events import MAX_TEXT_CHARS
from shared.visible import visible

MOST_REASON = 500
_VERSION = re.compile(r"v?(0|[1-9][0-9]{0,5})")


class Typed(Frozen):
    """A form's fields as they came, each at most a little longer than it may be.

    Attributes:
        reason: why.
        to: the version that a rollback goes to; empty = the form asked for none.
        override: against or without the evidence.
        text: what was heard in a recording.
    """

    reason: str = ""
    to: str = ""
    override: bool = False
    text: str = ""

    @property
    def why(self) -> str:
        """The reason as it goes on record: in one line, without what a terminal would obey."""
        return visible(" ".join(self.reason.split()))

    @property
    def target(self) -> int | None:
        """Number of the version that a rollback goes to."""
        found = _VERSION.fullmatch(self.to)
        return int(found[1]) if found else None


def parse_typed(form: Mapping[str, str]) -> Typed:
    """Return what a form holds; what it does not know is left out."""
    return Typed(
        reason=form.get("reason", "")[: 2 * MOST_REASON],
        to=form.get("to", "")[:20],
        override=form.get("override") == "yes",
        text=form.get("text", "")[: MAX_TEXT_CHARS + 1],
    )


def problems_of(typed: Typed, *, override: bool = False) -> tuple[str, ...]:
    """Return what must be mended before a form can be taken, in the order of its fields.

    Args:
        typed: what was typed.
        override: the act goes against or without the evidence, and must say so.
    """
    found = []
    if len(typed.text) > MAX_TEXT_CHARS:
        found.append(f"What you heard is too long: expected at most {MAX_TEXT_CHARS} characters.")
    if typed.to and typed.target is None:
        found.append(f"The version to serve then: expected one such as v4, found {typed.to!r}.")
    if override and not typed.override:
        found.append("The evidence does not carry this: tick that you do it on your own word.")
    if not typed.why:
        found.append("Say why: the reason stays on record.")
    elif len(typed.why) > MOST_REASON:
        found.append(f"The reason is too long: expected at most {MOST_REASON} characters, found {len(typed.why)}.")
    return tuple(found)
