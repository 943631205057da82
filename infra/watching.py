"""Looks at something again and again, and shows it anew: in place on a terminal, once for each change in a pipe."""

import sys
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from pydantic import BaseModel
from rich.console import Console, RenderableType
from rich.live import Live

from infra.terminal import console, print_json

View = TypeVar("View", bound=BaseModel)
EVERY_S = 2.0


def looks(look: Callable[[], View], *, every_s: float, pause: Callable[[float], None] = time.sleep) -> Iterator[View]:
    """Yield what is to be seen, at once and then every `every_s`, until Ctrl-C."""
    while True:
        yield look()
        pause(every_s)


def watch(views: Iterator[View], render: Callable[[View], RenderableType], *, same: Callable[[View], object], as_json: bool) -> None:
    """Show each view until they end or somebody presses Ctrl-C.

    Args:
        views: what is to be seen, time after time.
        render: makes a view readable.
        same: what two views have in common between which nothing happened; elsewhere than on a terminal only changes are printed.
        as_json: one JSON document a line, for each change.
    """
    try:
        if as_json:
            for view in _changes(views, same):
                print_json(view.model_dump(mode="json"))
        elif sys.stdout.isatty():
            _in_place(console(), views, render)
        else:
            for view in _changes(views, same):
                console().print(render(view))
                sys.stdout.flush()
    except KeyboardInterrupt:
        return


def _in_place(screen: Console, views: Iterator[View], render: Callable[[View], RenderableType]) -> None:
    with Live(console=screen, auto_refresh=False, vertical_overflow="crop") as live:
        for view in views:
            live.update(render(view), refresh=True)


def _changes(views: Iterator[View], same: Callable[[View], object]) -> Iterator[View]:
    before: object = None
    for view in views:
        if (now := same(view)) != before:
            before = now
            yield view
