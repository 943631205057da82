"""The mutants that no test can kill, each with its reason: `explained.toml`."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

EXPLAINED = Path(__file__).parent / "explained.toml"


@dataclass(frozen=True)
class Verdict:
    """What became of a module's mutants.

    Attributes:
        mutants, killed, explained: how many.
        unexplained: survivors without a reason.
        stale: explained ones that do not survive, or are no mutants any more.
    """

    mutants: int
    killed: int
    explained: int
    unexplained: tuple[str, ...]
    stale: tuple[str, ...]

    @property
    def good(self) -> bool:
        return not self.unexplained and not self.stale


def verdict(mutants: int, survived: Iterable[str], explained: Iterable[str]) -> Verdict:
    """Compare the survivors of a module, `function: change`, with those that are explained; alike ones share a reason."""
    survived, reasons = list(survived), set(explained)
    unexplained = tuple(each for each in survived if each not in reasons)
    return Verdict(
        mutants=mutants,
        killed=mutants - len(survived),
        explained=len(survived) - len(unexplained),
        unexplained=unexplained,
        stale=tuple(sorted(reasons - set(survived))),
    )


def read_explained(text: str, modules: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
    """Return the explained mutants of each module as `function: change`.

    Raises:
        ValueError: an entry without a reason, one that stands twice, or a module that is not mutated.
    """
    found: dict[str, list[str]] = {module: [] for module in modules}
    for entry in tomllib.loads(text).get("explained", []):
        if entry["module"] not in found:
            raise ValueError(f"explained.toml: expected one of the mutated modules, found {entry['module']}")
        if not entry["why"].strip():
            raise ValueError(f"explained.toml: expected why the mutants of {entry['function']} survive, found nothing")
        for change in entry["changes"]:
            mutant = f"{entry['function']}: {change}"
            if mutant in found[entry["module"]]:
                raise ValueError(f"explained.toml: expected each mutant once, found twice: {mutant}")
            found[entry["module"]].append(mutant)
    return {module: tuple(mutants) for module, mutants in found.items()}
