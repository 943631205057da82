"""Promises of infra/, each with an edit that breaks it and the assertion that must notice.

`python -m tests.infra.mutations` breaks them one at a time, which takes minutes, and says which go unnoticed. The test breaks those of a
batch together, in one run of terraform: of a batch no two have an assertion in common, and what fails must be just what they name.
"""

import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tests.infra.terraform import Workspace, workspace

TABLE = Path(__file__).with_suffix(".toml")


@dataclass(frozen=True)
class Mutation:
    """One broken promise.

    Attributes:
        test: the file of infra/tests/ that holds it.
        batch: those of one file and number are broken together.
        promise: in words.
        file: below infra/.
        old: text that is there exactly once.
        new: what takes its place.
        caught: how the message of the assertion begins, or the object that is no longer refused.
        also: others that fail with it.
    """

    test: str
    batch: int
    promise: str
    file: str
    old: str
    new: str
    caught: str
    also: tuple[str, ...] = ()

    @property
    def noticed(self) -> frozenset[str]:
        return frozenset((self.caught, *self.also))


def mutations() -> list[Mutation]:
    """Return all of them, those of a batch side by side."""
    rows = tomllib.loads(TABLE.read_text(encoding="utf-8"))["mutation"]
    every = [Mutation(**{"batch": 1, **row, "also": tuple(row.get("also", ()))}) for row in rows]
    return sorted(every, key=lambda mutation: (mutation.test, mutation.batch))


def batches() -> list[tuple[Mutation, ...]]:
    return [tuple(group) for _, group in groupby(mutations(), key=lambda mutation: (mutation.test, mutation.batch))]


def failures(made: Workspace, batch: Iterable[Mutation]) -> frozenset[str]:
    """Break the promises in a copy, run the one test file, mend the copy, and return what failed, as `Mutation.caught` names it.

    Raises:
        ValueError: the text to replace is not there exactly once, or terraform reports anything but failed assertions: then the copy is
            not a broken promise but a broken program.
    """
    batch = tuple(batch)
    kept = {mutation.file: (made.folder / mutation.file).read_text(encoding="utf-8") for mutation in batch}
    edited = dict(kept)
    for mutation in batch:
        found = edited[mutation.file].count(mutation.old)
        if found != 1:
            raise ValueError(f"{mutation.promise}: expected {mutation.old!r} once in infra/{mutation.file}, found it {found} times")
        edited[mutation.file] = edited[mutation.file].replace(mutation.old, mutation.new)
    try:
        for file, text in edited.items():
            (made.folder / file).write_text(text, encoding="utf-8")
        return frozenset(_named(made, batch))
    finally:
        for file, text in kept.items():
            (made.folder / file).write_text(text, encoding="utf-8")


def _named(made: Workspace, batch: tuple[Mutation, ...]) -> Iterator[str]:
    names = {name for mutation in batch for name in mutation.noticed}
    for line in made.test(f"-filter=tests/{batch[0].test}.tftest.hcl"):
        if line["type"] != "diagnostic" or line["diagnostic"]["severity"] != "error":
            continue
        summary, detail = line["diagnostic"]["summary"], line["diagnostic"].get("detail", "")
        if summary == "Missing expected failure":
            detail = detail.removeprefix("The checkable object, ").split(",", maxsplit=1)[0]
        elif summary != "Test assertion failed":
            raise ValueError(f"expected failed assertions after {[mutation.promise for mutation in batch]}, found {summary}: {detail}")
        yield next((name for name in names if detail.startswith(name)), detail)


def main() -> int:
    """Break every promise alone; return 1 if one went unnoticed or took another assertion with it than it names."""
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        made = workspace(Path(folder))
        for mutation in mutations():
            try:
                found = failures(made, [mutation])
                problem = "" if found == mutation.noticed else f"expected {sorted(mutation.noticed)}, found {sorted(found)}"
            except ValueError as error:
                problem = str(error)
            wrong += bool(problem)
            print(f"{'caught ' if not problem else 'PROBLEM'} {mutation.test}: {mutation.promise} {problem}", flush=True)
    return min(wrong, 1)


if __name__ == "__main__":
    sys.exit(main())
