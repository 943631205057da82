"""Who looks at the console, and whether they may act. Pure."""

from collections.abc import Set as AbstractSet

from shared.documents import Frozen
from shared.events import MAX_NAME_CHARS

VIA = " via console"
MOST_NAME = MAX_NAME_CHARS - len(VIA)
NOBODY_NAMED = "Nobody is named who may act in this console; console_operators names them."


class Viewer(Frozen):
    """Who looks.

    Attributes:
        name: that was verified; empty = nobody is known.
        refusal: why they may not act, in a sentence; empty = they may.
    """

    name: str = ""
    refusal: str = NOBODY_NAMED

    @property
    def acts(self) -> bool:
        """They may act."""
        return bool(self.name) and not self.refusal

    @property
    def by(self) -> str:
        """What the messages say of who asks."""
        return f"{self.name}{VIA}"


def decide_viewer(address: str, operators: AbstractSet[str]) -> Viewer:
    """Return who looks.

    Args:
        address: verified e-mail address.
        operators: addresses of those who may act, in small letters.
    """
    name = address.lower()
    if len(name) > MOST_NAME:
        return Viewer(refusal=f"Your address has {len(name)} characters: expected at most {MOST_NAME}.")
    if name in operators:
        return Viewer(name=name, refusal="")
    return Viewer(name=name, refusal=f"{name} may look and not act: console_operators does not name this address.")
