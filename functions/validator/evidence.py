"""From stored hypotheses to counted errors: what the trainer claims is not used, everything is counted again here."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from shared.errors import InvalidMessage
from shared.training import Clip, ClipProvenance, EvaluationRow, SetAside, Stratum
from shared.wer import ErrorCounts, Normaliser, count_char_errors_batch, count_word_errors_batch
from shared.wer_stats import PairedUtterance


@dataclass(frozen=True)
class JudgedUtterance:
    """One clip with what both models heard in it, counted under one normaliser.

    Attributes:
        reference: what was said, as stored; the hypotheses likewise.
        base_words: word errors of the model in production.
        candidate_words: word errors of the model judged.
        base_chars: character errors of the model in production.
        candidate_chars: character errors of the model judged.
        holds_speech: the normalised reference is not empty.
        base_empty: it does, and the model in production returned nothing.
        candidate_empty: it does, and the candidate returned nothing.
    """

    utterance_id: str
    cluster: str
    stratum: Stratum
    weight: float
    provenance: ClipProvenance
    reference: str
    base_hypothesis: str
    candidate_hypothesis: str
    base_words: ErrorCounts
    candidate_words: ErrorCounts
    base_chars: ErrorCounts
    candidate_chars: ErrorCounts
    holds_speech: bool
    base_empty: bool
    candidate_empty: bool

    def paired(self) -> PairedUtterance:
        """Return what the statistics need of it."""
        return PairedUtterance(
            utterance_id=self.utterance_id,
            cluster=self.cluster,
            stratum=self.stratum,
            weight=self.weight,
            words=self.base_words.reference_words,
            base_errors=self.base_words.errors,
            candidate_errors=self.candidate_words.errors,
        )


@dataclass(frozen=True)
class JudgedSet:
    """A whole evaluation set, nothing dropped in silence.

    Attributes:
        name: `holdout` or a suite's name.
        utterances: every clip of the set that was decoded by both models.
        set_aside: number of clips that could not be judged, by reason.
    """

    name: str
    utterances: tuple[JudgedUtterance, ...]
    set_aside: Mapping[str, int]

    @property
    def set_aside_share(self) -> float:
        """Share of the set's clips that could not be judged."""
        aside = sum(self.set_aside.values())
        return aside / (aside + len(self.utterances)) if aside else 0.0


def judge_set(
    name: str, clips: Sequence[Clip], rows: Sequence[EvaluationRow], set_aside: Iterable[SetAside], normaliser: Normaliser
) -> JudgedSet:
    """Join the clips that were to be judged with the hypotheses that were stored, and count the errors.

    A candidate could pass by being silent where it fails, so each clip must either have both hypotheses or be set aside by name.

    Args:
        name: name of the set; entries of `set_aside` for other sets are skipped.
        clips: the set as the launcher pinned it; reference, cluster, stratum and weight are taken from here.
        rows: what the trainer stored for the set, in any order.
        set_aside: what the trainer left out.
        normaliser: the one that the report will name.

    Raises:
        InvalidMessage: a clip has no row and was not set aside, a row has no clip, an id comes twice, or a row contradicts its clip.
    """
    aside = {entry.utterance_id: entry for entry in set_aside if entry.set_name == name}
    _check_ids(name, [clip.utterance_id for clip in clips], [row.utterance_id for row in rows], set(aside))
    by_id = {row.utterance_id: row for row in rows}
    judged = [clip for clip in clips if clip.utterance_id in by_id]
    for clip in judged:
        _check_same(name, clip, by_id[clip.utterance_id], normaliser)
    references = [clip.reference for clip in judged]
    base = [by_id[clip.utterance_id].base_hypothesis for clip in judged]
    candidate = [by_id[clip.utterance_id].candidate_hypothesis for clip in judged]
    base_words = count_word_errors_batch(references, base, normaliser)
    candidate_words = count_word_errors_batch(references, candidate, normaliser)
    base_chars = count_char_errors_batch(references, base, normaliser)
    candidate_chars = count_char_errors_batch(references, candidate, normaliser)
    utterances = tuple(
        JudgedUtterance(
            utterance_id=clip.utterance_id,
            cluster=clip.cluster,
            stratum=clip.stratum,
            weight=clip.weight,
            provenance=clip.provenance,
            reference=clip.reference,
            base_hypothesis=base[i],
            candidate_hypothesis=candidate[i],
            base_words=base_words[i],
            candidate_words=candidate_words[i],
            base_chars=base_chars[i],
            candidate_chars=candidate_chars[i],
            holds_speech=base_words[i].reference_words > 0,
            base_empty=base_words[i].reference_words > 0 and not normaliser.normalise(base[i]),
            candidate_empty=base_words[i].reference_words > 0 and not normaliser.normalise(candidate[i]),
        )
        for i, clip in enumerate(judged)
    )
    return JudgedSet(name=name, utterances=utterances, set_aside=dict(sorted(Counter(entry.reason for entry in aside.values()).items())))


def _check_ids(name: str, clip_ids: list[str], row_ids: list[str], aside_ids: set[str]) -> None:
    for what, ids in (("clips", clip_ids), ("rows", row_ids)):
        twice = sorted(utterance for utterance, times in Counter(ids).items() if times > 1)
        if twice:
            raise InvalidMessage(f"evaluation {name}: expected each utterance once, found {_some(twice)} more than once among the {what}")
    expected, found = set(clip_ids), set(row_ids)
    problems = {
        "without hypotheses and not set aside": expected - found - aside_ids,
        "that are no clip of the set": (found | aside_ids) - expected,
        "both judged and set aside": found & aside_ids,
    }
    for problem, utterances in problems.items():
        if utterances:
            found_text = f"{len(utterances)} {problem}: {_some(sorted(utterances))}"
            raise InvalidMessage(f"evaluation {name}: expected one row for each clip, found {found_text}")


def _check_same(name: str, clip: Clip, row: EvaluationRow, normaliser: Normaliser) -> None:
    same = {
        "cluster": clip.cluster == row.cluster,
        "stratum": clip.stratum == row.stratum,
        "reference": normaliser.normalise(clip.reference) == normaliser.normalise(row.reference),
    }
    for field, agrees in same.items():
        if not agrees:  # what was said stays out of messages and logs
            raise InvalidMessage(f"evaluation {name}, utterance {clip.utterance_id}: expected the {field} of the dataset, found another")


def _some(ids: list[str]) -> str:
    return ", ".join(ids[:5]) + (", ..." if len(ids) > 5 else "")
