"""Says what is wrong with the books. Pure."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from infra.fsck.books import Problem
from infra.fsck.rules import RULES as BUCKET_RULES
from infra.fsck.strays import models_hold_what_they_name
from tests.chaos.books import Books
from tests.chaos.observed_rules import OBSERVED_RULES

RULES: tuple[Callable[[Books], Iterable[Problem]], ...] = (*(rule.check for rule in BUCKET_RULES), *OBSERVED_RULES)


@dataclass(frozen=True)
class Breach:
    """A rule that does not hold, and how one can tell."""

    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule.replace('_', ' ')}: {self.text}"


def audit(books: Books, *, uploads_may_die: bool = False) -> tuple[Breach, ...]:
    """Return every breach of every rule; none = the books balance.

    `uploads_may_die`: trainers that died have left files of their models, as they may.
    """
    rules = (rule for rule in RULES if not (uploads_may_die and rule is models_hold_what_they_name))
    return tuple(Breach(rule.__name__, str(problem)) for rule in rules for problem in rule(books))
