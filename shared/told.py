"""What was told of recordings, kept: who is in a corpus today may be taken out of it tomorrow, and what it told stays true. Pure.

A dataset keeps what events told. What suites and the replay corpus told stands in `cycles/N/told.jsonl`, written by the seal that heard it
first: keyed hashes alone.
"""

from collections.abc import Iterable

from shared.documents import Frozen, lines_bytes, parse_lines
from shared.splits import Member


class Told(Frozen):
    """What was told of one recording.

    Attributes:
        recording: its identities, see `shared.splits.Member`.
        company: of its speaker and session.
    """

    recording: tuple[str, ...]
    company: tuple[str, ...]


def told_bytes(members: Iterable[Member]) -> bytes:
    """Return the lines that keep what members tell, the same for the same members."""
    told = {(tuple(sorted(one.recording)), tuple(sorted(one.company))) for one in members}
    return lines_bytes([Told(recording=recording, company=company) for recording, company in sorted(told)])


def parse_told(data: bytes, *, what: str) -> frozenset[Member]:
    """Return what lines tell.

    Raises:
        CorruptObject: a line is not one of `told_bytes`.
    """
    lines = parse_lines(Told, data, what=what)
    return frozenset(Member(frozenset(line.recording), frozenset(line.company), cluster=None, spoken=False) for line in lines)


def news(members: Iterable[Member], kept: Iterable[Member]) -> list[Member]:
    """Return the members that tell what is not kept yet."""
    told = list(members)
    unknown = {(one.recording, one.company) for one in told}
    for one in kept:
        unknown.discard((one.recording, one.company))
    return [one for one in told if (one.recording, one.company) in unknown]
