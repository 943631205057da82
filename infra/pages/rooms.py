"""`docs/architecture/rooms.md`: for each file what it is for, and for each folder what it may touch."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
FOLDERS = {
    "shared": "What all parts agree on. Imports nothing of ours; no torch. Modules marked [io] touch the outside, the others are pure.",
    "shared/client/retune_client": "What a production STT service installs: a package of its own, which imports nothing of ours.",
    "functions": "Cloud Functions. Import `shared`; no torch, no `trainer`, no `infra`.",
    "trainer": "The GPU container. Imports `shared`; no `functions`, no `infra`. The only place with torch.",
    "infra": "Where it runs, and the command line. May import everything.",
}
APART = ("shared/testing", "shared/client", "infra/tests")
INTRODUCTION = """\
# Map of rooms

For each file what it is for, in the first words of its own docstring; for each folder what it may touch (`make lint` holds it). Made by
`make pages`; a test keeps it true. A file that is hard to describe here has two subjects: part it.
"""


def pages() -> dict[str, str]:
    """Return the text of the page by its path in docs/."""
    parts = [INTRODUCTION]
    for folder, rule in FOLDERS.items():
        parts += [f"## {folder}/", "", rule, ""]
        for name, files in _rooms(ROOT / folder):
            parts += [f"### {name}/", ""] if name != folder else []
            parts += ["| file | what it is for |", "|---|---|", *(f"| `{path.name}` | {_cell(purpose(path))} |" for path in files), ""]
    return {"architecture/rooms.md": "\n".join(parts)}


def _rooms(top: Path) -> Iterator[tuple[str, list[Path]]]:
    """Yield each folder under `top` that holds code, with its files that say something."""
    for folder in sorted({path.parent for path in top.rglob("*.py")}):
        name = folder.relative_to(ROOT).as_posix()
        told_elsewhere = any(name.startswith(other) and not top.as_posix().startswith((ROOT / other).as_posix()) for other in APART)
        files = [path for path in sorted(folder.glob("*.py")) if purpose(path)]
        if files and not told_elsewhere and "build" not in folder.relative_to(ROOT).parts:
            yield name, files


@cache
def purpose(path: Path) -> str:
    """Return the first sentence of a module's docstring; empty where it has none."""
    text = " ".join((ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n\n")[0].split())
    return re.split(r"(?<=[.])\s(?=[A-Z`])", text)[0]


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")
