"""What was heard for each word."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.normalisation import normalise
from shared.wer import count_word_errors_batch
from shared.wer_align import WordOp, align_words, align_words_batch

texts = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=8).map(" ".join)


def test_every_kind_of_step_bears_its_words() -> None:
    assert align_words("the cat sat down", "a cat sat on down") == (
        WordOp("substitution", "the", "a"),
        WordOp("hit", "cat", "cat"),
        WordOp("hit", "sat", "sat"),
        WordOp("insertion", "", "on"),
        WordOp("hit", "down", "down"),
    )
    assert align_words("cat sat", "sat") == (WordOp("deletion", "cat", ""), WordOp("hit", "sat", "sat"))


def test_texts_are_compared_as_they_are_counted() -> None:
    assert align_words("Don\u2019t, STOP!", "don't stop") == (WordOp("hit", "don't", "don't"), WordOp("hit", "stop", "stop"))


def test_silence_gives_insertions_or_nothing() -> None:
    assert align_words("", "uh huh") == (WordOp("insertion", "", "uh"), WordOp("insertion", "", "huh"))
    assert align_words("uh", "") == (WordOp("deletion", "uh", ""),)
    assert align_words_batch(["", "…"], ["", ""]) == [(), ()]
    assert align_words_batch([], []) == []


def test_a_missing_transcript_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 2, one for each reference, found 1"):
        align_words_batch(["a", "b"], ["a"])


@given(st.lists(st.tuples(texts, texts), min_size=1, max_size=5))
def test_an_alignment_spells_both_texts_and_holds_the_counted_errors(pairs: list[tuple[str, str]]) -> None:
    references, hypotheses = [said for said, _ in pairs], [heard for _, heard in pairs]
    alignments = align_words_batch(references, hypotheses)
    for alignment, said, heard, counts in zip(
        alignments, references, hypotheses, count_word_errors_batch(references, hypotheses), strict=True
    ):
        assert " ".join(op.reference for op in alignment if op.reference) == normalise(said)
        assert " ".join(op.hypothesis for op in alignment if op.hypothesis) == normalise(heard)
        kinds = [op.kind for op in alignment]
        assert kinds.count("substitution") == counts.substitutions
        assert kinds.count("deletion") == counts.deletions
        assert kinds.count("insertion") == counts.insertions
        assert all((op.reference == op.hypothesis) == (op.kind == "hit") for op in alignment)
