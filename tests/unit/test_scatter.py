"""Items that hang together by names come in one list, in the order in which they were added, however many there are."""

from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.launcher import scatter
from functions.launcher.scatter import Scatter
from shared.spool import Form, Spool

NUMBERS: Form[int] = Form(dump=lambda number: b"%d" % number, parse=int)


def scattered(names: list[set[str]], most: int, wanted: set[int] | None = None) -> list[list[int]]:
    items = Scatter(NUMBERS)
    for number, tied in enumerate(names):
        items.add(100 + number, tied, wanted=wanted is None or number in wanted)
    with patch.object(scatter, "MOST", most):
        groups = list(items.groups())
    assert all(item == 100 + number for group in groups for number, item in group)
    assert all([number for number, _ in group] == sorted(number for number, _ in group) for group in groups)
    return [[number for number, _ in group] for group in groups]


def together(names: list[set[str]]) -> list[set[int]]:
    """Return the groups, found the slow way."""
    groups: list[tuple[set[int], set[str]]] = []
    for number, tied in enumerate(names):
        met = [group for group in groups if group[1] & tied]
        groups = [group for group in groups if group not in met]
        groups.append(({number}.union(*(group[0] for group in met)), tied.union(*(group[1] for group in met))))
    return [group[0] for group in groups]


tied = st.lists(st.sets(st.sampled_from("abcdefgh"), max_size=3), max_size=12)


@given(tied, st.integers(1, 12))
def test_what_hangs_together_is_in_one_list_and_every_item_is_in_one(names: list[set[str]], most: int) -> None:
    lists = scattered(names, most)
    assert sorted(number for each in lists for number in each) == list(range(len(names)))
    where = {number: place for place, each in enumerate(lists) for number in each}
    assert all(len({where[number] for number in group}) == 1 for group in together(names))


@given(tied, st.sets(st.integers(0, 11)))
def test_of_many_items_only_those_come_that_hang_together_with_one_that_is_wanted(names: list[set[str]], wanted: set[int]) -> None:
    found = {number for each in scattered([*names, {"by itself"}], 1, wanted) for number in each}
    expected = {number for group in together(names) if group & wanted for number in group} if names else set()
    assert found - {len(names)} == expected


def test_a_list_takes_as_many_as_fit_and_whoever_hangs_together_with_them() -> None:
    lists = scattered([{"a"}, {"b"}, {"a"}, {"c"}, {"a"}, {"d"}, {"e"}], 2)
    assert lists == [[0, 2, 4], [1], [3, 5], [6]]


def test_a_chain_of_a_thousand_is_one_group() -> None:
    links = [{f"link {number}", f"link {number + 1}"} for number in range(1000)]
    assert scattered([*links, {"another"}], 10) == [list(range(1000)), [1000]]


def test_nothing_is_no_group() -> None:
    assert scattered([], 1) == [[]]


@pytest.mark.parametrize("block_bytes", [1, 7, 1 << 16])
@pytest.mark.parametrize("in_memory", [1, 1 << 20])
@pytest.mark.parametrize("held", [1, 3, 64])
def test_a_spool_gives_back_what_was_added_as_often_as_wanted(block_bytes: int, in_memory: int, held: int) -> None:
    limits: dict[str, Any] = {"BLOCK_BYTES": block_bytes, "IN_MEMORY_BYTES": in_memory, "HELD_ITEMS": held}
    with patch.multiple("shared.spool", **limits):
        numbers = Spool(NUMBERS, range(50))
        assert (list(numbers), list(numbers), len(numbers)) == ([*range(50)], [*range(50)], 50)
        first = iter(numbers)
        assert [next(first), next(first)] == [0, 1]
        numbers.add_line(b"50")
        numbers.add(51)
        assert list(numbers) == [*range(52)], "a read that was not finished disturbs no other"
        assert list(numbers.lines()) == [b"%d" % number for number in range(52)]
        assert numbers.size_bytes == sum(len(str(number)) + 1 for number in range(52))
