"""Regression cases: production errors that a version fixed and that later versions are held against. Pure.

Held-out ones go into the suite `fixed`, learned ones into `corpora/memory/`: whoever repeats what it was taught shows no generalisation.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime

from shared.corpora import CorpusClip
from shared.dataset import Row
from shared.documents import Frozen
from shared.events import ErrorsResolved
from shared.ids import derived_event_id, version_name
from shared.splits import audio_digest, cluster_of
from shared.training import Clip

MOST_CASES = 1000
"""Of each kind, the newest: both models hear them in every cycle, beside up to 3,000 of the holdout."""
IN_ONE_EVENT = 400
"""Utterance ids of up to 200 characters each: well under what a message may hold."""

Fate = Literal["fixed", "improved", "unchanged", "worse"]


class Closed(Frozen):
    """What a candidate makes of one production error: a line of `closure.jsonl`.

    Attributes:
        fate: fixed = the base erred and the candidate does not.
        learned: it was trained or tuned on in this cycle; otherwise it was held out.
        resolved_by: the version that fixes it, where it does.
    """

    utterance_id: str
    fate: Fate
    base_version: int
    version: int
    words: int
    base_errors: int
    candidate_errors: int
    learned: bool = False
    resolved_by: int | None = None


class Resolved(Frozen):
    """That the errors which a version resolved are kept as cases and were reported back."""

    version: int
    at: AwareDatetime
    held_out: int
    learned: int


def case_of(clip: Clip, rows: Iterable[Row], split_key: bytes) -> CorpusClip | None:
    """Return the clip under the name of its speaker, as one of its rows tells it; None where none does: somebody was forgotten."""
    for row in rows:
        for name in (row.speaker, row.session, f"audio:{audio_digest(clip.audio)}"):
            if name is not None and cluster_of(split_key, speaker=name) == clip.cluster:
                return CorpusClip(
                    utterance_id=clip.utterance_id,
                    audio=clip.audio,
                    reference=clip.reference,
                    speaker=name,
                    session=row.session,
                    duration_s=clip.duration_s,
                )
    return None


def with_cases(present: Sequence[CorpusClip], new: Sequence[CorpusClip]) -> tuple[CorpusClip, ...]:
    """Return the newest cases, the oldest first; a case that is there already stays where it is."""
    known: Mapping[str, CorpusClip] = {item.utterance_id: item for item in (*new, *present)}
    order = dict.fromkeys(item.utterance_id for item in (*present, *new))
    return tuple(known[utterance] for utterance in order)[-MOST_CASES:]


def resolved_events(version: int, closed: Sequence[Closed], at: datetime) -> list[ErrorsResolved]:
    """Return what tells production which errors `version` resolves: the very same events each time."""
    told = [(item.utterance_id, item.learned) for item in closed if item.resolved_by == version]
    return [
        ErrorsResolved(
            event_id=derived_event_id("ErrorsResolved", version_name(version), str(number)),
            occurred_at=at,
            version=version,
            held_out=tuple(utterance for utterance, learned in part if not learned),
            learned=tuple(utterance for utterance, learned in part if learned),
        )
        for number, part in enumerate(told[start : start + IN_ONE_EVENT] for start in range(0, len(told), IN_ONE_EVENT))
    ]
