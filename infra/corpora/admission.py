"""What suites and replay have in common: the wall between training and judging, and clips on their way into the store [io]."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from functions.launcher.past import read_past
from functions.launcher.seal import read_split_key
from functions.launcher.window import find_dataset, read_window
from functions.runtime import Ports
from infra.corpora.source import Convert, Offer, Ready, convert_with_trainer, prepare, some
from infra.dry_run import dry
from infra.errors import Refused
from shared import keys
from shared.corpora import CorpusClip, Crossing, Wall, copy_audio, crossings, judging, load_corpus, replace_corpus, trained
from shared.dataset import Row
from shared.documents import parse_lines
from shared.errors import Conflict
from shared.head import FIRST_CYCLE, read_head
from shared.objectstore import Generation, ObjectStore
from shared.splits import History, audio_digest
from shared.stores import open_store
from shared.suites import suite_names
from shared.training import Clip

UPLOADS = 16


@dataclass(frozen=True)
class Adding:
    """How clips are added.

    Attributes:
        by: who adds them, as they claim.
        skip_crossing: leave out what stands on the other side of the wall, instead of refusing everything.
        convert: brings audio to what models hear.
        open_store: makes the store of `gs://bucket`.
    """

    by: str
    skip_crossing: bool = False
    convert: Convert = convert_with_trainer
    open_store: Callable[[str], ObjectStore] = open_store


@dataclass(frozen=True)
class Admitted:
    """What came of an offer.

    Attributes:
        clips: the new ones, their audio stored.
        left_out: why others are not among them.
        repeated: how many were there already.
    """

    clips: tuple[CorpusClip, ...]
    left_out: tuple[str, ...]
    repeated: int


def wall_to_training(ports: Ports) -> Wall:
    """Return who and what models were taught with, in any cycle and in the replay: nobody of them may judge."""
    known = trained(_datasets(ports), load_corpus(ports.store, keys.REPLAY).clips, read_split_key(ports))
    return Wall(known, _past(ports).splits, frozenset({"train", "dev"}))


def _datasets(ports: Ports) -> Iterator[tuple[int, Iterable[Row]]]:
    for cycle in range(FIRST_CYCLE, read_head(ports.store) + 1):
        sealed = find_dataset(ports, cycle)
        if sealed is not None:
            yield cycle, sealed.rows


def wall_to_judging(ports: Ports) -> Wall:
    """Return who and what judges models, in suites and the holdout: nobody of them may train."""
    store = ports.store
    suites = {name: load_corpus(store, keys.suite(name)).clips for name in suite_names(store)}
    held = [item for info in store.list(keys.HOLDOUT) for item in parse_lines(Clip, store.get(info.key).data, what=info.key)]
    # Without the replay itself: a speaker of it whom the hash holds out is not used, and judges nobody either.
    splits = _past(ports, replay=False).splits
    return Wall(judging(suites, held, read_split_key(ports)), splits, frozenset({"holdout"}))


def _past(ports: Ports, *, replay: bool = True) -> History:
    """Return who was trained on and who judged, also in the newest cycle; what a launcher would keep of it for later is forgotten."""
    tried = dry(ports)
    window = read_window(tried, read_head(tried.store) + 1)
    return read_past(tried, window, read_split_key(tried), replay=replay).whole


def admit(ports: Ports, offer: Offer, present: Sequence[CorpusClip], wall: Wall, prefix: str, adding: Adding) -> Admitted:
    """Convert what is offered, keep the wall, and store the audio of what is new.

    Args:
        ports: the outside world.
        offer: what a person brings.
        present: clips that are there already.
        wall: what the new clips must not share a speaker or a recording with.
        prefix: stands before every label in the utterance_id, so that no two corpora name two clips alike.
        adding: how.

    Raises:
        Refused: a clip crosses the wall, or has the name of another that is there; nothing was stored.
    """
    with TemporaryDirectory(prefix="retune-corpus-") as scratch:
        ready, left_out = prepare(offer, Path(scratch), adding.convert, adding.open_store)
        crossing = list(crossings((item.newcomer() for item in ready), wall, read_split_key(ports)))
        if crossing and not adding.skip_crossing:
            raise Refused(_refusal(crossing))
        across = {each.label for each in crossing}
        ready = [item for item in ready if item.offered.label not in across]
        known = {audio_digest(item.audio) for item in present}
        new = [item for item in ready if item.digests[1] not in known]
        _check_names(new, present, prefix)
        with ThreadPoolExecutor(UPLOADS) as pool:
            clips = tuple(pool.map(lambda item: _store(ports.store, item, prefix), new))
    said = [f"{each.label}: {each.who} is in {each.where}" for each in crossing]
    return Admitted(clips, (*left_out, *said), len(ready) - len(new))


def _refusal(crossing: Sequence[Crossing]) -> str:
    named = [f"{each.label} ({each.who} is in {each.where})" for each in crossing]
    return (
        f"{len(crossing)} clips stand on both sides of the wall between what trains and what judges: {some(named)}\n"
        "No model can be judged on voices that it has learned. Take these clips out, or add the others with --skip-crossing."
    )


def _check_names(new: Sequence[Ready], present: Sequence[CorpusClip], prefix: str) -> None:
    named = Counter([*(item.utterance_id for item in present), *(f"{prefix}/{item.offered.label}" for item in new)])
    twice = sorted(name for name, times in named.items() if times > 1)
    if twice:
        raise Refused(f"clips: expected each name for one recording, found others under {some(twice)}; rename the files")


def _store(store: ObjectStore, item: Ready, prefix: str) -> CorpusClip:
    return item.clip(f"{prefix}/{item.offered.label}", copy_audio(store, item.path.read_bytes()))


def replace_manifest(store: ObjectStore, key: str, clips: Sequence[CorpusClip], read: Generation) -> None:
    """Replace the clips in force, on the generation that was read.

    Raises:
        Refused: somebody else replaced them meanwhile.
    """
    try:
        replace_corpus(store, key, clips, read)
    except Conflict as error:
        raise Refused(f"{key}: somebody changed it at the same time; look and try again") from error
