"""A document's fields as a table: types and bounds from its JSON Schema, meanings from the docstrings of its class and its bases. Pure."""

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

_BOUNDS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {}",
    "maxItems": "at most {}",
}


def field_table(cls: type[BaseModel]) -> list[str]:
    """Return the lines of a Markdown table of a document's fields."""
    schema = cls.model_json_schema()
    told, required = meanings(cls), set(schema.get("required", ()))
    lines = ["| field | type | meaning |", "|---|---|---|"]
    for name, field in schema.get("properties", {}).items():
        if name == "type":
            continue  # the heading says it
        mark = "" if name in required else default_of(field)
        lines.append(f"| `{name}` | {type_of(field, schema)}{mark} | {cell(told.get(name, ''))} |")
    return lines


def meanings(cls: type[BaseModel]) -> dict[str, str]:
    """Return what the docstrings say of each field; a class's own word goes before that of its bases."""
    found: dict[str, str] = {}
    for each in reversed(cls.__mro__):
        found.update(_attributes(inspect.cleandoc(each.__doc__ or "") if issubclass(each, BaseModel) else ""))
    return found


def _attributes(docstring: str) -> Iterator[tuple[str, str]]:
    section = re.search(r"^Attributes:\n((?:    .*\n?|\n)+)", docstring, re.MULTILINE)
    entries = re.split(r"^    (?=\w)", section[1], flags=re.MULTILINE) if section else []
    for entry in entries:
        names, colon, text = entry.partition(":")
        if colon:
            for name in names.split(","):
                yield name.strip(), " ".join(text.split())


def summary(cls: type[BaseModel]) -> str:
    """Return the first paragraph of a class's docstring."""
    return " ".join(inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].split())


def type_of(field: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    """Return a field's type in words, with its bounds."""
    if "anyOf" in field:
        return " or ".join(type_of(each, schema) for each in field["anyOf"])
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        target = schema["$defs"][name]
        return type_of(target, schema) if "enum" in target else f"`{name}`"
    if "const" in field:
        return f"`{field['const']}`"
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    bounds = [words.format(_plain(field[key])) for key, words in _BOUNDS.items() if key in field]
    return " ".join([_kind(field, schema), f"({', '.join(bounds)})" if bounds else ""]).strip()


def _kind(field: Mapping[str, Any], schema: Mapping[str, Any]) -> str:
    if field.get("type") == "array" and "items" in field:
        return f"list of {type_of(field['items'], schema)}"
    if field.get("type") == "object" and isinstance(field.get("additionalProperties"), Mapping):
        return f"object of {type_of(field['additionalProperties'], schema)}"
    if field.get("format") == "date-time":
        return "time with its zone"
    return str(field.get("type", "any value"))


def default_of(field: Mapping[str, Any]) -> str:
    """Return what stands where a field is left out."""
    default = field.get("default")
    return ", optional" if default in (None, [], {}) else f", default `{_plain(default)}`"


def cell(text: str) -> str:
    """Return text as it stands in a table's cell."""
    return text.replace("|", "\\|").replace("<", "&lt;")


def _plain(value: object) -> str:
    return f"{value:.15g}" if isinstance(value, float) else str(value)
