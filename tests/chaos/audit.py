"""Says what is wrong with the books. Pure."""

from dataclasses import dataclass

from tests.chaos.alias_rules import ALIAS_RULES
from tests.chaos.books import Books
from tests.chaos.cycle_rules import CYCLE_RULES
from tests.chaos.event_rules import EVENT_RULES

RULES = (*EVENT_RULES, *CYCLE_RULES, *ALIAS_RULES)


@dataclass(frozen=True)
class Breach:
    """A rule that does not hold, and how one can tell."""

    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule.replace('_', ' ')}: {self.text}"


def audit(books: Books) -> tuple[Breach, ...]:
    """Return every breach of every rule; none = the books balance."""
    return tuple(Breach(rule.__name__, text) for rule in RULES for text in rule(books))
