"""All that a verdict rests on."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from functions.validator.judged_set import JudgedSet
from shared.training import ServingFigures
from shared.wer_power import Spread


@dataclass(frozen=True)
class Serving:
    """What is known of both models in the form in which they are served.

    Attributes:
        base_bytes, candidate_bytes: of all files, by their verified manifests.
        figures: what the trainer measured; None = an earlier release of it, which measured nothing.
    """

    base_bytes: int
    candidate_bytes: int
    figures: ServingFigures | None


@dataclass(frozen=True)
class Evidence:
    """What was judged.

    Attributes:
        holdout: reported errors (stratum `errors`) and sampled unreported traffic (stratum `traffic`), each utterance with its weight.
        suites: regression suites; those that the policy does not name are reported and decide nothing.
        reported_share: share of all served utterances that were reported, in (0, 1); asked for only where suites stand for traffic.
        spreads: by set, the spread of differences that earlier cycles measured.
        serving: what serving both models costs; None = unknown.
        first: the model in production was imported: nothing was ever judged against it by this system's own training.
    """

    holdout: JudgedSet
    suites: tuple[JudgedSet, ...] = ()
    reported_share: float | None = None
    spreads: Mapping[str, Spread] = field(default_factory=dict)
    serving: Serving | None = None
    first: bool = False
