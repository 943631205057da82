"""What is said to show each planted mutation is there and can fail; what nothing shows is said to survive."""

import importlib
from dataclasses import replace
from types import CodeType, FunctionType

import pytest

from tests.chaos import mutations
from tests.chaos.mutations import MUTATIONS, Mutation, check, main, planted
from tests.unit.test_reliability_page import missing

SHOWN_BY_A_HISTORY = next(each for each in MUTATIONS if each.shown_by == 1)
SHOWN_BY_A_TEST = next(each for each in MUTATIONS if each.module == "shared.cas")


def without_effect(mutation: Mutation) -> Mutation:
    """Return a mutation that nothing can show."""
    return replace(mutation, new=mutation.old)


def codes(module: str) -> dict[str, CodeType]:
    found = vars(importlib.import_module(module))
    return {name: each.__code__ for name, each in found.items() if isinstance(each, FunctionType)}


@pytest.mark.parametrize("mutation", MUTATIONS, ids=str)
def test_a_mutation_stands_in_its_module_while_it_is_planted_and_not_afterwards(mutation: Mutation) -> None:
    before = codes(mutation.module)
    with planted(mutation):
        assert codes(mutation.module) != before
    assert codes(mutation.module) == before


def test_what_the_module_does_not_say_cannot_be_changed() -> None:
    with (
        pytest.raises(ValueError, match="expected this once in the module's source, found it 0 times"),
        planted(Mutation("shared.cas", "no such text", "", 1)),
    ):
        pass


def test_every_test_that_is_said_to_show_a_mutation_is_there() -> None:
    tests = [each.shown_by for each in MUTATIONS if isinstance(each.shown_by, str)]
    assert [name for test in tests for name in missing(f"`{test}`")] == []


def test_a_history_shows_what_stands_beside_it_and_not_what_changes_nothing() -> None:
    assert check(SHOWN_BY_A_HISTORY) == "seed 1: persist then publish: ModelDeployed was published while move 1 was not in the log"
    assert check(without_effect(SHOWN_BY_A_HISTORY)) == ""


def test_what_its_test_shows_is_found_and_what_changes_nothing_survives(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mutations, "MUTATIONS", (SHOWN_BY_A_TEST, without_effect(SHOWN_BY_A_TEST)))
    assert main(["--jobs", "2"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("found    shared.cas: found.metadata.get(WRITE_ID) == write_id -> False")
    assert said[2].startswith("SURVIVES shared.cas: found.metadata.get(WRITE_ID) == write_id -> found.metadata")
    assert said[-1] == "1 of 2 found by what stands beside them"


def test_a_test_that_is_not_there_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutations, "MUTATIONS", (replace(SHOWN_BY_A_TEST, shown_by="tests/unit/test_cas.py::test_absent"),))
    with pytest.raises(ValueError, match="test_absent: expected it to pass or to fail"):
        main(["--jobs", "1"])
