"""docs/reliability.md names a test for each promise, and every test that it names is there."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/reliability.md"
_CODE = re.compile(r"`([^`]+)`")
_FILE = re.compile(r"((?:[\w.]+/)*test_\w+\.py)(?:::(\w+))?")
_BARE = re.compile(r"test_\w+")


@cache
def defined_in(path: Path) -> frozenset[str]:
    nodes = ast.walk(ast.parse(path.read_text()))
    return frozenset(node.name for node in nodes if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"))


def found(name: str) -> Path:
    """Return the file of this name: from the root of the repository, or the only one of its name below tests/."""
    if "/" in name:
        assert (ROOT / name).is_file(), f"{name}: expected a file, found none"
        return ROOT / name
    (path,) = (ROOT / "tests").rglob(name)
    return path


def named(line: str) -> Iterator[tuple[Path, str | None]]:
    """Yield the tests that a line names; a test without a file stands in the file before it."""
    path: Path | None = None
    for code in _CODE.findall(line):
        if match := _FILE.fullmatch(code):
            path = found(match[1])
            yield path, match[2]
        elif _BARE.fullmatch(code):
            assert path is not None, f"{code}: expected a file before it on its line"
            yield path, code


def rows() -> list[str]:
    return [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and not line.startswith(("| Promise ", "| Trace "))]


def missing(line: str) -> list[str]:
    return [f"{path.relative_to(ROOT)}::{test}" for path, test in named(line) if test is not None and test not in defined_in(path)]


def test_every_test_that_is_named_is_there() -> None:
    lines = PAGE.read_text().splitlines()
    assert [name for line in lines for name in missing(line)] == []
    assert sum(1 for line in lines for _ in named(line)) > 100


def test_every_promise_has_its_test() -> None:
    assert [row for row in rows() if not list(named(row))] == []


def test_each_of_the_sixteen_traces_is_named() -> None:
    traces = PAGE.read_text().partition("## Traces")[2].partition("\n## ")[0]
    assert [int(number) for number in dict.fromkeys(re.findall(r"^\| (\d+)\. ", traces, re.MULTILINE))] == list(range(1, 17))


def test_a_test_that_is_not_there_is_found() -> None:
    assert missing("| p | `tests/unit/test_cas.py::test_find_returns_nothing`, `test_absent` |") == [
        "tests/unit/test_cas.py::test_find_returns_nothing",
        "tests/unit/test_cas.py::test_absent",
    ]
    with pytest.raises(AssertionError, match="expected a file, found none"):
        missing("| p | `tests/unit/test_absent.py::test_x` |")
