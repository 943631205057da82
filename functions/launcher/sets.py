"""From a sealed dataset to the spec: which clips train, which judge, and copies of the audio that must stay."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from functions.launcher.lineage import Lineage, askable
from functions.launcher.past import clips_in_use, read_past
from functions.launcher.seal import read_split_key
from functions.launcher.window import find_dataset, read_window
from functions.runtime import Ports
from shared import keys
from shared.audio_source import AudioSource
from shared.cas import create, find_document
from shared.corpora import Corpus, CorpusClip, copy_audio, load_corpus
from shared.dataset import Row, clip, unlabelled_clip
from shared.documents import document_bytes, lines_bytes, parse_document, sha256_hex
from shared.errors import CorruptObject, InvariantBroken, NotFound
from shared.head import FIRST_CYCLE
from shared.holdout import Apart, holdout_clips
from shared.line_objects import LinesObject, create_lines, find_lines, lines_of
from shared.log import log
from shared.placement import clip_member, splits_of_clips, untrained
from shared.splits import cluster_of
from shared.spool import Form, Spool
from shared.suites import margin_of
from shared.training import AnyClip, BaseModelRef, Clip, ClipSet, ObjectRef, SetRole, TrainingSpec, UnlabelledClip


@dataclass(frozen=True)
class _Suite:
    """A regression suite as it is now, with the margin that is stored with it."""

    corpus: Corpus
    margin: float

    @classmethod
    def load(cls, ports: Ports, name: str) -> "_Suite":
        return cls(load_corpus(ports.store, keys.suite(name)), margin_of(ports.store, name))

    def mark(self, clip_set: ClipSet, clips: Sequence[Clip]) -> ClipSet:
        """Name margin and version; an earlier launcher's clips may be of a version that nobody can tell any more."""
        ours = clip_set.ref.sha256 == sha256_hex(lines_bytes(clips))
        return clip_set.model_copy(update={"margin": self.margin, "version": self.corpus.sha256 if ours else None})


def write_spec(ports: Ports, audio: AudioSource, cycle: int, sealed: LinesObject[Row], lineage: Lineage) -> TrainingSpec:
    """Write the spec of a cycle once and return the winner.

    Raises:
        InvariantBroken: no model is stable: the launcher does not open a cycle without one.
    """
    present = find_document(ports.store, keys.spec(cycle), TrainingSpec)
    if present is not None:
        return present
    if lineage.stable is None or lineage.manifest is None:
        raise InvariantBroken(f"cycle {cycle}: expected a stable model to start from, found none")
    manifest = lineage.manifest
    policy = document_bytes(ports.settings.policy)
    policy_ref = ObjectRef(key=keys.policy(cycle, sha256_hex(policy)), sha256=sha256_hex(policy))
    create(ports.store, policy_ref.key, policy)
    spec = TrainingSpec(
        cycle=cycle,
        created_at=ports.clock.now(),
        base=BaseModelRef(version=lineage.stable, manifest=ObjectRef(key=manifest.info.key, sha256=sha256_hex(manifest.data))),
        dataset=ObjectRef(key=sealed.info.key, sha256=sealed.sha256),
        sets=_clip_sets(ports, audio, cycle, sealed, lineage),
        config=ports.settings.policy.training,
        gold=ports.settings.policy.gold,
        audio_prefixes=ports.audio_prefixes,
        policy=policy_ref,
    )
    stored = create(ports.store, keys.spec(cycle), document_bytes(spec))
    return parse_document(TrainingSpec, stored.data, what=stored.info.key)


def _clip_sets(ports: Ports, audio: AudioSource, cycle: int, sealed: LinesObject[Row], lineage: Lineage) -> tuple[ClipSet, ...]:
    policy = ports.settings.policy
    split_key = read_split_key(ports)
    past = read_past(ports, read_window(ports, cycle + 1), split_key)
    added = (list(batch) for batch in _holdout(ports, audio, cycle))
    judge = {keys.HOLDOUT_SET: clips_in_use(added, past, policy.holdout_cap)}
    replay = [_corpus_clip(item, split_key, "replay") for item in load_corpus(ports.store, keys.REPLAY).clips]
    suites = {f"{keys.SUITE_SET}{name}": _Suite.load(ports, name) for name in policy.validation.suites}
    offered = {set_name: [_corpus_clip(item, split_key, "suite") for item in suite.corpus.clips] for set_name, suite in suites.items()}
    fixed = _cases(ports, keys.suite(keys.FIXED_SUITE), split_key)
    history = past.of(clip_member(item, split_key) for clips in (replay, fixed, *offered.values()) for item in clips)
    for set_name, clips in offered.items():
        judge[set_name] = fit = untrained(clips, split_key, history)
        if len(fit) < len(clips):
            left_out = f"{len(clips) - len(fit)} clips left out: their speakers were trained on"
            log(f"{set_name}: {left_out}", severity="WARNING", cycle=cycle)
    apart = Apart(item for clips in judge.values() for item in clips)
    replay_splits = splits_of_clips(replay, split_key, history)
    may_ask = askable(ports, lineage.learned)

    def reported(split: str) -> Iterator[Clip]:
        errors = (row for row in sealed.rows if row.usable and row.kind == "error" and row.split == split)
        return filter(apart, (clip(row, stratum="errors") for row in errors))

    def replayed(split: str) -> Iterator[Clip]:
        return filter(apart, (item for item, splits in zip(replay, replay_splits, strict=True) if splits == {split}))

    def unlabelled() -> Iterator[UnlabelledClip]:
        return filter(apart, (unlabelled_clip(row) for row in sealed.rows if row.unlabelled and may_ask(row)))

    def write(name: str, role: SetRole, clips: Iterable[AnyClip]) -> Iterator[ClipSet]:
        """Write a set of which there must be one, empty or not."""
        yield _write_set(ports, cycle, name, role, clips)

    def write_some(name: str, role: SetRole, clips: Iterator[AnyClip]) -> Iterator[ClipSet]:
        """Write a set if it has clips."""
        if (first := next(clips, None)) is not None:
            yield from write(name, role, chain([first], clips))

    # Both models hear, beside what judges, the errors that are being learned and those that earlier versions fixed.
    written = [
        *write("train-errors", "train_errors", reported("train")),
        *write("train-replay", "train_replay", replayed("train")),
        *write("dev-errors", "dev_errors", reported("dev")),
        *write("dev-replay", "dev_replay", replayed("dev")),
        *(each for name, clips in judge.items() for each in write(name, "judge", clips)),
        *write_some(keys.UNLABELLED_SET, "train_unlabelled", unlabelled()),
        *write_some(keys.LEARNING_SET, "recheck", chain(reported("train"), reported("dev"))),
        *write_some(keys.FIXED_SET, "recheck", iter(untrained(fixed, split_key, history))),
        *write_some(keys.MEMORY_SET, "recheck", iter(_cases(ports, keys.MEMORY, split_key))),
    ]
    return tuple(suites[each.name].mark(each, judge[each.name]) if each.name in suites else each for each in written)


def _cases(ports: Ports, key: str, split_key: bytes) -> list[Clip]:
    return [_corpus_clip(item, split_key, "errors") for item in load_corpus(ports.store, key).clips]


def _corpus_clip(item: CorpusClip, split_key: bytes, stratum: str) -> Clip:
    return Clip.model_validate(
        {
            **item.model_dump(exclude={"speaker", "session"}),
            "cluster": cluster_of(split_key, speaker=item.speaker),
            "stratum": stratum,
            "provenance": "human",
        }
    )


def _write_set(ports: Ports, cycle: int, name: str, role: SetRole, clips: Iterable[AnyClip]) -> ClipSet:
    key = keys.clips(cycle, name)
    form: Form[Any] = lines_of(UnlabelledClip, what=key) if role == "train_unlabelled" else lines_of(Clip, what=key)
    stored = create_lines(ports.store, key, clips, form)
    return ClipSet(name=name, role=role, ref=ObjectRef(key=key, sha256=stored.sha256), clips=len(stored.rows))


def _holdout(ports: Ports, audio: AudioSource, cycle: int) -> Iterator[Spool[Clip]]:
    """Yield what every dataset so far has added to the holdout, the newest first, also those whose cycle never came to a spec."""
    empty = {info.key for info in ports.store.list(keys.HOLDOUT) if not info.size_bytes}
    wanted = (number for number in range(cycle, FIRST_CYCLE - 1, -1) if keys.holdout(number) not in empty)
    return (_added(ports, audio, number) for number in wanted)


def _added(ports: Ports, audio: AudioSource, cycle: int) -> Spool[Clip]:
    """Return what a dataset adds to the holdout, its audio copied; written once."""
    key = keys.holdout(cycle)
    form = lines_of(Clip, what=key)
    found = find_lines(ports.store, key, form)
    if found is not None:
        return found.rows
    sealed = find_dataset(ports, cycle)
    if sealed is None:
        raise InvariantBroken(f"holdout of cycle {cycle}: expected {keys.dataset(cycle)}, found none")
    clips = holdout_clips(sealed.rows, judge_on_llm_gold=ports.settings.policy.judge_on_llm_gold)
    copied = (made for item in clips if (made := _copy(ports, audio, item)) is not None)
    return create_lines(ports.store, key, copied, form).rows


def _copy(ports: Ports, audio: AudioSource, item: Clip) -> Clip | None:
    try:
        data = audio.fetch(item.audio)
    except (NotFound, CorruptObject) as error:
        log(f"holdout clip left out: {error}", severity="WARNING", utterance_id=item.utterance_id)
        return None
    return item.model_copy(update={"audio": copy_audio(ports.store, data)})
