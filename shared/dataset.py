"""The dataset of a cycle: which events it consumed, and what each is good for. Pure; `shared.placement` gives them audio and splits.

Every event of a ledger becomes one row, so that consume-once can be checked by reading datasets alone. Rows are
`fresh` (from this ledger) or `carried` (held by earlier datasets, and not learned by the present stable model).
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from shared.audio_source import AudioPin
from shared.documents import Frozen
from shared.events import Event, Noise, ReferenceProvenance, SttCorrection, SttError, SttSample, SttTraffic, Utterance
from shared.splits import SPEAKER, Split
from shared.training import Clip, ClipProvenance, SetAsideReason, UnlabelledClip

CONSUME_HORIZON = timedelta(days=93)
"""A seal looks at every dataset sealed within this time before its ledger opened."""

CARRY_FOR = timedelta(days=90)
"""An error waits this long for its reference, a correction as long for its error; older events are refused."""

Kind = Literal["error", "sample", "correction", "traffic"]


class Row(Frozen):
    """One consumed event.

    Attributes:
        origin: fresh in exactly one dataset.
        reference: from the event itself, a correction or the sample of the utterance; a person's word wins over a language model's.
        cluster: keyed hash of speaker, else session, else audio: the unit of every statistic.
        split: see `shared.splits`; None where it is set aside.
        weight: inverse of the probability with which the utterance came to us: 1 for an error, 1/p for a sample of
            rate p; None = the rate is unknown.
        speaker: `speaker:<id>`, else `session:<id>`; None = unknown.
        session: `session:<id>`, also where the speaker is known: a person may ask to be forgotten by it.
        utterances: served in the interval that a traffic row tells of.
        by, reason: of a correction: who said so, as they claim, and why.
        set_aside: why nobody can use the row, for good.
    """

    event_id: str
    kind: Kind
    origin: Literal["fresh", "carried"]
    occurred_at: AwareDatetime
    utterance_id: str | None = None
    model_version: int | None = None
    hypothesis: str | None = None
    reference: str | None = None
    reference_provenance: ReferenceProvenance | None = None
    audio_uri: str | None = None
    audio: AudioPin | None = None
    cluster: str | None = None
    split: Split | None = None
    weight: Annotated[float, Field(gt=0)] | None = None
    duration_s: float | None = None
    error_type: str | None = None
    language: str | None = None
    device: str | None = None
    noise: Noise | None = None
    speaker: str | None = None
    session: str | None = None
    utterances: Annotated[int, Field(ge=0)] | None = None
    by: str | None = None
    reason: str | None = None
    set_aside: SetAsideReason | None = None
    detail: str = ""

    @property
    def trainable(self) -> bool:
        """An error that a model can learn from: a reference, readable audio, a train speaker."""
        return self.usable and self.kind == "error" and self.split == "train"

    @property
    def unlabelled(self) -> bool:
        """An error of a train speaker that nobody has corrected yet: gold can be made for it."""
        pinned = self.set_aside is None and self.audio is not None
        return pinned and self.kind == "error" and self.reference is None and self.split == "train"

    @property
    def usable(self) -> bool:
        """Audio is pinned, a reference is known, and nothing speaks against it."""
        return self.set_aside is None and self.audio is not None and self.reference is not None and self.split is not None

    @property
    def waiting(self) -> bool:
        """Still waits for a reference (an error; a person's, where it is held out to judge) or for its error (a correction)."""
        if self.set_aside is not None:
            return False
        unjudged = self.split == "holdout" and self.reference_provenance == "llm"
        return (self.kind == "error" and (self.reference is None or unjudged)) or self.kind == "correction"


def join(
    events: Iterable[Event], earlier: Sequence[Sequence[Row]], learned: frozenset[int], cycles: Sequence[int], now: datetime
) -> list[Row]:
    """Return the rows of a new dataset, not yet pinned and split: fresh and carried, corrections joined.

    Args:
        events: of the ledger that is being sealed, each event_id once.
        earlier: rows of the datasets sealed within the horizon, oldest first.
        learned: cycles that the present stable model has learned.
        cycles: numbers of `earlier`, in the same order.
        now: the time of the seal.
    """
    consumed = {row.event_id for rows in earlier for row in rows}
    fresh = [_fresh(event) for event in events if event.event_id not in consumed]
    rows = identified(_joined([*carried(earlier, learned, cycles, now), *fresh]), lambda row: row.utterance_id)
    return without_duplicates(rows, lambda row: row.utterance_id, "reported before in")


def carried(earlier: Sequence[Sequence[Row]], learned: frozenset[int], cycles: Sequence[int], now: datetime) -> list[Row]:
    """Return what earlier datasets hold and the present stable model has not learned, each event once."""
    latest: dict[str, Row] = {}
    done: set[str] = set()
    for cycle, rows in zip(cycles, earlier, strict=True):
        for row in rows:
            latest[row.event_id] = row
            if _finished(row, learned=cycle in learned):
                done.add(row.event_id)
    oldest = now - CARRY_FOR
    return [
        row.model_copy(update={"origin": "carried"})
        for event_id, row in latest.items()
        if event_id not in done and row.set_aside is None and (not row.waiting or row.occurred_at >= oldest)
    ]


def _finished(row: Row, *, learned: bool) -> bool:
    """Tell whether a dataset was the last that this row had to be in."""
    if row.waiting:
        return False
    return row.kind in {"traffic", "sample"} or row.split == "holdout" or learned or row.set_aside is not None


def _fresh(event: Event) -> Row:
    kinds: dict[type[Event], Kind] = {SttError: "error", SttSample: "sample", SttCorrection: "correction"}
    base = Row(event_id=event.event_id, kind=kinds.get(type(event), "traffic"), origin="fresh", occurred_at=event.occurred_at)
    if isinstance(event, SttCorrection):
        told = event.model_dump(include={"utterance_id", "reference", "reference_provenance", "by", "reason"})
        return base.model_copy(update=told)
    if isinstance(event, SttTraffic):
        return base.model_copy(update={"utterances": event.utterances, "model_version": event.model_version})
    if not isinstance(event, Utterance):
        return base
    details = event.model_dump(
        include={
            "utterance_id",
            "model_version",
            "hypothesis",
            "reference",
            "audio_uri",
            "duration_s",
            "language",
            "error_type",
            "device",
            "noise",
        }
    )
    provenance = (event.reference_provenance or "human") if event.reference is not None else None
    rate = event.sample_rate if isinstance(event, SttSample) else 1.0
    return base.model_copy(
        update={
            **details,
            "reference_provenance": provenance,
            "speaker": _speaker(event),
            "session": f"session:{event.session_id}" if event.session_id else None,
            "weight": 1.0 / rate if rate else None,
        }
    )


def _speaker(event: Utterance) -> str | None:
    if event.speaker_id:
        return f"speaker:{event.speaker_id}"
    return f"session:{event.session_id}" if event.session_id else None


def _joined(rows: Sequence[Row]) -> list[Row]:
    """Give every utterance the best reference that its corrections or its sample brought, and drop spent corrections' wait."""
    best: dict[str, Row] = {}
    for row in rows:
        if row.kind != "error" and row.reference is not None and row.utterance_id is not None:
            present = best.get(row.utterance_id)
            if present is None or _strength(row) >= _strength(present):
                best[row.utterance_id] = row
    reported = {row.utterance_id for row in rows if row.kind == "error"}
    joined = []
    for row in rows:
        strongest = best.get(row.utterance_id or "")
        if row.kind in {"error", "sample"} and strongest is not None and _strength(strongest) > _strength(row):
            update = {"reference": strongest.reference, "reference_provenance": strongest.reference_provenance}
            joined.append(row.model_copy(update=update))
        elif row.kind == "correction" and row.utterance_id in reported:
            joined.append(row.model_copy(update={"set_aside": "duplicate", "detail": "joined to its utterance"}))
        else:
            joined.append(row)
    return joined


def identified(rows: Sequence[Row], identity: Callable[[Row], str | None]) -> list[Row]:
    """Give every report of one recording the speaker and the session that any of them told."""
    speakers: dict[str, str] = {}
    sessions: dict[str, str] = {}
    for row in rows:
        name = identity(row)
        if name is not None and row.speaker is not None and row.speaker.startswith(SPEAKER):
            speakers.setdefault(name, row.speaker)
        if name is not None and row.session is not None:
            sessions.setdefault(name, row.session)
    result = []
    for row in rows:
        name = identity(row) or ""
        own = row.speaker if row.speaker is not None and row.speaker.startswith(SPEAKER) else None
        session = row.session or sessions.get(name)
        speaker = own or speakers.get(name) or row.speaker or session
        told = row.kind in {"error", "sample"} and (speaker, session) != (row.speaker, row.session)
        result.append(row.model_copy(update={"speaker": speaker, "session": session}) if told else row)
    return result


def _strength(row: Row) -> int:
    if row.reference is None:
        return 0
    return 2 if row.reference_provenance == "human" else 1


def without_duplicates(rows: Sequence[Row], identity: Callable[[Row], str | None], detail: str) -> list[Row]:
    """Set aside what repeats an error or a sample: the first with the strongest reference stays, per kind."""
    kept: dict[tuple[Kind, str], Row] = {}
    for row in rows:
        name = identity(row)
        if row.kind in {"error", "sample"} and row.set_aside is None and name is not None:
            present = kept.get((row.kind, name))
            if present is None or _strength(row) > _strength(present):
                kept[row.kind, name] = row
    result = []
    for row in rows:
        keeper = kept.get((row.kind, identity(row) or ""))
        if keeper is None or row.set_aside is not None or keeper.event_id == row.event_id:
            result.append(row)
        else:
            result.append(row.model_copy(update={"set_aside": "duplicate", "detail": f"{detail} {keeper.event_id}"}))
    return result


def clip(row: Row, *, stratum: Literal["errors", "traffic"]) -> Clip:
    """Return the clip of a usable row, or of a sample whose accepted hypothesis stands for its reference."""
    assert row.audio is not None
    assert row.cluster is not None
    assert row.utterance_id is not None
    provenance: ClipProvenance = row.reference_provenance or "champion"
    reference = row.reference if row.reference is not None else row.hypothesis
    return Clip(
        utterance_id=row.utterance_id,
        cluster=row.cluster,
        stratum=stratum,
        audio=row.audio,
        reference=reference or "",
        provenance=provenance,
        weight=row.weight or 1.0,
        duration_s=row.duration_s,
        error_type=row.error_type,
        language=row.language,
        device=row.device,
        noise=row.noise,
    )


def unlabelled_clip(row: Row) -> UnlabelledClip:
    """Return the clip of an `unlabelled` row."""
    assert row.audio is not None
    assert row.cluster is not None
    assert row.utterance_id is not None
    return UnlabelledClip(
        utterance_id=row.utterance_id, cluster=row.cluster, audio=row.audio, hypothesis=row.hypothesis or "", duration_s=row.duration_s
    )
