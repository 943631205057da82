"""docs/architecture/journeys.md is true: what it names exists, and the journeys go as it says."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.journey_page import CODE, PAGE, Row, differences, is_known, missing, tables
from tests.journeys import one_declined_trigger, one_error, one_malformed, one_rollback, one_trigger
from tests.recorder import Place, Step

ERROR, TRIGGER, DECLINED, ROLLBACK, MALFORMED = tables(PAGE)
IN_FUNCTIONS = [row for row in ERROR if not row.places[0].path.startswith("trainer/")]
"""The trainer's own steps are compared where torch is: `test_trainer_journey.py`."""


def test_every_function_that_is_named_is_there() -> None:
    assert missing(PAGE) == []
    assert sum(1 for code in CODE.findall(PAGE) if "::" in code) > 100


def test_every_object_and_event_that_is_named_is_known() -> None:
    made = [made for table in tables(PAGE) for row in table for made in row.made]
    assert [each for each in made if not is_known(each)] == []
    assert len(made) > 40


@pytest.mark.parametrize(
    ("rows", "journey"),
    [
        pytest.param(IN_FUNCTIONS, one_error, id="one error"),
        pytest.param(TRIGGER, one_trigger, id="one trigger"),
        pytest.param(DECLINED, one_declined_trigger, id="one declined trigger"),
        pytest.param(ROLLBACK, one_rollback, id="one rollback"),
        pytest.param(MALFORMED, one_malformed, id="one malformed message"),
    ],
)
def test_a_journey_goes_as_it_is_told(rows: list[Row], journey: Callable[[Path], list[Step]], tmp_path: Path) -> None:
    assert differences(rows, journey(tmp_path)) == []


def test_a_function_that_is_not_there_is_found() -> None:
    text = "`shared/cas.py::create`, `shared/cas.py::renamed`, `shared/gone.py::x`, `shared/ledger.py::KnownHead.gone`"
    assert missing(text) == ["shared/cas.py::renamed", "shared/gone.py::x", "shared/ledger.py::KnownHead.gone"]


@pytest.mark.parametrize(
    "made",
    [
        "SttError on ticks",
        "Renamed on ticks",
        "cycles/N/gone.json",
        "cycles/N/state.json",
        "cycles/N/state.json gone",
        "cycles/head.json failed",
    ],
)
def test_an_object_or_event_that_is_not_there_is_found(made: str) -> None:
    assert not is_known(made)


READ, WRITE, SEND = (Place("a.py", name) for name in ("read", "write", "send"))
TOLD = [Row(1, (), (READ,)), Row(2, ("cycles/N/spec.json",), (WRITE,)), Row(3, ("Tick on ticks",), (SEND,))]
HAPPENED = [
    Step(READ),
    Step(WRITE),
    Step(None, "cycles/000012/spec.json", frozenset({WRITE})),
    Step(SEND),
    Step(None, "Tick on ticks", frozenset({SEND})),
]


def test_what_is_as_it_is_told_has_no_differences() -> None:
    again = Step(None, "cycles/000012/spec.json", frozenset({WRITE}))
    assert differences(TOLD, HAPPENED) == []
    assert differences(TOLD, [*HAPPENED[:3], again, *HAPPENED[3:]]) == []


@pytest.mark.parametrize(
    ("happened", "found"),
    [
        (HAPPENED[1:], "1: a.py::read is not called here"),
        ([HAPPENED[1], HAPPENED[0], Step(None, "cycles/000012/spec.json"), *HAPPENED[3:]], "2: a.py::write is not called here"),
        (HAPPENED[:-1], "expected Tick on ticks, found nothing more"),
        ([*HAPPENED, Step(None, "cycles/head.json", frozenset({SEND}))], "expected nothing more, found cycles/head.json"),
        ([*HAPPENED[3:], *HAPPENED[:3]], "expected cycles/N/spec.json, found Tick on ticks"),
        ([*HAPPENED[:2], Step(None, "cycles/000012/spec.json", frozenset({READ})), *HAPPENED[3:]], "2: cycles/N/spec.json is made by none"),
    ],
)
def test_what_is_not_as_it_is_told_is_found(happened: list[Step], found: str) -> None:
    problems = differences(TOLD, happened)
    assert any(problem.startswith(found) for problem in problems), problems
