"""All that is known of recordings, however much it is: asked for what hangs together with the rows or the clips at hand.

What is known of an identity follows from facts, corpora and rows that have it, and from those that share another identity with these, and
so on; nothing else has a say (`shared.splits`). So the wall looks at one group of them after another.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import chain
from sys import intern
from typing import Literal, TypeAlias

from functions.launcher import scatter
from functions.launcher.facts import read_facts
from functions.launcher.history import Corpora, keep_tellings, past_uses
from functions.launcher.scatter import Scatter
from functions.launcher.window import Window
from functions.runtime import Ports
from shared import keys
from shared.corpora import load_corpus
from shared.dataset import Row
from shared.former import Fact, fact_lines
from shared.holdout import newest_in_use
from shared.placement import as_member, clip_member, fit_to_judge, splits_of_told, tells
from shared.policy import Policy
from shared.splits import SPLITS, History, Member, Split, member, split_of
from shared.spool import Form, Spool
from shared.suites import suite_names
from shared.training import Clip


@dataclass(frozen=True, slots=True)
class _Clip:
    """The `place`-th clip of a corpus, or of those that are asked about."""

    of: Literal["suites", "replay", "asked"]
    place: int


@dataclass(frozen=True, slots=True)
class _Told:
    """What the `place`-th row of a dataset tells of a recording, and whether it wants a split."""

    place: int
    member: Member
    wants: bool


_Known: TypeAlias = _Told | Fact | _Clip
_FACTS = fact_lines(what="what is known of a recording")
_FLAGS = ("-", "+")


def _dump(known: _Known) -> bytes:
    if isinstance(known, Fact):
        return b"fact " + _FACTS.dump(known)
    if isinstance(known, _Clip):
        return b"%b %d" % (known.of.encode(), known.place)
    one = known.member
    fields = (_FLAGS[known.wants], _FLAGS[one.spoken], one.cluster or "", ",".join(one.recording), ",".join(one.company))
    return f"row {known.place} {' '.join(fields)}".encode()


def _parse(line: bytes) -> _Known:
    kind, _, rest = line.partition(b" ")
    match kind:
        case b"row":
            return _parse_told(rest.decode())
        case b"fact":
            return _FACTS.parse(rest)
        case b"suites":
            return _Clip("suites", int(rest))
        case b"replay":
            return _Clip("replay", int(rest))
        case _:
            return _Clip("asked", int(rest))


def _parse_told(text: str) -> _Told:
    place, wants, spoken, cluster, recording, company = text.split(" ")
    one = Member(_names(recording), _names(company), cluster=intern(cluster) if cluster else None, spoken=spoken == "+")
    return _Told(int(place), one, wants == "+")


def _names(text: str) -> frozenset[str]:
    return frozenset(map(intern, filter(None, text.split(","))))


class Places:
    """The splits of a dataset's rows, a byte each."""

    def __init__(self, rows: int) -> None:
        self._masks = bytearray(rows)

    def put(self, place: int, splits: frozenset[Split]) -> None:
        """Set the splits of a row."""
        self._masks[place] = sum(1 << SPLITS.index(split) for split in splits)

    def __iter__(self) -> Iterator[frozenset[Split]]:
        return map(_SETS.__getitem__, self._masks)


_SETS = [frozenset(split for bit, split in enumerate(SPLITS) if mask >> bit & 1) for mask in range(8)]


@dataclass(frozen=True)
class Past:
    """What is known of recordings.

    Attributes:
        split_key: key of their identities' hash.
        facts: of all earlier cycles.
        corpora: as they are now.
        policy: shares of the splits.
    """

    split_key: bytes
    facts: Spool[Fact]
    corpora: Corpora
    policy: Policy

    def places(self, rows: Spool[Row], wants: Callable[[Row], bool]) -> Places:
        """Return for each row that wants a split the one it belongs to, several that it would tie together, or none; see `place`."""
        known = self._known(corpora_wanted=False)
        for place, row in enumerate(rows):
            if tells(row):
                one = as_member(row, self.split_key)
                known.add(_Told(place, one, wants(row)), one.identities)
        found = Places(len(rows))
        for group in known.groups():
            told = [each for _, each in group if isinstance(each, _Told)]
            splits = splits_of_told([(each.member, each.wants) for each in told], self.policy, self._history([each for _, each in group]))
            for each, own in zip((each for each in told if each.wants), splits, strict=True):
                found.put(each.place, own)
        return found

    def of(self, asked: Iterable[Member]) -> History:
        """Return what is known of recordings, and of all clips of the corpora; of few recordings that is all there is."""
        if len(self.facts) <= scatter.MOST:
            return self.whole
        known = self._known(corpora_wanted=True)
        for place, one in enumerate(asked):
            known.add(_Clip("asked", place), one.identities)
        return self._history([each for group in known.groups() for _, each in group])

    @cached_property
    def whole(self) -> History:
        """All that is known, which may take much memory."""
        return past_uses(list(self.facts), self.corpora, partial(split_of, policy=self.policy))

    def _known(self, *, corpora_wanted: bool) -> Scatter[_Known]:
        known: Scatter[_Known] = Scatter(Form(_dump, _parse))
        for fact in self.facts:
            known.add(fact, chain(fact.recording, fact.company), wanted=False)
        for place, one in enumerate(self.corpora.suites):
            known.add(_Clip("suites", place), one.identities, wanted=corpora_wanted)
        for place, one in enumerate(self.corpora.replay):
            known.add(_Clip("replay", place), one.identities, wanted=corpora_wanted)
        return known

    def _history(self, known: list[_Known]) -> History:
        clips = [each for each in known if isinstance(each, _Clip)]
        suites = [self.corpora.suites[each.place] for each in clips if each.of == "suites"]
        replay = [self.corpora.replay[each.place] for each in clips if each.of == "replay"]
        return past_uses([each for each in known if isinstance(each, Fact)], Corpora(suites, replay), partial(split_of, policy=self.policy))


def past_of_seal(ports: Ports, window: Window, split_key: bytes) -> Past:
    """Return who was trained on and who judged before a seal, and keep what the corpora tell."""
    past = read_past(ports, window, split_key)
    for fact in keep_tellings(ports.store, window.cycle, past.corpora, past.facts):
        past.facts.add(fact)
    return past


def read_past(ports: Ports, window: Window, split_key: bytes, *, replay: bool = True) -> Past:
    """Return who was trained on and who judged in cycles before, and whom suites and (`replay`) the replay corpus hold now."""
    facts = Spool(_FACTS, read_facts(ports.store, split_key, window.cycle, window.sealed, window.settled))
    corpora = _read_corpora(ports, split_key, replay=replay)
    return Past(split_key, facts, corpora, ports.settings.policy)


def _read_corpora(ports: Ports, split_key: bytes, *, replay: bool) -> Corpora:
    def members(key: str) -> list[Member]:
        clips = load_corpus(ports.store, key).clips
        return [member(split_key, utterance_id=item.utterance_id, audio=item.audio, speaker=item.speaker) for item in clips]

    suites = [one for name in suite_names(ports.store) for one in members(keys.suite(name))]
    return Corpora(suites=suites, replay=members(keys.REPLAY) if replay else [])


def clips_in_use(batches: Iterable[Sequence[Clip]], past: Past, cap: int) -> list[Clip]:
    """Return the holdout in use: the newest utterances that may still judge, and no batch is read beyond those that fill the cap.

    Args:
        batches: one per cycle, newest first.
        past: what is known of recordings.
        cap: most utterances in use.
    """
    rest = iter(batches)
    read: list[Sequence[Clip]] = []
    wanted = cap
    while True:
        more = _until(rest, wanted)
        read += more
        asked = (clip_member(item, past.split_key) for batch in read for item in batch)
        history = past.of(asked)
        fit = [fit_to_judge(batch, past.split_key, history) for batch in read]
        wanted = cap - len({item.utterance_id for batch in fit for item in batch})
        if wanted <= 0 or not more:
            return newest_in_use(fit, cap)


def _until(batches: Iterator[Sequence[Clip]], utterances: int) -> list[Sequence[Clip]]:
    """Return the next batches that together hold so many utterances, all that are left if there are fewer."""
    found: list[Sequence[Clip]] = []
    seen: set[str] = set()
    while len(seen) < utterances and (batch := next(batches, None)) is not None:
        found.append(batch)
        seen.update(item.utterance_id for item in batch)
    return found
