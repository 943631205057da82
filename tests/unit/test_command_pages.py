"""docs/commands/ says of each command what its help says."""

from infra.cli import app
from infra.command_pages import PAGES, pages, write


def test_the_pages_are_what_make_commands_writes() -> None:
    assert {path.name: path.read_text(encoding="utf-8") for path in PAGES.glob("*.md")} == pages(), "run `make commands`"


def test_every_command_stands_in_the_index_under_its_heading() -> None:
    made = pages()
    names = {f"{name}.md" for name in made["README.md"].split("](") if name} and set(made) - {"README.md"}
    assert len(names) == len(app.registered_commands) + len(app.registered_groups)
    assert all(f"]({name})" in made["README.md"] for name in names)


def test_pages_of_commands_that_are_gone_are_removed(tmp_path: object) -> None:
    from pathlib import Path

    folder = Path(str(tmp_path))
    (folder / "vanished.md").write_text("# `retune vanished`")
    write(folder)
    assert not (folder / "vanished.md").exists()
