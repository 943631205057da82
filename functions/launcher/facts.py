"""Reads what is known of recordings: of cycles in the window of consume-once from their own objects, before it from `former.jsonl`."""

from collections.abc import Callable, Iterable, Iterator

from shared import keys
from shared.cas import create, find
from shared.dataset import Row
from shared.former import Fact, below, blocks, facts_of_clips, facts_of_rows, facts_of_told, former_bytes, parse_former
from shared.objectstore import ObjectInfo, ObjectStore, StoredObject
from shared.splits import Split
from shared.told import parse_told
from shared.training import Clip, parse_lines, sha256_hex

KEPT_ROWS = 50_000
"""What datasets of so many rows say is kept by an instance, about 0.5 KB a row: a cycle that opens asks for all of them three times."""
_CORPUS_SETS: dict[str, Split] = {"train-replay": "train", "dev-replay": "dev"}
_kept: dict[tuple[str, bytes], frozenset[Fact]] = {}
"""By digest, so that no text stays in memory."""


def read_facts(store: ObjectStore, split_key: bytes, before: int, datasets: Iterable[StoredObject], settled: int) -> set[Fact]:
    """Return all that was said of recordings in cycles below `before`; nothing is forgotten with time.

    Args:
        store: the bucket.
        split_key: key of the hash.
        before: the first cycle that is not looked at.
        datasets: of the cycles beyond `settled`.
        settled: the last cycle behind the window of consume-once: nothing of it and those before it changes any more, except that somebody
            is forgotten. What they say is kept, so that they are read once.
    """
    found: set[Fact] = set()
    for number in blocks(settled):
        found |= _block(store, split_key, number)
    for stored in datasets:
        found |= _of_dataset(stored, split_key)
    recent = store.list(keys.CYCLES, start_after=keys.beyond_cycle(settled))
    return found.union(*_beside_datasets(store, split_key, recent, before))


def _block(store: ObjectStore, split_key: bytes, number: int) -> frozenset[Fact]:
    """Return what the object of a settled cycle holds; one that is not there yet is made of those before it, and written."""
    stored = find(store, keys.former(number))
    if stored is None:
        facts = _own(store, split_key, number).union(*(_block(store, split_key, each) for each in below(number)))
        stored = create(store, keys.former(number), former_bytes(facts), content_type="application/x-ndjson")
    present = stored
    return _remembered(present, split_key, lambda: parse_former(present.data, what=present.info.key))


def _own(store: ObjectStore, split_key: bytes, cycle: int) -> frozenset[Fact]:
    """Return what one settled cycle says."""
    dataset = find(store, keys.dataset(cycle))
    own = _of_dataset(dataset, split_key) if dataset is not None else frozenset[Fact]()
    return own.union(*_beside_datasets(store, split_key, store.list(keys.cycle(cycle)), cycle + 1))


def _of_dataset(stored: StoredObject, split_key: bytes) -> frozenset[Fact]:
    return _remembered(stored, split_key, lambda: facts_of_rows(parse_lines(Row, stored.data, what=stored.info.key), split_key))


def _remembered(stored: StoredObject, split_key: bytes, read: Callable[[], frozenset[Fact]]) -> frozenset[Fact]:
    name = (sha256_hex(stored.data), split_key)
    found = _kept.get(name)
    if found is None:
        found = _kept[name] = read()
        while _kept and sum(map(len, _kept.values())) > KEPT_ROWS:
            _kept.pop(next(iter(_kept)), None)
    return found


def _beside_datasets(store: ObjectStore, split_key: bytes, infos: Iterable[ObjectInfo], before: int) -> Iterator[frozenset[Fact]]:
    """Yield what replay and suite sets of earlier cycles say, sets of the same bytes once, and what corpora ever told."""
    seen: set[tuple[Split, str, int]] = set()
    for info in infos:
        folder, _, name = info.key.removesuffix(".jsonl").partition("/clips/")
        split = "holdout" if name.startswith(keys.SUITE_SET) else _CORPUS_SETS.get(name)
        if info.key.endswith(f"/{keys.TOLD}") and (told := find(store, info.key)) is not None:
            yield facts_of_told(parse_told(told.data, what=info.key))
        if split is None or keys.cycle_of(folder + "/") >= before or (split, info.crc32c, info.size_bytes) in seen:
            continue
        seen.add((split, info.crc32c, info.size_bytes))
        yield facts_of_clips(parse_lines(Clip, store.get(info.key).data, what=info.key), split, split_key)
