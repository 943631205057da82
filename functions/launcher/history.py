"""Who was trained on and who judged so far, from what is known of recordings and whom the corpora hold now."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from shared import keys
from shared.cas import create, find
from shared.former import Fact, facts_of_told
from shared.objectstore import ObjectStore
from shared.splits import History, Member, Split, accompanied, assignments, linked, merged, place
from shared.told import news, parse_told, told_bytes


@dataclass(frozen=True)
class Corpora:
    """The clips that people brought, as they are now.

    Attributes:
        suites: of all regression suites: they judge.
        replay: of the replay corpus: a clip goes where its speaker is, else where the hash says.
    """

    suites: Sequence[Member]
    replay: Sequence[Member]


def past_uses(facts: Collection[Fact], corpora: Corpora, by_hash: Callable[[str], Split]) -> History:
    """Return who was trained on and who judged, as far as facts tell, and whom the corpora hold now. Pure.

    Args:
        facts: of all earlier cycles: nothing is forgotten with time, unlike what a seal carries over.
        corpora: suites and replay.
        by_hash: split of a speaker that was never met.
    """
    uses = [(chain(fact.recording, fact.company), fact.split) for fact in facts if fact.split is not None]
    told = {*map(_member_of, facts), *corpora.suites, *corpora.replay}
    reported = frozenset(name for fact in facts if fact.reported for name in fact.recording)
    past = linked(assignments([*uses, *((one.identities, "holdout") for one in corpora.suites)]), told)
    placed = place(accompanied(corpora.replay, told), past, by_hash)
    sure = [(one.identities, splits) for one, splits in zip(corpora.replay, placed, strict=True) if len(splits) == 1]
    trusted = assignments((identities, next(iter(splits))) for identities, splits in sure)
    return History(splits=linked(merged(past, trusted), told), told=frozenset(told), reported=reported)


def _member_of(fact: Fact) -> Member:
    return Member(frozenset(fact.recording), frozenset(fact.company), cluster=None, spoken=False)


def keep_tellings(store: ObjectStore, cycle: int, corpora: Corpora, known: Iterable[Fact]) -> Iterator[Fact]:
    """Keep what the corpora tell and no seal has kept, under the cycle that is being sealed, once; return what stands there.

    Before its dataset is written: a split that rests on what was told is never found without it.

    Args:
        store: the bucket.
        cycle: that is being sealed.
        corpora: as they are now.
        known: what earlier cycles say.
    """
    found = find(store, keys.told(cycle))
    if found is None and (fresh := news([*corpora.suites, *corpora.replay], map(_member_of, known))):
        found = create(store, keys.told(cycle), told_bytes(fresh), content_type="application/x-ndjson")
    return facts_of_told(parse_told(found.data, what=found.info.key) if found is not None else ())
