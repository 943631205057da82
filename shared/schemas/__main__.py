"""Write every schema beside this file."""

from shared.schemas import FOLDER, rendered, schemas

for name, schema in schemas().items():
    (FOLDER / f"{name}.json").write_text(rendered(schema), encoding="utf-8")
