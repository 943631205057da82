"""Keys on a disk: whatever their characters, each has a file of its own and listings are those of a sorted list."""

import tempfile
import unicodedata
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from shared.dir_layout import MAX_NAME_CHARS, find_keys, relative_path

CHARACTERS = "aAbz09/.%^@~!- \\:\N{LATIN SMALL LETTER E WITH ACUTE}e\N{COMBINING ACUTE ACCENT}\N{GRINNING FACE}"
PIECES = st.one_of(st.text(CHARACTERS, max_size=5), st.integers(195, 205).map("x".__mul__), st.just("/"))
KEYS = st.lists(PIECES, min_size=1, max_size=4).map("".join).filter(lambda key: 0 < len(key.encode()) <= 1024 and key not in {".", ".."})


@settings(max_examples=40, deadline=None)
@given(keys=st.sets(KEYS, max_size=12), prefix=st.one_of(KEYS, st.just("")), start=st.one_of(KEYS, st.just("")), cut=st.integers(0, 30))
def test_a_listing_is_that_of_a_sorted_list(keys: set[str], prefix: str, start: str, cut: int) -> None:
    with tempfile.TemporaryDirectory() as root:
        for key in keys:
            path = Path(root) / relative_path(key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(exist_ok=False)
        for asked in (prefix, *(key[:cut] for key in keys)):
            expected = sorted(key.encode() for key in keys if key.startswith(asked) and key.encode() >= start.encode())
            assert find_keys(Path(root), asked.encode(), start.encode()) == expected


@given(keys=st.sets(KEYS, max_size=12))
def test_paths_stay_inside_and_apart_on_any_file_system(keys: set[str]) -> None:
    paths = [relative_path(key) for key in keys]
    assert len({unicodedata.normalize("NFC", str(path).casefold()) for path in paths}) == len(keys)
    for path in paths:
        assert not path.is_absolute()
        assert all(part[0] != "." and len(part) <= MAX_NAME_CHARS + 2 for part in path.parts)
