"""Mutants are made, planted and judged as they should be, and nothing passes for explained that is not."""

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from threading import Event
from types import ModuleType

import pytest

from tests.mutants import session
from tests.mutants.explained import EXPLAINED, read_explained, verdict
from tests.mutants.session import ROOT, Mutant, in_forks, plant, survivors
from tests.mutants.table import TABLE, rows

TINY = """
from functools import cache


def larger(a, b):
    return a if a > b else b


@cache
def double(a):
    return a * 2


class Box:
    def __init__(self, size):
        self.size = size

    @property
    def full(self):
        return self.size > 3


def alone():
    return 1
"""
TESTS = """
from tiny import Box, double, larger


def test_the_larger_one():
    assert [larger(1, 2), larger(2, 1), larger(2, 2)] == [2, 2, 2]


def test_double():
    assert double(3) == 6


def test_full_from_four_on():
    assert Box(4).full and not Box(3).full
"""


def write(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def judged(root: Path, mutants: Sequence[Mutant]) -> list[str]:
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as fresh:
        return [each.change for each in fresh.submit(survivors, "tiny.py", ("test_tiny.py",), mutants, 2, root).result()]


def test_a_mutant_survives_where_no_test_fails_whatever_holds_its_function(tmp_path: Path) -> None:
    write(tmp_path, tiny=TINY, test_tiny=TESTS)
    killed = [
        Mutant("larger", "killed", "def larger(a, b):\n    return a if a < b else b"),
        Mutant("double", "in a cache", "def double(a):\n    return a * 3"),
        Mutant("Box.full", "in a property", "def full(self):\n    return self.size >= 3"),
        Mutant("Box.__init__", "raises", "def __init__(self, size):\n    self.size = None"),
    ]
    alike = [
        Mutant("larger", "alike", "def larger(a, b):\n    return a if a >= b else b"),
        Mutant("alone", "no test calls it", "def alone():\n    return 2"),
    ]
    assert judged(tmp_path, [*killed[:2], *alike, *killed[2:]]) == ["alike", "no test calls it"]


def test_tests_that_fail_on_the_code_as_it_is_judge_nothing(tmp_path: Path) -> None:
    write(tmp_path, tiny=TINY.replace("a * 2", "a * 4"), test_tiny=TESTS)
    with pytest.raises(RuntimeError, match=r"tiny\.py: expected tests that pass on the code as it is, found:(.|\n)*test_double"):
        judged(tmp_path, [])


def test_a_planted_mutant_has_its_code_and_its_defaults_in_every_copy() -> None:
    module = ModuleType("tiny")
    exec("ONE = 1\n\ndef add(a, b=ONE, *, c=0):\n    return a + b + c", vars(module))
    held = module.add
    plant(Mutant("add", "", "def add(a, b=ONE + 1, *, c=10):\n    return a - b + c"), vars(module), [held])
    assert held(5) == 5 - 2 + 10
    with pytest.raises(RuntimeError, match="gone: expected the function in the imported module, found none"):
        plant(Mutant("gone", "", "def gone(): pass"), vars(module), [])


def endless() -> bool:
    while True:
        pass


def test_what_dies_or_does_not_end_counts_as_killed_and_answers_keep_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "CPU_S", 1)
    monkeypatch.setattr(session, "WALL_S", 1)
    tasks = [endless, lambda: False, lambda: True, lambda: Event().wait(), lambda: False]
    assert list(in_forks([(task, 0.0) for task in tasks], 2)) == [True, False, True, True, False]


def broken() -> bool:
    raise OSError("no room")


def test_a_mutant_that_cannot_be_planted_is_not_taken_for_killed() -> None:
    with pytest.raises(RuntimeError, match="expected a mutant that can be planted"):
        list(in_forks([(broken, 1.0)], 1))


def test_every_survivor_is_explained_and_every_explained_one_survives() -> None:
    found = verdict(5, ["f: a -> b", "f: a -> b", "f: c -> d"], ["f: a -> b", "g: e -> f"])
    assert (found.mutants, found.killed, found.explained) == (5, 2, 2)
    assert (found.unexplained, found.stale, found.good) == (("f: c -> d",), ("g: e -> f",), False)
    assert verdict(5, ["f: a -> b"], ["f: a -> b"]).good
    assert not verdict(5, [], ["f: a -> b"]).good
    assert not verdict(5, ["f: a -> b"], []).good


ENTRY = '[[explained]]\nmodule = "{}"\nfunction = "f"\nwhy = "{}"\nchanges = [{}]\n'


def test_an_explanation_names_a_mutated_module_a_reason_and_each_mutant_once() -> None:
    assert read_explained(ENTRY.format("m.py", "alike", "'a -> b'"), ["m.py", "n.py"]) == {"m.py": ("f: a -> b",), "n.py": ()}
    with pytest.raises(ValueError, match=r"expected one of the mutated modules, found x\.py"):
        read_explained(ENTRY.format("x.py", "alike", "'a -> b'"), ["m.py"])
    with pytest.raises(ValueError, match="expected why the mutants of f survive, found nothing"):
        read_explained(ENTRY.format("m.py", " ", "'a -> b'"), ["m.py"])
    with pytest.raises(ValueError, match="expected each mutant once, found twice: f: a -> b"):
        read_explained(ENTRY.format("m.py", "alike", "'a -> b', 'a -> b'"), ["m.py"])


def test_what_is_explained_today_can_be_read() -> None:
    read_explained(EXPLAINED.read_text(encoding="utf-8"), rows(ROOT, TABLE))


def test_a_module_gets_the_tests_that_concern_it(tmp_path: Path) -> None:
    write(tmp_path, a__one="", a__two="", b__x="", t__test_a="", t__test_a_more="", t__test_x="")
    table = {"a/*.py": ("t/test_a*.py", "t/test_a.py"), "b/x.py": ("t/test_x.py", "-k not slow")}
    expected = {
        "a/one.py": ("t/test_a.py", "t/test_a_more.py"),
        "a/two.py": ("t/test_a.py", "t/test_a_more.py"),
        "b/x.py": ("t/test_x.py", "-k not slow"),
    }
    assert rows(tmp_path, table) == expected
    assert list(rows(tmp_path, table, ["b/*.py", "a/two.py"])) == ["a/two.py", "b/x.py"]
    with pytest.raises(ValueError, match=r"c\.py: expected some of a/one\.py, .*, found none of them"):
        rows(tmp_path, table, ["c.py"])
    with pytest.raises(ValueError, match=r"t/test_no\.py: expected a file, found none"):
        rows(tmp_path, {"b/x.py": ("t/test_no.py",)})


def changes(source: str) -> list[str]:
    pytest.importorskip("mutmut", reason="the extra `mutants` is not installed")
    from tests.mutants.changes import mutants_of

    return [str(each) for each in mutants_of(source)]


def test_conditions_numbers_and_arguments_are_changed_and_texts_are_not() -> None:
    source = 'def f(a: int = 1) -> str:\n    """Two."""\n    return g(a > 2, "three")\n'
    assert changes(source) == [
        "f: def f(a: int = 1) -> str: -> def f(a: int = 2) -> str:",
        'f: return g(a > 2, "three") -> return g(None, "three")',
        'f: return g(a > 2, "three") -> return g(a > 2, None)',
        'f: return g(a > 2, "three") -> return g("three")',
        'f: return g(a > 2, "three") -> return g(a > 2, )',
        'f: return g(a > 2, "three") -> return g(a >= 2, "three")',
        'f: return g(a > 2, "three") -> return g(a > 3, "three")',
    ]


def test_what_always_holds_is_not_loosened() -> None:
    source = "def f(a, b):\n    return zip(a, b, strict=True)\n"
    assert [each for each in changes(source) if "strict=True)" not in each.split(" -> ")[1]] == []
    assert len(changes(source)) == 4


def test_methods_are_changed_below_their_decorators_and_what_runs_at_the_import_is_not() -> None:
    source = "LIMIT = 1\n\nclass A:\n    size: int = 2\n\n    class B:\n        @decorated(3)\n        def f(self):\n            return not self.x\n"
    assert changes(source) == ["A.B.f: return not self.x -> return self.x"]
