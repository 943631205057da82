"""What former cycles say is kept in few objects, each cycle once, and goes with whoever is forgotten."""

from collections.abc import Iterable

import pytest

from infra.forget.redact import Target, drop_former
from shared.errors import CorruptObject
from shared.former import Fact, below, blocks, each_once, fact_lines, file_order, held
from shared.splits import cluster_of

KEY = b"a key that tests share"
FORM = fact_lines(what="former")


def former_bytes(facts: Iterable[Fact]) -> bytes:
    return b"".join(FORM.dump(fact) + b"\n" for fact in each_once(sorted(facts, key=file_order)))


def cycles_of(number: int) -> range:
    return range(number - held(number) + 1, number + 1)


@pytest.mark.parametrize("last", [0, 1, 9, 10, 11, 99, 100, 101, 1000, 1234, 9_999, 10_000])
def test_the_blocks_hold_every_cycle_once(last: int) -> None:
    found = [cycle for number in blocks(last) for cycle in cycles_of(number)]
    assert sorted(found) == list(range(1, last + 1))
    assert len(list(blocks(last))) <= 36


@pytest.mark.parametrize("number", [1, 10, 20, 100, 1000, 2000, 10_000])
def test_a_block_is_its_own_cycle_and_the_blocks_below_it(number: int) -> None:
    assert held(number) in {1, 10, 100, 1000}
    assert sorted([number, *(cycle for each in below(number) for cycle in cycles_of(each))]) == list(cycles_of(number))


def test_facts_come_back_as_they_were_and_equal_facts_are_equal_bytes() -> None:
    facts = [
        Fact(("a", "b"), ("c",), "train", reported=True),
        Fact(("a", "b"), (), None),
        Fact(("a", "b"), (), "holdout"),
    ]
    data = former_bytes(facts)
    assert {FORM.parse(line) for line in data.splitlines()} == set(facts)
    assert former_bytes([*reversed(facts), *facts]) == data
    with pytest.raises(CorruptObject):
        FORM.parse(b'{"speaker": "ana"}')


def hashed(name: str) -> str:
    return cluster_of(KEY, speaker=name)


@pytest.mark.parametrize(
    ("recording", "company", "theirs"),
    [
        ((hashed("utterance:u1"),), (hashed("speaker:ana"),), True),
        ((hashed("utterance:u2"),), (), True),
        ((hashed("utterance:u3"),), (hashed("speaker:ben"),), False),
    ],
    ids=["names them", "an utterance that was found to be theirs", "somebody else"],
)
def test_a_block_goes_when_it_tells_of_somebody_who_is_forgotten(
    recording: tuple[str, ...], company: tuple[str, ...], theirs: bool
) -> None:
    target = Target.of("speaker", "ana", KEY).with_utterances(frozenset({"u2"}))
    data, lines = drop_former(former_bytes([Fact(recording, company, "train")]), target)
    assert data is None
    assert bool(lines) == theirs
