"""Reads what is known of recordings: of cycles in the window of consume-once from their own objects, before it from `former.jsonl`."""

from collections.abc import Iterable, Iterator
from heapq import merge

from shared import keys
from shared.cas import find
from shared.dataset import Row
from shared.former import Fact, below, blocks, each_once, fact_lines, facts_of_clips, facts_of_rows, facts_of_told, file_order
from shared.line_objects import LinesObject, create_lines, find_lines, get_lines, lines_of
from shared.objectstore import ObjectInfo, ObjectStore
from shared.splits import Split
from shared.spool import Spool, ordered
from shared.told import parse_told
from shared.training import Clip

_CORPUS_SETS: dict[str, Split] = {"train-replay": "train", "dev-replay": "dev"}


def read_facts(store: ObjectStore, split_key: bytes, before: int, datasets: Iterable[LinesObject[Row]], settled: int) -> Iterator[Fact]:
    """Yield all that was said of recordings in cycles below `before`; nothing is forgotten with time.

    Args:
        store: the bucket.
        split_key: key of the hash.
        before: the first cycle that is not looked at.
        datasets: of the cycles beyond `settled`.
        settled: the last cycle behind the window of consume-once: nothing of it and those before it changes any more, except that somebody
            is forgotten. What they say is kept, so that they are read once.
    """
    for number in blocks(settled):
        yield from _block(store, split_key, number)
    for dataset in datasets:
        yield from facts_of_rows(dataset.rows, split_key)
    recent = store.list(keys.CYCLES, start_after=keys.beyond_cycle(settled))
    yield from _beside_datasets(store, split_key, recent, before)


def _block(store: ObjectStore, split_key: bytes, number: int) -> Spool[Fact]:
    """Return what the object of a settled cycle holds; one that is not there yet is made of those before it, and written."""
    key = keys.former(number)
    form = fact_lines(what=key)
    stored = find_lines(store, key, form)
    if stored is None:
        own = ordered(_own(store, split_key, number), form, file_order)
        facts = merge(own, *(_block(store, split_key, each) for each in below(number)), key=file_order)
        stored = create_lines(store, key, each_once(facts), form)
    return stored.rows


def _own(store: ObjectStore, split_key: bytes, cycle: int) -> Iterator[Fact]:
    """Yield what one settled cycle says."""
    dataset = find_lines(store, keys.dataset(cycle), lines_of(Row, what=keys.dataset(cycle)))
    if dataset is not None:
        yield from facts_of_rows(dataset.rows, split_key)
    yield from _beside_datasets(store, split_key, store.list(keys.cycle(cycle)), cycle + 1)


def _beside_datasets(store: ObjectStore, split_key: bytes, infos: Iterable[ObjectInfo], before: int) -> Iterator[Fact]:
    """Yield what replay and suite sets of earlier cycles say, sets of the same bytes once, and what corpora ever told."""
    seen: set[tuple[Split, str, int]] = set()
    for info in infos:
        folder, _, name = info.key.removesuffix(".jsonl").partition("/clips/")
        split = "holdout" if name.startswith(keys.SUITE_SET) else _CORPUS_SETS.get(name)
        if info.key.endswith(f"/{keys.TOLD}") and (told := find(store, info.key)) is not None:
            yield from facts_of_told(parse_told(told.data, what=info.key))
        if split is None or keys.cycle_of(folder + "/") >= before or (split, info.crc32c, info.size_bytes) in seen:
            continue
        seen.add((split, info.crc32c, info.size_bytes))
        yield from facts_of_clips(get_lines(store, info.key, lines_of(Clip, what=info.key)).rows, split, split_key)
