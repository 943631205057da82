"""Errors that nobody has corrected: gold is made for them once, written down with its provenance, and trained on where it was accepted.

runs/n/gold.jsonl     if absent -> ask, decide, write; else what stands there, whoever wrote it
accepted              a training clip of provenance `llm`; it never judges
rejected, review      set aside; `retune review` shows the latter to a person, whose answer comes as a correction
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from shared import keys
from shared.cas import create, find
from shared.documents import lines_bytes, parse_lines
from shared.gold import GoldConfig, GoldRecord
from shared.objectstore import ObjectStore
from shared.training import Clip, SetAside, SetAsideReason, TrainingConfig
from trainer.attempt.dataset import Dataset
from trainer.clips.fetch import ClipRefused
from trainer.clips.load import UnlabelledOnDisk, UsableClip, check_labels
from trainer.gold.make import GoldMaker, SpokenClip
from trainer.gold.problems import GoldUnavailable
from trainer.gold.question import GoldTranscriber
from trainer.recogniser import Recogniser
from trainer.shell.failures import RunFailed
from trainer.shell.progress import Progress

ERRORS, REPLAY = "errors", "replay"
"""Conditions: reported errors sound alike, as far as anything is known about them."""


@dataclass(frozen=True)
class Labelling:
    """What labelling a cycle's clips takes.

    Attributes:
        open_transcriber: from the config to whom it names.
    """

    store: ObjectStore
    cycle: int
    recogniser: Recogniser
    open_transcriber: Callable[[GoldConfig], GoldTranscriber]
    config: TrainingConfig
    progress: Progress

    def label(self, dataset: Dataset, gold: GoldConfig | None) -> Dataset:
        """Return the dataset with the accepted gold among its training errors, and the rest set aside.

        Raises:
            RunFailed: (gold_unavailable) the endpoint cannot be asked; the text says what to do. What it answered is kept.
        """
        if gold is None or not dataset.unlabelled:
            return dataset
        records = {record.utterance_id: record for record in self._records(dataset, gold)}
        outcomes = [self._outcome(clip, records[clip.clip.utterance_id]) for clip in dataset.unlabelled]
        accepted = [outcome for outcome in outcomes if isinstance(outcome, UsableClip)]
        set_aside = tuple(outcome for outcome in outcomes if isinstance(outcome, SetAside))
        by_role = {**dataset.by_role, "train_errors": [*dataset.by_role["train_errors"], *accepted]}
        self.progress.log("gold", accepted=len(accepted), set_aside=len(set_aside))
        return replace(dataset, by_role=by_role, set_aside=(*dataset.set_aside, *set_aside), gold=len(accepted), unlabelled=[])

    def _records(self, dataset: Dataset, config: GoldConfig) -> list[GoldRecord]:
        key = keys.gold(self.cycle)
        standing = find(self.store, key)
        if standing is None:
            standing = create(self.store, key, lines_bytes(self._make(dataset, config)), content_type="application/x-ndjson")
        records = parse_lines(GoldRecord, standing.data, what=key)
        missing = {clip.clip.utterance_id for clip in dataset.unlabelled} - {record.utterance_id for record in records}
        if missing:
            # an earlier attempt could not read these clips; its gold stands, and they wait for the next cycle
            records += [_unasked(utterance_id) for utterance_id in sorted(missing)]
        return records

    def _make(self, dataset: Dataset, config: GoldConfig) -> Sequence[GoldRecord]:
        wanted = [_spoken(clip, ERRORS, refuted=clip.clip.hypothesis) for clip in dataset.unlabelled]
        trusted = [
            _spoken(clip, condition, reference=clip.clip.reference)
            for condition, clips in ((ERRORS, dataset.by_role["train_errors"]), (REPLAY, dataset.by_role["train_replay"]))
            for clip in clips
            if clip.clip.provenance == "human"
        ]
        try:
            maker = GoldMaker(self.recogniser, self.open_transcriber(config), self.store, keys.GOLD_ANSWERS)
            gold = maker.make(wanted, trusted, self.progress)
        except GoldUnavailable as error:
            raise RunFailed("gold_unavailable", str(error)) from error
        self.progress.log("asked", requests=gold.totals.requests, tokens=gold.totals.usage.tokens, usd=gold.totals.usd)
        return gold.records

    def _outcome(self, found: UnlabelledOnDisk, record: GoldRecord) -> UsableClip | SetAside:
        if record.decision != "accepted" or record.text is None:
            reason: SetAsideReason = "gold_awaits_review" if record.decision == "review" else "gold_rejected"
            return SetAside(utterance_id=record.utterance_id, set_name=found.set_name, reason=reason, detail=record.reason)
        clip = Clip(
            utterance_id=found.clip.utterance_id,
            cluster=found.clip.cluster,
            stratum="errors",
            audio=found.clip.audio,
            reference=record.text,
            provenance="llm",
            duration_s=found.clip.duration_s,
        )
        try:
            labels = check_labels(clip, found.samples, self.recogniser.model, self.config)
        except ClipRefused as refusal:
            return refusal.set_aside(clip.utterance_id, found.set_name)
        return UsableClip(clip, found.path, found.samples, labels)


def _spoken(
    found: UnlabelledOnDisk | UsableClip, condition: str, *, reference: str | None = None, refuted: str | None = None
) -> SpokenClip:
    return SpokenClip(
        utterance_id=found.clip.utterance_id,
        condition=condition,
        samples=found.samples,
        waveform=found.waveform,
        read_audio=found.path.read_bytes,
        audio_sha256=found.path.name,
        reference=reference,
        refuted=refuted,
    )


def _unasked(utterance_id: str) -> GoldRecord:
    reason = "its audio could not be read when the gold of this cycle was made"
    return GoldRecord(utterance_id=utterance_id, decision="rejected", text=None, reason=reason)
