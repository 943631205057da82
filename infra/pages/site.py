"""A hook of MkDocs: what a page names outside of docs/ is a file of the repository, not of the site, and stands there by its path."""

import re
from pathlib import PurePosixPath
from typing import Any

_LINK = re.compile(r"\[([^\]]+)\]\(((?:\.\./)+[^)#]+)(?:#[^)]*)?\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Return a page whose links out of docs/ are paths; called by MkDocs for each."""
    return with_paths(markdown, page.file.src_uri)


def with_paths(markdown: str, source: str) -> str:
    """Replace links that leave docs/ by their text and the path from the repository's root.

    Args:
        markdown: of the page.
        source: the page's own path in docs/.
    """
    folders = PurePosixPath(source).parent.parts

    def replaced(link: re.Match[str]) -> str:
        path = PurePosixPath(link[2])
        up = sum(part == ".." for part in path.parts)
        if up <= len(folders):
            return link[0]
        target = "/".join(part for part in path.parts if part != "..")
        return f"`{target}`" if link[1].strip("`").removeprefix("../") in target else f"{link[1]} (`{target}`)"

    return _LINK.sub(replaced, markdown)
