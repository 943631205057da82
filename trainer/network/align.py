"""Where a text lies in a clip's frames: the best CTC path through its labels, found in a few milliseconds for ten seconds of speech."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt

from trainer.network.decode import Vocabulary, ctc_frames_needed

LogProbs = npt.NDArray[np.floating[Any]]
"""`(frames, outputs)` natural log-probabilities of one clip, padding cut off."""


@dataclass(frozen=True)
class Alignment:
    """The best path through some labels.

    Attributes:
        score: its log-probability: the sum of one output's over all frames.
        spans: first frame and frame after the last of each label.
        peaks: highest log-probability of each label on its frames.
    """

    score: float
    spans: tuple[tuple[int, int], ...]
    peaks: tuple[float, ...]


def viterbi(log_probs: LogProbs, labels: Sequence[int], blank: int, delimiter: int) -> Alignment | None:
    """Return the best path that decodes to `labels`; None where they need more frames than there are.

    The usual lattice of a blank around each label (Graves et al. 2006, section 4.1) with the maximum in place of the sum. Work and memory
    grow with frames times labels. Paths of equal score are told apart by a fixed order.

    Args:
        log_probs: `(frames, outputs)`, finite.
        labels: outputs to pass through, without blanks.
        blank: the CTC blank.
        delimiter: the output between words. It may also stand at both ends and repeat, since a transcript is stripped and its spaces
            collapse: models whose training labels ended in a delimiter end their speech with one.

    Raises:
        ValueError: no frame, or a log-probability that is no finite number.
    """
    _check(log_probs)
    frames, count = len(log_probs), len(labels)
    if frames < ctc_frames_needed(labels):
        return None
    wanted = np.asarray(labels, dtype=np.int64)
    emissions = _emissions(log_probs, wanted, blank, delimiter)  # (frames, states)
    skips = np.full(2 * count + 1, -np.inf)
    skips[3::2][wanted[1:] != wanted[:-1]] = 0.0  # equal neighbours would collapse without a blank between
    states, score = _best_path(emissions, skips)
    labelled = 2 * np.arange(count) + 1
    spans = np.stack([np.searchsorted(states, labelled), np.searchsorted(states, labelled, side="right")], axis=1)
    spoken = np.append(emissions[np.arange(frames), states], -np.inf)  # so that a last span may end behind the last frame
    peaks = np.maximum.reduceat(spoken, spans.ravel())[::2] if count else spoken[:0]
    return Alignment(score, tuple((int(start), int(end)) for start, end in spans), tuple(peaks.tolist()))


def _check(log_probs: LogProbs) -> None:
    if log_probs.ndim != 2 or not len(log_probs):
        raise ValueError(f"log-probabilities: expected (frames, outputs) with a frame or more, found shape {log_probs.shape}")
    if not np.isfinite(log_probs).all():
        raise ValueError("log-probabilities: expected finite numbers, found NaN or infinity; the model is damaged")


def _emissions(log_probs: LogProbs, labels: npt.NDArray[np.int64], blank: int, delimiter: int) -> npt.NDArray[np.float64]:
    states = np.full(2 * len(labels) + 1, blank)
    states[1::2] = labels
    emissions = log_probs[:, states].astype(np.float64)
    parts_words = np.concatenate([[True], labels == delimiter, [True]])
    silent = 2 * np.flatnonzero(parts_words[:-1] | parts_words[1:])
    emissions[:, silent] = np.maximum(emissions[:, silent], log_probs[:, delimiter, None])
    return emissions


def _best_path(emissions: npt.NDArray[np.float64], skips: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], float]:
    frames, count = emissions.shape
    # two unreachable states on the left, so that "from one or two states before" are plain slices
    scores = np.full((frames, count + 2), -np.inf)
    scores[0, 2:4] = emissions[0, :2]
    skipped = np.empty(count)
    for frame in range(1, frames):
        before, now = scores[frame - 1], scores[frame, 2:]
        np.maximum(before[2:], before[1:-1], out=now)
        np.add(before[:-2], skips, out=skipped)
        np.maximum(now, skipped, out=now)
        now += emissions[frame]
    last = count - 1
    state = last if count == 1 or scores[-1, last + 2] >= scores[-1, last + 1] else last - 1
    score = float(scores[-1, state + 2])
    states = np.empty(frames, dtype=np.int64)
    for frame in range(frames - 1, 0, -1):
        states[frame] = state
        two, one, same = scores[frame - 1, state : state + 3].tolist()
        two += skips[state]
        state -= 0 if same >= max(one, two) else 1 if one >= two else 2
    states[0] = state
    return states, score


def word_confidences(log_probs: LogProbs, vocabulary: Vocabulary) -> list[tuple[str, float]]:
    """Return the words of the greedy transcript, each with a confidence in (0, 1].

    The geometric mean over the word's characters of the highest probability on the character's frames. It ranks words; it is not the
    probability that a word is right, for CTC posteriors are overconfident.

    Args:
        log_probs: `(frames, outputs)`, finite.
        vocabulary: what the outputs stand for.

    Raises:
        ValueError: no frame, or a log-probability that is no finite number.
    """
    _check(log_probs)
    ids = vocabulary.first_ids[log_probs.argmax(axis=1)]
    starts = np.flatnonzero(np.diff(ids, prepend=-1))
    runs = zip(ids[starts].tolist(), np.maximum.reduceat(log_probs.max(axis=1), starts).tolist(), strict=True)
    spoken = [(str(vocabulary.pieces[index]), peak) for index, peak in runs if index != vocabulary.blank]
    words = []
    for parts, run in groupby(spoken, key=lambda piece: piece[0] == " "):
        if not parts:
            pieces, peaks = zip(*run, strict=True)
            word = "".join(pieces)
            words.append((word.lower() if vocabulary.lower_case else word, float(np.exp(np.mean(peaks)))))
    return words
