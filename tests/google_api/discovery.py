"""Google's own description of an API, and whether a request or an answer is one that it allows."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import googleapiclient

DOCUMENTS = Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
SYSTEM = {"$alt", "$.xgafv", "$apiVersion"}
"""Parameters that every API takes beside those of its document; `$alt` is `alt` by its system name."""
_FORMATS = {
    "int64": r"^-?[0-9]+$",
    "uint64": r"^[0-9]+$",
    "google-duration": r"^[0-9]+(\.[0-9]+)?s$",
    "google-datetime": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d",
    "byte": r"^[A-Za-z0-9+/_-]*=*$",
}


@dataclass(frozen=True)
class Call:
    """A request that the document knows.

    Attributes:
        method: as compute.instances.insert.
        path: the values of the path's parameters.
    """

    method: str
    path: Mapping[str, str]
    spec: Mapping[str, Any]


class Discovery:
    """One API's document."""

    def __init__(self, name: str) -> None:
        self._document = json.loads((DOCUMENTS / f"{name}.json").read_text(encoding="utf-8"))
        self._schemas: Mapping[str, Any] = self._document["schemas"]
        self._methods = list(_methods(self._document))
        base = "/" + self._document["servicePath"]
        self._patterns = [(_pattern(base + method.get("flatPath", method["path"])), method) for method in self._methods]

    def match(self, verb: str, path: str) -> Call | None:
        for pattern, method in self._patterns:
            found = pattern.fullmatch(path)
            if found and method["httpMethod"] == verb:
                return Call(method["id"], found.groupdict(), method)
        return None

    def problems(self, call: Call, query: Mapping[str, list[str]], body: Any) -> list[str]:
        """Return what the document does not allow in a request."""
        found = list(self._query_problems(call.spec, query))
        wanted = call.spec.get("request")
        if wanted is None:
            return found if body is None else [*found, f"{call.method} takes no body"]
        if body is None:
            return [*found, f"{call.method} needs a body"]
        return [*found, *self._value_problems(wanted, body, "body", written=True)]

    def answer_problems(self, call: Call, body: Any) -> list[str]:
        """Return what the document does not allow in an answer."""
        return list(self._value_problems(call.spec["response"], body, "answer", written=False))

    def _query_problems(self, spec: Mapping[str, Any], query: Mapping[str, list[str]]) -> Iterator[str]:
        known = {**self._document["parameters"], **spec.get("parameters", {})}
        for name, values in query.items():
            if name in SYSTEM:
                continue
            parameter = known.get(name)
            if parameter is None or parameter.get("location") == "path":
                yield f"query: {name} is no parameter of {spec['id']}"
                continue
            if len(values) > 1 and not parameter.get("repeated"):
                yield f"query: {name} is given {len(values)} times"
            for value in values:
                yield from _text_problems(parameter, value, f"query.{name}")
        for name in ("requestId",):
            for value in query.get(name, []):
                yield from _uuid_problems(value)

    def _value_problems(self, schema: Mapping[str, Any], value: Any, where: str, *, written: bool) -> Iterator[str]:
        if "$ref" in schema:
            schema = self._schemas[schema["$ref"]]
        kind = schema.get("type", "any")
        if kind == "object":
            yield from self._object_problems(schema, value, where, written=written)
        elif kind == "array":
            if not isinstance(value, list):
                yield f"{where}: expected a list, found {value!r}"
                return
            for number, item in enumerate(value):
                yield from self._value_problems(schema["items"], item, f"{where}[{number}]", written=written)
        elif kind == "string":
            if not isinstance(value, str):
                yield f"{where}: expected a string, found {value!r}"
                return
            yield from _text_problems(schema, value, where)
        elif kind == "boolean":
            if not isinstance(value, bool):
                yield f"{where}: expected true or false, found {value!r}"
        elif kind in {"integer", "number"} and (isinstance(value, bool) or not isinstance(value, int | float if kind == "number" else int)):
            yield f"{where}: expected a {kind}, found {value!r}"

    def _object_problems(self, schema: Mapping[str, Any], value: Any, where: str, *, written: bool) -> Iterator[str]:
        if not isinstance(value, dict):
            yield f"{where}: expected an object, found {value!r}"
            return
        properties: Mapping[str, Any] = schema.get("properties", {})
        for name, item in value.items():
            found = properties.get(name, schema.get("additionalProperties"))
            if found is None:
                yield f"{where}.{name}: {schema.get('id', 'the object')} has no such field"
            elif written and (found.get("readOnly") or "[Output Only]" in found.get("description", "")):
                yield f"{where}.{name}: only the server writes it"
            else:
                yield from self._value_problems(found, item, f"{where}.{name}", written=written)


def _methods(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from node.get("methods", {}).values()
    for resource in node.get("resources", {}).values():
        yield from _methods(resource)


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{([A-Za-z]+)\}", path)
    text = "".join(re.escape(part) if index % 2 == 0 else f"(?P<{part}>[^/:]+)" for index, part in enumerate(parts))
    return re.compile(text)


def _text_problems(schema: Mapping[str, Any], text: str, where: str) -> Iterator[str]:
    if schema.get("enum") and text not in schema["enum"]:
        yield f"{where}: expected one of {schema['enum']}, found {text!r}"
    pattern = _FORMATS.get(schema.get("format", ""))
    if pattern and not re.match(pattern, text):
        yield f"{where}: expected {schema['format']}, found {text!r}"
    if schema.get("pattern") and not re.fullmatch(schema["pattern"], text):
        yield f"{where}: expected {schema['pattern']}, found {text!r}"


def _uuid_problems(text: str) -> Iterator[str]:
    try:
        if UUID(text).int == 0:
            yield "query.requestId: the UUID of zeros is not allowed"
    except ValueError:
        yield f"query.requestId: expected a UUID, found {text!r}"


@cache
def discovery(name: str) -> Discovery:
    """Return the document of an API, as compute.v1, read once."""
    return Discovery(name)
