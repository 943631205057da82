"""Normalisation and word error counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.normalisation import BASIC, normalise, unspeakable
from shared.normalisation import _spelled as spelled_out
from shared.wer import ErrorCounts, count_char_errors, count_char_errors_batch, count_word_errors, count_word_errors_batch, pooled_wer

WAV2VEC2 = [*"ABCDEFGHIJKLMNOPQRSTUVWXYZ'|", "<pad>", "<s>", "</s>", "<unk>"]


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_plain_text_takes_a_shorter_way_to_the_same_words(text: str) -> None:
    assert normalise(text) == " ".join(word for word in (part.strip("'") for part in spelled_out(text).split()) if word)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, World!", "hello world"),
        ("  two\t spaces \n", "two spaces"),
        ("Don\u2019t \u2018quote\u2019 O\u00b4Brien rock `n` roll", "don't quote o'brien rock n roll"),
        ("state-of-the-art \u2014 and\u2013so on", "state of the art and so on"),
        ("yes,no", "yes no"),
        ("\ufb01ne \uff21\uff22 caf\u00e9 cafe\u0301", "fine ab caf\u00e9 caf\u00e9"),
        ("Stra\u00dfe", "strasse"),
        ("soft\u00adhyphen zero\u200bwidth", "softhyphen zerowidth"),
        ("room 42, 5%", "room 42 5"),
        ("\u0939\u093f\u0928\u094d\u0926\u0940", "\u0939\u093f\u0928\u094d\u0926\u0940"),  # Devanagari keeps its vowel signs
        ("''' ... !", ""),
        ("", ""),
    ],
)
def test_text_is_normalised(text: str, expected: str) -> None:
    assert normalise(text) == expected


def test_the_normaliser_has_a_name_that_reports_carry() -> None:
    assert BASIC.name_version == "retune-basic-1"
    assert BASIC.normalise("A b") == normalise("A b")


@given(st.text())
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(st.text())
def test_normalised_text_has_single_inner_spaces_only(text: str) -> None:
    assert normalise(text) == " ".join(normalise(text).split())


@given(st.text(alphabet="abcXYZ '-,.\u2019"))
def test_case_and_punctuation_never_count_as_errors(text: str) -> None:
    assert count_word_errors(text, text.upper().replace(",", " ")).errors == 0


def test_a_vocabulary_that_spells_the_text_lacks_nothing() -> None:
    assert unspeakable("Don\u2019t stop \u2014 go!", WAV2VEC2) == frozenset()


def test_digits_diacritics_and_symbols_that_are_read_aloud_are_unspeakable() -> None:
    assert unspeakable("AT&T costs $5 at the caf\u00e9", WAV2VEC2) == {"&", "$", "5", "\u00e9"}


def test_a_vocabulary_with_digits_speaks_them() -> None:
    assert unspeakable("room 42", [*WAV2VEC2, "4", "2"]) == frozenset()


def test_multi_character_tokens_spell_no_letters() -> None:
    assert unspeakable("pad", ["<pad>", "d"]) == {"p", "a"}


def test_each_kind_of_error_is_counted() -> None:
    # a b c d -> a x c d e: b replaced, e inserted
    assert count_word_errors("a b c d", "a x c d e") == ErrorCounts(substitutions=1, insertions=1, reference_words=4)
    # two words at the end lost
    assert count_word_errors("a b c d", "a b") == ErrorCounts(deletions=2, reference_words=4)


def test_an_empty_reference_counts_insertions() -> None:
    assert count_word_errors("", "a b") == ErrorCounts(insertions=2)
    assert count_word_errors(" ... ", "") == ErrorCounts()


def test_an_empty_hypothesis_deletes_every_word() -> None:
    assert count_word_errors("a b c", "") == ErrorCounts(deletions=3, reference_words=3)


def test_a_batch_counts_each_utterance_by_itself_in_order() -> None:
    assert count_word_errors_batch(["a b", "", "c d e", ""], ["a", "x", "c d e", ""]) == [
        ErrorCounts(deletions=1, reference_words=2),
        ErrorCounts(insertions=1),
        ErrorCounts(reference_words=3),
        ErrorCounts(),
    ]
    assert count_word_errors_batch([], []) == []


def test_a_batch_of_unequal_lengths_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 2, one for each reference, found 1"):
        count_word_errors_batch(["a", "b"], ["a"])


def test_characters_include_the_space_between_words() -> None:
    # "ab c" -> "abc": one space lost of four characters
    assert count_char_errors("ab c", "abc") == ErrorCounts(deletions=1, reference_words=4)
    assert count_char_errors_batch(["ab", ""], ["ax", "y"]) == [
        ErrorCounts(substitutions=1, reference_words=2),
        ErrorCounts(insertions=1),
    ]


def test_counts_add_up() -> None:
    total = ErrorCounts(1, 2, 3, 10) + ErrorCounts(4, 5, 6, 20)
    assert total == ErrorCounts(5, 7, 9, 30)
    assert total.errors == 21


def test_wer_is_pooled_and_not_the_mean_of_clips() -> None:
    # 1 of 1 word and 0 of 9: pooled 1/10; the mean of the clips would be 1/2
    assert pooled_wer([ErrorCounts(substitutions=1, reference_words=1), ErrorCounts(reference_words=9)]) == pytest.approx(0.1)


def test_there_is_no_wer_without_reference_words() -> None:
    assert pooled_wer([ErrorCounts(insertions=3)]) is None
    assert pooled_wer([]) is None
