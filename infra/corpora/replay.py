"""The replay: trusted clips that training mixes in against forgetting; nobody who judges a model is among them."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from functions.launcher.seal import read_split_key
from functions.runtime import Ports
from infra.corpora.admission import Adding, admit, replace_manifest, wall_to_judging
from infra.corpora.source import Offer, some
from infra.errors import Refused
from shared import keys
from shared.corpora import count_words, load_corpus
from shared.documents import Frozen
from shared.splits import cluster_of, split_of

PREFIX = "replay"


class ReplaySpeaker(Frozen):
    """One speaker, session or lone clip of the replay.

    Attributes:
        split: train and dev are used; holdout is not: others of the same speaker's clips may judge.
    """

    speaker: str
    clips: int
    split: str


class ReplayView(Frozen):
    """The replay as it is now.

    Attributes:
        used: clips by what they are used for.
        hours: of audio whose length is known.
    """

    clips: int
    words: int
    hours: float
    used: dict[str, int]
    speakers: tuple[ReplaySpeaker, ...]


class ReplayChanged(Frozen):
    """What came of `replay add` or `replay remove`."""

    replay: ReplayView
    added: int = 0
    removed: int = 0
    repeated: int = 0
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def add_replay(ports: Ports, offer: Offer, adding: Adding) -> ReplayChanged:
    """Add clips to the replay.

    Raises:
        Refused: the speaker, session or recording of a clip judges: it is in a suite or in the holdout.
    """
    present = load_corpus(ports.store, keys.REPLAY)
    admitted = admit(ports, offer, present.clips, wall_to_judging(ports), PREFIX, adding)
    if admitted.clips:
        replace_manifest(ports.store, keys.REPLAY, (*present.clips, *admitted.clips), present.generation)
    return ReplayChanged(
        replay=show_replay(ports),
        added=len(admitted.clips),
        repeated=admitted.repeated,
        left_out=admitted.left_out,
        warnings=offer.warnings,
    )


def remove_replay(ports: Ports, utterances: Sequence[str]) -> ReplayChanged:
    """Take clips out of the replay; cycles that used them keep their record, and the audio stays.

    Args:
        ports: the outside world.
        utterances: which; none = all.

    Raises:
        Refused: there is no such clip.
    """
    present = load_corpus(ports.store, keys.REPLAY)
    unknown = sorted(set(utterances) - {item.utterance_id for item in present.clips})
    if unknown or not present.clips:
        raise Refused(f"replay: expected clips that it has, found {some(unknown) or 'none at all'}; see `retune replay list --json`")
    kept = [item for item in present.clips if utterances and item.utterance_id not in set(utterances)]
    replace_manifest(ports.store, keys.REPLAY, kept, present.generation)
    return ReplayChanged(replay=show_replay(ports), removed=len(present.clips) - len(kept))


def show_replay(ports: Ports) -> ReplayView:
    """Return what is in the replay and what it is used for."""
    clips = load_corpus(ports.store, keys.REPLAY).clips
    split_key, policy = read_split_key(ports), ports.settings.policy
    split = {name: str(split_of(cluster_of(split_key, speaker=name), policy)) for name in {item.speaker for item in clips}}
    per_speaker = Counter(item.speaker for item in clips)
    return ReplayView(
        clips=len(clips),
        words=count_words(clips),
        hours=round(sum(item.duration_s or 0.0 for item in clips) / 3600, 2),
        used=dict(sorted(Counter(split[item.speaker] for item in clips).items())),
        speakers=tuple(ReplaySpeaker(speaker=name, clips=count, split=split[name]) for name, count in sorted(per_speaker.items())),
    )


def render_replay(view: ReplayView) -> RenderableType:
    """Return a text for people."""
    if not view.clips:
        return Text("The replay is empty: `retune replay add --audio-dir DIR` brings trusted clips against forgetting.")
    used = f"{view.used.get('train', 0)} train, {view.used.get('dev', 0)} choose the scale"
    idle = view.used.get("holdout", 0)
    lines = [f"{view.clips} clips of {len(view.speakers)} speakers, {view.words} words, {view.hours:.2f} h: {used}"]
    if idle:
        lines.append(f"{idle} clips are not used: the split holds their speakers out, as it does in production")
    table = Table("speaker", "clips", "split", box=None)
    for speaker in view.speakers:
        table.add_row(speaker.speaker, str(speaker.clips), speaker.split)
    return Group(*map(Text, lines), table)


def render_change(change: ReplayChanged) -> RenderableType:
    """Return what was done, for people."""
    done = f"added {change.added}" if not change.removed else f"removed {change.removed}"
    repeated = f", {change.repeated} were there already" if change.repeated else ""
    notes = [Text(f"note: {text}") for text in (*change.warnings, *change.left_out)]
    return Group(Text(f"{done} clips{repeated}"), *notes, render_replay(change.replay))
