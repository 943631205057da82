"""The wall between what trains and what judges: no speaker, session, recording or utterance is in two splits. Pure.

Everything that can tie an utterance to another one is an *identity*: its speaker, its session, the digest of its audio, its own id. An
identity is known by its keyed hash alone. The first split that an identity is used in is its split for ever: what was trained on never
judges, and what judged is never trained on. What would tie two splits together is set aside, and ties nothing. Who spoke is sometimes told
late: the speaker and the session of a recording that was trained on count as trained on from then, and no longer judge; those of one that
judged are held out from then, if nothing of theirs was trained on.

A speaker whom nobody has met falls where the hash says, so that one agent who speaks in every call does not draw all callers into one
split; of a call whose speakers fall into different splits, the one who was met first keeps the session, and what the others said in it is
set aside.
"""

import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal, TypeAlias, get_args

from shared.audio_source import AudioPin
from shared.policy import Policy

Split = Literal["train", "dev", "holdout"]
SPLITS: tuple[Split, ...] = get_args(Split)
Assignments: TypeAlias = Mapping[str, frozenset[Split]]
"""Identity -> the split it is in; more than one where data from before the wall is at odds with itself."""

SPEAKER = "speaker:"


@lru_cache(maxsize=1 << 14)
def cluster_of(split_key: bytes, *, speaker: str | None) -> str:
    """Return the keyed hash that stands for a speaker everywhere but in the events themselves.

    Args:
        split_key: `corpora/split_key`, made once.
        speaker: `speaker:<id>`, else `session:<id>`, else `audio:<digest>`.
    """
    return hmac.digest(split_key, (speaker or "").encode(), "sha256").hex()[:32]


def split_of(cluster: str, policy: Policy) -> Split:
    """Return the split that the hash of a cluster falls into: the same for errors, samples and replay alike."""
    position = int(cluster[:16], 16) / 2**64
    if position < policy.holdout_share:
        return "holdout"
    return "dev" if position < policy.holdout_share + policy.dev_share else "train"


def audio_digest(audio: AudioPin) -> str:
    """Return what tells one recording from another, wherever its copies lie."""
    return f"{audio.crc32c}:{audio.size_bytes}"


@dataclass(frozen=True, slots=True)
class Member:
    """Something that wants a split.

    Attributes:
        recording: identities of the recording itself: the utterance's id, the digest of its audio.
        company: identities that it shares with other recordings: its speaker, its session.
        cluster: the identity that decides where none was met before: the speaker, else the session, else the audio; None = not known yet.
        spoken: `cluster` is a speaker.
    """

    recording: frozenset[str]
    company: frozenset[str]
    cluster: str | None
    spoken: bool

    @property
    def identities(self) -> frozenset[str]:
        """All that is known of it."""
        return self.recording | self.company


def member(
    split_key: bytes, *, utterance_id: str | None, audio: AudioPin | None, speaker: str | None, session: str | None = None
) -> Member:
    """Return what is known of an utterance, as the wall sees it.

    Args:
        split_key: key of the hash.
        utterance_id: the service's name of the utterance.
        audio: its pinned audio; None = not pinned yet.
        speaker: `speaker:<id>`, else `session:<id>`; None = unknown.
        session: `session:<id>`; None = unknown.
    """

    def hashed(*names: str | None) -> frozenset[str]:
        return frozenset(cluster_of(split_key, speaker=name) for name in names if name is not None)

    sound = f"audio:{audio_digest(audio)}" if audio is not None else None
    unit = speaker or session or sound
    return Member(
        recording=hashed(sound, f"utterance:{utterance_id}" if utterance_id is not None else None),
        company=hashed(speaker, session),
        cluster=cluster_of(split_key, speaker=unit) if unit is not None else None,
        spoken=speaker is not None and speaker.startswith(SPEAKER),
    )


def assignments(uses: Iterable[tuple[Iterable[str], Split]]) -> dict[str, frozenset[Split]]:
    """Return the splits of identities from every use that was made of them: the identities of one utterance, and its split."""
    found: dict[str, frozenset[Split]] = {}
    for identities, split in uses:
        for identity in identities:
            found[identity] = found.get(identity, frozenset()) | {split}
    return found


def merged(*parts: Assignments) -> dict[str, frozenset[Split]]:
    """Return several assignments as one."""
    return {name: frozenset[Split]().union(*(part.get(name, ()) for part in parts)) for part in parts for name in part}


def splits_of(identities: Iterable[str], known: Assignments) -> frozenset[Split]:
    """Return every split that one of the identities is in."""
    return frozenset[Split]().union(*(known.get(identity, ()) for identity in identities))


def linked(known: Assignments, told: Iterable[Member]) -> dict[str, frozenset[Split]]:
    """Return the assignments with all that follows from what was told of recordings.

    Ids and digests that were told of one recording stand for it alike, with every speaker and session that was ever told of it. Where the
    recording was trained or tuned on, so were they; and where they were, what is known of them holds for each recording of theirs. Who is
    in the holdout besides is in conflict from then on, and neither judges nor trains. Where the recording judged, they are held out with
    it, unless they were trained or tuned on.
    """
    found = dict(known)
    groups = _recordings(told)
    for names, company in groups:
        trained = splits_of(names, known) - {"holdout"}
        for identity in company if trained else ():
            found[identity] = found.get(identity, frozenset()) | trained
    for names, company in groups:
        if "holdout" in splits_of(names, known):
            found.update({identity: frozenset[Split]({"holdout"}) for identity in company if identity not in found})
    for names, company in groups:
        met = [found[identity] for identity in company if found.get(identity, frozenset()) - {"holdout"}]
        splits = splits_of(names, known).union(*met)
        if splits:
            found.update(dict.fromkeys(names, splits))
    return found


def accompanied(members: Iterable[Member], told: Iterable[Member]) -> list[Member]:
    """Return members with every speaker and session that was ever told of their recordings: each of them follows the recording's split."""
    company = {name: others for names, others in _recordings(told) for name in names}
    told_of = ((one, one.company.union(*(company.get(name, ()) for name in one.recording))) for one in members)
    return [one if others == one.company else replace(one, company=others) for one, others in told_of]


def _recordings(told: Iterable[Member]) -> list[tuple[frozenset[str], frozenset[str]]]:
    """Return each recording's names (ids and digests that some member has in common) and its company."""
    group_of: dict[str, tuple[frozenset[str], frozenset[str]]] = {}
    for one in told:
        met = {id(group_of[name]): group_of[name] for name in one.recording if name in group_of}.values()
        names, company = one.recording, one.company
        if met:
            names, company = names.union(*(group[0] for group in met)), company.union(*(group[1] for group in met))
        group = (names, company)
        group_of.update(dict.fromkeys(names, group))
    return list({id(group): group for group in group_of.values()}.values())


def place(members: Sequence[Member], past: Assignments, by_hash: Callable[[str], Split]) -> list[frozenset[Split]]:
    """Return for each member the one split it belongs to; several = it would tie them together; none = not enough is known of it.

    Recordings that were met before come first, then known speakers, then the rest, each in the order given: a speaker whom nobody has met
    goes where a recording of theirs is, else where the hash says; a session goes where its first speaker is. A member that is placed gives
    its split to all its identities, so that no later one can take them elsewhere; one in conflict gives them nothing.

    Args:
        members: what wants a split.
        past: the identities that have one; see `linked`.
        by_hash: split of a cluster that was never met: `split_of` with the policy's shares.
    """
    known = dict(past)
    met = [bool(splits_of(one.recording, past)) for one in members]
    placed: dict[int, frozenset[Split]] = {}
    for number in sorted(range(len(members)), key=lambda number: (not met[number], not members[number].spoken)):
        one = members[number]
        votes = splits_of(one.identities, known)
        lone = one.cluster is not None and one.cluster not in known and not splits_of(one.recording, known)
        if one.cluster is not None and lone and (one.spoken or not votes):
            votes |= {by_hash(one.cluster)}
        if len(votes) == 1:
            known.update(dict.fromkeys(one.identities, votes))
        placed[number] = votes
    return [placed[number] for number in range(len(members))]


@dataclass(frozen=True)
class History:
    """What every dataset and corpus so far says about who trains and who judges.

    Attributes:
        splits: of every identity that has one.
        told: all that was told of recordings.
        reported: identities of the utterances that somebody reported as errors: what production heard there is nobody's reference.
    """

    splits: Assignments = field(default_factory=dict)
    told: frozenset[Member] = frozenset()
    reported: frozenset[str] = frozenset()
