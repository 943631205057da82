"""What becomes of each production error that was held out; those that are fixed may become regression cases.

Errors that were trained on are not among them: that a model repeats what it has learned is no evidence.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Literal

from functions.validator.judged_set import JudgedSet
from shared.frozen import Frozen
from shared.verdict import ClosureCounts

Fate = Literal["fixed", "improved", "unchanged", "worse"]


class Closed(Frozen):
    """One line of `closure.jsonl`.

    Attributes:
        fate: fixed = the base erred and the candidate does not.
        resolved_by: the version that fixes it, where it does: a case for the regression suite, held out from training.
    """

    utterance_id: str
    fate: Fate
    base_version: int
    version: int
    words: int
    base_errors: int
    candidate_errors: int
    resolved_by: int | None = None


def close_errors(holdout: JudgedSet, base_version: int, version: int) -> Iterator[Closed]:
    """Tell of each reported error of the holdout what the candidate makes of it, in the holdout's order."""
    errors = holdout.where(holdout.is_stratum("errors"))
    counts = zip(
        errors.utterance_ids,
        errors.rows["words"].tolist(),
        errors.errors("base").tolist(),
        errors.errors("candidate").tolist(),
        strict=True,
    )
    for utterance, words, base, candidate in counts:
        fate = fate_of(base, candidate)
        yield Closed(
            utterance_id=utterance,
            fate=fate,
            base_version=base_version,
            version=version,
            words=words,
            base_errors=base,
            candidate_errors=candidate,
            resolved_by=version if fate == "fixed" else None,
        )


def fate_of(base_errors: int, candidate_errors: int) -> Fate:
    """Name the change from one number of errors to another."""
    if candidate_errors == base_errors:
        return "unchanged"
    if candidate_errors > base_errors:
        return "worse"
    return "improved" if candidate_errors else "fixed"


def count_fates(holdout: JudgedSet) -> ClosureCounts:
    """Count what became of the reported errors."""
    reported = holdout.is_stratum("errors")
    pairs = zip(holdout.errors("base")[reported].tolist(), holdout.errors("candidate")[reported].tolist(), strict=True)
    fates = Counter(fate_of(base, candidate) for base, candidate in pairs)
    return ClosureCounts(fixed=fates["fixed"], improved=fates["improved"], unchanged=fates["unchanged"], worse=fates["worse"])
