"""Write every page that is made from the code, and remove those that nothing makes any more."""

from pathlib import Path

from infra.pages.all import DOCS, all_pages, owned


def write(docs: Path = DOCS) -> None:
    """Write the pages under `docs`."""
    made = all_pages()
    for path in owned(docs):
        if path.relative_to(docs).as_posix() not in made:
            path.unlink()
    for name, text in made.items():
        (docs / name).parent.mkdir(parents=True, exist_ok=True)
        (docs / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
