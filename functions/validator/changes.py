"""The utterances that show best what changed: the only ones whose texts are kept."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from heapq import nsmallest

import numpy as np

from functions.validator.counting import Pair, Table, word_errors
from shared.verdict import UtteranceChange

SHOWN_UTTERANCES = 10


@dataclass(frozen=True)
class Changes:
    """At most ten utterances each.

    Attributes:
        regressions: most errors more first.
        fixes: most errors less first.
    """

    regressions: tuple[UtteranceChange, ...] = ()
    fixes: tuple[UtteranceChange, ...] = ()

    def with_chunk(self, set_name: str, chunk: Sequence[Pair], table: Table) -> "Changes":
        """Return the changes with those of further clips among them."""
        base, candidate = word_errors(table, "base"), word_errors(table, "candidate")
        difference = candidate - base
        order = np.argsort(difference, kind="stable")
        # Ties beyond the shown ones are cut by position; all clips of a chunk with the same change are equally good examples.
        ends = {*order[:SHOWN_UTTERANCES].tolist(), *order[-SHOWN_UTTERANCES:].tolist()}
        found = [_change(set_name, chunk[position], table[position], base[position], candidate[position]) for position in sorted(ends)]
        return merge([self, Changes(regressions=tuple(found), fixes=tuple(found))])


def merge(changes: Iterable[Changes]) -> Changes:
    """Return the most changed utterances of several sets."""
    known = list(changes)
    worse = [change for each in known for change in each.regressions if rise(change) > 0]
    better = [change for each in known for change in each.fixes if rise(change) < 0]
    return Changes(
        regressions=tuple(nsmallest(SHOWN_UTTERANCES, worse, key=lambda change: (-rise(change), change.set_name, change.utterance_id))),
        fixes=tuple(nsmallest(SHOWN_UTTERANCES, better, key=lambda change: (rise(change), change.set_name, change.utterance_id))),
    )


def rise(change: UtteranceChange) -> int:
    """Return how many errors more the candidate makes."""
    return change.candidate_errors - change.base_errors


def _change(set_name: str, pair: Pair, row: np.void, base: int, candidate: int) -> UtteranceChange:
    clip, heard = pair
    return UtteranceChange(
        set_name=set_name,
        utterance_id=clip.utterance_id,
        reference=clip.reference,
        base_hypothesis=heard.base_hypothesis,
        candidate_hypothesis=heard.candidate_hypothesis,
        words=int(row["words"]),
        base_errors=int(base),
        candidate_errors=int(candidate),
        audio_uri=clip.audio.uri,
    )
