"""From stored hypotheses to counted errors: what the trainer claims is not used, everything is counted again here.

Counts stand in columns of numbers, and texts are let go once they are counted: 100,000 utterances take a few dozen MiB.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from functions.validator.changes import Changes
from functions.validator.counting import DIMENSIONS, ROW, TERM, Pair, Table, Words, count_pairs, word_errors
from functions.validator.pairing import paired
from shared.normalisation import Normaliser
from shared.training import Clip, ClipProvenance, EvaluationRow, SetAside, Stratum
from shared.wer_compare import Sampling
from shared.wer_stats import Array, ClusterTotals

STRATA: tuple[Stratum, ...] = get_args(Stratum)
PROVENANCES: tuple[ClipProvenance, ...] = get_args(ClipProvenance)
CHUNK = 4096
_BELOW_DB = {5.0: "below 5 dB", 15.0: "5 to 15 dB"}
_BELOW_S = {2.0: "under 2 s", 5.0: "2 to 5 s", 15.0: "5 to 15 s"}


def _no_segments() -> NDArray[np.int32]:
    return np.zeros((0, 2), dtype=np.int32)


@dataclass(frozen=True, eq=False)
class JudgedSet:
    """A whole evaluation set, nothing dropped in silence.

    Attributes:
        name: `holdout` or a suite's name.
        rows: every clip of the set that was decoded by both models, of dtype `counting.ROW`.
        clusters: names of speakers or calls, sorted; `rows["cluster"]` counts them from 0.
        utterance_ids: in the order of the rows.
        set_aside: number of clips that could not be judged, by reason.
        labels: dimension of slices -> the names of its codes.
        terms: of dtype `counting.TERM`, what became of critical terms.
        segments: errors of base and candidate in each error segment, shape `(segments, 2)`.
        changes: the utterances that changed most.
    """

    name: str
    rows: Table
    clusters: tuple[str, ...]
    utterance_ids: tuple[str, ...]
    set_aside: Mapping[str, int]
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    terms: Table = field(default_factory=lambda: np.zeros(0, dtype=TERM))
    segments: NDArray[np.int32] = field(default_factory=_no_segments)
    changes: Changes = field(default_factory=Changes)

    @property
    def utterances(self) -> int:
        """Number of utterances judged."""
        return len(self.rows)

    @property
    def set_aside_share(self) -> float:
        """Share of the set's clips that could not be judged."""
        aside = sum(self.set_aside.values())
        return aside / (aside + self.utterances) if aside else 0.0

    def is_stratum(self, stratum: Stratum) -> NDArray[np.bool_]:
        """Tell of each row whether it came to us that way."""
        return np.asarray(self.rows["stratum"] == STRATA.index(stratum))

    def is_reference_of(self, provenance: ClipProvenance) -> NDArray[np.bool_]:
        """Tell of each row whether its reference is the word of `provenance`."""
        return np.asarray(self.rows["provenance"] == PROVENANCES.index(provenance))

    def errors(self, model: str) -> NDArray[np.int64]:
        """Return the word errors of `base` or `candidate` in each row."""
        return word_errors(self.rows, model)

    def totals(self, whole: NDArray[Any], base: NDArray[Any], candidate: NDArray[Any]) -> ClusterTotals:
        """Return weighted sums of three columns for each cluster that has a row."""
        present, code = np.unique(self.rows["cluster"], return_inverse=True)

        def summed(column: NDArray[Any]) -> Array:
            return np.asarray(np.bincount(code, weights=self.rows["weight"] * column, minlength=len(present)), dtype=np.float64)

        return ClusterTotals(words=summed(whole), base_errors=summed(base), candidate_errors=summed(candidate))

    def word_totals(self) -> ClusterTotals:
        """Return the weighted words and word errors of each cluster."""
        return self.totals(self.rows["words"], self.errors("base"), self.errors("candidate"))

    def utterance_totals(self) -> ClusterTotals:
        """Return the weighted words and word errors of each utterance, as if each were a cluster of its own."""
        weight = self.rows["weight"]
        words, base, candidate = (weight * counts for counts in (self.rows["words"], self.errors("base"), self.errors("candidate")))
        return ClusterTotals(words=words, base_errors=base, candidate_errors=candidate)

    def sampling(self) -> Sampling:
        """Return what the weighted comparison must know of how the set was drawn."""
        change = np.abs(self.errors("candidate") - self.errors("base"))
        changed = change[change > 0]
        return Sampling(
            utterances=self.utterances,
            largest_weight=float(self.rows["weight"].max(initial=0.0)),
            mean_change=float(changed.mean()) if len(changed) else 0.0,
        )

    def where(self, kept: NDArray[np.bool_], name: str | None = None) -> "JudgedSet":
        """Return the part of the set that `kept` marks, without what was set aside, segments and texts."""
        terms = self.terms[kept[self.terms["row"]]]
        terms["row"] = (np.cumsum(kept) - 1)[terms["row"]]
        return JudgedSet(
            name=name or self.name,
            rows=self.rows[kept],
            clusters=self.clusters,
            utterance_ids=tuple(self.utterance_ids[position] for position in np.flatnonzero(kept)),
            set_aside={},
            labels=self.labels,
            terms=terms,
        )


def judge_set(
    name: str,
    clips: Iterable[Clip],
    rows: Iterable[EvaluationRow],
    set_aside: Iterable[SetAside],
    normaliser: Normaliser,
    terms: Sequence[Words] = (),
) -> JudgedSet:
    """Join the clips that were to be judged with the hypotheses that were stored, and count the errors; see `pairing.paired`.

    Args:
        name: name of the set; entries of `set_aside` for other sets are skipped.
        clips: the set as the launcher pinned it; reference, cluster, stratum and weight are taken from here.
        rows: what the trainer stored for the set, in any order.
        set_aside: what the trainer left out.
        normaliser: the one that the report will name.
        terms: critical terms, in normalised words.

    Raises:
        InvalidMessage: a clip has no row and was not set aside, a row has no clip, an id comes twice, or a row contradicts its clip.
    """
    aside = {entry.utterance_id: entry.reason for entry in set_aside if entry.set_name == name}
    pairs = paired(name, clips, rows, aside.keys(), normaliser)
    codes = {dimension: _Codes() for dimension in ("cluster", *DIMENSIONS)}
    tables, hits, segments = [np.zeros(0, dtype=ROW)], [np.zeros(0, dtype=TERM)], [_no_segments()]
    ids: list[str] = []
    changes = Changes()
    while chunk := list(islice(pairs, CHUNK)):
        counted = count_pairs(chunk, normaliser, terms)
        _label(counted.rows, chunk, codes)
        counted.terms["row"] += len(ids)
        tables.append(counted.rows)
        hits.append(counted.terms)
        segments.append(counted.segments)
        ids.extend(clip.utterance_id for clip, _ in chunk)
        changes = changes.with_chunk(name, chunk, counted.rows)
    table = np.concatenate(tables)
    clusters, table["cluster"] = _sorted(codes["cluster"].names, table["cluster"])
    return JudgedSet(
        name=name,
        rows=table,
        clusters=clusters,
        utterance_ids=tuple(ids),
        set_aside=dict(sorted(Counter(aside.values()).items())),
        labels={dimension: tuple(codes[dimension].names) for dimension in DIMENSIONS},
        terms=np.concatenate(hits),
        segments=np.concatenate(segments),
        changes=changes,
    )


class _Codes:
    """Numbers names in the order in which they come."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    @property
    def names(self) -> list[str]:
        return list(self._codes)

    def of(self, name: str | None) -> int:
        return -1 if name is None else self._codes.setdefault(name, len(self._codes))


def _label(table: Table, chunk: Sequence[Pair], codes: Mapping[str, _Codes]) -> None:
    clips = [clip for clip, _ in chunk]
    table["stratum"] = [STRATA.index(clip.stratum) for clip in clips]
    table["provenance"] = [PROVENANCES.index(clip.provenance) for clip in clips]
    table["weight"] = [clip.weight for clip in clips]
    table["cluster"] = [codes["cluster"].of(clip.cluster) for clip in clips]
    labels = [_labels(clip) for clip in clips]
    for position, dimension in enumerate(DIMENSIONS):
        table[dimension] = [codes[dimension].of(values[position]) for values in labels]


def _labels(clip: Clip) -> tuple[str | None, ...]:
    """Return the clip's value in each of `DIMENSIONS`."""
    noise = clip.noise if isinstance(clip.noise, str | None) else _bucket(clip.noise, _BELOW_DB, "15 dB and more")
    duration = None if clip.duration_s is None else _bucket(clip.duration_s, _BELOW_S, "15 s and more")
    return clip.error_type or None, clip.language or None, clip.device or None, noise or None, duration


def _bucket(value: float, below: Mapping[float, str], rest: str) -> str:
    return next((name for limit, name in below.items() if value < limit), rest)


def _sorted(names: Sequence[str], codes: NDArray[np.int32]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the names in order, and the codes that count them so: a seeded test does not depend on the order of the clips."""
    order = sorted(range(len(names)), key=names.__getitem__)
    position = np.empty(len(names), dtype=np.int64)
    position[order] = np.arange(len(names))
    return tuple(names[code] for code in order), position[codes] if len(names) else codes.astype(np.int64)


def joined(sets: Sequence[JudgedSet], weights: Sequence[float | None]) -> JudgedSet:
    """Return one set of several, under the first one's name, without slices, terms and texts; a weight replaces those of its set's rows."""
    names = tuple(sorted({name for judged in sets for name in judged.clusters}))
    code = {name: position for position, name in enumerate(names)}
    tables = []
    for judged, weight in zip(sets, weights, strict=True):
        table = judged.rows.copy()
        table["cluster"] = np.array([code[name] for name in judged.clusters], dtype=np.int64)[table["cluster"]]
        if weight is not None:
            table["weight"] = weight
        for dimension in DIMENSIONS:
            table[dimension] = -1
        tables.append(table)
    ids = tuple(_qualified(sets))
    return JudgedSet(name=sets[0].name, rows=np.concatenate(tables), clusters=names, utterance_ids=ids, set_aside=dict(sets[0].set_aside))


def _qualified(sets: Sequence[JudgedSet]) -> Iterator[str]:
    for position, judged in enumerate(sets):
        yield from (f"{judged.name}/{name}" if position else name for name in judged.utterance_ids)
