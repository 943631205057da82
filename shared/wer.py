"""Word error rate: one way to count, one way to pool."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import starmap

import jiwer

from shared.normalisation import normalise


@dataclass(frozen=True)
class ErrorCounts:
    """Edit operations that turn a reference into a hypothesis.

    Attributes:
        substitutions: words replaced.
        deletions: words of the reference that are missing in the hypothesis.
        insertions: words of the hypothesis that the reference lacks.
        reference_words: length of the reference (characters, where characters are counted).
    """

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    reference_words: int = 0

    @property
    def errors(self) -> int:
        """Substitutions, deletions and insertions together."""
        return self.substitutions + self.deletions + self.insertions

    def __add__(self, other: "ErrorCounts") -> "ErrorCounts":
        return ErrorCounts(
            substitutions=self.substitutions + other.substitutions,
            deletions=self.deletions + other.deletions,
            insertions=self.insertions + other.insertions,
            reference_words=self.reference_words + other.reference_words,
        )


def count_word_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """Count the word errors of one utterance; both texts are normalised here."""
    return count_word_errors_batch([reference], [hypothesis])[0]


def count_word_errors_batch(references: Sequence[str], hypotheses: Sequence[str]) -> list[ErrorCounts]:
    """Count the word errors of many utterances in one alignment call, in the given order; the texts are normalised here.

    Unit costs, as in Kaldi and jiwer; sclite weighs 4 / 3 / 3, so that its split into kinds, and in rare ties its total, may differ.
    An empty reference gives insertions only; an empty reference with an empty hypothesis gives no error.

    Raises:
        ValueError: the two sequences differ in length.
    """
    return _count_batch(jiwer.process_words, references, hypotheses)


def count_char_errors(reference: str, hypothesis: str) -> ErrorCounts:
    """Count the character errors of one utterance, the spaces between words included; both texts are normalised here."""
    return count_char_errors_batch([reference], [hypothesis])[0]


def count_char_errors_batch(references: Sequence[str], hypotheses: Sequence[str]) -> list[ErrorCounts]:
    """Count the character errors of many utterances in one alignment call; see `count_word_errors_batch`."""
    return _count_batch(jiwer.process_characters, references, hypotheses)


def _count_batch(
    align: Callable[[list[str], list[str]], jiwer.WordOutput | jiwer.CharacterOutput],
    references: Sequence[str],
    hypotheses: Sequence[str],
) -> list[ErrorCounts]:
    if len(references) != len(hypotheses):
        raise ValueError(f"hypotheses: expected {len(references)}, one for each reference, found {len(hypotheses)}")
    if not references:
        return []
    output = align(list(map(normalise, references)), list(map(normalise, hypotheses)))
    return list(starmap(_tally, zip(output.alignments, output.references, strict=True)))


def _tally(chunks: Iterable[jiwer.AlignmentChunk], reference: Sequence[str]) -> ErrorCounts:
    lengths = {"equal": 0, "substitute": 0, "delete": 0, "insert": 0}
    for chunk in chunks:
        lengths[chunk.type] += max(chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx)
    return ErrorCounts(
        substitutions=lengths["substitute"],
        deletions=lengths["delete"],
        insertions=lengths["insert"],
        reference_words=len(reference),
    )


def pooled_wer(counts: Iterable[ErrorCounts]) -> float | None:
    """Return all errors over all reference words, never the mean of the clips' rates; None where there is no reference word.

    A mean over clips would let a one-word clip weigh as much as a minute of speech.
    """
    total = sum(counts, start=ErrorCounts())
    return total.errors / total.reference_words if total.reference_words else None
