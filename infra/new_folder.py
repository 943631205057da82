"""A folder that a command makes: all of it, or nothing [io]."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.errors import Refused


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Yield a draft of a folder, which exists already; it takes the folder's name if nothing fails, and goes if something does.

    Raises:
        Refused: the folder holds something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Refused(f"export to {folder}: expected a folder that does not exist yet or is empty, found something there; name another")
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    draft.mkdir(parents=True, exist_ok=True)
    try:
        yield draft
        if folder.exists():
            folder.rmdir()
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
