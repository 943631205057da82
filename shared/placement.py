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


def one_of_each(rows: Sequence[Row]) -> list[Row]:
    """Return rows with who is known of each recording, and set aside what repeats one under another name; rows meet by their audio."""
    return without_duplicates(identified(rows, digest_of), digest_of, "same audio as")


def digest_of(row: Row) -> str | None:
    """Return what tells a row's recording from others; None = no audio is pinned."""
    return audio_digest(row.audio) if row.audio else None


def tells(row: Row) -> bool:
    """Tell whether a row says something of a recording: also one that is set aside does."""
    return row.kind in {"error", "sample"}


def wants_split(row: Row) -> bool:
    """Tell whether a row can be used, if its split is known."""
    return row.set_aside is None and row.audio is not None


def splits_of_told(told: Sequence[tuple[Member, bool]], policy: Policy, past: History) -> list[frozenset[Split]]:
    """Return what `place` says for each member that wants a split, in their order.

    Args:
        told: all that the dataset's rows tell of recordings, and whether the row wants a split.
        policy: the shares.
        past: what earlier datasets and the corpora say.
    """
    every = past.told.union(one for one, _ in told)
    wanting = accompanied((one for one, wants in told if wants), every)
    return place(wanting, linked(past.splits, every), lambda cluster: split_of(cluster, policy))


def weighed(row: Row, rate: float | None) -> Row:
    """Return a row from `pinned` with its weight, where the rate of all the dataset's traffic tells it (`Traffic`)."""
    if row.audio is None or row.set_aside is not None or row.weight is not None or not rate:
        return row
    return row.model_copy(update={"weight": 1.0 / rate})


def in_split(row: Row, splits: frozenset[Split], split_key: bytes) -> Row:
    """Return a row from `one_of_each` in its split, or set aside where it would tie two splits together: the last step of a seal.

    Args:
        row: of the dataset.
        splits: from `splits_of_told`.
        split_key: key of the speaker hash.
    """
    update: dict[str, object] = {"split": next(iter(splits), None)}
    if row.audio is not None:
        update["cluster"] = as_member(row, split_key).cluster
    if len(splits) > 1:
        detail = f"its speaker, session, audio or id is in {' and in '.join(sorted(splits))}: what trained never judges, nor the reverse"
        update |= {"split": None, "set_aside": "split_conflict", "detail": detail}
    return row.model_copy(update=update)


def as_member(row: Row, split_key: bytes) -> Member:
    """Return a row as the wall between the splits sees it."""
    return member(split_key, utterance_id=row.utterance_id, audio=row.audio, speaker=row.speaker, session=row.session)


def clip_member(item: Clip, split_key: bytes) -> Member:
    """Return a clip as the wall sees it; its cluster counts as a speaker, which it is in every corpus."""
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
