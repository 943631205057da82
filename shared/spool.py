"""Items without number in little memory: as compressed lines, in memory while they are few, else in a file without a name."""

import weakref
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from heapq import merge
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import Any, Generic, TypeVar

from shared.errors import CorruptObject

BLOCK_BYTES = 1 << 16
IN_MEMORY_BYTES = 1 << 20
"""What blocks take in memory before they go into a file."""
LEVEL = 1
"""Of zlib: these lines are read back once or twice."""
SORTED_AT_ONCE = 20_000
HELD_ITEMS = 64
"""So many newest items are kept as they are: where there are few, they are never written."""

Item = TypeVar("Item")


@dataclass(frozen=True)
class Form(Generic[Item]):
    """How an item becomes one line, without its end, and back."""

    dump: Callable[[Item], bytes]
    parse: Callable[[bytes], Item]


LINES: Form[bytes] = Form(dump=bytes, parse=bytes)
"""Lines that are written already."""


def placed(form: Form[Item]) -> Form[tuple[int, Item]]:
    """Return the form of items with their places among others."""

    def parse(line: bytes) -> tuple[int, Item]:
        place, _, rest = line.partition(b" ")
        return int(place), form.parse(rest)

    return Form(dump=lambda pair: b"%d %b" % (pair[0], form.dump(pair[1])), parse=parse)


class Blocks:
    """Blocks of bytes, written once and read at any place; they are gone with this object."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile[bytes](max_size=IN_MEMORY_BYTES)
        self._end = 0
        weakref.finalize(self, self._file.close)

    def append(self, data: bytes) -> tuple[int, int]:
        """Keep a block; return its place and length."""
        self._file.seek(self._end)
        self._file.write(data)
        place = (self._end, len(data))
        self._end += len(data)
        return place

    def read(self, place: tuple[int, int]) -> bytes:
        """Return the block at a place."""
        self._file.seek(place[0])
        return self._file.read(place[1])


class Spool(Generic[Item]):
    """Items in the order in which they were added, to be read as often as wanted; each read makes them anew, but for the newest few.

    Args:
        form: of the items' lines, which hold no line break.
        items: the first of them.
        blocks: where other spools keep their blocks as well; None = a place of its own.
    """

    def __init__(self, form: Form[Item], items: Iterable[Item] = (), *, blocks: Blocks | None = None) -> None:
        self._form = form
        self._blocks = blocks or Blocks()
        self._places: list[tuple[int, int]] = []
        self._lines: list[bytes] = []
        self._lines_bytes = 0
        self._items: list[Item] = []
        self._number = 0
        self._written_bytes = 0
        for item in items:
            self.add(item)

    def __len__(self) -> int:
        return self._number

    def __iter__(self) -> Iterator[Item]:
        """Yield the items. Raises CorruptObject, with the number of the line, where its form does."""
        items = tuple(self._items)
        number = 0
        try:
            for number, line in enumerate(self._written(), 1):  # noqa: B007 - named by what it raises
                yield self._form.parse(line)
        except CorruptObject as error:
            raise CorruptObject(f"line {number} of {error}") from error
        yield from items

    @property
    def size_bytes(self) -> int:
        """Of all lines with their ends."""
        return self._written_bytes + sum(len(line) + 1 for line in map(self._form.dump, self._items))

    def lines(self) -> Iterator[bytes]:
        """Yield the items' lines, without their ends."""
        items = tuple(self._items)
        yield from self._written()
        yield from map(self._form.dump, items)

    def _written(self) -> Iterator[bytes]:
        places, lines = tuple(self._places), tuple(self._lines)
        for place in places:
            yield from zlib.decompress(self._blocks.read(place)).split(b"\n")
        yield from lines

    def add(self, item: Item) -> None:
        """Add an item at the end."""
        if self._lines:
            self.add_line(self._form.dump(item))
            return
        self._items.append(item)
        self._number += 1
        if len(self._items) >= HELD_ITEMS:
            self._write_items()

    def add_line(self, line: bytes) -> None:
        """Add the line of an item at the end."""
        self._write_items()
        self._number += 1
        self._write(line)

    def _write_items(self) -> None:
        for item in self._items:
            self._write(self._form.dump(item))
        self._items.clear()

    def _write(self, line: bytes) -> None:
        self._lines.append(line)
        self._lines_bytes += len(line)
        self._written_bytes += len(line) + 1
        if self._lines_bytes >= BLOCK_BYTES:
            self._places.append(self._blocks.append(zlib.compress(b"\n".join(self._lines), LEVEL)))
            self._lines, self._lines_bytes = [], 0


def ordered(items: Iterable[Item], form: Form[Item], key: Callable[[Item], Any]) -> Iterator[Item]:
    """Yield items in order, however many there are: sorted piece by piece, and the pieces merged."""
    blocks = Blocks()
    pieces = []
    rest = iter(items)
    while piece := list(islice(rest, SORTED_AT_ONCE)):
        pieces.append(Spool(form, sorted(piece, key=key), blocks=blocks))
    return merge(*pieces, key=key)
