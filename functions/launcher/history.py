"""Reads who was trained on and who judged so far, from what is written once: datasets, and the sets of corpora that specs named."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from shared import keys, ledger
from shared.cas import create, find
from shared.dataset import Row
from shared.objectstore import ObjectStore, StoredObject
from shared.placement import clip_member, reported_in, told_in, uses_of
from shared.splits import History, Member, Split, accompanied, assignments, linked, merged, place
from shared.told import news, parse_told, told_bytes
from shared.training import Clip, parse_lines, sha256_hex

READ_THREADS = 16
KEPT_ROWS = 50_000
"""What datasets of so many rows say is kept by an instance, about 1.5 KB a row: a cycle that opens asks for all of them three times."""
_CORPUS_SETS: dict[str, Split] = {"train-replay": "train", "dev-replay": "dev"}


@dataclass(frozen=True)
class Corpora:
    """The clips that people brought, as they are now.

    Attributes:
        suites: of all regression suites: they judge.
        replay: of the replay corpus: a clip goes where its speaker is, else where the hash says.
    """

    suites: Sequence[Member]
    replay: Sequence[Member]


def past_uses(store: ObjectStore, split_key: bytes, before: int, corpora: Corpora, by_hash: Callable[[str], Split]) -> History:
    """Return who was trained on and who judged in cycles below `before`, and whom the corpora hold now.

    Nothing is forgotten with time, unlike what a seal carries over: every dataset is read, however old.

    Args:
        store: the bucket.
        split_key: key of the hash.
        before: the first cycle that is not looked at.
        corpora: suites and replay.
        by_hash: split of a speaker that was never met.
    """
    former = [(clip_member(item, split_key), split) for item, split in _corpus_clips(store, before)]
    uses = [(one.identities, split) for one, split in former]
    told = {*(one for one, _ in former), *kept_tellings(store), *corpora.suites, *corpora.replay}
    reported: frozenset[str] = frozenset()
    for stored in _datasets(store, before):
        facts = _facts(stored, split_key)
        uses.extend(facts.uses)
        told |= facts.told
        reported |= facts.reported
    past = linked(assignments([*uses, *((one.identities, "holdout") for one in corpora.suites)]), told)
    placed = place(accompanied(corpora.replay, told), past, by_hash)
    sure = [(one.identities, splits) for one, splits in zip(corpora.replay, placed, strict=True) if len(splits) == 1]
    trusted = assignments((identities, next(iter(splits))) for identities, splits in sure)
    return History(splits=linked(merged(past, trusted), told), told=frozenset(told), reported=reported)


def keep_tellings(store: ObjectStore, cycle: int, corpora: Corpora) -> None:
    """Keep what the corpora tell and no seal has kept, under the cycle that is being sealed; once for each cycle.

    Before its dataset is written: a split that rests on what was told is never found without it.
    """
    if find(store, keys.told(cycle)) is None and (fresh := news([*corpora.suites, *corpora.replay], kept_tellings(store))):
        create(store, keys.told(cycle), told_bytes(fresh), content_type="application/x-ndjson")


def kept_tellings(store: ObjectStore) -> frozenset[Member]:
    """Return what corpora ever told, as far as seals have kept it."""
    wanted = [info.key for info in store.list(keys.CYCLES) if info.key.endswith(f"/{keys.TOLD}")]
    found = (find(store, key) for key in wanted)
    return frozenset[Member]().union(*(parse_told(each.data, what=each.info.key) for each in found if each is not None))


@dataclass(frozen=True)
class _Facts:
    """What one dataset says: see `shared.placement`."""

    rows: int
    uses: tuple[tuple[frozenset[str], Split], ...]
    told: frozenset[Member]
    reported: frozenset[str]


_kept: dict[tuple[str, bytes], _Facts] = {}
"""By digest, so that no text stays in memory."""


def _facts(stored: StoredObject, split_key: bytes) -> _Facts:
    """Read one dataset, which is written once."""
    name = (sha256_hex(stored.data), split_key)
    found = _kept.get(name)
    if found is None:
        rows = parse_lines(Row, stored.data, what=stored.info.key)
        found = _Facts(len(rows), tuple(uses_of(rows, split_key)), frozenset(told_in(rows, split_key)), reported_in(rows, split_key))
        _kept[name] = found
        while _kept and sum(facts.rows for facts in _kept.values()) > KEPT_ROWS:
            _kept.pop(next(iter(_kept)), None)
    return found


def _datasets(store: ObjectStore, before: int) -> Iterator[StoredObject]:
    wanted = [keys.dataset(cycle) for cycle in range(ledger.FIRST_CYCLE, before)]
    with ThreadPoolExecutor(READ_THREADS) as pool:
        for found in pool.map(lambda key: find(store, key), wanted):
            if found is not None:
                yield found


def _corpus_clips(store: ObjectStore, before: int) -> Iterator[tuple[Clip, Split]]:
    """Yield the clips of replay and suite sets of earlier cycles; sets of the same bytes once."""
    seen: set[tuple[Split, str, int]] = set()
    for info in store.list(keys.CYCLES):
        folder, _, name = info.key.removesuffix(".jsonl").partition("/clips/")
        split = "holdout" if name.startswith(keys.SUITE_SET) else _CORPUS_SETS.get(name)
        if split is None or keys.cycle_of(folder + "/") >= before or (split, info.crc32c, info.size_bytes) in seen:
            continue
        seen.add((split, info.crc32c, info.size_bytes))
        for item in parse_lines(Clip, store.get(info.key).data, what=info.key):
            yield item, split
