"""How far the samples of one clip say the same."""

from collections import Counter
from collections.abc import Sequence

from shared.normalisation import normalise


def agree(samples: Sequence[str]) -> tuple[str, float]:
    """Return the text that most samples say, and the share of the samples that say it.

    Samples are compared after `shared.normalisation.normalise`. The text is, of those that say the same, the one that was written most
    often, as it was written; the earlier one decides a tie, in both counts.

    Raises:
        ValueError: there is no sample.
    """
    if not samples:
        raise ValueError("samples: expected at least 1, found none")
    spoken = [normalise(sample) for sample in samples]
    winner, votes = Counter(spoken).most_common(1)[0]
    written = Counter(sample for sample, said in zip(samples, spoken, strict=True) if said == winner)
    return written.most_common(1)[0][0], votes / len(samples)
