"""Gold for clips without a trusted text: the base model hears, the endpoint proposes, the sound decides.

hear every clip -> ask for samples -> cut where trusted clips say -> decide -> one record a clip
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from shared.gold import AcousticScores, GoldRecord
from shared.normalisation import normalise
from shared.objectstore import ObjectStore
from trainer.clips.verbalise import spoken_if_readable
from trainer.gold.agreement import agree
from trainer.gold.ask import GoldAnswer, GoldAnswers, GoldTotals, ask_all
from trainer.gold.filter import MIN_TRUSTED, Proposal, Thresholds, decide, score, thresholds
from trainer.gold.prompt import prompt_sha256
from trainer.gold.question import GoldQuestion, GoldTranscriber
from trainer.network.align import LogProbs, word_confidences
from trainer.network.model import Samples
from trainer.recogniser import Recogniser
from trainer.shell.progress import Progress

UNCERTAIN = 0.6
"""Words of which the base model is less sure are pointed out in the question."""
MAX_TRUSTED = 400
"""Quantiles of so many clips are exact enough."""


@dataclass(frozen=True)
class SpokenClip:
    """A clip on the disk.

    Attributes:
        condition: clips of one condition sound alike; thresholds are taken from trusted clips of the same one.
        samples: length of the audio.
        waveform: decodes it: `(samples,)` float32 at the model's rate.
        read_audio, audio_sha256: the file for a model that hears, and its digest.
        reference: a person's; None = wanted.
        refuted: a transcript that a user called wrong.
    """

    utterance_id: str
    condition: str
    samples: int
    waveform: Callable[[], Samples]
    read_audio: Callable[[], bytes]
    audio_sha256: str
    reference: str | None = None
    refuted: str | None = None


@dataclass(frozen=True)
class Gold:
    """What became of every clip that had no reference, in their order, and what asking took."""

    records: tuple[GoldRecord, ...]
    totals: GoldTotals


@dataclass(frozen=True)
class GoldMaker:
    """Makes gold.

    Attributes:
        recogniser: the base model.
        transcriber: whom to ask.
        store, prefix: where answers are kept, so that a rerun costs nothing.
    """

    recogniser: Recogniser
    transcriber: GoldTranscriber
    store: ObjectStore
    prefix: str

    def make(self, wanted: Sequence[SpokenClip], trusted: Sequence[SpokenClip], progress: Progress) -> Gold:
        """Return a record for every wanted clip.

        What the base model hears in all of them stays in memory meanwhile: 23 MB an hour of speech with 32 outputs, 50 frames a second.

        Args:
            wanted: clips without a reference.
            trusted: clips with a person's reference, of the same conditions where there are such.
            progress: shows a bar for each phase, and tells of a stop.

        Raises:
            GoldUnavailable: the endpoint cannot be asked; what was answered is kept.
        """
        heard = self._hear(wanted, "hearing the clips", progress)
        answered = self._ask([self._question(clip, log_probs) for clip, log_probs in zip(wanted, heard, strict=True)], progress)
        cuts = self._cuts(trusted, {clip.condition for clip in wanted}, progress)
        answers = progress.track(zip(wanted, answered.answers, heard, strict=True), "judging the answers", len(wanted))
        records = tuple(self._judge(clip, answer, log_probs, cuts[clip.condition]) for clip, answer, log_probs in answers)
        return Gold(records, answered.totals)

    def _hear(self, clips: Sequence[SpokenClip], phase: str, progress: Progress) -> list[LogProbs]:
        """Return what the base model hears in each clip, in order."""
        batches = self.recogniser.hear_lazily([clip.samples for clip in clips], lambda index: clips[index].waveform())
        heard = dict(progress.track(batches, phase, len(clips)))
        return [heard[index] for index in range(len(clips))]

    def _question(self, clip: SpokenClip, log_probs: LogProbs) -> GoldQuestion:
        confidences = word_confidences(log_probs, self.recogniser.model.vocabulary)
        return GoldQuestion(
            utterance_id=clip.utterance_id,
            hypothesis=" ".join(word for word, _ in confidences),
            duration_s=clip.samples / self.recogniser.model.sampling_rate_hz,
            audio_sha256=clip.audio_sha256,
            read_audio=clip.read_audio,
            uncertain_words=tuple(word for word, confidence in confidences if confidence < UNCERTAIN),
        )

    def _ask(self, questions: Sequence[GoldQuestion], progress: Progress) -> GoldAnswers:
        with progress.counting(f"asking {self.transcriber.config.model}", len(questions)) as advance:

            def on_done(_answer: GoldAnswer) -> None:
                progress.check()  # a cycle that was cancelled must not go on paying
                advance()

            return ask_all(self.transcriber, questions, store=self.store, prefix=self.prefix, on_done=on_done)

    def _cuts(self, trusted: Sequence[SpokenClip], conditions: set[str], progress: Progress) -> dict[str, Thresholds]:
        """Take each condition's thresholds from its own trusted clips, from all where it has too few."""
        drawn = [trusted[index] for index in np.random.default_rng(0).permutation(len(trusted))[:MAX_TRUSTED].tolist()]
        scores: dict[str, list[AcousticScores]] = defaultdict(list)
        for clip, log_probs in zip(drawn, self._hear(drawn, "hearing trusted clips", progress), strict=True):
            found = score(log_probs, self._spoken(clip.reference or "", log_probs), self.recogniser.model.vocabulary)
            if isinstance(found, AcousticScores):
                scores[clip.condition].append(found)
        everything = [found for each in scores.values() for found in each]
        return {
            condition: thresholds(scores[condition] if len(scores[condition]) >= MIN_TRUSTED else everything) for condition in conditions
        }

    def _judge(self, clip: SpokenClip, answer: GoldAnswer, log_probs: LogProbs, cuts: Thresholds) -> GoldRecord:
        config = self.transcriber.config
        record = partial(GoldRecord, utterance_id=clip.utterance_id, model=config.model, prompt_sha256=prompt_sha256(config))
        if answer.failure is not None:
            return record(decision="review", reason=f"{answer.failure}: {answer.detail}")
        written, agreement = agree(answer.samples)
        text = self._spoken(written, log_probs)
        scores = score(log_probs, text, self.recogniser.model.vocabulary)
        proposal = Proposal(text, agreement, heard=config.hears)
        verdict = decide(proposal, scores, cuts, min_agreement=config.min_agreement, refuted=clip.refuted)
        return record(
            decision=verdict.decision,
            text=text,
            samples=tuple(normalise(sample) for sample in answer.samples),
            agreement=agreement,
            scores=scores if isinstance(scores, AcousticScores) else None,
            reason=f"{verdict.reason} ({cuts.source})",
        )

    def _spoken(self, text: str, log_probs: LogProbs) -> str:
        return spoken_if_readable(text, self.transcriber.config.language, log_probs, self.recogniser.model.vocabulary)
