"""Terraform's variable `policy`, from the classes of `shared.policy` (`make policy` writes `infra/policy.tf`).

One typed object: each field with its type, its default and its limits, so that a wrong number is refused at plan, before a function
reads it. A nullable field is null where its default is.
"""

import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from shared.policy import Policy

TARGET = Path(__file__).with_name("policy.tf")

_SCALARS = {"integer": "number", "number": "number", "string": "string", "boolean": "bool"}
_LIMITS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}

Schema = dict[str, Any]


def policy_tf() -> str:
    """Return the text of `infra/policy.tf`, as `terraform fmt` writes it."""
    schema = Policy.model_json_schema()
    definitions = schema.get("$defs", {})
    lines = [
        "# Made by `make policy` from shared/policy.py, which says what each number means.",
        "",
        'variable "policy" {',
        '  description = "The operator\'s numbers: when to train, on how much, what may be deployed without asking."',
        "  type = " + _object(schema, definitions, "  "),
        "  default = {}",
        *(line for path, field in _fields(schema, definitions, "var.policy", ()) for line in _validation(path, field, definitions)),
        "}",
    ]
    return "\n".join(lines) + "\n"


def _object(schema: Schema, definitions: Schema, indent: str) -> str:
    inner = indent + "  "
    required = schema.get("required", ())
    entries = [(name, _type(field, definitions, inner, optional=name not in required)) for name, field in schema["properties"].items()]
    # `terraform fmt` aligns neighbours of one line each; what takes several lines stands alone.
    runs = groupby(entries, key=lambda entry: "\n" in entry[1])
    lines = [line for many, run in runs for line in _aligned(list(run), inner, align=not many)]
    return "object({\n" + "".join(lines) + f"{indent}}})"


def _aligned(entries: list[tuple[str, str]], indent: str, *, align: bool) -> list[str]:
    width = max(len(name) for name, _ in entries) if align else 0
    return [f"{indent}{name:<{width}} = {text}\n" for name, text in entries]


def _type(field: Schema, definitions: Schema, indent: str, *, optional: bool) -> str:
    plain, nullable = _plain(field, definitions)
    default: Any
    if "properties" in plain:
        text, default = _object(plain, definitions, indent), {}
    else:
        text, default = _plain_type(plain, definitions, indent), field.get("default")
    if not optional:
        return text
    if nullable and field.get("default") is None:
        return f"optional({text})"
    if isinstance(default, float) and default.is_integer():
        default = int(default)
    return f"optional({text}, {json.dumps(default)})"


def _plain_type(field: Schema, definitions: Schema, indent: str) -> str:
    if "prefixItems" in field:
        return f"tuple([{', '.join(_plain_type(item, definitions, indent) for item in field['prefixItems'])}])"
    if field["type"] == "array":
        return f"list({_type(field['items'], definitions, indent, optional=False)})"
    if field["type"] == "object":
        return f"map({_type(field['additionalProperties'], definitions, indent, optional=False)})"
    return _SCALARS[field["type"]]


def _plain(field: Schema, definitions: Schema) -> tuple[Schema, bool]:
    """Return a field's schema without reference and without null, and whether it may be null."""
    choices = [choice for choice in field.get("anyOf", ()) if choice.get("type") != "null"]
    found = choices[0] if choices else field
    if "$ref" in found:
        found = definitions[found["$ref"].rsplit("/", 1)[1]]
    return found, bool(choices)


def _fields(schema: Schema, definitions: Schema, path: str, absent: tuple[str, ...]) -> Iterator[tuple[str, Schema]]:
    """Yield the path and the schema of every limited scalar and of every map, with all that may be null on the way to it."""
    for name, field in schema["properties"].items():
        plain, nullable = _plain(field, definitions)
        here = f"{path}.{name}"
        holes = (*absent, here) if nullable else absent
        if "properties" in plain:
            yield from _fields(plain, definitions, here, holes)
        elif plain.keys() & {*_LIMITS, "enum", "additionalProperties"}:
            yield here, {**plain, "holes": holes}


def _validation(path: str, field: Schema, definitions: Schema) -> list[str]:
    wanted, said = _wanted(path, field, definitions)
    if not wanted:
        return []
    return [
        "",
        "  validation {",
        f"    condition     = {_unless_null(field['holes'], wanted)}",
        f'    error_message = "{path.removeprefix("var.")}: expected {", ".join(said)}."',
        "  }",
    ]


def _unless_null(holes: Sequence[str], wanted: Sequence[str]) -> str:
    condition = " && ".join(wanted)
    for hole in reversed(holes):
        condition = f"{hole} == null ? true : ({condition})"
    return condition


def _wanted(path: str, field: Schema, definitions: Schema, depth: int = 0) -> tuple[list[str], list[str]]:
    """Return the conditions of a scalar or a map, and the same in words."""
    if "additionalProperties" in field:
        return _wanted_of_map(path, field, definitions, depth)
    wanted = [f"{path} {sign} {field[limit]:g}" for limit, sign in _LIMITS.items() if limit in field]
    said = [f"{sign} {field[limit]:g}" for limit, sign in _LIMITS.items() if limit in field]
    if "enum" in field:
        wanted.append(f"contains({json.dumps(field['enum'])}, {path})")
        said.append(f"one of {', '.join(field['enum'])}")
    if field["type"] == "integer":
        wanted.append(f"floor({path}) == {path}")
        said.append("whole")
    return wanted, said


def _wanted_of_map(path: str, field: Schema, definitions: Schema, depth: int) -> tuple[list[str], list[str]]:
    name, each = f"name{depth}", f"each{depth}"
    value, _ = _plain(field["additionalProperties"], definitions)
    wanted, said = ([], []) if "properties" in value else _wanted(each, value, definitions, depth + 1)
    for path_of_field, inner in _fields(value, definitions, each, ()) if "properties" in value else ():
        conditions, words = _wanted(path_of_field, inner, definitions, depth + 1)
        wanted.append(_unless_null(inner["holes"], conditions))
        said.append(f"{path_of_field.removeprefix(f'{each}.')} {', '.join(words)}")
    names = field.get("propertyNames", {}).get("enum")
    if names:
        wanted.insert(0, f"contains({json.dumps(names)}, {name})")
        said.insert(0, f"names {' or '.join(names)}")
    of_all = [f"alltrue([for {name}, {each} in {path} : {' && '.join(wanted)}])"] if wanted else []
    fewest = field.get("minProperties")
    if fewest:
        of_all.insert(0, f"length({path}) >= {fewest}")
        said.insert(0, f"at least {fewest}")
    return of_all, ["each " + said[0], *said[1:]] if depth == 0 and said else said


if __name__ == "__main__":
    TARGET.write_text(policy_tf(), encoding="utf-8")
