"""What a run finds out before it trains: what the base model hears, and which references there are to judge it by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from shared.errors import InvariantBroken
from shared.events import ReferenceProvenance
from shared.gold import GoldRecord, ReviewItem
from shared.normalisation import normalise
from trainer.clips.verbalise import needs_reading, spoken_if_readable
from trainer.finetune.audio import DecodedClip
from trainer.finetune.decisions import DecidedClip, Unreferenced
from trainer.finetune.options import Options
from trainer.recogniser import Recogniser
from trainer.shell.progress import Progress

LITTLE_GOLD = 0.5
"""Of the clips: with fewer references than that, those which an LLM and the sound agree on are no picture of the folder."""


@dataclass(frozen=True)
class HeardClip:
    """A clip and what the base model hears in it; `clip.source.transcript` is a person's word, where there is one."""

    clip: DecodedClip
    hypothesis: str

    @property
    def utterance_id(self) -> str:
        """The clip's name."""
        return self.clip.source.utterance_id


class GoldPort(Protocol):
    """Proposes references with an LLM and decides which of them the sound bears out."""

    def __call__(
        self, asked: Sequence[HeardClip], trusted: Sequence[HeardClip], base: Recogniser, progress: Progress
    ) -> Sequence[GoldRecord]:
        """Return one record for each clip of `asked`, in order.

        Args:
            asked: clips without a person's transcript.
            trusted: clips with one.
            base: the model that heard them.
            progress: shows a bar, and tells of a stop.

        Raises:
            RetuneError: the LLM cannot be asked; nothing is guessed in its place.
        """
        ...


@dataclass(frozen=True)
class References:
    """Which clips can be judged.

    Attributes:
        clips: with a reference, not yet divided.
        unreferenced: without one, and why.
        gold: every record of the LLM's answers.
        review: what a person should hear.
    """

    clips: tuple[DecidedClip, ...]
    unreferenced: tuple[Unreferenced, ...]
    gold: tuple[GoldRecord, ...] = ()
    review: tuple[ReviewItem, ...] = ()

    @property
    def little_gold(self) -> bool:
        """Whether an LLM was asked and most clips still have no reference."""
        return bool(self.gold) and len(self.clips) < LITTLE_GOLD * (len(self.clips) + len(self.unreferenced))


def transcribe(base: Recogniser, clips: Sequence[DecodedClip], progress: Progress) -> list[HeardClip]:
    """Return what the base model hears in each clip, decoded as it would be served."""
    heard = [""] * len(clips)
    batches = base.transcribe_lazily([clip.samples for clip in clips], lambda index: clips[index].waveform())
    done = (text for batch, texts in batches for text in zip(batch, texts, strict=True))
    for index, text in progress.track(done, "transcribing", len(clips)):
        heard[index] = text
    return [HeardClip(clip, text) for clip, text in zip(clips, heard, strict=True)]


def find_references(
    heard: Sequence[HeardClip], options: Options, gold: GoldPort | None, base: Recogniser, progress: Progress
) -> References:
    """Return the references that --gold allows: a person's where it allows that, an LLM's for the rest where it allows that.

    Raises:
        RetuneError: the LLM cannot be asked.
    """
    human = [each for each in heard if options.gold != "llm" and each.clip.source.transcript]
    known = {each.utterance_id for each in human}
    rest = [each for each in heard if each.utterance_id not in known]
    written = write_out(human, options.language, base, progress)
    clips = [_decided(each, written[each.utterance_id], "human") for each in human]
    if options.gold == "human" or not rest:
        return References(tuple(clips), tuple(_unreferenced(each, "no transcript") for each in rest))
    if gold is None:
        raise InvariantBroken(f"--gold {options.gold}: expected a way to ask a model, found none")
    trusted = [each for each in heard if each.clip.source.transcript]  # with --gold llm they calibrate the filter, and judge nothing
    records = tuple(gold(rest, trusted, base, progress))
    if [record.utterance_id for record in records] != [each.utterance_id for each in rest]:
        raise InvariantBroken(f"gold: expected one record for each of {len(rest)} clips, in order, found {len(records)}")
    pairs = list(zip(rest, records, strict=True))
    taken = {each.utterance_id: record for each, record in pairs if record.decision == "accepted" and normalise(record.text or "")}
    clips += [_decided(each, record.text or "", record.provenance) for each, record in pairs if each.utterance_id in taken]
    return References(
        clips=tuple(clips),
        unreferenced=tuple(_unreferenced(each, _WHY[record.decision]) for each, record in pairs if each.utterance_id not in taken),
        gold=records,
        review=tuple(_review(each, record) for each, record in pairs if record.decision == "review"),
    )


def write_out(human: Sequence[HeardClip], language: str | None, base: Recogniser, progress: Progress) -> dict[str, str]:
    """Return a person's transcripts by utterance, numbers written out: of several readings the one that the base model hears best.

    A transcript that nobody can read, or all of them without a language, stays as it is: it can judge, but not be trained on.
    """
    written = {each.utterance_id: each.clip.source.transcript or "" for each in human}
    if language is None:
        return written
    clips = [each for each in human if needs_reading(written[each.utterance_id])]
    if not clips:
        return written
    frames = base.hear_lazily([each.clip.samples for each in clips], lambda index: clips[index].clip.waveform())
    for index, log_probs in progress.track(frames, "writing numbers out", len(clips)):
        name = clips[index].utterance_id
        written[name] = spoken_if_readable(written[name], language, log_probs, base.model.vocabulary)
    return written


_WHY = {"accepted": "the LLM's answer has no words", "rejected": "the LLM's answer was rejected", "review": "a person must hear it"}


def _decided(heard: HeardClip, reference: str, provenance: ReferenceProvenance) -> DecidedClip:
    source = heard.clip.source
    return DecidedClip(
        utterance_id=source.utterance_id,
        condition=source.condition,
        speaker=source.speaker,
        part=None,
        reference=reference,
        provenance=provenance,
        before=heard.hypothesis,
    )


def _unreferenced(heard: HeardClip, reason: str) -> Unreferenced:
    return Unreferenced(utterance_id=heard.utterance_id, condition=heard.clip.source.condition, before=heard.hypothesis, reason=reason)


def _review(heard: HeardClip, record: GoldRecord) -> ReviewItem:
    return ReviewItem(
        utterance_id=heard.utterance_id,
        audio=str(heard.clip.source.path),
        hypothesis=heard.hypothesis,
        proposed=record.text,
        samples=record.samples,
        reason=record.reason,
    )
