"""What a test on a suite of some size can show, before any model was judged on it."""

from collections.abc import Iterable
from math import isfinite

from shared.documents import Frozen
from shared.wer_power import Holdout, SeenSpread, pool_spreads, size_for_margin


class SuiteSize(Frozen):
    """How large a suite is, and what that is good for.

    Attributes:
        speakers: or sessions, or lone clips: the units that are resampled.
        shows: the least rise of WER (a rate) that it excludes in 4 of 5 trials where the models are alike; None = too few speakers.
        margin: what it should exclude.
        further_clips, further_speakers: that it lacks for it.
        measured: verdicts whose spread of differences it rests on; 0 = the stated prior.
    """

    clips: int
    speakers: int
    words: int
    shows: float | None
    margin: float
    further_clips: int
    further_speakers: int
    measured: int = 0

    @property
    def enough(self) -> bool:
        """Models that are alike pass in at least 4 of 5 trials."""
        return self.shows is not None and self.shows <= self.margin


def what_it_shows(clips: int, speakers: int, words: int, margin: float, alpha: float, seen: Iterable[SeenSpread] = ()) -> SuiteSize:
    """Return what a one-sided non-inferiority test at `alpha` can show on a suite (see `shared.wer_power`).

    Args:
        clips: in the suite.
        speakers: or sessions, or lone clips among them.
        words: reference words.
        margin: what it should exclude.
        alpha: one-sided level of the test.
        seen: spreads that verdicts on the suite measured; none = the stated prior.
    """
    spread = pool_spreads(seen)
    found = size_for_margin(Holdout(clips, speakers), spread, margin, alpha)
    return SuiteSize(
        clips=clips,
        speakers=speakers,
        words=words,
        shows=found.smallest_margin if isfinite(found.smallest_margin) else None,
        margin=margin,
        further_clips=found.further_utterances,
        further_speakers=found.further_clusters,
        measured=spread.measured,
    )
