"""tests/README.md names every folder, helper and file of tests/unit once, says of a file what it says of itself, and is the order of a run."""

import ast
from collections import Counter
from pathlib import Path

import pytest

from tests.reading_order import README, TESTS, place, told

HELPERS, UNIT = sorted(TESTS.glob("*.py")), sorted((TESTS / "unit").glob("test_*.py"))
FOLDERS = sorted({path.parent for path in TESTS.glob("*/test_*.py")})


def line_of(path: Path) -> str:
    purpose = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n")[0]
    return f"- [{path.stem.removeprefix('test_')}]({path.relative_to(TESTS).as_posix()}): {purpose}"


def test_every_folder_helper_and_unit_test_is_told_once() -> None:
    assert Counter(told()) == Counter([*FOLDERS, *HELPERS, *UNIT])


@pytest.mark.parametrize("path", [*HELPERS, *UNIT], ids=lambda path: path.stem)
def test_a_file_is_told_as_it_tells_of_itself(path: Path) -> None:
    assert line_of(path) in README.read_text(encoding="utf-8").splitlines()


def test_this_run_goes_as_it_is_told(request: pytest.FixtureRequest) -> None:
    paths = [item.path for item in request.session.items]
    assert paths == sorted(paths, key=place)


def test_what_is_not_told_runs_last_in_its_folder() -> None:
    wanted = ["unit/test_ledger.py", "unit/test_policy.py", "unit/test_rollback.py", "contract/test_bus.py", "e2e/test_loop.py"]
    paths = [TESTS / name for name in wanted]
    assert sorted({*paths}, key=place) == paths
