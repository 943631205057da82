"""docs/glossary.md: each word stands once, and the file that it names is there and uses it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
GLOSSARY = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (?!word |-)([^|]+) \| ([^|]+) \| `([^`|]+)` \|$", GLOSSARY, re.MULTILINE)


def test_every_line_of_a_table_is_read() -> None:
    lines = [line for line in GLOSSARY.splitlines() if line.startswith("| ") and not line.startswith("| word ")]
    assert len(lines) == len(ROWS) > 50


def test_no_word_stands_twice() -> None:
    words = [word for row in ROWS for word in row[0].split(", ")]
    assert sorted(words) == sorted(set(words))


@pytest.mark.parametrize(("words", "meaning", "path"), ROWS, ids=[row[0] for row in ROWS])
def test_the_file_that_defines_a_word_holds_it(words: str, meaning: str, path: str) -> None:
    text = (ROOT / path).read_text(encoding="utf-8").lower()
    for word in words.split(", "):
        term = re.sub(r" \(.*\)", "", word)
        # A letter may go before it: `SttError`, `TrainerRun`; a longer word that begins with it is another form of it.
        assert re.search(r"[ _-]?".join(map(re.escape, term.split())), text), (word, path)
    assert meaning.endswith(".")
