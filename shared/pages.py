"""HTML pages that need nothing else, made of templates."""

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

Filter = Callable[[Any], object]
Filters = Mapping[str, Filter]


def render_page(template: Path, filters: Filters, **values: Any) -> str:
    """Return the page that a template makes of `values`; all text in it is escaped, and a name that is not there is an error."""
    return _compiled(template, tuple(filters.items())).render(**values)


@cache
def _compiled(template: Path, filters: tuple[tuple[str, Filter], ...]) -> Template:
    """Compile a template once a process: it takes many times as long as to render it."""
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment.get_template(template.name)
