"""What `docs/architecture/journeys.md` tells, and where that is not what is there or what happens."""

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from infra.pages.reference import OBJECTS
from shared import keys
from shared.cycle import Status
from shared.events import TOPIC_OF
from tests.recorder import ROOT, Place, Step

PAGE = (ROOT / "docs/architecture/journeys.md").read_text(encoding="utf-8")
CODE = re.compile(r"`([^`]+)`")
_PLACE = re.compile(r"([\w/.]+\.py)::([\w.]+)")
_MADE = re.compile(r"`(\w+)` on `([\w-]+)`|`([^`]+)`(?: `(\w+)`)?")
_NAME = re.compile(r"([A-Z][A-Z0-9]*(?![a-z]))")
"""Stands for any name or number in a key."""
_EXAMPLES = {"N": "000012", "SEQ": "00000007", "DAY": "2026-01-05"}
_KEYS = (*(stored.key for stored in OBJECTS), keys.model(12))


class Row(NamedTuple):
    """A step as the page tells it: what is made in it, and by which functions."""

    number: int
    made: tuple[str, ...]
    places: tuple[Place, ...]


def tables(text: str) -> list[list[Row]]:
    """Return the rows of a text's tables."""
    found: list[list[Row]] = []
    for before, line in pairwise(["", *text.splitlines()]):
        if line.startswith("|---"):
            found.append([])
        elif line.startswith("| ") and before.startswith("|"):
            _, number, _, made, places, _ = (cell.strip() for cell in line.split("|"))
            found[-1].append(Row(int(number), tuple(_made(made)), tuple(Place(*each) for each in _PLACE.findall(places))))
    return found


def _made(cell: str) -> Iterator[str]:
    for event, topic, key, status in _MADE.findall(cell):
        yield f"{event} on {topic}" if event else f"{key} {status}".strip()


def missing(text: str) -> list[str]:
    """Return what a text names as `file::function` and is not there."""
    named = [Place(*match.groups()) for code in CODE.findall(text) if (match := _PLACE.fullmatch(code))]
    absent = (each for each in named if not (ROOT / each.path).is_file() or each.name not in _defined_in(each.path))
    return [f"{each.path}::{each.name}" for each in absent]


@cache
def _defined_in(path: str) -> frozenset[str]:
    """Return the functions of a file, its methods as `Class.method`."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    own = {node.name for node in tree.body if isinstance(node, functions)}
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return frozenset(own | {f"{each.name}.{node.name}" for each in classes for node in each.body if isinstance(node, functions)})


def is_known(made: str) -> bool:
    """Tell whether what is made is an event on its topic, or an object that there is; a state comes with its status."""
    event, on, topic = made.partition(" on ")
    if on:
        return TOPIC_OF.get(event) == topic
    key, _, status = made.partition(" ")
    if (status in set(Status)) != (key == "cycles/N/state.json"):
        return False
    example = _NAME.sub(lambda name: _EXAMPLES.get(name[0], name[0]), key)
    return any(re.fullmatch(_pattern(each), example) or (each.endswith("/") and example.startswith(each)) for each in _KEYS)


def _pattern(key: str) -> str:
    """Return the regular expression of the keys that a key with names in capitals stands for."""
    return "".join("[^/ ]+" if _NAME.fullmatch(part) else re.escape(part) for part in _NAME.split(key))


def differences(rows: Sequence[Row], steps: Sequence[Step]) -> list[str]:
    """Return where what happened is not what the rows tell; nothing = it is, and nothing else was made, nor in another order.

    What is made several times on end is told once. The functions of a row are called after those of the row before, in their order and
    before anything is made that a later row tells; or they are at work still when that is made which their own row tells.
    """
    told = [made for row in rows for made in row.made]
    found = _matched(told, steps)
    if isinstance(found, str):
        return [found]
    problems = []
    position = index = 0
    for row in rows:
        groups = found[index : index + len(row.made)]
        index += len(row.made)
        ends = found[index][0] if index < len(found) else len(steps)
        at_work = frozenset[Place]().union(*(steps[place].callers for group in groups for place in group))
        for made, group in zip(row.made, groups, strict=True):
            if not all(steps[place].callers.intersection(row.places) for place in group):
                problems.append(f"{row.number}: {made} is made by none of its functions")
        for each in row.places:
            called = next((place for place in range(position, ends) if steps[place].called == each), None)
            if called is not None:
                position = called
            elif each not in at_work:
                problems.append(f"{row.number}: {each.path}::{each.name} is not called here")
        position = max([position, *(group[-1] for group in groups)])
    return problems


def _matched(told: Sequence[str], steps: Sequence[Step]) -> list[list[int]] | str:
    """Return the steps in which each told thing was made; a text says where they part."""
    found: list[list[int]] = []
    for place, step in enumerate(steps):
        if step.made is None:
            continue
        if len(found) < len(told) and re.fullmatch(_pattern(told[len(found)]), step.made):
            found.append([place])
        elif found and re.fullmatch(_pattern(told[len(found) - 1]), step.made):
            found[-1].append(place)
        else:
            return f"expected {told[len(found)] if len(found) < len(told) else 'nothing more'}, found {step.made}"
    return found if len(found) == len(told) else f"expected {told[len(found)]}, found nothing more"
