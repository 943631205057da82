"""Clips that stay: replay against forgetting, regression suites, and the wall between what trains and what judges.

corpora/suites/<name>/manifest.jsonl    the clips of a regression suite in force; see `shared.suites`
corpora/replay/manifest.jsonl           the replay in force
corpora/memory/manifest.jsonl           errors that a version has learned and transcribes rightly
corpora/audio/<sha256>                  audio of suites, replay and holdout
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from shared import keys
from shared.audio_source import AudioPin
from shared.cas import commit, create, find
from shared.dataset import Row
from shared.documents import Frozen, lines_bytes, parse_lines, sha256_hex
from shared.normalisation import normalise
from shared.objectstore import ABSENT, Generation, ObjectStore
from shared.splits import Assignments, Split, audio_digest, cluster_of, splits_of
from shared.training import Clip


class CorpusClip(Frozen):
    """A clip of the replay, the memory or a suite: trusted, pinned when it was added.

    Attributes:
        speaker: `speaker:<id>`, else `session:<id>`, else `audio:<digest>`: hashed like every other speaker, so that nobody is on both
            sides of a split.
        session: `session:<id>`, also where the speaker is known: a person may ask to be forgotten by it.
    """

    utterance_id: str
    audio: AudioPin
    reference: str
    speaker: Annotated[str, Field(min_length=1)]
    session: str | None = None
    duration_s: float | None = None


@dataclass(frozen=True)
class Corpus:
    """The clips in force.

    Attributes:
        clips: in the order in which they were added.
        sha256: digest of the manifest as stored; None where there is none.
        generation: of the manifest, for whoever replaces it.
    """

    clips: tuple[CorpusClip, ...] = ()
    sha256: str | None = None
    generation: Generation = ABSENT


def load_corpus(store: ObjectStore, key: str) -> Corpus:
    """Read a manifest of clips; an absent one is empty."""
    found = find(store, key)
    if found is None:
        return Corpus()
    return Corpus(tuple(parse_lines(CorpusClip, found.data, what=key)), sha256_hex(found.data), found.info.generation)


def replace_corpus(store: ObjectStore, key: str, clips: Sequence[CorpusClip], read: Generation) -> None:
    """Replace the clips in force, on the generation that was read; without clips the manifest goes.

    Raises:
        Conflict: somebody else replaced them meanwhile.
    """
    if clips:
        commit(store, key, lines_bytes(clips), if_generation_match=read, content_type="application/x-ndjson")
    elif read != ABSENT:
        store.delete(key, if_generation_match=read)


def count_words(clips: Iterable[CorpusClip]) -> int:
    """Return the reference words under the normaliser in force."""
    return sum(len(normalise(item.reference).split()) for item in clips)


def count_speakers(clips: Iterable[CorpusClip]) -> int:
    """Return the speakers, sessions and lone recordings: the units that statistics resample."""
    return len({item.speaker for item in clips})


def copy_audio(store: ObjectStore, data: bytes, content_type: str = "application/octet-stream") -> AudioPin:
    """Keep audio under its digest, once, and return its pin."""
    info = create(store, keys.audio(sha256_hex(data)), data, content_type=content_type).info
    return AudioPin(uri=f"{store.uri}/{info.key}", generation=info.generation, crc32c=info.crc32c, size_bytes=info.size_bytes)


@dataclass(frozen=True)
class Known:
    """What one side of the wall holds, and where, in words.

    Attributes:
        clusters: keyed hash of a speaker, session or lone recording -> where.
        audio: digest of a recording -> where.
    """

    clusters: Mapping[str, str]
    audio: Mapping[str, str]


def trained(datasets: Iterable[tuple[int, Iterable[Row]]], replay: Iterable[CorpusClip], split_key: bytes) -> Known:
    """Return who and what models were taught or tuned with: errors of train and dev in any cycle, and all of the replay.

    A cycle whose model was never used counts as well: its rows are carried into later ones.
    """
    clusters = {cluster_of(split_key, speaker=item.speaker): "the replay" for item in replay}
    audio = {audio_digest(item.audio): "the replay" for item in replay}
    for cycle, rows in datasets:
        for row in rows:
            if row.kind == "error" and row.split in {"train", "dev"} and row.set_aside is None and row.cluster and row.audio:
                clusters.setdefault(row.cluster, f"cycle {cycle} ({row.split})")
                audio.setdefault(audio_digest(row.audio), f"cycle {cycle} ({row.split})")
    return Known(clusters, audio)


def judging(suites: Mapping[str, Sequence[CorpusClip]], holdout: Iterable[Clip], split_key: bytes) -> Known:
    """Return who and what judges models: every suite and the holdout."""
    clusters: dict[str, str] = {}
    audio: dict[str, str] = {}
    for name, clips in suites.items():
        for item in clips:
            clusters.setdefault(cluster_of(split_key, speaker=item.speaker), f"suite {name}")
            audio.setdefault(audio_digest(item.audio), f"suite {name}")
    for held in holdout:
        clusters.setdefault(held.cluster, "the holdout")
        audio.setdefault(audio_digest(held.audio), "the holdout")
    return Known(clusters, audio)


@dataclass(frozen=True)
class Newcomer:
    """A clip that somebody wants to add.

    Attributes:
        label: what people call it.
        names: every name that its speaker may be known by: `speaker:<id>`, `session:<id>`, `audio:<digest>`.
        audio: digests of the recording, as it came and as it is kept.
    """

    label: str
    names: tuple[str, ...]
    audio: tuple[str, ...]


SAME_RECORDING = "the same recording"


@dataclass(frozen=True)
class Crossing:
    """A newcomer that stands on the other side of the wall already.

    Attributes:
        who: the speaker, session or `SAME_RECORDING`.
        where: what holds it.
    """

    label: str
    who: str
    where: str


@dataclass(frozen=True)
class Wall:
    """The other side of the wall, as somebody who adds clips meets it.

    Attributes:
        known: what it holds, in words.
        splits: of every identity, as the next seal will see them: also what was told late, or under another name.
        forbidden: the splits of the other side.
    """

    known: Known
    splits: Assignments
    forbidden: frozenset[Split]


def crossings(newcomers: Iterable[Newcomer], wall: Wall, split_key: bytes) -> Iterator[Crossing]:
    """Yield each newcomer whose speaker, session or recording the other side holds: no model may be judged on what it has learned."""
    for newcomer in newcomers:
        names = {name: cluster_of(split_key, speaker=name) for name in newcomer.names}
        recordings = [cluster_of(split_key, speaker=f"audio:{digest}") for digest in newcomer.audio]
        heard = next((wall.known.audio[digest] for digest in newcomer.audio if digest in wall.known.audio), None)
        met = next((name for name, cluster in names.items() if cluster in wall.known.clusters), None)
        late = next((name for name, cluster in names.items() if splits_of([cluster], wall.splits) & wall.forbidden), None)
        if heard is not None:
            yield Crossing(newcomer.label, SAME_RECORDING, heard)
        elif met is not None:
            yield Crossing(newcomer.label, met.replace(":", " ", 1), wall.known.clusters[names[met]])
        elif late is not None:
            yield Crossing(newcomer.label, late.replace(":", " ", 1), _told_later(wall))
        elif splits_of(recordings, wall.splits) & wall.forbidden:
            yield Crossing(newcomer.label, SAME_RECORDING, _told_later(wall))


def _told_later(wall: Wall) -> str:
    return f"{'what judges' if 'holdout' in wall.forbidden else 'what was trained on'}, by what was told of it later"
