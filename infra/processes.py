"""Python processes that find Retune whatever folder they are started in."""

import os
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The folder of the packages infra, functions, trainer and shared."""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment with `extra`; a PYTHONPATH in `extra` goes before Retune's own folder."""
    variables = {**os.environ, **(extra or {})}
    paths = [variables.get("PYTHONPATH", ""), str(ROOT)]
    return {**variables, "PYTHONPATH": os.pathsep.join(path for path in paths if path)}
