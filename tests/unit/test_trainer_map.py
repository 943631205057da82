"""The trainer's map is true: the docstring of each package names every file and package in it once, and nothing else."""

import ast
import inspect
import re
from pathlib import Path

import pytest

TRAINER = Path(__file__).parent.parent.parent / "trainer"
PACKAGES = [TRAINER, *sorted(path.parent for path in TRAINER.glob("*/__init__.py"))]


def named(package: Path) -> list[str]:
    """Return what the docstring lists, in its order; a line is a name, two spaces or more, and what it is for."""
    docstring = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8"))) or ""
    return re.findall(r"^    (\w+(?:\.py|/))  +\S", inspect.cleandoc(docstring), re.MULTILINE)


def held(package: Path) -> list[str]:
    files = [path.name for path in package.glob("*.py") if path.name != "__init__.py"]
    return sorted(files + [f"{path.parent.name}/" for path in package.glob("*/__init__.py")])


@pytest.mark.parametrize("package", PACKAGES, ids=lambda package: package.name)
def test_a_package_names_all_that_is_in_it_and_nothing_else(package: Path) -> None:
    assert sorted(named(package)) == held(package)


def test_no_module_stands_outside_of_a_package() -> None:
    folders = {path.parent for path in TRAINER.rglob("*.py")}
    assert sorted(folders) == sorted(PACKAGES)
    assert len(PACKAGES) == 9
