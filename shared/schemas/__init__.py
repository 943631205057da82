"""JSON Schemas of every event, generated from `shared.events`; `python -m shared.schemas` writes them anew."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def rendered(schema: dict[str, Any]) -> str:
    """Return a schema as it stands in its file."""
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"
