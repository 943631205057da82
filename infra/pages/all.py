"""All pages that are made from the code, and which files of docs/ are such."""

from collections.abc import Iterator
from pathlib import Path

from infra.pages import commands, reference, rooms

DOCS = Path(__file__).parent.parent.parent / "docs"
FOLDERS = ("commands", "reference")
"""Folders of which every page is made."""


def all_pages() -> dict[str, str]:
    """Return the text of each page by its path in docs/."""
    return {**commands.pages(), **reference.pages(), **rooms.pages()}


def owned(docs: Path) -> Iterator[Path]:
    """Yield the pages that are there and may be nobody else's."""
    for folder in FOLDERS:
        yield from docs.joinpath(folder).glob("*.md")
