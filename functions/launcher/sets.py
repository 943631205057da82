"""From a sealed dataset to the spec: which clips train, which judge, and copies of the audio that must stay."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from functions.launcher.seal import Lineage, Sealed, awaiting_gold, find_dataset, read_history, read_split_key
from functions.launcher.window import read_window
from functions.runtime import Ports
from shared import keys, ledger
from shared.audio_source import AudioSource
from shared.cas import create, find
from shared.corpora import Corpus, CorpusClip, copy_audio, load_corpus
from shared.dataset import apart, clip, holdout_clips, newest_in_use, unlabelled_clip
from shared.errors import CorruptObject, InvariantBroken, NotFound
from shared.log import log
from shared.placement import fit_to_judge, splits_of_clips, untrained
from shared.splits import History, cluster_of
from shared.suites import margin_of
from shared.training import (
    BaseModelRef,
    Clip,
    ClipSet,
    ObjectRef,
    SetRole,
    TrainingSpec,
    UnlabelledClip,
    document_bytes,
    lines_bytes,
    parse_document,
    parse_lines,
    sha256_hex,
)


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


def write_spec(ports: Ports, audio: AudioSource, cycle: int, sealed: Sealed, lineage: Lineage) -> TrainingSpec:
    """Write the spec of a cycle once and return the winner.

    Raises:
        InvariantBroken: no model is stable: the launcher does not open a cycle without one.
    """
    found = find(ports.store, keys.spec(cycle))
    if found is not None:
        return parse_document(TrainingSpec, found.data, what=found.info.key)
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
        dataset=ObjectRef(key=sealed.stored.info.key, sha256=sha256_hex(sealed.stored.data)),
        sets=_clip_sets(ports, audio, cycle, sealed, lineage),
        config=ports.settings.policy.training,
        gold=ports.settings.policy.gold,
        audio_prefixes=(*ports.settings.audio_prefixes, f"{ports.store.uri}/corpora/"),
        policy=policy_ref,
    )
    stored = create(ports.store, keys.spec(cycle), document_bytes(spec))
    return parse_document(TrainingSpec, stored.data, what=stored.info.key)


def _clip_sets(ports: Ports, audio: AudioSource, cycle: int, sealed: Sealed, lineage: Lineage) -> tuple[ClipSet, ...]:
    policy = ports.settings.policy
    split_key = read_split_key(ports)
    history = read_history(ports, read_window(ports, cycle + 1))
    judge = {keys.HOLDOUT_SET: _holdout(ports, audio, cycle, history)}
    suites = {f"{keys.SUITE_SET}{name}": _Suite.load(ports, name) for name in policy.validation.suites}
    for set_name, suite in suites.items():
        clips = [_corpus_clip(item, split_key, "suite") for item in suite.corpus.clips]
        judge[set_name] = fit = untrained(clips, split_key, history)
        if len(fit) < len(clips):
            left_out = f"{len(clips) - len(fit)} clips left out: their speakers were trained on"
            log(f"{set_name}: {left_out}", severity="WARNING", cycle=cycle)
    judged = [item for clips in judge.values() for item in clips]
    errors = [row for row in sealed.rows if row.usable and row.kind == "error"]
    replay = [_corpus_clip(item, split_key, "replay") for item in load_corpus(ports.store, keys.REPLAY).clips]
    replay_splits = splits_of_clips(replay, split_key, history)

    def reported(split: str) -> list[Clip]:
        return apart([clip(row, stratum="errors") for row in errors if row.split == split], judged)

    def replayed(split: str) -> list[Clip]:
        return apart([item for item, splits in zip(replay, replay_splits, strict=True) if splits == {split}], judged)

    wanted = awaiting_gold(ports, [row for row in sealed.rows if row.unlabelled], lineage.learned)
    unlabelled = apart([unlabelled_clip(row) for row in wanted], judged)
    sets: list[tuple[str, SetRole, Sequence[Clip | UnlabelledClip]]] = [
        ("train-errors", "train_errors", reported("train")),
        ("train-replay", "train_replay", replayed("train")),
        ("dev-errors", "dev_errors", reported("dev")),
        ("dev-replay", "dev_replay", replayed("dev")),
        *((name, "judge", clips) for name, clips in judge.items()),
    ]
    if unlabelled:
        sets.append((keys.UNLABELLED_SET, "train_unlabelled", unlabelled))
    sets += _rechecks(ports, split_key, history, [*reported("train"), *reported("dev")])
    written = [_write_set(ports, cycle, name, role, clips) for name, role, clips in sets]
    return tuple(suites[each.name].mark(each, judge[each.name]) if each.name in suites else each for each in written)


def _rechecks(ports: Ports, split_key: bytes, history: History, learning: Sequence[Clip]) -> Iterator[tuple[str, SetRole, Sequence[Clip]]]:
    """Yield what both models hear beside what judges: the errors that are being learned, and those that earlier versions fixed."""

    def cases(key: str) -> list[Clip]:
        return [_corpus_clip(item, split_key, "errors") for item in load_corpus(ports.store, key).clips]

    fixed = untrained(cases(keys.suite(keys.FIXED_SUITE)), split_key, history)
    for name, clips in ((keys.LEARNING_SET, learning), (keys.FIXED_SET, fixed), (keys.MEMORY_SET, cases(keys.MEMORY))):
        if clips:
            yield name, "recheck", clips


def _corpus_clip(item: CorpusClip, split_key: bytes, stratum: str) -> Clip:
    return Clip.model_validate(
        {
            **item.model_dump(exclude={"speaker", "session"}),
            "cluster": cluster_of(split_key, speaker=item.speaker),
            "stratum": stratum,
            "provenance": "human",
        }
    )


def _write_set(ports: Ports, cycle: int, name: str, role: SetRole, clips: Sequence[Clip | UnlabelledClip]) -> ClipSet:
    stored = create(ports.store, keys.clips(cycle, name), lines_bytes(clips), content_type="application/x-ndjson")
    ref = ObjectRef(key=stored.info.key, sha256=sha256_hex(stored.data))
    kind = UnlabelledClip if role == "train_unlabelled" else Clip
    return ClipSet(name=name, role=role, ref=ref, clips=len(parse_lines(kind, stored.data, what=ref.key)))


def _holdout(ports: Ports, audio: AudioSource, cycle: int, history: History) -> list[Clip]:
    """Return the holdout in use: what every dataset so far has added, also those whose cycle never came to a spec, and may still judge."""
    split_key = read_split_key(ports)
    empty = {info.key for info in ports.store.list(keys.HOLDOUT) if not info.size_bytes}
    wanted = (number for number in range(cycle, ledger.FIRST_CYCLE - 1, -1) if keys.holdout(number) not in empty)
    added = (fit_to_judge(_added(ports, audio, number), split_key, history) for number in wanted)
    return newest_in_use(added, ports.settings.policy.holdout_cap)


def _added(ports: Ports, audio: AudioSource, cycle: int) -> list[Clip]:
    """Return what a dataset adds to the holdout, its audio copied; written once."""
    found = find(ports.store, keys.holdout(cycle))
    if found is not None:
        return parse_lines(Clip, found.data, what=found.info.key)
    sealed = find_dataset(ports, cycle)
    if sealed is None:
        raise InvariantBroken(f"holdout of cycle {cycle}: expected {keys.dataset(cycle)}, found none")
    clips = holdout_clips(sealed.rows, judge_on_llm_gold=ports.settings.policy.judge_on_llm_gold)
    copied = [item for item in (_copy(ports, audio, item) for item in clips) if item is not None]
    stored = create(ports.store, keys.holdout(cycle), lines_bytes(copied), content_type="application/x-ndjson")
    return parse_lines(Clip, stored.data, what=stored.info.key)


def _copy(ports: Ports, audio: AudioSource, item: Clip) -> Clip | None:
    try:
        data = audio.fetch(item.audio)
    except (NotFound, CorruptObject) as error:
        log(f"holdout clip left out: {error}", severity="WARNING", utterance_id=item.utterance_id)
        return None
    return item.model_copy(update={"audio": copy_audio(ports.store, data)})
