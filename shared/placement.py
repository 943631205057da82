"""The last step of a seal: audio, splits, and what has to be set aside; and what earlier datasets say about both. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from shared.audio_source import AudioPin
from shared.dataset import Row, identified, without_duplicates
from shared.policy import Policy
from shared.splits import History, Member, Split, accompanied, audio_digest, linked, member, place, split_of, splits_of
from shared.training import Clip, SetAsideReason

PinOutcome: TypeAlias = AudioPin | tuple[SetAsideReason, str]


@dataclass(frozen=True)
class Traffic:
    """What a dataset's fresh rows tell of the traffic of which they are samples.

    Attributes:
        utterances: served, as counted.
        samples: of them that came to us.
    """

    utterances: int = 0
    samples: int = 0

    def __add__(self, other: "Traffic") -> "Traffic":
        """Return what both tell."""
        return Traffic(self.utterances + other.utterances, self.samples + other.samples)

    @property
    def rate(self) -> float | None:
        """The share of counted traffic that was sampled, for samples that did not tell their rate; None = unknown."""
        return min(self.samples / self.utterances, 1.0) if self.samples and self.utterances else None


def traffic_of(rows: Iterable[Row]) -> Traffic:
    """Return what rows from `join` tell of traffic."""
    fresh = [row for row in rows if row.origin == "fresh"]
    return Traffic(sum(row.utterances or 0 for row in fresh), sum(row.kind == "sample" and row.set_aside is None for row in fresh))


def pinned(rows: Iterable[Row], pins: Mapping[str, PinOutcome]) -> list[Row]:
    """Return rows from `join` with the audio that was found, set aside where none was.

    Args:
        rows: from `join`.
        pins: outcome of pinning each audio_uri of `unpinned` rows.
    """
    return [_with_outcome(row, pins[row.audio_uri or ""]) if unpinned(row) else row for row in rows]


def unpinned(row: Row) -> bool:
    """Tell whether a row's audio is to be looked up."""
    return row.audio_uri is not None and row.audio is None and row.set_aside is None


def _with_outcome(row: Row, outcome: PinOutcome) -> Row:
    if isinstance(outcome, tuple):
        return row.model_copy(update={"set_aside": outcome[0], "detail": outcome[1][:300], "split": None})
    return row.model_copy(update={"audio": outcome})


def finish(rows: Sequence[Row], rate: float | None, split_key: bytes, policy: Policy, *, past: History) -> list[Row]:
    """Weigh, split and set aside: the last step of a seal.

    Rows that hang together by any identity (`as_member`) get the same whatever other rows stand beside them.

    Args:
        rows: from `pinned`.
        rate: of all the dataset's traffic, see `Traffic`.
        split_key: key of the speaker hash.
        policy: the shares.
        past: what earlier datasets, suites and the replay corpus say.
    """
    weighed = [_weighed(row, rate) for row in rows]
    return _split(without_duplicates(identified(weighed, _digest), _digest, "same audio as"), split_key, policy, past)


def _weighed(row: Row, rate: float | None) -> Row:
    if row.audio is None or row.set_aside is not None or row.weight is not None or not rate:
        return row
    return row.model_copy(update={"weight": 1.0 / rate})


def _digest(row: Row) -> str | None:
    return audio_digest(row.audio) if row.audio else None


def _clustered(row: Row, split_key: bytes) -> Row:
    return row.model_copy(update={"cluster": as_member(row, split_key).cluster}) if row.audio is not None else row


def _split(rows: Sequence[Row], split_key: bytes, policy: Policy, past: History) -> list[Row]:
    """Give each usable row its split; set aside what would tie two splits together."""
    wanting = [row for row in rows if row.set_aside is None and row.audio is not None]
    found = splits_of_rows(wanting, rows, split_key, policy, past)
    return [_in_split(_clustered(row, split_key), found.get(row.event_id, frozenset())) for row in rows]


def splits_of_rows(
    wanting: Sequence[Row], rows: Iterable[Row], split_key: bytes, policy: Policy, past: History
) -> dict[str, frozenset[Split]]:
    """Return for each row that wants a split, by its event_id, what `place` says.

    Args:
        wanting: rows that can be used.
        rows: all of the dataset: what is set aside tells of recordings as well.
        split_key: key of the speaker hash.
        policy: the shares.
        past: what earlier datasets and the corpora say.
    """
    own = {row.event_id: as_member(row, split_key) for row in rows if _tells(row)}
    told = past.told.union(own.values())
    members = accompanied([own.get(row.event_id) or as_member(row, split_key) for row in wanting], told)
    placed = place(members, linked(past.splits, told), lambda cluster: split_of(cluster, policy))
    return {row.event_id: splits for row, splits in zip(wanting, placed, strict=True)}


def _in_split(row: Row, splits: frozenset[Split]) -> Row:
    if len(splits) > 1:
        detail = f"its speaker, session, audio or id is in {' and in '.join(sorted(splits))}: what trained never judges, nor the reverse"
        return row.model_copy(update={"split": None, "set_aside": "split_conflict", "detail": detail})
    split = next(iter(splits), None)
    return row if row.split == split else row.model_copy(update={"split": split})


def as_member(row: Row, split_key: bytes) -> Member:
    """Return a row as the firewall between the splits sees it."""
    return member(split_key, utterance_id=row.utterance_id, audio=row.audio, speaker=row.speaker, session=row.session)


def _tells(row: Row) -> bool:
    return row.kind in {"error", "sample"}


def uses_of(rows: Iterable[Row], split_key: bytes) -> list[tuple[frozenset[str], Split]]:
    """Return the identities of every row that has a split, and the split."""
    return [(as_member(row, split_key).identities, row.split) for row in rows if row.split is not None and row.set_aside is None]


def clip_member(item: Clip, split_key: bytes) -> Member:
    """Return a clip as the firewall sees it; its cluster counts as a speaker, which it is in every corpus."""
    recording = member(split_key, utterance_id=item.utterance_id, audio=item.audio, speaker=None).recording
    return Member(recording=recording, company=frozenset({item.cluster}), cluster=item.cluster, spoken=True)


def splits_of_clips(clips: Sequence[Clip], split_key: bytes, history: History) -> list[frozenset[Split]]:
    """Return for each clip every split that it, or somebody who was ever told of its recording, is in."""
    members = accompanied([clip_member(item, split_key) for item in clips], history.told)
    return [splits_of(one.identities, history.splits) for one in members]


def untrained(clips: Sequence[Clip], split_key: bytes, history: History) -> list[Clip]:
    """Return the clips that may judge: nothing of theirs was trained or tuned on, as far as was told until now."""
    return [item for item in clips if splits_of(clip_member(item, split_key).identities, history.splits) <= {"holdout"}]


def fit_to_judge(clips: Sequence[Clip], split_key: bytes, history: History) -> list[Clip]:
    """Return the clips of the accumulated holdout that may still judge, in the stratum in which they do.

    A sample whose utterance was reported later is an error: the served hypothesis is not its reference, and with a person's reference it
    is known with certainty, weight 1.
    """
    judging = []
    for item in untrained(clips, split_key, history):
        reported = item.stratum == "traffic" and not clip_member(item, split_key).recording.isdisjoint(history.reported)
        if reported and item.provenance == "champion":
            continue
        judging.append(item.model_copy(update={"stratum": "errors", "weight": 1.0}) if reported else item)
    return judging
