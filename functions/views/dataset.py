"""A dataset in numbers: splits, speakers, audio, who said what was said, and why what is not used is not. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence

from shared.dataset import Row
from shared.documents import Frozen
from shared.splits import SPLITS, Split
from shared.training import SetAside

EXAMPLES = 3


class SplitView(Frozen):
    """One split.

    Attributes:
        errors, samples: rows that can be used.
        unlabelled: errors that wait for a reference.
        speakers: speakers, sessions and lone recordings.
        audio_s: seconds of audio of the rows whose length is known.
        unknown_length: rows whose length is not.
        human, llm, accepted: whose word the references are; `accepted` = a sample's hypothesis that nobody has spoken against.
    """

    split: Split
    errors: int
    samples: int
    unlabelled: int
    speakers: int
    audio_s: float
    unknown_length: int
    human: int
    llm: int
    accepted: int


class Aside(Frozen):
    """Rows that are set aside for one reason.

    Attributes:
        by: `seal` or `trainer`.
        examples: of the details.
    """

    reason: str
    by: str
    rows: int
    examples: tuple[str, ...]


class DatasetView(Frozen):
    """A dataset.

    Attributes:
        source: where it is from, in words.
        fresh, carried: rows of this ledger, and of earlier datasets that no stable model has learned.
        kinds: rows of each kind of event.
        waiting: rows that wait for a reference or for their error.
        warnings: what is odd about the source.
    """

    source: str
    rows: int
    fresh: int
    carried: int
    kinds: dict[str, int]
    splits: tuple[SplitView, ...]
    set_aside: tuple[Aside, ...]
    waiting: int
    warnings: tuple[str, ...] = ()


def view(source: str, rows: Iterable[Row], by_trainer: Sequence[SetAside] = (), warnings: Sequence[str] = ()) -> DatasetView:
    """Return a dataset in numbers.

    Args:
        source: where it is from.
        rows: of the dataset, read once.
        by_trainer: what its training has set aside besides.
        warnings: what is odd about the source.
    """
    origins: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    splits = {split: _Split() for split in SPLITS}
    aside, later = _Asides(), _Asides()
    waiting = 0
    for row in rows:
        origins[row.origin] += 1
        kinds[row.kind] += 1
        waiting += row.waiting
        if row.set_aside is not None:
            aside.add(row.set_aside, row.detail)
        elif row.split is not None:
            splits[row.split].add(row)
    for item in by_trainer:
        later.add(item.reason, item.detail)
    return DatasetView(
        source=source,
        rows=origins.total(),
        fresh=origins["fresh"],
        carried=origins["carried"],
        kinds=dict(sorted(kinds.items())),
        splits=tuple(found.view(split) for split, found in splits.items()),
        set_aside=(*aside.view("seal"), *later.view("trainer")),
        waiting=waiting,
        warnings=tuple(warnings),
    )


class _Split:
    """Counts the rows of one split."""

    def __init__(self) -> None:
        self._numbers: Counter[str] = Counter()
        self._clusters: set[str] = set()
        self._audio_s = 0.0

    def add(self, row: Row) -> None:
        if row.cluster is not None:
            self._clusters.add(row.cluster)
        self._numbers["unlabelled"] += row.kind == "error" and row.reference is None
        if row.usable or row.kind == "sample":
            self._audio_s += row.duration_s or 0.0
            self._numbers["unknown_length"] += row.duration_s is None
            self._numbers["errors" if row.kind == "error" else "samples"] += row.kind in {"error", "sample"}
            self._numbers["accepted" if row.reference is None else row.reference_provenance or ""] += 1

    def view(self, split: Split) -> SplitView:
        """Return what was counted."""
        names = ("errors", "samples", "unlabelled", "unknown_length", "human", "llm", "accepted")
        numbers = {name: self._numbers[name] for name in names}
        return SplitView(split=split, speakers=len(self._clusters), audio_s=round(self._audio_s, 3), **numbers)


class _Asides:
    """Counts what is set aside by its reason, and keeps the first details."""

    def __init__(self) -> None:
        self._rows: Counter[str] = Counter()
        self._details: dict[str, dict[str, None]] = {}

    def add(self, reason: str, detail: str) -> None:
        self._rows[reason] += 1
        known = self._details.setdefault(reason, {})
        if detail and len(known) < EXAMPLES:
            known[detail] = None

    def view(self, by: str) -> list[Aside]:
        """Return what was counted, the most frequent first."""
        return [Aside(reason=name, by=by, rows=rows, examples=tuple(self._details[name])) for name, rows in self._rows.most_common()]
