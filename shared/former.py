"""What is known of recordings, and how that of many cycles is kept in few objects. Pure.

The wall between the splits forgets nothing, so that it asks every cycle there ever was. What lies behind the window of consume-once
does not change any more: `cycles/N/former.jsonl` holds what all of some cycles up to N say, keyed hashes alone. How many depends on N: one
that ends in three zeros holds a thousand cycles, in two a hundred, in one ten, any other its own alone. So ten thousand cycles are read
from at most 37 objects, each written once.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

from shared.dataset import Row
from shared.documents import Frozen, line_bytes, parse_document
from shared.placement import as_member, clip_member
from shared.splits import Member, Split
from shared.spool import Form
from shared.training import Clip

STEP = 10
MOST_CYCLES = 1000
"""That one object holds."""


@dataclass(frozen=True, slots=True)
class Fact:
    """What one dataset, set of clips or corpus says of a recording; see `shared.splits.Member`.

    Attributes:
        recording: its identities, sorted.
        company: those of its speaker and session, sorted.
        split: that it was used in; None = it was not used.
        reported: somebody reported it as an error.
    """

    recording: tuple[str, ...]
    company: tuple[str, ...]
    split: Split | None = None
    reported: bool = False


class Former(Frozen):
    """A line of `cycles/N/former.jsonl`: a `Fact`."""

    recording: tuple[str, ...]
    company: tuple[str, ...]
    split: Split | None = None
    reported: bool = False


def held(number: int) -> int:
    """Return how many cycles the object of a cycle holds, itself included."""
    cycles = 1
    while cycles < MOST_CYCLES and number % (cycles * STEP) == 0:
        cycles *= STEP
    return cycles


def blocks(last: int, *, after: int = 0) -> Iterator[int]:
    """Yield the numbers of the objects that together hold the cycles beyond `after` up to `last`, newest first, none twice.

    Args:
        last: 0 = there are none.
        after: the end of an earlier object.
    """
    while last > after:
        yield last
        last -= held(last)


def below(number: int) -> Iterator[int]:
    """Yield the objects that the one of a cycle is made of, besides what the cycle itself says."""
    return blocks(number - 1, after=number - held(number))


def facts_of_rows(rows: Iterable[Row], split_key: bytes) -> Iterator[Fact]:
    """Yield what a dataset says of recordings: also rows that are set aside tell, and somebody reported them."""
    for row in rows:
        if row.kind in {"error", "sample"}:
            yield fact_of(as_member(row, split_key), split=row.split if row.set_aside is None else None, reported=row.kind == "error")


def facts_of_clips(clips: Iterable[Clip], split: Split, split_key: bytes) -> Iterator[Fact]:
    """Yield what a set of replay or suite clips says of recordings."""
    return (fact_of(clip_member(item, split_key), split=split) for item in clips)


def facts_of_told(told: Iterable[Member]) -> Iterator[Fact]:
    """Yield what was told of recordings, without any use of them."""
    return map(fact_of, told)


def fact_of(one: Member, *, split: Split | None = None, reported: bool = False) -> Fact:
    """Return a member with what was made of it."""
    return Fact(tuple(sorted(one.recording)), tuple(sorted(one.company)), split, reported)


def fact_lines(*, what: str) -> Form[Fact]:
    """Return the form of a fact's lines: the same line for the same fact.

    Args:
        what: names them where one is read that is none, which raises CorruptObject.
    """

    def dump(fact: Fact) -> bytes:
        former = Former.model_construct(recording=fact.recording, company=fact.company, split=fact.split, reported=fact.reported)
        return line_bytes(former)

    def parse(line: bytes) -> Fact:
        former = parse_document(Former, line, what=what)
        return Fact(former.recording, former.company, former.split, former.reported)

    return Form(dump, parse)


def each_once(facts: Iterable[Fact]) -> Iterator[Fact]:
    """Yield facts in the order of `file_order`, each once, given in that order."""
    return (fact for fact, _ in groupby(facts))


def file_order(fact: Fact) -> tuple[tuple[str, ...], tuple[str, ...], str, bool]:
    """Return the place of a fact in an object, so that the same facts are the same bytes."""
    return (fact.recording, fact.company, fact.split or "", fact.reported)
