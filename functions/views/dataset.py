"""A dataset in numbers: splits, speakers, audio, who said what was said, and why what is not used is not. Pure."""

from collections import Counter
from collections.abc import Iterable, Sequence

from shared.dataset import Row
from shared.frozen import Frozen
from shared.splits import Split
from shared.training import SetAside

SPLITS: tuple[Split, ...] = ("train", "dev", "holdout")
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


def view(source: str, rows: Sequence[Row], by_trainer: Sequence[SetAside] = (), warnings: Sequence[str] = ()) -> DatasetView:
    """Return a dataset in numbers.

    Args:
        source: where it is from.
        rows: of the dataset.
        by_trainer: what its training has set aside besides.
        warnings: what is odd about the source.
    """
    return DatasetView(
        source=source,
        rows=len(rows),
        fresh=sum(row.origin == "fresh" for row in rows),
        carried=sum(row.origin == "carried" for row in rows),
        kinds=dict(sorted(Counter(row.kind for row in rows).items())),
        splits=tuple(_split(split, [row for row in rows if row.split == split and row.set_aside is None]) for split in SPLITS),
        set_aside=(*_by_seal(rows), *_by_trainer(by_trainer)),
        waiting=sum(row.waiting for row in rows),
        warnings=tuple(warnings),
    )


def _split(split: Split, rows: Sequence[Row]) -> SplitView:
    used = [row for row in rows if row.usable or row.kind == "sample"]
    return SplitView(
        split=split,
        errors=sum(row.kind == "error" for row in used),
        samples=sum(row.kind == "sample" for row in used),
        unlabelled=sum(row.kind == "error" and row.reference is None for row in rows),
        speakers=len({row.cluster for row in rows if row.cluster is not None}),
        audio_s=round(sum(row.duration_s or 0.0 for row in used), 3),
        unknown_length=sum(row.duration_s is None for row in used),
        human=sum(row.reference is not None and row.reference_provenance == "human" for row in used),
        llm=sum(row.reference is not None and row.reference_provenance == "llm" for row in used),
        accepted=sum(row.reference is None for row in used),
    )


def _by_seal(rows: Sequence[Row]) -> list[Aside]:
    reasons = Counter(row.set_aside for row in rows if row.set_aside is not None)
    return [
        Aside(reason=reason, by="seal", rows=count, examples=_some(row.detail for row in rows if row.set_aside == reason))
        for reason, count in reasons.most_common()
    ]


def _by_trainer(aside: Sequence[SetAside]) -> list[Aside]:
    reasons = Counter(item.reason for item in aside)
    return [
        Aside(reason=reason, by="trainer", rows=count, examples=_some(item.detail for item in aside if item.reason == reason))
        for reason, count in reasons.most_common()
    ]


def _some(details: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(detail for detail in details if detail))[:EXAMPLES]
