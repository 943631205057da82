"""What a test on a suite of some size can show, before any model was judged on it."""

from math import sqrt
from statistics import NormalDist

from shared.frozen import Frozen

PRIOR_SD = 0.085
"""Standard deviation of the difference of errors per clip, over the mean words per clip: two models of 14.6% WER, 9 words a clip."""
PRIOR_CORRELATION = 0.1
"""Of the differences of two clips of one speaker. The simulation behind `PRIOR_SD` let 32, 18 and 12% of no-better models through a test
that ignores speakers, at a nominal 5% and 100, 20 and 10 clips each: 1 + (m - 1) rho with rho 0.11 to 0.12 explains all three."""
POWER = 0.8
MIN_SPEAKERS = 2
"""With one alone there is no test."""


class SuiteSize(Frozen):
    """How large a suite is, and what that is good for.

    Attributes:
        speakers: or sessions, or lone clips: the units that are resampled.
        shows: the least rise of WER (a rate) that it excludes in 4 of 5 trials where the models are alike; None = too few speakers.
        margin: what it should exclude.
        clips_needed: for that, with as many clips for each speaker; None = no clips yet.
    """

    clips: int
    speakers: int
    words: int
    shows: float | None
    margin: float
    clips_needed: int | None

    @property
    def enough(self) -> bool:
        """Models that are alike pass in at least 4 of 5 trials."""
        return self.shows is not None and self.shows <= self.margin


def what_it_shows(clips: int, speakers: int, words: int, margin: float, alpha: float) -> SuiteSize:
    """Return what a one-sided non-inferiority test at `alpha` can show on a suite.

    shows = (z_alpha + z_beta) sd sqrt((1 + (m - 1) rho) / N) with m = N / G clips a speaker, the same sum for N where `margin` is to be
    shown. Assumes that the models are alike, equal clusters, and the priors above until models were measured on the suite.

    Source: closed form and simulated sd: `shared.wer_stats.utterances_needed`; design effect: L. Kish, Survey Sampling (1965), section 8.2.
    """
    from shared.wer_stats import utterances_needed  # brings numpy: not for every command

    if not clips:
        return SuiteSize(clips=0, speakers=0, words=words, shows=None, margin=margin, clips_needed=None)
    spread = PRIOR_SD * sqrt(1 + (clips / speakers - 1) * PRIOR_CORRELATION)
    normal = NormalDist()
    shows = (normal.inv_cdf(1 - alpha) + normal.inv_cdf(POWER)) * spread / sqrt(clips)
    return SuiteSize(
        clips=clips,
        speakers=speakers,
        words=words,
        shows=shows if speakers >= MIN_SPEAKERS else None,
        margin=margin,
        clips_needed=utterances_needed(spread, margin, alpha, POWER),
    )
