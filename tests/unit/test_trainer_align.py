"""The best CTC path, against every path there is."""

from itertools import groupby, product

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra `trainer` is not installed")

import torch

from trainer.network.align import Alignment, LogProbs, viterbi, word_confidences
from trainer.network.decode import Vocabulary, greedy_transcripts

pytestmark = pytest.mark.torch

BLANK, DELIMITER = 0, 1
NONE = BLANK
"""A delimiter that changes nothing: no output parts words."""


def random_log_probs(frames: int, outputs: int, seed: int) -> LogProbs:
    log_probs: LogProbs = np.log(np.random.default_rng(seed).dirichlet(np.full(outputs, 0.5), frames) + 1e-6)
    return log_probs


def logs(*rows: tuple[float, ...]) -> LogProbs:
    log_probs: LogProbs = np.log(np.array(rows))
    return log_probs


def in_words(labels: tuple[int, ...], delimiter: int) -> tuple[int, ...]:
    """Return labels without delimiters at the ends and with one of those that repeat; as they are where nothing parts words."""
    if delimiter == NONE:
        return labels
    words = [tuple(run) for parts, run in groupby(labels, key=lambda output: output == delimiter) if not parts]
    return tuple(output for word in words for output in (delimiter, *word))[1:]


def decoded(path: tuple[int, ...], delimiter: int) -> tuple[int, ...]:
    return in_words(tuple(output for output, _ in groupby(path) if output != BLANK), delimiter)


def best_of_all(log_probs: LogProbs, delimiter: int) -> dict[tuple[int, ...], float]:
    """Return every labelling that some path decodes to, with the score of its best path."""
    frames, outputs = log_probs.shape
    scores: dict[tuple[int, ...], float] = {}
    for path in product(range(outputs), repeat=frames):
        labels = decoded(path, delimiter)
        scores[labels] = max(scores.get(labels, -np.inf), float(log_probs[range(frames), path].sum()))
    return scores


@pytest.mark.parametrize("delimiter", [NONE, DELIMITER])
@pytest.mark.parametrize("frames", [1, 2, 3, 5, 6])
def test_no_path_through_the_labels_is_better_and_what_has_no_path_is_infeasible(frames: int, delimiter: int) -> None:
    log_probs = random_log_probs(frames, 4, seed=frames)
    scores = best_of_all(log_probs, delimiter)
    labellings = (labels for length in range(4) for labels in product((1, 2, 3), repeat=length))
    texts = [labels for labels in labellings if in_words(labels, delimiter) == labels]
    assert len(texts) == (40 if delimiter == NONE else 19)
    for labels in texts:
        found = viterbi(log_probs, labels, BLANK, delimiter)
        assert (found is None) == (labels not in scores), labels
        assert found is None or found.score == pytest.approx(scores[labels], abs=1e-9), labels


def test_a_label_for_each_frame_leaves_no_room_for_another_or_for_an_equal_neighbour() -> None:
    log_probs = random_log_probs(3, 4, seed=0)
    found = viterbi(log_probs, [1, 2, 3], BLANK, NONE)
    assert found is not None
    assert found.score == pytest.approx(log_probs[0, 1] + log_probs[1, 2] + log_probs[2, 3])
    assert found.spans == ((0, 1), (1, 2), (2, 3))
    assert viterbi(log_probs, [1, 2, 3, 1], BLANK, NONE) is None
    assert viterbi(log_probs, [1, 2, 2], BLANK, NONE) is None


def test_spans_and_peaks_tell_where_each_label_stands() -> None:
    log_probs = logs((0.8, 0.1, 0.1), (0.2, 0.5, 0.3), (0.1, 0.7, 0.2), (0.6, 0.3, 0.1), (0.3, 0.6, 0.1), (0.1, 0.1, 0.8))
    found = viterbi(log_probs, [1, 1, 2], BLANK, NONE)
    assert found is not None
    assert found.score == pytest.approx(np.log(0.8 * 0.5 * 0.7 * 0.6 * 0.6 * 0.8))
    assert found.spans == ((1, 3), (4, 5), (5, 6))
    assert found.peaks == pytest.approx(np.log([0.7, 0.6, 0.8]).tolist())


def test_no_label_is_a_path_of_blanks() -> None:
    assert viterbi(logs((1.0, 1.0), (1.0, 0.5)), [], BLANK, NONE) == Alignment(0.0, (), ())


def test_a_model_that_ends_its_words_with_a_delimiter_loses_nothing_by_it() -> None:
    log_probs = logs((0.1, 0.8, 0.1), (0.1, 0.1, 0.8), (0.1, 0.8, 0.1))
    best = float(log_probs.max(axis=1).sum())
    with_delimiter, without = viterbi(log_probs, [2], BLANK, DELIMITER), viterbi(log_probs, [2], BLANK, NONE)
    assert with_delimiter is not None
    assert without is not None
    assert with_delimiter.score == pytest.approx(best)
    assert without.score == pytest.approx(best - 2 * np.log(8))


@pytest.mark.parametrize("log_probs", [np.empty((0, 3)), np.zeros(3), np.array([[0.0, np.nan]]), np.array([[0.0, -np.inf]])])
def test_what_no_sound_model_gives_is_an_error(log_probs: LogProbs) -> None:
    with pytest.raises(ValueError, match="log-probabilities: expected"):
        viterbi(log_probs, [1], BLANK, NONE)


def test_a_words_confidence_is_the_geometric_mean_of_its_characters() -> None:
    vocabulary = Vocabulary(("<pad>", "|", "A", "B"), blank=BLANK, lower_case=True)
    log_probs = logs(
        (0.02, 0.05, 0.90, 0.03),  # a, once on two frames
        (0.10, 0.10, 0.70, 0.10),
        (0.20, 0.20, 0.20, 0.40),  # b
        (0.10, 0.60, 0.20, 0.10),
        (0.01, 0.01, 0.01, 0.97),  # b
    )
    words, confidences = zip(*word_confidences(log_probs, vocabulary), strict=True)
    assert words == ("ab", "b")
    assert confidences == pytest.approx([0.6, 0.97])


def test_the_words_are_those_of_the_greedy_transcript() -> None:
    vocabulary = Vocabulary(("<pad>", "|", "a", "b", "<unk>", "<unk>"), blank=BLANK)
    for seed in range(50):
        log_probs = random_log_probs(30, 6, seed)
        heard = greedy_transcripts(torch.tensor(log_probs)[None], torch.tensor([30]), vocabulary)[0]
        assert [word for word, _ in word_confidences(log_probs, vocabulary)] == heard.split()


def test_where_only_blanks_are_heard_there_is_no_word() -> None:
    assert word_confidences(logs((0.9, 0.05, 0.05)), Vocabulary(("<pad>", "|", "a"), blank=BLANK)) == []
