"""Docstrings tell of the arguments that there are: all of them, and no others. That there is a docstring at all, ruff sees to."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
FILES = [
    path
    for folder in ("functions", "infra", "shared", "trainer")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if "build" not in path.relative_to(ROOT).parts
]


def told(docstring: str) -> list[str] | None:
    """Return the names that stand under `Args:`; None = there is no such section."""
    section = re.search(r"^Args:\n((?:    .*\n|\n)+)", docstring + "\n", re.MULTILINE)
    if section is None:
        return None
    entries = re.findall(r"^    (\**\w[\w, *]*):(?: |$)", section[1], re.MULTILINE)
    return [name.strip(" *") for entry in entries for name in entry.split(",")]


def taken(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Return what a caller passes."""
    given = function.args
    every = [*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg]
    return [each.arg for each in every if each is not None and each.arg not in {"self", "cls"}]


def documented(tree: ast.Module) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield each function, and each class that is made by its own `__init__`, with what its docstring tells and what it takes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            made_by: ast.FunctionDef | ast.AsyncFunctionDef | None = node
        elif isinstance(node, ast.ClassDef):
            made_by = next((each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), None)
        else:
            continue
        names = told(inspect.cleandoc(ast.get_docstring(node) or ""))
        if names is not None and made_by is not None:
            yield node.name, names, taken(made_by)


def test_a_section_of_arguments_is_read() -> None:
    text = 'def add(a: int, *more: int, b: int = 0) -> int:\n    """Add.\n\n    Args:\n        a, b: numbers,\n            both: small.\n        *more: others.\n\n    Raises:\n        E: no.\n    """\n'
    assert list(documented(ast.parse(text))) == [("add", ["a", "b", "more"], ["a", "b", "more"])]


def test_docstrings_name_the_arguments_that_there_are() -> None:
    untrue = [
        f"{path.relative_to(ROOT)}: {name} tells of {names}, takes {arguments}"
        for path in FILES
        for name, names, arguments in documented(ast.parse(path.read_text(encoding="utf-8")))
        if sorted(names) != sorted(arguments)
    ]
    assert untrue == []
