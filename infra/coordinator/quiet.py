"""The functions' log lines in a file beside the data: in a notebook they would drown what a person wants to see."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")


@contextmanager
def logging_to(path: Path) -> Iterator[None]:
    """Append to a file what is printed meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as log, redirect_stdout(log):
        yield


def aloud(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Return a person's function as one that prints to where output goes now, also while log lines go into a file."""
    out = sys.stdout

    def call(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        with redirect_stdout(out):
            return function(*args, **kwargs)

    return call
