"""The order in which `tests/README.md` tells the tests, which is the order in which they run."""

import re
from functools import cache
from pathlib import Path

TESTS = Path(__file__).parent
README = TESTS / "README.md"


@cache
def told() -> tuple[Path, ...]:
    """Return each folder and file that the page names at the beginning of a line, in its order."""
    names = re.findall(r"^(?:\| |- )\[\w+\]\(([\w/.]+)\)", README.read_text(encoding="utf-8"), re.MULTILINE)
    return tuple(TESTS / name for name in names)


def place(path: Path) -> tuple[int, int]:
    """Return the places of a test's folder and of its file; what the page does not name comes last."""
    folder = next((parent for parent in path.parents if parent.parent == TESTS), path)
    first, second = (told().index(each) if each in told() else len(told()) for each in (folder, path))
    return first, second
