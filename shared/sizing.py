"""Can the holdout of the next cycle show the gain that is worth a run? Said before the run, by what earlier cycles measured. Pure."""

from collections.abc import Sequence
from math import ceil
from typing import Annotated

from pydantic import Field

from shared.documents import Frozen
from shared.wer_power import Holdout, Power, SeenSpread, Spread, Wanted, pool_spreads, power_before

PRIOR_WER = 0.146
"""WER of the model in production on traffic, before any cycle has measured it: that of the prior spread's simulation."""
BINDING_CYCLES = 2
"""So many cycles must have been measured before the answer may hold a run: a prior is advice."""


class Measured(Frozen):
    """What the verdict of an earlier cycle measured on its holdout, as weighted as it decides.

    Attributes:
        sd_d: spread of the difference, the cluster-based standard error times sqrt(utterances).
        wer: of the model that is stable now.
    """

    sd_d: Annotated[float, Field(ge=0)]
    utterances: Annotated[int, Field(ge=0)]
    clusters: Annotated[int, Field(ge=0)]
    wer: Annotated[float, Field(ge=0)]


class Sizing(Frozen):
    """What the next holdout can show.

    Attributes:
        measured: earlier cycles that the spread rests on; 0 = the stated prior.
        detectable_gain: smallest relative gain that it shows; None = it can show nothing.
        further_utterances: it lacks so many to show the gain wanted.
        text: for people.
    """

    measured: int
    enough: bool
    detectable_gain: float | None
    further_utterances: int
    text: str

    @property
    def binding(self) -> bool:
        """It may hold a run."""
        return self.measured >= BINDING_CYCLES


def size_next(holdout: Holdout, measured: Sequence[Measured], gain: float, alpha: float, holdout_share: float) -> Sizing | None:
    """Return whether the next holdout can show a relative `gain` in 4 of 5 trials; None = the model makes no error to gain on.

    The spread is pooled over all that was measured; the WER is that of the newest measurement. Formula: `shared.wer_power`.

    Args:
        holdout: the expected one.
        measured: newest first.
        gain: relative, as 0.25.
        alpha: one-sided level of the gate.
        holdout_share: share of what is collected that comes to the holdout.
    """
    wer = measured[0].wer if measured else PRIOR_WER
    if wer == 0.0:
        return None
    spread = pool_spreads(SeenSpread(each.sd_d, each.utterances, each.clusters) for each in measured)
    power = power_before(holdout, spread, Wanted(base_wer=wer, relative_gain=gain, alpha=alpha))
    return Sizing(
        measured=spread.measured,
        enough=power.enough,
        detectable_gain=power.smallest_relative_gain if power.smallest_relative_gain <= 1 else None,
        further_utterances=power.further_utterances,
        text=_in_words(power, spread, holdout_share),
    )


def _in_words(power: Power, spread: Spread, holdout_share: float) -> str:
    cycles = "1 earlier cycle" if spread.measured == 1 else f"{spread.measured} earlier cycles"
    basis = f"by the spread of {cycles}" if spread.measured else "by the stated prior of the spread"
    collect = "" if power.enough else f", about {ceil(power.further_utterances / holdout_share)} of all that is collected"
    return f"{power.in_words()}{collect}; {basis}, at a WER of {power.wanted.base_wer:.1%}"
