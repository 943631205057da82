"""Names that follow from what they name."""

import string

from hypothesis import given
from hypothesis import strategies as st

from shared import keys
from shared.events import ThresholdCrossed
from shared.ids import derived_event_id, new_token, version_name
from shared.testing.clock import START

words = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=8)
"""What an event's id may hold: no control characters, hence not the separator of the hash."""
causes = st.tuples(words, words, words)


def test_a_derived_id_stays_the_same_for_ever() -> None:
    # printf 'ThresholdCrossed\x1fcycle 7\x1f7' | sha256sum | cut -c1-32
    assert derived_event_id("ThresholdCrossed", "cycle 7", "7") == "ThresholdCrossed-10b8f9ac7aba62af2980933c9aeaa1ab"


@given(causes, causes)
def test_another_type_cause_or_subject_gives_another_id_however_they_are_divided(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    assert (derived_event_id(*one) == derived_event_id(*other)) == (one == other)


def test_a_derived_id_is_a_legal_event_id() -> None:
    assert ThresholdCrossed(event_id=derived_event_id("ThresholdCrossed", "x" * 500, "y" * 500), occurred_at=START, cycle=1).cycle == 1


def test_tokens_are_32_hexadecimal_digits_and_each_is_new() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    assert all(len(token) == 32 and set(token) <= set(string.hexdigits.lower()) for token in tokens)


def test_a_version_is_called_by_its_number() -> None:
    assert version_name(12) == "v12"


@given(st.lists(st.integers(0, 999_999), min_size=2, max_size=5))
def test_keys_sort_by_number(numbers: list[int]) -> None:
    for key in (keys.state, keys.dataset, keys.ledger, keys.run, keys.model, keys.report, keys.registry_log, keys.holdout):
        assert [key(number) for number in sorted(numbers)] == sorted(key(number) for number in numbers)


@given(st.integers(0, 999_999))
def test_the_cycle_is_read_back_from_its_keys(number: int) -> None:
    assert {keys.cycle_of(key(number)) for key in (keys.state, keys.dataset, keys.spec, keys.manifest, keys.ledger_index)} == {number}


def test_a_ledger_holds_its_segments_parts_and_index_and_no_other_ledgers() -> None:
    inside = [keys.segment(1, "t"), keys.part(1, "t"), keys.ledger_index(1)]
    assert all(key.startswith(keys.ledger(1)) for key in inside)
    assert not keys.segment(10, "t").startswith(keys.ledger(1))
    assert len(set(inside)) == 3
