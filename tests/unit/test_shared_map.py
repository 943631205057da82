"""The map of `shared/` in its docstring: every module stands under one subject, once, and [io] says who touches the outside."""

import re

import shared
from infra.pages.rooms import ROOT, purpose

FOLDER = ROOT / "shared"
LINES = re.findall(r"^    (\w+) +(\S.*)$", shared.__doc__ or "", re.MULTILINE)


def test_the_map_of_shared_names_each_module_once() -> None:
    modules = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
    assert sorted(name for name, _ in LINES) == modules


def test_the_map_and_the_modules_agree_on_who_touches_the_outside() -> None:
    told = {name for name, what in LINES if what.endswith("[io]")}
    assert told == {path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__" and "[io]" in purpose(path)}
