"""Where commands print: text from outside is text there, never markup, never a control sequence [io]."""

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from shared.visible import visible
from shared.wording import PIPE_COLUMNS


class TextConsole(Console):
    """As wide as the terminal, or `PIPE_COLUMNS` in a pipe; nothing in it is markup, and what a terminal would obey is shown instead.

    Cleaned are strings and `Text` before they are laid out, and once more whatever comes out.
    """

    def __init__(self, **settings: Any) -> None:
        """Take the settings of `rich.console.Console`."""
        given = {"width": None if sys.stdout.isatty() else PIPE_COLUMNS, **settings}
        super().__init__(**{**given, "markup": False, "emoji": False})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments of something, cleaned."""
        for segment in super().render(_cleaned(renderable), options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def _cleaned(renderable: RenderableType) -> RenderableType:
    if isinstance(renderable, str):
        return visible(renderable)
    if isinstance(renderable, Text):
        text = renderable.copy()
        text.plain = visible(renderable.plain)
        return text
    return renderable


def say(text: object, *, err: bool = False) -> None:
    """Print a line or some, as they are but for what a terminal would obey."""
    print(visible(str(text)), file=sys.stderr if err else sys.stdout, flush=True)
