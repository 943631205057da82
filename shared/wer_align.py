"""Word alignment of a transcript with its reference: what was heard for each word, for word diffs and for the matched-pairs test."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import jiwer

from shared.normalisation import BASIC, Normaliser

Kind = Literal["hit", "substitution", "deletion", "insertion"]


class WordOp(NamedTuple):
    """One step of an alignment.

    Attributes:
        kind: what happened to the word.
        reference: the word that was said, normalised; empty for an insertion.
        hypothesis: the word that was heard, normalised; empty for a deletion.
    """

    kind: Kind
    reference: str
    hypothesis: str


Alignment = tuple[WordOp, ...]


def align_words(reference: str, hypothesis: str) -> Alignment:
    """Align one transcript with its reference; both texts are normalised here."""
    return align_words_batch([reference], [hypothesis])[0]


def align_words_batch(references: Sequence[str], hypotheses: Sequence[str], normaliser: Normaliser = BASIC) -> list[Alignment]:
    """Align many transcripts with their references in one call, in the given order.

    The words of an alignment's reference sides are the reference's, in order, and so for the hypothesis; its steps other than hits are the
    errors that `shared.wer.count_word_errors_batch` counts: both come from one shortest edit path at unit costs. Where several paths
    are as short, which words of it are called substituted and which inserted is a choice of the library, the number of errors is not.

    An alignment takes about 100 bytes a word: align a large set in parts.

    Raises:
        ValueError: the two sequences differ in length.
    """
    if len(references) != len(hypotheses):
        raise ValueError(f"hypotheses: expected {len(references)}, one for each reference, found {len(hypotheses)}")
    if not references:
        return []
    output = jiwer.process_words([normaliser.normalise(text) for text in references], [normaliser.normalise(text) for text in hypotheses])
    return [
        tuple(op for chunk in chunks for op in _ops(chunk, said, heard))
        for chunks, said, heard in zip(output.alignments, output.references, output.hypotheses, strict=True)
    ]


def _ops(chunk: jiwer.AlignmentChunk, reference: Sequence[str], hypothesis: Sequence[str]) -> list[WordOp]:
    said = reference[chunk.ref_start_idx : chunk.ref_end_idx]
    heard = hypothesis[chunk.hyp_start_idx : chunk.hyp_end_idx]
    if chunk.type == "equal":
        return [WordOp("hit", word, word) for word in said]
    if chunk.type == "substitute":
        return [WordOp("substitution", *pair) for pair in zip(said, heard, strict=True)]
    if chunk.type == "delete":
        return [WordOp("deletion", word, "") for word in said]
    return [WordOp("insertion", "", word) for word in heard]
