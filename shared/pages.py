"""HTML pages that need nothing else, made of templates."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

Filters = Mapping[str, Callable[[Any], str]]


def render_page(template: Path, filters: Filters, **values: Any) -> str:
    """Return the page that a template makes of `values`; all text in it is escaped, and a name that is not there is an error."""
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(filters)
    return environment.get_template(template.name).render(**values)
