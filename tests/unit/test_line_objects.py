"""Objects of lines: written once, from memory or from a file, and read without being held."""

from unittest.mock import patch

import pytest

from shared import line_objects
from shared.documents import lines_bytes, sha256_hex
from shared.errors import CorruptObject, NotFound
from shared.line_objects import create_lines, find_lines, get_lines, lines_of
from shared.testing.memory_store import MemoryStore
from shared.told import Told

FORM = lines_of(Told, what="told")
LINES = [Told(recording=(f"r{number}",), company=()) for number in range(20)]
KEY = "cycles/000001/told.jsonl"


@pytest.mark.parametrize("whole_bytes", [1, 1 << 20], ids=["from a file", "from memory"])
def test_an_object_is_its_lines_however_it_was_written(whole_bytes: int) -> None:
    store = MemoryStore()
    with patch.object(line_objects, "WHOLE_BYTES", whole_bytes):
        made = create_lines(store, KEY, iter(LINES), FORM)
    stored = store.get(KEY)
    assert stored.data == lines_bytes(LINES)
    assert (made.info, made.sha256, list(made.rows)) == (stored.info, sha256_hex(stored.data), LINES)
    assert made.info.content_type == "application/x-ndjson"
    read = get_lines(store, KEY, FORM)
    assert (read.info, read.sha256, list(read.rows)) == (made.info, made.sha256, LINES)


@pytest.mark.parametrize("whole_bytes", [1, 1 << 20], ids=["from a file", "from memory"])
def test_the_first_writer_wins_and_the_second_gets_what_it_wrote(whole_bytes: int) -> None:
    store = MemoryStore()
    first = create_lines(store, KEY, LINES[:3], FORM)
    with patch.object(line_objects, "WHOLE_BYTES", whole_bytes):
        second = create_lines(store, KEY, LINES, FORM)
    assert (second.sha256, list(second.rows)) == (first.sha256, LINES[:3])


def test_what_is_not_there_is_not_found_and_what_is_empty_has_no_lines() -> None:
    store = MemoryStore()
    assert find_lines(store, KEY, FORM) is None
    with pytest.raises(NotFound):
        get_lines(store, KEY, FORM)
    assert len(create_lines(store, KEY, [], FORM).rows) == 0
    assert list(get_lines(store, KEY, FORM).rows) == []


def test_a_line_of_another_kind_is_named_when_it_is_read() -> None:
    store = MemoryStore()
    store.put(KEY, lines_bytes(LINES[:1]) + b'\n{"speaker": "ana"}\n')
    lines = iter(get_lines(store, KEY, lines_of(Told, what=KEY)).rows)
    assert next(lines) == LINES[0], "an empty line is none"
    with pytest.raises(CorruptObject, match=f"line 2 of {KEY}: expected a valid Told"):
        next(lines)
