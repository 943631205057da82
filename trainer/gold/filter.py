"""Whether the sound bears out a proposed transcript: accept it, reject it, or ask a person.

The base model's frames score the text: what it hears besides the text (margin, worst gap), and where it hears nothing of the text (worst
word). What they cannot tell is whether the base model's own transcript is right, for that scores best whatever was said: see `decide`.

Measured with the demo's baseline on 300 clips a condition, samples taken to agree. Clean speech: 96% of the right texts are accepted and
none with one word changed, added or dropped. Telephone speech, of which that model gets 60% of the words wrong, by quantiles of such clips:
87% of the right texts are accepted, 11% go to a person; 10%, 1% and 7% of the wrong ones are accepted (70% of those with a dropped word
without the worst gap), none with two words made up at the end.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NamedTuple

import numpy as np

from shared.gold import AcousticScores, GoldDecision
from shared.normalisation import normalise
from shared.wer import count_char_errors
from trainer.network.align import Alignment, LogProbs, viterbi, word_confidences
from trainer.network.decode import Unspellable, Vocabulary, ctc_frames_needed

ACCEPT_QUANTILE = 0.05
MIN_TRUSTED = 20
"""Below this the 5% quantile is the one worst clip."""
MAX_CER = 0.7
"""Of a text and the greedy transcript; right texts of telephone speech at 60% WER reached 0.6."""
SURE_WORST_WORD = -0.1
"""Nine tenths of the probability for the letters of the least sure word."""


@dataclass(frozen=True)
class Unalignable:
    """A text that cannot be spoken in a clip as far as the model can spell.

    Attributes:
        reason: no word in it, characters outside the vocabulary, or more labels than the frames can hold.
    """

    reason: Literal["empty", "unspellable", "infeasible"]
    detail: str


class Bounds(NamedTuple):
    """The least that each score must be."""

    margin: float
    worst_word: float
    worst_gap: float


@dataclass(frozen=True)
class Thresholds:
    """Where to cut.

    Attributes:
        accept: from here on the sound bears a text out.
        review: below any of these it contradicts the text; between both a person must hear it.
        source: what the bounds were taken from.
    """

    accept: Bounds
    review: Bounds
    source: str


ACCEPT = Bounds(margin=-0.1, worst_word=-1.0, worst_gap=-2.0)
REVIEW = Bounds(margin=-1.6, worst_word=-9.0, worst_gap=-17.0)
"""Fixed bounds. Of right texts, 96% of clean speech reach `ACCEPT` and 95% of telephone speech reach `REVIEW`, on clips other than those
that they were chosen by."""


@dataclass(frozen=True)
class Verdict:
    """What becomes of a proposal, and why."""

    decision: GoldDecision
    reason: str


def score(log_probs: LogProbs, text: str, vocabulary: Vocabulary) -> AcousticScores | Unalignable:
    """Return what a clip's frames say of a text, normalised here.

    Args:
        log_probs: `(frames, outputs)` of the base model, natural logarithms, finite.
        text: numbers written out (`trainer.clips.verbalise`).
        vocabulary: what the outputs stand for.

    Raises:
        ValueError: no frame, or a log-probability that is no finite number.
    """
    try:
        labels = vocabulary.encode(text)
    except Unspellable as error:
        return Unalignable("unspellable", str(error))
    if not labels:
        return Unalignable("empty", "expected words, found none")
    blank, delimiter = vocabulary.blank, vocabulary.delimiter_id
    alignment = viterbi(log_probs, labels, blank, delimiter)
    if alignment is None:
        detail = f"expected labels for at most {len(log_probs)} frames, found some that need {ctc_frames_needed(labels)}"
        return Unalignable("infeasible", detail)
    best = log_probs.max(axis=1).astype(np.float64)
    heard = " ".join(word for word, _ in word_confidences(log_probs, vocabulary))
    characters = count_char_errors(text, heard)
    over_silence = best - log_probs[:, [blank, delimiter]].max(axis=1)
    return AcousticScores(
        margin=min(0.0, (alignment.score - float(best.sum())) / len(best)),
        worst_word=min(0.0, _worst_word(labels, alignment, delimiter)),
        worst_gap=min(0.0, -_greatest_gap(over_silence, labels, alignment, delimiter)),
        cer=characters.errors / characters.reference_words,
    )


def _worst_word(labels: Sequence[int], alignment: Alignment, delimiter: int) -> float:
    spoken = zip(labels, alignment.peaks, strict=True)
    words = ([peak for _, peak in word] for parts, word in groupby(spoken, key=lambda pair: pair[0] == delimiter) if not parts)
    return min(float(np.mean(peaks)) for peaks in words)


def _greatest_gap(over_silence: LogProbs, labels: Sequence[int], alignment: Alignment, delimiter: int) -> float:
    silent = np.ones(len(over_silence), dtype=bool)
    for label, (start, end) in zip(labels, alignment.spans, strict=True):
        silent[start:end] = label == delimiter
    starts = np.flatnonzero(np.diff(silent, prepend=not silent[0]))
    sums = np.add.reduceat(over_silence, starts)[silent[starts]]
    return float(sums.max(initial=0.0))


def thresholds(trusted: Sequence[AcousticScores]) -> Thresholds:
    """Return where to cut, by the scores of texts that are known to be right.

    In each score the accepting bound is the 5% quantile, and the grey band reaches as far again below it as it lies below the median.
    Never stricter than the fixed bounds: where the base model heard nearly every trusted clip right, quantiles would let nothing pass but
    what it hears itself. Nor is anything accepted below the fixed bounds of review, however bad the model is.

    Args:
        trusted: scores of a person's references, whatever the base model heard. Clips chosen because it heard them right score 0 and
            say nothing. They should sound as the clips to judge do: by trusted clips of clean speech alone, nine in ten right texts of
            telephone speech go to a person.
    """
    if len(trusted) < MIN_TRUSTED:
        return Thresholds(ACCEPT, REVIEW, f"fixed bounds: expected {MIN_TRUSTED} trusted clips or more, found {len(trusted)}")
    if all(scores.cer == 0.0 for scores in trusted):
        return Thresholds(ACCEPT, REVIEW, f"fixed bounds: the base model heard all {len(trusted)} trusted clips right")
    table = np.array([(scores.margin, scores.worst_word, scores.worst_gap) for scores in trusted])
    low, middle = np.quantile(table, ACCEPT_QUANTILE, axis=0), np.median(table, axis=0)
    accept = np.clip(low, REVIEW, ACCEPT)
    review = np.minimum(2 * low - middle, REVIEW)
    return Thresholds(
        Bounds(*accept.tolist()), Bounds(*review.tolist()), f"{ACCEPT_QUANTILE:.0%} quantiles of {len(trusted)} trusted clips"
    )


@dataclass(frozen=True)
class Proposal:
    """What a language or speech model answered for a clip.

    Attributes:
        text: the one that the acoustic scores are of.
        agreement: share of its samples that are `text`.
        heard: it heard the audio. If not, its repeating the base model's transcript confirms nothing.
    """

    text: str
    agreement: float
    heard: bool


def decide(
    proposal: Proposal,
    scores: AcousticScores | Unalignable,
    cuts: Thresholds,
    *,
    min_agreement: float,
    refuted: str | None = None,
) -> Verdict:
    """Return what becomes of a proposal.

    Accepted: every score is in the accepting bounds, the samples agree, and the text is not far from what the base model heard.
    Rejected: it cannot be aligned, a score contradicts it, or neither sound nor samples settle it. A person is asked where the samples
    agree on what the sound does not bear out (words that the base model never learned look so), or the sound bears out what the samples
    do not agree on.

    The base model's own transcript passes every acoustic test. So it is accepted from a model that did not hear the audio only where
    each of its words is sure, and never where a user called it wrong.

    Args:
        proposal: a text, and how it came about.
        scores: of the text.
        cuts: where to cut.
        min_agreement: share of the samples that must agree.
        refuted: a transcript that a user called wrong.
    """
    if isinstance(scores, Unalignable):
        return Verdict("rejected", f"{scores.reason}: {scores.detail}")
    found = Bounds(scores.margin, scores.worst_word, scores.worst_gap)
    if far := _below(found, cuts.review):
        return Verdict("rejected", f"contradicted by the sound: {far}")
    agreed = proposal.agreement >= min_agreement
    agreement = f"agreement {proposal.agreement:.2f}, required {min_agreement:.2f}"
    if doubt := _doubt(proposal, scores, found, cuts.accept, refuted):
        return Verdict("review", doubt) if agreed else Verdict("rejected", f"{doubt}; {agreement}")
    return Verdict("accepted", "borne out by the sound, and the samples agree") if agreed else Verdict("review", agreement)


def _doubt(proposal: Proposal, scores: AcousticScores, found: Bounds, accept: Bounds, refuted: str | None) -> str:
    if refuted is not None and normalise(proposal.text) == normalise(refuted):
        return "repeats the transcript that was reported as wrong"
    if low := _below(found, accept):
        return f"not borne out by the sound: {low}"
    if scores.cer > MAX_CER:
        return f"cer {scores.cer:.2f} above {MAX_CER:.2f} to what the base model heard"
    if scores.cer == 0.0 and not proposal.heard and scores.worst_word < SURE_WORST_WORD:
        return f"repeats the base model's transcript without the audio: worst_word {scores.worst_word:.2f} below {SURE_WORST_WORD:.2f}"
    return ""


def _below(found: Bounds, bounds: Bounds) -> str:
    pairs = zip(Bounds._fields, found, bounds, strict=True)
    return ", ".join(f"{name} {value:.2f} below {bound:.2f}" for name, value, bound in pairs if value < bound)
