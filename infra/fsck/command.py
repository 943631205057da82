"""`retune registry fsck`: reads the books of a bucket and says what is wrong with them."""

from datetime import datetime

from rich.console import Group, RenderableType
from rich.text import Text

from infra.fsck.books import Books
from infra.fsck.reading import read_books
from infra.fsck.rules import RULES
from shared.documents import Frozen
from shared.objectstore import ObjectStore


class Finding(Frozen):
    """One inconsistency.

    Attributes:
        rule: that does not hold.
        where: the object, or what it is about.
        advice: what to do.
    """

    rule: str
    where: str
    expected: str
    found: str
    advice: str


class FsckReport(Frozen):
    """What was looked at and found.

    Attributes:
        full: every byte of every model was read.
        objects: in the bucket.
        rules: that were tried.
        cycles, models, moves: that were looked at.
    """

    store: str
    full: bool
    objects: int
    rules: int
    cycles: int
    models: int
    moves: int
    findings: tuple[Finding, ...]

    @property
    def clean(self) -> bool:
        """True when nothing was found."""
        return not self.findings


def check(books: Books) -> tuple[Finding, ...]:
    """Return everything that is wrong with the books. Pure."""
    return tuple(
        Finding(rule=rule.name, where=problem.where, expected=problem.expected, found=problem.found, advice=problem.advice or rule.advice)
        for rule in RULES
        for problem in rule.check(books)
    )


def fsck(store: ObjectStore, *, full: bool = False, now: datetime | None = None) -> FsckReport:
    """Look at a bucket; nothing is changed.

    Args:
        store: the bucket.
        full: also read every byte of every model.
        now: the present time; None = nothing has expired.

    Raises:
        Retryable: the store could not be reached.
    """
    books = read_books(store, full=full, now=now)
    return FsckReport(
        store=store.uri,
        full=full,
        objects=len(books.keys),
        rules=len(RULES),
        cycles=len(books.states),
        models=len(books.models),
        moves=len(books.log),
        findings=check(books),
    )


def render(report: FsckReport) -> RenderableType:
    """Return the report for people."""
    looked = f"{report.store}: {report.objects} objects, {report.cycles} cycles, {report.models} models, {report.moves} moves"
    depth = "every byte of every model" if report.full else "documents and the sizes and CRC32Cs of models; --full reads the models too"
    if report.clean:
        return Text(f"{looked}: clean by {report.rules} rules ({depth})")
    lines = [f"{looked}: {len(report.findings)} findings by {report.rules} rules ({depth})"]
    for finding in report.findings:
        lines += [
            "",
            f"{finding.where}  [{finding.rule.replace('_', ' ')}]",
            f"  expected {finding.expected}",
            f"  found    {finding.found}",
            f"  do       {finding.advice}",
        ]
    return Group(*(Text(line) for line in lines))
