"""JSON Schemas of every event and of the validation report; `python -m shared.schemas` writes them anew."""

import json
from pathlib import Path
from typing import Any

from shared.events import json_schemas
from shared.verdict import ValidationReport

FOLDER = Path(__file__).parent


def schemas() -> dict[str, dict[str, Any]]:
    """Return every schema by the name of its file."""
    return {**json_schemas(), "ValidationReport": ValidationReport.model_json_schema()}


def rendered(schema: dict[str, Any]) -> str:
    """Return a schema as it stands in its file."""
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"
