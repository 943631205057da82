"""Write the schema of every event beside this file."""

from shared.events import json_schemas
from shared.schemas import FOLDER, rendered

for name, schema in json_schemas().items():
    (FOLDER / f"{name}.json").write_text(rendered(schema), encoding="utf-8")
