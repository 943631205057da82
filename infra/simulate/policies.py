"""Which policies are compared: files, and what would be if a number were another. Pure but for reading the files."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from infra.errors import Refused
from shared.policy import Policy

AS_IT_IS = "as it is"


def policies(present: Policy, files: Sequence[Path], changes: Sequence[str]) -> list[tuple[str, Policy]]:
    """Return the policies with their names: the present one or those of the files, then the first of these with each change.

    Args:
        present: what RETUNE_POLICY says, or the defaults.
        files: each a JSON object, as in RETUNE_POLICY.
        changes: `key=value` or `key=value,key=value` each; keys may have dots, values are JSON.

    Raises:
        Refused: a file or a change is no policy, or two have one name.
    """
    found = [(path.stem, read_policy_file(path)) for path in files] or [(AS_IT_IS, present)]
    found += [(change, changed(found[0][1], change)) for change in changes]
    names = [name for name, _ in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Refused(f"policies: expected each name once, found {twice[0]!r} twice; rename a file")
    return found


def read_policy_file(path: Path) -> Policy:
    """Read one policy.

    Raises:
        Refused: the file cannot be read, or is no policy.
    """
    try:
        return Policy.model_validate_json(path.read_bytes())
    except OSError as error:
        raise Refused(f"policy {path}: expected a file with a JSON object, found {error.strerror}") from error
    except ValidationError as error:
        raise Refused(f"policy {path}: {_first(error)}") from error


def changed(policy: Policy, change: str) -> Policy:
    """Return a policy with some numbers changed.

    Raises:
        Refused: a key that no policy has, or a value that it cannot take.
    """
    values = policy.model_dump(mode="json")
    for part in _parts(change):
        key, sign, text = part.partition("=")
        if not sign:
            raise Refused(f"--set {part}: expected KEY=VALUE")
        _put(values, key.strip().split("."), _value(text.strip()), key.strip())
    try:
        return Policy.model_validate(values)
    except ValidationError as error:
        raise Refused(f"--set {change}: {_first(error)}") from error


def _parts(change: str) -> list[str]:
    """Split at the commas that begin another key; a comma inside a JSON value does not."""
    parts: list[str] = []
    for piece in change.split(","):
        if "=" in piece or not parts:
            parts.append(piece)
        else:
            parts[-1] += f",{piece}"
    return parts


def _put(values: dict[str, Any], path: Sequence[str], value: Any, name: str) -> None:
    inside: Any = values
    for position, step in enumerate(path):
        if not isinstance(inside, Mapping) or step not in inside:
            known = f"one of {', '.join(sorted(inside))}" if isinstance(inside, Mapping) else "a value, which has no keys"
            where = ".".join(path[:position]) or "the policy"
            raise Refused(f"--set {name}: expected in {where} {known}, found {step!r}")
        if position == len(path) - 1:
            inside[step] = value  # type: ignore[index]  # a dict of `model_dump`
        inside = inside[step]


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _first(error: ValidationError) -> str:
    item = error.errors(include_url=False)[0]
    where = ".".join(map(str, item["loc"])) or "the document"
    if item["type"] == "extra_forbidden":
        return f"{where}: expected one of {', '.join(sorted(Policy.model_fields))}, found an unknown key"
    return f"{where}: {item['msg']}, found {str(item['input'])[:60]!r}"
