"""What became of one utterance, from the records: what was heard, what was meant, where it went, and which version resolves it [io]."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pydantic import AwareDatetime

from functions.runtime import Ports
from functions.views.scan import Bound, naming, scan, within
from functions.views.snapshot import READ_THREADS
from shared import keys, ledger
from shared.alias import find_production
from shared.cas import find, find_info, get_document
from shared.cases import Closed
from shared.dataset import Row
from shared.documents import Frozen, parse_document
from shared.errors import NotFound, Retryable
from shared.events import Event, SttCorrection, Utterance
from shared.manifest import ModelManifest
from shared.messages import parse_stored
from shared.objectstore import ObjectInfo, ObjectStore
from shared.registry import Production

TRIES = 5


class Mention(Frozen):
    """One event about the utterance.

    Attributes:
        cycle: whose dataset or ledger holds it.
        at: when it happened, as the service says.
        kind: error, sample or correction.
        by, reason: of a correction: who said so, as they claim, and why.
        split: train, dev or holdout; None = not sealed yet, or set aside.
        set_aside: why nobody can use it.
        pinned: the dataset names the recording, so that exactly these bytes can be heard.
    """

    cycle: int
    at: AwareDatetime
    kind: str
    model_version: int | None = None
    hypothesis: str | None = None
    reference: str | None = None
    by: str | None = None
    reason: str | None = None
    split: str | None = None
    set_aside: str | None = None
    pinned: bool = False


class UtteranceStory(Frozen):
    """What is on record about one utterance.

    Attributes:
        mentions: in the order of the cycles, then of time.
        verdicts: what each candidate made of it, beside the model that served then.
        resolved_by: the newest version that fixed it and became stable.
        serves: it is stable now, or what is stable was trained on from it.
        first, last: the cycles whose records were looked at.
        left_out: those between them whose records are too large to be looked at in one answer.
    """

    utterance_id: str
    mentions: tuple[Mention, ...]
    verdicts: tuple[Closed, ...]
    resolved_by: int | None = None
    serves: bool = False
    first: int
    last: int
    left_out: tuple[int, ...] = ()

    @property
    def known(self) -> bool:
        """Something is on record."""
        return bool(self.mentions or self.verdicts)

    @property
    def ending(self) -> str:
        """Whether it is fixed, in words."""
        if self.resolved_by is None:
            reported = self.verdicts or any(mention.kind == "error" for mention in self.mentions)
            return "resolved by no version yet" if reported else "no error was reported"
        return f"resolved by v{self.resolved_by}" + ("" if self.serves else ", which does not serve any more")


def read_utterance(ports: Ports, utterance_id: str, cycles: range, bound: Bound | None = None) -> UtteranceStory:
    """Read the datasets of some cycles, the ledgers of those that are not sealed, and the verdicts' closures.

    Args:
        ports: the outside world; it is only read.
        utterance_id: whose story.
        cycles: that are looked at, ascending.
        bound: what is read of them at most, the newest first; None = all of it.

    Raises:
        Retryable: a ledger was folded each time that it was read.
    """
    for _ in range(TRIES):
        try:
            found = _find(ports.store, utterance_id, cycles, bound)
        except NotFound:
            continue  # a segment was folded since it was listed: its events are elsewhere now
        return _story(ports, utterance_id, cycles, found)
    raise Retryable(f"ledger: expected a stable listing within {TRIES} tries, found names that vanish each time")


@dataclass(frozen=True)
class _Found:
    mentions: Sequence[Mention]
    verdicts: Sequence[Closed]
    looked: Sequence[int]


def _story(ports: Ports, utterance_id: str, cycles: range, found: _Found) -> UtteranceStory:
    fixed = [each.version for each in found.verdicts if each.resolved_by == each.version and find(ports.store, keys.resolved(each.version))]
    resolved_by = max(fixed, default=None)
    return UtteranceStory(
        utterance_id=utterance_id,
        mentions=tuple(sorted(found.mentions, key=lambda mention: (mention.cycle, mention.at, mention.kind == "correction"))),
        verdicts=tuple(found.verdicts),
        resolved_by=resolved_by,
        serves=resolved_by is not None and _serves(ports, find_production(ports.store), resolved_by),
        first=cycles.start,
        last=cycles.stop - 1,
        left_out=tuple(sorted(set(cycles) - set(found.looked))),
    )


def _find(store: ObjectStore, utterance_id: str, cycles: range, bound: Bound | None) -> _Found:
    with ThreadPoolExecutor(READ_THREADS) as pool:
        objects = dict(zip(cycles, pool.map(lambda cycle: _objects(store, cycle), cycles), strict=True))
    looked = within(objects, bound)
    lines = scan(store, (info.key for cycle in looked for info in objects[cycle]), naming("utterance_id", utterance_id))
    mentions = [each for cycle in looked for each in _mentions(cycle, utterance_id, lines, objects[cycle])]
    return _Found(mentions, list(_verdicts(sorted(looked), utterance_id, lines)), looked)


def _objects(store: ObjectStore, cycle: int) -> list[ObjectInfo]:
    """Return a cycle's dataset, else its ledger; and its closure."""
    dataset, closure = find_info(store, keys.dataset(cycle)), find_info(store, keys.closure(cycle))
    if dataset is not None:
        return [dataset, *([closure] if closure is not None else [])]
    listing = ledger.look(store, cycle)
    return [*(store.stat(part) for part in listing.index.parts), *listing.live]


def _mentions(cycle: int, utterance_id: str, lines: Mapping[str, list[bytes]], objects: Sequence[ObjectInfo]) -> Iterator[Mention]:
    sealed = lines.get(keys.dataset(cycle))
    if sealed is not None:
        rows = (parse_document(Row, line, what=f"a line of {keys.dataset(cycle)}") for line in sealed)
        yield from (_of_row(cycle, row) for row in rows if row.utterance_id == utterance_id and row.origin == "fresh")
        return
    events = (parse_stored(line) for info in objects for line in lines[info.key])
    once = {event.event_id: event for event in events if _about(event) == utterance_id}
    yield from (_of_event(cycle, event) for event in once.values())


def _about(event: Event) -> str | None:
    return event.utterance_id if isinstance(event, Utterance | SttCorrection) else None


def _of_row(cycle: int, row: Row) -> Mention:
    return Mention(
        cycle=cycle,
        at=row.occurred_at,
        kind=row.kind,
        model_version=row.model_version,
        hypothesis=row.hypothesis,
        reference=row.reference,
        by=row.by,
        reason=row.reason,
        split=row.split,
        set_aside=f"{row.set_aside} {row.detail}".strip() if row.set_aside else None,
        pinned=row.audio is not None,
    )


def _of_event(cycle: int, event: Event) -> Mention:
    return Mention(
        cycle=cycle,
        at=event.occurred_at,
        kind=type(event).__name__.removeprefix("Stt").lower(),
        model_version=getattr(event, "model_version", None),
        hypothesis=getattr(event, "hypothesis", None),
        reference=getattr(event, "reference", None),
        by=getattr(event, "by", None),
        reason=getattr(event, "reason", None),
    )


def _verdicts(cycles: Sequence[int], utterance_id: str, lines: Mapping[str, list[bytes]]) -> Iterator[Closed]:
    for key in map(keys.closure, cycles):
        closed = (parse_document(Closed, line, what=f"a line of {key}") for line in lines.get(key, ()))
        yield from (each for each in closed if each.utterance_id == utterance_id)


def _serves(ports: Ports, production: Production | None, version: int) -> bool:
    stable = production.stable if production else None
    if stable is None or stable == version:
        return stable == version
    manifest = get_document(ports.store, keys.manifest(stable), ModelManifest)
    return version in manifest.learned
