"""docs/dependencies.md names what pyproject.toml asks for, no more and no less, and tells truly who imports it."""

import ast
import json
import re
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
FOLDERS = ("functions", "infra", "shared", "trainer", "tests", "docs")
OURS = {"functions", "infra", "shared", "trainer", "tests", "retune_client", "speech"}
"""`speech` is a neighbour of the client's examples, which are run as scripts."""


@dataclass(frozen=True)
class Line:
    package: str
    found_as: str
    users: frozenset[str]
    rest: tuple[str, ...]
    heading: str

    @property
    def modules(self) -> tuple[str, ...]:
        return tuple(re.findall(r"`([^`]+)`", self.found_as)) if re.fullmatch(r"`[^`]+`(, `[^`]+`)*", self.found_as) else ()


def lines(text: str) -> Iterator[Line]:
    heading = ""
    for line in text.splitlines():
        if line.startswith("## "):
            heading = line[3:]
        elif line.startswith("| ") and not line.startswith("| package"):
            package, found_as, used_by, *rest = [cell.strip() for cell in line.strip("|").split("|")]
            yield Line(package, found_as, frozenset(used_by.split(", ")) - {"-"}, tuple(rest), heading)


LINES = list(lines(PAGE))
BROUGHT = [line for line in LINES if line.heading == "Brought by another"]
ASKED = [line for line in LINES if line.heading != "Brought by another"]


def asked_for() -> dict[str, list[str]]:
    """Each list of pyproject.toml by the name of its extra; the empty name is what is always installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    groups = {"": project["dependencies"], **project["optional-dependencies"]}
    return {name: [canonicalize_name(Requirement(text).name) for text in texts] for name, texts in groups.items()}


def code(folder: str) -> Iterator[tuple[str, str]]:
    """Each piece of Python below a folder with the name of its user; of a notebook, all its cells together."""
    for path in sorted((ROOT / folder).rglob("*")):
        if "build" in path.parts or path.suffix not in {".py", ".ipynb"}:
            continue
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            text = "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code")
        yield "client" if path.is_relative_to(ROOT / "shared" / "client") else folder, text


@cache
def importers() -> dict[str, set[str]]:
    """Who imports each module, its parents included: `google.cloud.storage` is also `google.cloud`."""
    found: dict[str, set[str]] = defaultdict(set)
    for folder in FOLDERS:
        for user, text in code(folder):
            for node in ast.walk(ast.parse(text)):
                names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
                if isinstance(node, ast.ImportFrom) and node.module:
                    names = [f"{node.module}.{each.name}" for each in node.names]
                for name in names:
                    parts = name.split(".")
                    for length in range(1, len(parts) + 1):
                        found[".".join(parts[:length])].add(user)
    return found


def test_every_dependency_is_on_the_page_once_and_nothing_else_is() -> None:
    asked = {name for group in asked_for().values() for name in group}
    named = [canonicalize_name(line.package) for line in ASKED]
    assert sorted(named) == sorted(asked)


def test_each_stands_under_an_extra_that_asks_for_it() -> None:
    groups = asked_for()
    for line in ASKED:
        extras = re.findall(r"`(\w+)`", line.heading) or [""]
        assert any(canonicalize_name(line.package) in groups[extra] for extra in extras), line.package


def test_every_line_says_what_for_why_and_under_which_license() -> None:
    assert [line.package for line in ASKED if len(line.rest) != 3 or not all(line.rest)] == []


def test_what_is_imported_is_imported_by_those_who_are_named() -> None:
    told = {line.package: line.users for line in LINES if line.modules}
    found = {line.package: frozenset[str]().union(*(importers()[module] for module in line.modules)) for line in LINES if line.modules}
    assert told == found


def test_what_is_not_imported_is_named_where_it_is_used() -> None:
    for line in (each for each in LINES if not each.modules):
        if tool := re.fullmatch(r"`([^`]+)` in `([^`]+)`", line.found_as):
            assert tool[1] in (ROOT / tool[2]).read_text(encoding="utf-8"), line.package
        else:
            typed = re.fullmatch(r"types of `(\w+)`", line.found_as)
            assert typed is not None, line.package
            assert typed[1] in importers(), line.package


def test_everything_that_is_imported_is_on_the_page() -> None:
    known = {module for line in LINES for module in line.modules}
    top = {name for name in importers() if "." not in name} - sys.stdlib_module_names - OURS
    assert {name for name in top if not any(module.split(".")[0] == name for module in known)} == set()


def test_constraints_pin_every_package_of_the_page() -> None:
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {canonicalize_name(Requirement(line).name) for line in pins}
    assert {line.package for line in LINES if canonicalize_name(line.package) not in pinned} == set()


@pytest.mark.parametrize("line", BROUGHT, ids=lambda line: line.package)
def test_what_another_brings_is_required_by_it(line: Line) -> None:
    (by,) = line.rest
    assert canonicalize_name(by) in {canonicalize_name(each.package) for each in ASKED}
    try:
        requires = metadata.requires(by) or []
    except metadata.PackageNotFoundError:
        pytest.skip(f"{by} is not installed")
    assert canonicalize_name(line.package) in {canonicalize_name(Requirement(text).name) for text in requires}
