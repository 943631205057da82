"""What becomes of each production error, and of those that earlier versions fixed. Nothing here decides.

An error that was held out and is fixed becomes a regression case. An error that was learned is a memory check: that a model repeats what
it was taught is no evidence. Nor is a case of an earlier version: it was chosen because that version is right on it, so that any other
model seems worse (the mirror image of what selects errors).
"""

from collections import Counter
from collections.abc import Iterator

from functions.validator.judged_set import JudgedSet
from shared.cases import Closed, Fate
from shared.verdict import ClosureCounts, RecheckNumbers


def close_errors(judged: JudgedSet, base_version: int, version: int, *, learned: bool) -> Iterator[Closed]:
    """Tell of each reported error of a set what the candidate makes of it, in the set's order."""
    errors = judged.where(judged.is_stratum("errors"))
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
            learned=learned,
            resolved_by=version if fate == "fixed" else None,
        )


def fate_of(base_errors: int, candidate_errors: int) -> Fate:
    """Name the change from one number of errors to another."""
    if candidate_errors == base_errors:
        return "unchanged"
    if candidate_errors > base_errors:
        return "worse"
    return "improved" if candidate_errors else "fixed"


def count_fates(judged: JudgedSet) -> ClosureCounts:
    """Count what became of the reported errors."""
    reported = judged.is_stratum("errors")
    pairs = zip(judged.errors("base")[reported].tolist(), judged.errors("candidate")[reported].tolist(), strict=True)
    fates = Counter(fate_of(base, candidate) for base, candidate in pairs)
    return ClosureCounts(fixed=fates["fixed"], improved=fates["improved"], unchanged=fates["unchanged"], worse=fates["worse"])


def recheck(judged: JudgedSet) -> RecheckNumbers:
    """Tell whether the errors that earlier versions fixed stay fixed."""
    base, candidate = judged.errors("base"), judged.errors("candidate")
    back = (base == 0) & (candidate > 0)
    return RecheckNumbers(
        name=judged.name,
        utterances=judged.utterances,
        base_right=int((base == 0).sum()),
        candidate_right=int((candidate == 0).sum()),
        came_back=int(back.sum()),
        examples=tuple(change for change in judged.changes.regressions if change.base_errors == 0),
    )
