"""Items that hang together by names, in groups small enough to be held: what functions of whole sets need when there are a million items.

Items with a name in common belong together, and so do those that belong together with the same one. A function that gives a group the
same results whatever other groups stand beside it can be run group by group.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Generic, TypeVar

from shared.spool import LINES, Blocks, Form, Spool, placed

if TYPE_CHECKING:
    from numpy import int32
    from numpy.typing import NDArray

MOST = 8_000
"""Items that are held at once; those that hang together are never parted, however many they are."""

Item = TypeVar("Item")


class Scatter(Generic[Item]):
    """Collects items and gives them back in groups.

    Args:
        form: of the items' lines.
    """

    def __init__(self, form: Form[Item]) -> None:
        self._form = form
        self._items = Spool(form)
        self._names = array("q")
        self._counts = array("i")
        self._wanted = bytearray()

    def __len__(self) -> int:
        return len(self._items)

    def add(self, item: Item, names: Iterable[str], *, wanted: bool = True) -> None:
        """Add an item.

        Args:
            item: an item.
            names: what ties it to others; two names with one hash tie as well, which parts nothing that belongs together.
            wanted: a group of which no item is wanted is left out.
        """
        self._items.add(item)
        before = len(self._names)
        self._names.extend(map(hash, names))
        self._counts.append(len(self._names) - before)
        self._wanted.append(wanted)

    def groups(self) -> Iterator[list[tuple[int, Item]]]:
        """Yield items with their numbers in the order of adding; all that hang together are in one list, with others that do."""
        if len(self._items) <= MOST:
            yield list(enumerate(self._items))
            return
        buckets = _buckets(self._names, self._counts, self._wanted, MOST)
        blocks = Blocks()
        spools = [Spool(placed(LINES), blocks=blocks) for _ in range(int(buckets.max()) + 1)]
        for number, (bucket, line) in enumerate(zip(buckets.tolist(), self._items.lines(), strict=True)):
            if bucket >= 0:
                spools[bucket].add((number, line))
        self._items = Spool(self._form)
        for spool in filter(len, spools):
            yield [(number, self._form.parse(line)) for number, line in spool]


def _buckets(names: "array[int]", counts: "array[int]", wanted: bytearray, most: int) -> "NDArray[int32]":
    """Return for each item the list that it belongs into; -1 = none.

    Labels spread over the names (the least wins) and jump to their label's label until nothing changes, which takes as many rounds as
    the longest chain has doublings.

    Args:
        names: hashes of all items' names, one item after another.
        counts: names of each item.
        wanted: 1 for each item that is.
        most: items of one list.
    """
    import numpy as np

    hashes = np.frombuffer(names, np.int64)
    per_item = np.frombuffer(counts, np.int32)
    label = np.arange(len(per_item), dtype=np.int32)
    if len(hashes):
        owner = np.repeat(label, per_item)
        order = np.argsort(hashes, kind="stable")
        ordered = hashes[order]
        first = np.concatenate(([True], ordered[1:] != ordered[:-1]))
        del ordered
        identity = np.empty(len(hashes), np.int32)
        identity[order] = np.cumsum(first, dtype=np.int32) - 1
        by_identity = owner[order]
        del order, owner
        starts = np.flatnonzero(first)
        named = np.flatnonzero(per_item)
        own_starts = (np.cumsum(per_item, dtype=np.int64) - per_item)[named]
        while True:
            least = np.minimum.reduceat(label[by_identity], starts)
            joined = label.copy()
            joined[named] = np.minimum(label[named], np.minimum.reduceat(least[identity], own_starts))
            joined = joined[joined]
            if np.array_equal(joined, label):
                break
            label = joined
    has_wanted = np.zeros(len(label), np.bool_)
    has_wanted[label[np.frombuffer(wanted, np.bool_)]] = True
    kept = has_wanted[label]
    sizes = np.bincount(label[kept], minlength=len(label))
    list_of = ((np.cumsum(sizes) - sizes) // most).astype(np.int32)
    return np.where(kept, list_of[label], np.int32(-1))


def distinct(hashes: "array[int]") -> int:
    """Count the different ones among hashes."""
    if len(hashes) <= MOST:
        return len(set(hashes))
    import numpy as np

    return len(np.unique(np.frombuffer(hashes, np.int64)))


def repeated(hashes: "array[int]") -> set[int]:
    """Return the hashes that are there more than once."""
    if len(hashes) <= MOST:
        return {name for name, times in Counter(hashes).items() if times > 1}
    import numpy as np

    found, times = np.unique(np.frombuffer(hashes, np.int64), return_counts=True)
    return set(found[times > 1].tolist())
