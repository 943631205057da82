"""What the sweeper has seen of a version since it went on canary or became stable: one object per version, changed by compare-and-swap.

Ledgers hold totals that only grow, and a ledger is collected as garbage while a version is watched. So each look keeps
what it saw of every ledger, and adds what has come since: a restart, two sweepers at once, a new ledger and a collected
one count nothing twice and lose nothing. What redeliveries count twice stays counted twice, for both versions alike.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Literal

from pydantic import AwareDatetime

from shared.cas import document_codec
from shared.documents import Frozen
from shared.sequential import Counts, Pair
from shared.totals import Totals

MOST_INTERVALS = 512
"""More intervals than this are joined in pairs, so that the object stays small however long a version is watched."""

Four = tuple[int, int, int, int]
"""Errors and utterances of the watched version, then of the one that it is compared with."""


class Subject(Frozen):
    """Which version is watched, and why.

    Attributes:
        kind: a canary beside the stable version, or a stable version in its guard window.
        against: the stable version beside the canary; for a guard the one that was stable before.
        since: when the move of the alias happened; with the version it names the watch.
        percent: share of the sessions; 0 = in shadow. None for a guard.
    """

    kind: Literal["canary", "guard"]
    version: int
    against: int
    since: AwareDatetime
    percent: int | None = None


class Verdict(Frozen):
    """What was decided about a watched version.

    Attributes:
        action: `keep` ends a guard: the version stays.
        reason: in words, with the numbers.
        at: when it was decided first.
    """

    action: Literal["wait", "promote", "rollback", "keep"]
    reason: str
    at: AwareDatetime


class Watch(Frozen):
    """What was counted, and what it comes to.

    Attributes:
        base: errors and utterances of `against` up to the promotion; only for a guard.
        seen: by ledger, what the last look saw.
        began: the start of the first interval; moves along while the version settles.
        looked: the end of the last interval.
        intervals: what came in between two looks (`width` of them to an interval, but for the last).
        filled: looks in the last interval.
    """

    v: Literal[1] = 1
    subject: Subject
    base: tuple[int, int] = (0, 0)
    seen: dict[int, Four]
    began: AwareDatetime
    looked: AwareDatetime
    intervals: tuple[Four, ...] = ()
    width: int = 1
    filled: int = 0
    verdict: Verdict

    @property
    def pairs(self) -> list[Pair]:
        """The intervals, as the test takes them."""
        return [Pair(Counts(*interval[:2]), Counts(*interval[2:])) for interval in self.intervals]

    @property
    def interval_s(self) -> float:
        """Mean length of the intervals, of which there is one at least, in seconds."""
        return (self.looked - self.began).total_seconds() / len(self.intervals)


CODEC = document_codec(Watch, what="watch.json")


def counts_of(totals: Totals, subject: Subject) -> Four:
    """Return what a ledger's totals say about a watch."""
    return (
        totals.errors_by_version.get(subject.version, 0),
        totals.utterances_by_version.get(subject.version, 0),
        totals.errors_by_version.get(subject.against, 0),
        totals.utterances_by_version.get(subject.against, 0),
    )


def begin(subject: Subject, counts: Mapping[int, Four], now: datetime) -> Watch:
    """Return the watch after its first look: what the ledgers hold already is not counted, and is the base of a guard."""
    base = (sum(four[2] for four in counts.values()), sum(four[3] for four in counts.values())) if subject.kind == "guard" else (0, 0)
    verdict = Verdict(action="wait", reason="counting has just begun", at=now)
    return Watch(subject=subject, base=base, seen=dict(counts), began=now, looked=now, verdict=verdict)


def advance(watch: Watch, counts: Mapping[int, Four], now: datetime, *, settle_s: float) -> Watch:
    """Return the watch after another look.

    What comes within `settle_s` of the move is not counted: some of it tells of utterances that were transcribed
    before, and the version that has just come has none of those.

    Args:
        watch: as it was.
        counts: by ledger, what it holds now; zeros for one that was collected as garbage.
        now: the time of the look; a look at or before the last one changes nothing.
        settle_s: seconds.
    """
    if now <= watch.looked:
        return watch
    nothing: Four = (0, 0, 0, 0)
    seen = {ledger: _each(max, watch.seen.get(ledger, nothing), four) for ledger, four in counts.items()}
    if now <= watch.subject.since + timedelta(seconds=settle_s):
        return watch.model_copy(update={"seen": seen, "began": now, "looked": now})
    new = nothing
    for ledger, four in seen.items():
        new = _each(int.__add__, new, _each(int.__sub__, four, watch.seen.get(ledger, nothing)))
    return _filled(watch, new).model_copy(update={"seen": seen, "looked": now})


def _filled(watch: Watch, new: Four) -> Watch:
    intervals, width, filled = watch.intervals, watch.width, watch.filled
    if intervals and filled < width:
        return watch.model_copy(update={"intervals": (*intervals[:-1], _each(int.__add__, intervals[-1], new)), "filled": filled + 1})
    if len(intervals) == MOST_INTERVALS:
        width *= 2
        intervals = tuple(_each(int.__add__, *intervals[start : start + 2]) for start in range(0, MOST_INTERVALS, 2))
    return watch.model_copy(update={"intervals": (*intervals, new), "width": width, "filled": 1})


def _each(operate: Callable[[int, int], int], left: Four, right: Four) -> Four:
    return (operate(left[0], right[0]), operate(left[1], right[1]), operate(left[2], right[2]), operate(left[3], right[3]))
